/**
 * The only file that patches a ServerResponse. A response is patched once, with functions that all
 * responses share; features join. Only a capture below somebody else's patch (a compressor's, say)
 * needs a patch of its own, because it has to see the response as it was at its own place.
 */
import type { ServerResponse } from 'node:http'
import { Capture, bytesOf } from './capture.ts'
import type { ResponseEnd, HeaderFields, BodyCapture } from './exchange.ts'
import {
  mergeField,
  cloneFields,
  parseWriteHeadArguments,
  isBodiless,
  isListField,
} from './headers.ts'
import { Joint, deliver, isPending, look, pass, sentTo, setSince } from './joint.ts'
import type { Layer, Methods, Refuse, Seal, Tap } from './joint.ts'
import { conclude, seal, withdraw } from './seal.ts'

const joined = Symbol.for('turnpike.response@1')
type Joined = ServerResponse & { [joined]?: Joint }

const shared: Methods & { flushHeaders(this: ServerResponse): void } = {
  writeHead(this: ServerResponse, ...args) {
    const joint = jointOf(this)
    return writeHead(this, joint, joint, args)
  },
  write(this: ServerResponse, ...args) {
    const joint = jointOf(this)
    return write(this, joint, joint, args)
  },
  end(this: ServerResponse, ...args) {
    const joint = jointOf(this)
    return end(this, joint, joint, args)
  },
  flushHeaders() {
    flushHeaders(this, jointOf(this))
  },
}

function jointOf(res: Joined): Joint {
  return (res[joined] ??= new Joint(shared))
}

function patchHead(res: ServerResponse): Joint {
  const joint = jointOf(res)
  if (joint.inner.writeHead === undefined) {
    joint.inner = { writeHead: res.writeHead, write: undefined, end: undefined }
    res.writeHead = shared.writeHead
  }
  return joint
}

function patchBody(res: ServerResponse): Joint {
  const joint = patchHead(res)
  if (joint.inner.end === undefined) {
    joint.inner.write = res.write
    joint.inner.end = res.end
    joint.flushHeaders = res.flushHeaders
    res.write = shared.write
    res.end = shared.end
    res.flushHeaders = shared.flushHeaders
  }
  return joint
}

/** Set the fields when the head is sent: the innermost feature's first, the outermost's last. */
export function onHead(res: ServerResponse, head: () => HeaderFields): void {
  const joint = patchHead(res)
  joint.heads = [...joint.heads, head]
}

/** Have work done before the client can see the end. True for the response's first seal. */
export function onSeal(res: ServerResponse, seal: Seal, refuse: Refuse): boolean {
  const joint = patchBody(res)
  joint.seals = [...joint.seals, { seal, refuse }]
  return joint.seals.length === 1
}

/** Do the seals now, before anything is written; the first failure is thrown. */
export async function sealNow(res: ServerResponse): Promise<void> {
  const joint = jointOf(res)
  const broken = isPending(joint) ? await seal(res, joint) : undefined
  if (broken !== undefined) throw broken.error
}

/** Say when the response is over; at once, if it is. */
export function onEnd(res: ServerResponse, then: (end: ResponseEnd) => void): void {
  const joint = jointOf(res)
  if (res.closed) return then(endOf(res, joint))
  if (joint.ends.length === 0) res.once('close', closed)
  joint.ends = [...joint.ends, then]
}

function closed(this: ServerResponse): void {
  const joint = jointOf(this)
  const end = endOf(this, joint)
  for (const then of joint.ends) then(end)
}

function endOf(res: ServerResponse, joint: Joint): ResponseEnd {
  // A response that is held back has ended for node, but was not sent.
  return { status: res.statusCode, finished: res.writableFinished && joint.held === undefined }
}

