/**
 * Intercepts a ServerResponse. Only this module patches one. A response is patched once, with
 * functions that all responses share, and features join its state. Only a body tap above another
 * package's patch (a compressor's, for example) needs a layer of its own, because it sees the
 * response as it is at its place.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { BodyTap, bytesOf, isChunk } from './body-tap.ts'
import { beginTick, deferDestroy, refuseHead, withdraw } from './disguise.ts'
import type { BodyCapture, FieldReader, HeaderFields } from './exchange.ts'
import { callbackOf, finalizeEnd, passEnd, setDisguise } from './finalizers.ts'
import { runBeforeEnd, runBeforeHead } from './finalizers.ts'
import { addFields, adoptFields, isBodiless, isEmptyBody, lateFields } from './headers.ts'
import { http2StreamOf } from './http2.ts'
import {
  isPending,
  isUnsent,
  pass,
  ResponseState,
  STATE,
  type Finalizer,
  type Layer,
  type Method,
  type Methods,
  type Stateful,
} from './response-state.ts'
import { endAgain, isLate, refuseLate, whenSending } from './withheld-head.ts'

const intercepted: Methods & { flushHeaders: Method } = {
  writeHead(this: ServerResponse, ...args) {
    const state = knownStateOf(this)
    return writeHead(this, state, state, args)
  },
  write(this: ServerResponse, ...args) {
    const state = knownStateOf(this)
    return write(this, state, state, args)
  },
  end(this: ServerResponse, ...args) {
    const state = knownStateOf(this)
    return end(this, state, state, args)
  },
  flushHeaders(this: ServerResponse) {
    flushHeaders(this, knownStateOf(this))
  },
}

/** Returns the state of a response: always the same one. */
export function stateOf(req: IncomingMessage, res: Stateful): ResponseState {
  return (res[STATE] ??= new ResponseState(req, intercepted))
}

const knownStateOf = (res: Stateful): ResponseState => res[STATE]!

function patchHead(req: IncomingMessage, res: ServerResponse): ResponseState {
  const state = stateOf(req, res)
  if (state.replaced.writeHead === undefined) {
    state.replaced = { writeHead: res.writeHead, write: undefined, end: undefined }
    res.writeHead = intercepted.writeHead
  }
  return state
}

function patchBody(req: IncomingMessage, res: ServerResponse): ResponseState {
  const state = patchHead(req, res)
  if (state.replaced.end === undefined) {
    state.replaced.write = res.write
    state.replaced.end = res.end
    state.replacedFlush = res.flushHeaders
    res.write = intercepted.write
    res.end = intercepted.end
    res.flushHeaders = intercepted.flushHeaders
  }
  return state
}

/** Sets fields when the head is sent: the innermost feature's first, the outermost's last. */
export function addLateHeaders(
  req: IncomingMessage,
  res: ServerResponse,
  compute: (field: FieldReader) => HeaderFields,
): void {
  patchHead(req, res).addLateHeaders(compute)
}

/** Adds work to do before the client can see the head or the end. Returns true for the first of a response. */
export function addFinalizer(
  req: IncomingMessage,
  res: ServerResponse,
  finalizer: Finalizer,
): boolean {
  const state = patchBody(req, res)
  state.addFinalizer(finalizer)
  return state.finalizers.length === 1
}

/**
 * Does the work before the head (and, with `isWhole`, before the end) now, before anything is written.
 * @throws the first failure
 */
export async function finalizeNow(res: ServerResponse, isWhole: boolean): Promise<void> {
  const state = knownStateOf(res)
  const failure = await (isWhole ? runBeforeEnd(res, state) : runBeforeHead(res, state))
  if (failure !== undefined) throw failure.error
}

/** Captures the whole response as it is at this place. */
export function tapBody(req: IncomingMessage, res: ServerResponse, capture: BodyCapture): BodyTap {
  const state = patchBody(req, res)
  const { own } = state.layers.at(-1)!
  const isOurs = res.writeHead === own.writeHead && res.write === own.write && res.end === own.end
  if (!isOurs) state.layers.push(addLayer(res, state))
  const tap = new BodyTap(res, state.lateHeaders, capture)
  state.addTap(tap)
  return tap
}

