/** What the features that take part in one response share, and how far the response has come. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { BodyTap } from './body-tap.ts'
import type { FieldReader, HeaderFields, ResponseEnd } from './exchange.ts'
import type { LateHeaders } from './headers.ts'

/** How far a response has come. Phases follow each other in this order; some are skipped. */
export type Phase =
  /** The handler has given no head. */
  | 'open'
  /** The handler has given the head. It is withheld, because work before the end can still fail. */
  | 'head-given'
  /** The work before the head is under way. What the handler writes waits for it. */
  | 'before-head'
  /** The head is on its way, or cannot be taken back any more. */
  | 'sending'
  /** The handler has called `end`. The work before the end is under way. */
  | 'before-end'
  /** `end` was passed on to node. */
  | 'ended'

export type Method = (...args: any[]) => any
/** The methods of a response that decide what is sent. */
export type Methods = Record<'writeHead' | 'write' | 'end', Method>

/** One patch of a response. */
export interface Layer {
  /** The functions that this layer puts on the response. */
  readonly own: Methods
  /** The functions that it replaced; undefined where it left node's alone. */
  replaced: Record<keyof Methods, Method | undefined>
  taps: BodyTap[]
  /** `end` was called here. */
  isEnded: boolean
  /** A rehearsed head goes no further than this layer. */
  isRehearsing: boolean
}

/** When work before the head or the end failed. */
export type FailureStage =
  /** Nothing was sent: another answer can take the place of the handler's. */
  | 'unsent'
  /** Nothing was sent, and the handler is still writing: the answer must be sent at once. */
  | 'writing'
  /** A part was sent. The connection has been broken off. */
  | 'sent'

/** Work that must be done before the client sees a part of the response. See PassPlan. */
export interface Finalizer {
  readonly beforeHead: ((status: number) => Promise<void> | undefined) | undefined
  readonly beforeEnd:
    | ((status: number, field: (name: string) => string | undefined) => Promise<void> | undefined)
    | undefined
  readonly commit: ((status: number, isFailed: boolean) => Promise<void> | undefined) | undefined
  /** Handles a failure. `send` sends the handler's answer all the same. */
  fail(error: unknown, stage: FailureStage, send: () => void): void
}

/** A failure of a finalizer. Of several, the outermost feature's counts. */
export interface Failure {
  readonly error: unknown
  readonly finalizer: Finalizer
}

/** Lists cost nothing until they are used: most responses need no more than late headers. */
const NONE: never[] = []
const UNREPLACED: Layer['replaced'] = Object.freeze({
  writeHead: undefined,
  write: undefined,
  end: undefined,
})

/** The state of one response. It is the response's first layer, too. */
export class ResponseState implements Layer {
  readonly own: Methods
  readonly req: IncomingMessage
  phase: Phase = 'open'
  replaced: Layer['replaced'] = UNREPLACED
  replacedFlush: Method | undefined
  /** From the first to the topmost. Only a body tap above another package's patch needs a second one. */
  readonly layers: Layer[] = [this]
  taps: BodyTap[] = NONE
  isEnded = false
  isRehearsing = false
  /** In the order of mounting: the outermost feature's first. */
  lateHeaders: LateHeaders[] = NONE
  finalizers: Finalizer[] = NONE
  /** The work before the end: none yet, under way, or done. */
  finalizing: Promise<Failure | undefined> | 'done' | undefined
  /** The handler has given the head, and it is withheld. */
  isHeadGiven = false
  /** The work before the head was begun. */
  isHeadFinalized = false
  onFinish: ((end: ResponseEnd) => void)[] = NONE
  /** What undoes the masks of the request, once the handler has ended the response. */
  unmasks: (() => void)[] = NONE
  isFinished = false
  /** Calls of the handler that wait for the work before the head. */
  queue: (() => unknown)[] = NONE
  /** Bytes that were passed on, counted while a Content-Length makes them tell the end. */
  written = 0
  /** The last bytes of a body, which would show the client the end before `end` is called. */
  withheld: Buffer | undefined
  /** To the application, the head or the end was sent. */
  disguise: (() => void) | undefined
  /** The response has ended for the application before it ended for node. */
  wasHeld = false
  /** Node's `end` is being called: what it calls in turn is not the handler's. */
  isPassingEnd = false

  constructor(req: IncomingMessage, own: Methods) {
    this.req = req
    this.own = own
  }

  addLateHeaders(compute: (field: FieldReader) => HeaderFields): void {
    this.lateHeaders = append(this.lateHeaders, { compute, fields: undefined, hasFailed: false })
  }

  addFinalizer(finalizer: Finalizer): void {
    this.finalizers = append(this.finalizers, finalizer)
  }

  addOnFinish(callback: (end: ResponseEnd) => void): void {
    this.onFinish = append(this.onFinish, callback)
  }

  addUnmask(unmask: () => void): void {
    this.unmasks = append(this.unmasks, unmask)
  }

  /** Shows the request as it came again. The innermost mask is undone first. */
  unmask(): void {
    if (this.unmasks.length === 0) return
    for (const unmask of this.unmasks.splice(0).reverse()) unmask()
  }

  addTap(tap: BodyTap): void {
    const top = this.layers.at(-1)!
    top.taps = append(top.taps, tap)
  }

  enqueue(call: () => unknown): void {
    this.queue = append(this.queue, call)
  }
}

/** Adds to a list of its own: `NONE` is shared. */
function append<Item>(list: Item[], item: Item): Item[] {
  if (list === NONE) return [item]
  list.push(item)
  return list
}

/** Returns whether work must still be done before the client may see the end. */
export const isPending = ({ finalizers, finalizing }: ResponseState): boolean =>
  finalizers.length > 0 && finalizing !== 'done'

/** Returns whether nothing was sent, so that another answer can take the place of this one. */
export const isUnsent = (res: ServerResponse, { phase }: ResponseState): boolean =>
  phase === 'head-given' || (phase === 'open' && !res.headersSent)

/** Calls what a layer replaced. */
export function pass(
  layer: Layer,
  method: keyof Methods,
  res: ServerResponse,
  args: unknown[],
): unknown {
  return layer.replaced[method]?.apply(res, args)
}

/** A registry symbol: the ESM and the CommonJS copy of the package share one state. */
export const STATE: unique symbol = Symbol.for('turnpike.response@1')
export type Stateful = ServerResponse & { [STATE]?: ResponseState }