/** See the whole response as it is at this place. */
export function onBody(
  res: ServerResponse,
  {
    limit,
    onHead: seen,
    onComplete: then,
    onError: thrown,
    onOverflow: over,
    evenIfAborted: gone = false,
    replace: instead,
  }: BodyCapture,
): Tap {
  const joint = patchBody(res)
  const { own } = joint.top
  const isOurs = res.writeHead === own.writeHead && res.write === own.write && res.end === own.end
  if (!isOurs) joint.top = addLayer(res, joint)
  const tap: Tap = {
    capture: new Capture(limit, over),
    then,
    seen,
    instead,
    before: cloneFields(res.getHeaders()),
    heads: joint.heads.length,
    head: undefined,
    gone,
    thrown,
    done: false,
  }
  joint.top.taps = [...joint.top.taps, tap]
  return tap
}

function addLayer(res: ServerResponse, joint: Joint): Layer {
  const layer: Layer = {
    own: {
      writeHead: (...args) => writeHead(res, joint, layer, args),
      write: (...args) => write(res, joint, layer, args),
      end: (...args) => end(res, joint, layer, args),
    },
    inner: { writeHead: res.writeHead, write: res.write, end: res.end },
    taps: [],
    ended: false,
    rehearsing: false,
  }
  Object.assign(res, layer.own)
  return layer
}

/** The fields that were set further inside than the place of `tap`. */
export function fieldsSince(res: ServerResponse, tap: Tap): HeaderFields {
  return setSince(res, jointOf(res), tap)
}

/** Set fields now; `Set-Cookie` and lists add to what is there. */
export function addFields(res: ServerResponse, headers: HeaderFields): void {
  for (const name in headers) {
    const value = headers[name] as string | string[]
    const field = name.toLowerCase()
    const present =
      typeof value === 'string' && !isListField(field) ? undefined : res.getHeader(name)
    const isFirst = present === undefined && typeof value === 'string'
    res.setHeader(name, isFirst ? value : mergeField(field, present, value))
  }
}

/** Has the client gone, or somebody else answered? */
export function isOver(res: ServerResponse): boolean {
  return res.destroyed || res.writableEnded
}

function writeHead(res: ServerResponse, joint: Joint, layer: Layer, args: unknown[]): unknown {
  const status = Number(args[0])
  // What node refuses, it refuses in its own words.
  if (res.headersSent || !(status >= 100 && status <= 999)) {
    return pass(layer, 'writeHead', res, args)
  }
  const line = args.length > 1 ? adopt(res, args) : args
  if (res.statusCode !== status) res.statusCode = status
  for (const tap of layer.taps) look(res, joint, tap)
  if (layer.rehearsing) return res
  if (layer === joint) {
    // A head that is not sent can still be taken back, should a seal fail.
    if ((isPending(joint) || isReplaceable(layer)) && !joint.going) return res
    for (let index = joint.heads.length - 1; index >= 0; index--) {
      addFields(res, (joint.heads[index] as () => HeaderFields)())
    }
  }
  return layer.inner.writeHead?.apply(res, line)
}

/** Put the fields that were given to `writeHead` where ours can join them. */
function adopt(res: ServerResponse, args: unknown[]): unknown[] {
  const { reason, fields } = parseWriteHeadArguments(args)
  for (const [name, value] of fields) res.setHeader(name, value)
  if (reason === undefined) return [args[0]]
  res.statusMessage = reason
  return [args[0], reason]
}

function write(res: ServerResponse, joint: Joint, layer: Layer, args: unknown[]): unknown {
  if (layer.ended) return pass(layer, 'write', res, args)
  for (const tap of layer.taps) if (!tap.done) tap.capture.add(args[0], args[1])
  if (layer !== joint) return pass(layer, 'write', res, args)
  const length = isPending(joint) ? Number(res.getHeader('content-length') ?? NaN) : NaN
  if (length >= 0 && isChunk(args[0])) return withhold(res, joint, length, args)
  joint.going = true
  return pass(joint, 'write', res, args)
}