function addLayer(res: ServerResponse, state: ResponseState): Layer {
  const layer: Layer = {
    own: {
      writeHead: (...args) => writeHead(res, state, layer, args),
      write: (...args) => write(res, state, layer, args),
      end: (...args) => end(res, state, layer, args),
    },
    replaced: { writeHead: res.writeHead, write: res.write, end: res.end },
    taps: [],
    isEnded: false,
    isRehearsing: false,
  }
  Object.assign(res, layer.own)
  return layer
}

function writeHead(
  res: ServerResponse,
  state: ResponseState,
  layer: Layer,
  args: unknown[],
): unknown {
  if (state.disguise !== undefined) return refuseHead(res, args)
  const status = Number(args[0])
  // Node refuses an invalid status with its own error.
  if (res.headersSent || !(status >= 100 && status <= 999))
    return pass(layer, 'writeHead', res, args)
  const line = args.length > 1 ? adoptFields(res, args) : args
  if (res.statusCode !== status) res.statusCode = status
  for (const tap of layer.taps) tap.recordHead(res, state.lateHeaders)
  if (layer.isRehearsing) return res
  if (layer === state) {
    if (state.phase === 'open' && (isPending(state) || state.layers.some(hasReplacement)))
      return withholdHead(res, state)
    if (state.phase === 'open') state.phase = 'sending'
    for (let index = state.lateHeaders.length - 1; index >= 0; index--)
      addFields(res, lateFields(state.lateHeaders[index]!, res))
  }
  return layer.replaced.writeHead?.apply(res, line)
}

const hasReplacement = ({ taps }: Layer): boolean =>
  taps.some(({ capture, isDone }) => capture.replace !== undefined && !isDone)

/** Withholds the head until something is written or the response ends. */
function withholdHead(res: ServerResponse, state: ResponseState): ServerResponse {
  state.phase = 'head-given'
  state.isHeadGiven = true
  setDisguise(res, state, 'head')
  // HTTP/1 sends a head with what is written next. HTTP/2 sends it alone, and a client may wait for it.
  if (http2StreamOf(res) !== undefined && !isEmptyBody(res)) {
    const release = deferDestroy(state.req, res)
    process.nextTick(() => {
      if (state.phase === 'head-given') sendSoon(res, state, () => {})
      release()
    })
  }
  return res
}

function write(res: ServerResponse, state: ResponseState, layer: Layer, args: unknown[]): unknown {
  if (layer === state && isLate(state)) return refuseLate(args)
  const [chunk, encoding] = args
  // Node refuses an invalid chunk at once.
  if (layer.isEnded || !isChunk(chunk)) return pass(layer, 'write', res, args)
  for (const tap of layer.taps) tap.add(chunk, encoding)
  if (layer !== state) return pass(layer, 'write', res, args)
  return sendSoon(res, state, () => writeChunk(res, state, args)) ?? false
}

/** Calls `send` as soon as the head may go out. If it waits, taps see it now: the end may come before it. */
const sendSoon = <Result>(
  res: ServerResponse,
  state: ResponseState,
  send: () => Result,
): Result | undefined =>
  whenSending(res, state, send, () => {
    if (hasTaps(state)) rehearseHead(res, state, state)
  })

const hasTaps = ({ layers }: ResponseState): boolean => layers.some(({ taps }) => taps.length > 0)

