import type { ServerResponse } from 'node:http'
import type { Capture } from './capture.ts'
import type { ResponseEnd, HeaderFields, BodyCapture, SentResponse } from './exchange.ts'
import { mergeField, isBodiless, addedFields, type NodeHeaders } from './headers.ts'

/**
 * What to do about a seal that failed. While `res.headersSent` is false nothing has been sent, and
 * `send` lets the answer out that was held back; otherwise the connection is broken off already.
 */
export type Refuse = (error: unknown, send: () => void) => void

/** Work to be done before the end: see Plan. Undefined: it is done. */
export type Seal = (
  status: number,
  field: (name: string) => string | undefined,
) => Promise<void> | undefined

export type Call = (...args: any[]) => any
/** The three methods of a response that matter here. */
export type Methods = Record<'writeHead' | 'write' | 'end', Call>

/** What was there before a patch; undefined where there is none. */
export type Inner = Record<keyof Methods, Call | undefined>

/** Somebody waiting for the whole response. */
export interface Tap {
  readonly capture: Capture
  readonly then: (sent: SentResponse) => void
  readonly seen: BodyCapture['onHead']
  readonly instead: BodyCapture['replace']
  /** The fields at our place, before anybody further inside set one. */
  readonly before: NodeHeaders
  /** How many `head`s there were before: the later ones stand further inside, and are seen. */
  readonly heads: number
  /** The head as it was seen when it was sent. */
  head: { status: number; headers: HeaderFields; length: unknown } | undefined
  /** It is wanted even if the client has gone. */
  readonly gone: boolean
  readonly thrown: (() => void) | undefined
  /** The response has been delivered, or is not wanted any more. */
  done: boolean
}

/** One patch of a response: what it put in the place of the methods, and what was there before. */
export interface Layer {
  readonly own: Methods
  readonly inner: Inner
  taps: readonly Tap[]
  /** `end` has been called here. */
  ended: boolean
  /** A rehearsal of the head goes no further than this layer. */
  rehearsing: boolean
}

/** Most responses need no more than a head: a list costs nothing until it is used. */
const none: readonly never[] = []
const untouched: Inner = Object.freeze({ writeHead: undefined, write: undefined, end: undefined })

/** What the features that take part in one response share. It is the response's first patch, too. */
export class Joint implements Layer {
  readonly own: Methods
  inner: Inner = untouched
  taps: readonly Tap[] = none
  heads: readonly (() => HeaderFields)[] = none
  seals: readonly { seal: Seal; refuse: Refuse }[] = none
  ends: readonly ((end: ResponseEnd) => void)[] = none
  flushHeaders: Call | undefined
  top: Layer = this
  ended = false
  rehearsing = false
  /** The seals have been set to work. */
  sealed = false
  /** The head is on its way: a `writeHead` is node's own now, and not to be put off. */
  going = false
  /** The bytes written so far, where a Content-Length makes them count. */
  written = 0
  /** The end of the body, where it was written before `end` was called. */
  last: Buffer | undefined
  /** The arguments of the `end` that is being held back. */
  held: unknown[] | undefined

  constructor(own: Methods) {
    this.own = own
  }
}

/** Are there seals still to be done before the end may be seen? */
export function isPending(joint: Joint): boolean {
  return joint.seals.length > 0 && !joint.sealed
}

/** Call what was there before a layer. */
export function pass(
  layer: Layer,
  method: keyof Methods,
  res: ServerResponse,
  args: unknown[],
): unknown {
  return layer.inner[method]?.apply(res, args)
}

/** The fields set further inside than `tap`, and those that features there will set with the head. */
export function setSince(res: ServerResponse, joint: Joint, { before, heads }: Tap): HeaderFields {
  const fields: NodeHeaders = res.getHeaders()
  if (joint.heads.length === heads) return addedFields(before, fields)
  for (const head of joint.heads.slice(heads).reverse()) {
    for (const [name, value] of Object.entries(head())) {
      const field = name.toLowerCase()
      fields[field] = mergeField(field, fields[field], value)
    }
  }
  return addedFields(before, fields)
}

/** Remember the head as it is here: what an outer compressor is about to do to it is not ours. */
export function look(res: ServerResponse, joint: Joint, tap: Tap): void {
  if (tap.head !== undefined) return
  tap.head = {
    status: res.statusCode,
    headers: setSince(res, joint, tap),
    length: res.getHeader('content-length'),
  }
  tap.seen?.(tap.head)
}

/** The response as a tap has seen it; undefined if it is not whole, or was too long. */
export function sentTo(res: ServerResponse, { head, capture }: Tap): SentResponse | undefined {
  if (head === undefined) return undefined
  const { status, headers, length } = head
  const body = isBodiless(res.req.method, status) ? Buffer.alloc(0) : capture.body(length)
  return body && { status, headers, body }
}

/** Hand the response to those who wait for it, if it is whole. */
export function deliver(res: ServerResponse, { taps }: Layer): void {
  for (const tap of taps) {
    if (tap.done) continue
    tap.done = true
    const sent = res.destroyed && !tap.gone ? undefined : sentTo(res, tap)
    if (sent !== undefined) tap.then(sent)
  }
}