/** Write, but keep the byte back that would show the client the end before `end` is called. */
function withhold(res: ServerResponse, joint: Joint, length: number, args: unknown[]): unknown {
  const bytes = bytesOf(args[0], args[1])
  const free = Math.max(length - 1 - joint.written, 0)
  joint.written += bytes.length
  if (bytes.length <= free) {
    joint.going = true
    return pass(joint, 'write', res, args)
  }
  joint.last = Buffer.concat([joint.last ?? Buffer.alloc(0), bytes.subarray(free)])
  const then = args.find((arg) => typeof arg === 'function') as (() => void) | undefined
  if (free > 0) {
    joint.going = true
    return pass(joint, 'write', res, [bytes.subarray(0, free), then])
  }
  if (then !== undefined) process.nextTick(then)
  return true
}

function flushHeaders(res: ServerResponse, joint: Joint): void {
  const isEmpty =
    isBodiless(res.req.method, res.statusCode) || Number(res.getHeader('content-length')) === 0
  // Where there is no body, the end of the head is the end of the response.
  if (isPending(joint) && isEmpty) return
  joint.going = true
  joint.flushHeaders?.call(res)
}

function end(res: ServerResponse, joint: Joint, layer: Layer, args: unknown[]): unknown {
  const [chunk, encoding] = typeof args[0] === 'function' ? [] : args
  const isNothing = chunk === undefined || chunk === null
  if (layer === joint && joint.held !== undefined && isNothing) {
    // node would call back at once: what is held back seems finished to it.
    const then = args.find((arg) => typeof arg === 'function') as (() => void) | undefined
    if (then !== undefined) res.once('finish', then)
    return res
  }
  // A second end is answered, and a chunk that is none refused, by node.
  if (layer.ended || !(isNothing || isChunk(chunk))) return pass(layer, 'end', res, args)
  for (const tap of layer.taps) if (!tap.done) tap.capture.add(chunk, encoding)
  if (!res.headersSent && isReplaceable(layer)) args = replace(res, layer, args)
  if (!isPending(joint)) {
    layer.ended = true
    joint.going = true
    const result = pass(layer, 'end', res, args)
    deliver(res, layer)
    return result
  }
  // A seal may need what a capture has seen, so captures cannot wait for the head.
  if (layer.taps.length > 0 && !res.headersSent) rehearse(res, layer)
  layer.ended = true
  deliver(res, layer)
  if (layer !== joint) return pass(layer, 'end', res, args)
  conclude(res, joint, args)
  return res
}

/** May somebody give another answer in the place of this one? */
function isReplaceable({ taps }: Layer): boolean {
  return taps.some(({ instead, done }) => instead !== undefined && !done)
}

/** Put another answer in the place of the one that is about to be sent, if somebody has one. */
function replace(res: ServerResponse, layer: Layer, args: unknown[]): unknown[] {
  rehearse(res, layer)
  for (const tap of layer.taps) {
    const sent = tap.done ? undefined : sentTo(res, tap)
    const reply = sent && tap.instead?.(sent)
    if (reply === undefined) continue
    const { status, headers = {}, body = '' } = reply
    withdraw(res)
    res.statusCode = status
    addFields(res, headers)
    const isEmpty = isBodiless(res.req.method, status)
    if (!isEmpty && !res.hasHeader('content-length')) {
      res.setHeader('Content-Length', Buffer.byteLength(body as Buffer))
    }
    const then = args.filter((arg) => typeof arg === 'function')
    return isEmpty ? then : [body, ...then]
  }
  return args
}

/** Have others' patches further inside set their fields: to them the head is being sent. */
function rehearse(res: ServerResponse, layer: Layer): void {
  layer.rehearsing = true
  try {
    res.writeHead(res.statusCode)
  } finally {
    layer.rehearsing = false
  }
}

function isChunk(chunk: unknown): boolean {
  return typeof chunk === 'string' || chunk instanceof Uint8Array
}