/** Writes, but withholds the last byte. Otherwise the client could see the end before `end` is called. */
function writeChunk(res: ServerResponse, state: ResponseState, args: unknown[]): unknown {
  const length = isPending(state) ? Number(res.getHeader('content-length') ?? NaN) : NaN
  if (!(length >= 0)) return pass(state, 'write', res, args)
  const bytes = bytesOf(args[0], args[1])
  const free = Math.max(length - 1 - state.written, 0)
  state.written += bytes.length
  if (bytes.length <= free) return pass(state, 'write', res, args)
  state.withheld = Buffer.concat([state.withheld ?? Buffer.alloc(0), bytes.subarray(free)])
  const callback = callbackOf(args)
  if (free > 0) return pass(state, 'write', res, [bytes.subarray(0, free), callback])
  // Node would send the head with this chunk. Otherwise taps would not see it before the end.
  if (hasTaps(state) && !res.headersSent) rehearseHead(res, state, state)
  if (callback !== undefined) process.nextTick(callback)
  return true
}

function flushHeaders(res: ServerResponse, state: ResponseState): void {
  // Without a body, the end of the head is the end of the response.
  if (isLate(state) || (isPending(state) && isEmptyBody(res))) return
  sendSoon(res, state, () => state.replacedFlush?.call(res))
}

function end(res: ServerResponse, state: ResponseState, layer: Layer, args: unknown[]): unknown {
  const [chunk, encoding] = typeof args[0] === 'function' ? [] : args
  const isNothing = chunk === undefined || chunk === null
  const isAnswered = state.phase === 'ended' && isNothing
  if (layer === state && isLate(state) && !isAnswered) return endAgain(res, isNothing, args)
  // Node answers a second end, and refuses an invalid chunk.
  if (layer.isEnded || !(isNothing || isChunk(chunk))) return pass(layer, 'end', res, args)
  for (const tap of layer.taps) tap.add(chunk, encoding)
  if (isUnsent(res, state) && hasReplacement(layer)) args = replace(res, state, layer, args)
  layer.isEnded = true
  if (!isPending(state)) {
    const result = layer === state ? endNow(res, state, args) : pass(layer, 'end', res, args)
    for (const tap of layer.taps) tap.deliver(res)
    return result
  }
  // Work before the end may need what a tap has seen, so taps cannot wait for the head.
  if (layer.taps.length > 0 && isUnsent(res, state)) rehearseHead(res, state, layer)
  for (const tap of layer.taps) tap.deliver(res)
  if (layer !== state) return pass(layer, 'end', res, args)
  endNow(res, state, args)
  return res
}

/** Ends the response, unless work before the head or the end must be waited for. */
function endNow(res: ServerResponse, state: ResponseState, args: unknown[]): unknown {
  if (state.phase === 'before-head') {
    setDisguise(res, state, 'end')
    beginTick(res)
    state.wasHeld = true
    state.enqueue(() => endNow(res, state, args))
    return res
  }
  if (!isPending(state)) return passEnd(res, state, args)
  finalizeEnd(res, state, args)
  return res
}

/** Replaces the response that is about to be sent, if a tap has another one. */
function replace(
  res: ServerResponse,
  state: ResponseState,
  layer: Layer,
  args: unknown[],
): unknown[] {
  rehearseHead(res, state, layer)
  for (const tap of layer.taps) {
    const sent = tap.isDone ? undefined : tap.sent(res)
    const reply = sent && tap.capture.replace?.(sent)
    if (reply === undefined) continue
    const { status, headers = {}, body = '' } = reply
    setDisguise(res, state, undefined)
    state.phase = 'open'
    state.isHeadGiven = false
    withdraw(res)
    res.statusCode = status
    addFields(res, headers)
    const isEmpty = isBodiless(res.req?.method, status)
    if (!isEmpty && !res.hasHeader('content-length')) {
      res.setHeader('Content-Length', Buffer.byteLength(body as Buffer))
    }
    const callback = callbackOf(args)
    return isEmpty ? [callback] : [body, callback]
  }
  return args
}

/** Calls inner patches of other packages as if the head were sent, so that they set their fields. */
function rehearseHead(res: ServerResponse, state: ResponseState, layer: Layer): void {
  // A head that was written has passed them already.
  if (state.phase !== 'open' && (state.phase !== 'sending' || res.headersSent)) return
  layer.isRehearsing = true
  try {
    res.writeHead(res.statusCode)
  } finally {
    layer.isRehearsing = false
  }
}
