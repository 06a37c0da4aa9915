/** The body of a request, seen without taking it away from later readers. */
import { IncomingMessage } from 'node:http'
import type { ServerHttp2Stream } from 'node:http2'
import { TurnpikeError } from '../errors.ts'

/** What can be seen of a body. */
export type PeekedBody =
  /** The bytes as they were sent; only the first ones if it is longer than the limit. */
  | { kind: 'raw'; bytes: Buffer; isWhole: boolean }
  /** The value that a body parser made of it. */
  | { kind: 'parsed'; value: unknown }
  /** It was read, and its reader left nothing on the request. */
  | { kind: 'unseen' }

const peeked = Symbol.for('turnpike.body@1')
type Peekable = IncomingMessage & { [peeked]?: Promise<PeekedBody> | PeekedBody }

/** What Koa and body parsers add. */
interface Native {
  req?: IncomingMessage & { body?: unknown }
  request?: { body?: unknown; rawBody?: unknown }
  body?: unknown
  rawBody?: unknown
}

/** Returns node's request behind Express's `req` or Koa's `ctx`. */
export const nodeRequestOf = (native: unknown): IncomingMessage =>
  ((native as Native).req ?? native) as IncomingMessage

/** Returns the stream of a request of HTTP/2; undefined for HTTP/1. */
const http2StreamOf = (req: IncomingMessage): ServerHttp2Stream | undefined =>
  req instanceof IncomingMessage ? undefined : (req as { stream?: ServerHttp2Stream }).stream

/**
 * Returns the body: its bytes if it was not read yet, otherwise what a body parser left. Later
 * readers find it as if it had not been read. It is a promise only if the bytes are still to come.
 *
 * @param limit bytes that are held at most
 * @throws TP_REQUEST_ABORTED if the client leaves before the body has arrived
 */
export function peekBody(native: unknown, limit: number): Promise<PeekedBody> | PeekedBody {
  const req = nodeRequestOf(native) as Peekable
  const known = req[peeked]
  // Bytes that were put back count as read for node. So the first result is kept for later callers.
  if (known === undefined) return (req[peeked] = look(req, native as Native, limit))
  if (known instanceof Promise)
    return known.then((body) => (isEnough(body, limit) ? body : peekBody(native, limit)))
  if (isEnough(known, limit)) return known
  return (req[peeked] = readAhead(req, limit))
}

/** Returns whether a body that was peeked at with another limit will do. */
const isEnough = (body: PeekedBody, limit: number): boolean =>
  body.kind !== 'raw' || body.isWhole || body.bytes.length >= limit

/** Returns whether the body can be seen at once, without reading ahead. */
export function isBodyAvailable(native: unknown): boolean {
  const req = nodeRequestOf(native) as Peekable
  if (req[peeked] !== undefined) return !(req[peeked] instanceof Promise)
  return isUnread(req) ? !hasBody(req) : leftOn(native as Native) !== undefined
}

const isUnread = (req: IncomingMessage): boolean =>
  !req.readableDidRead && req.readableFlowing !== true && !req.readableEnded

/** Returns what a body parser has left. Koa's `ctx.body` is the response. */
const leftOn = ({ req, request, body, rawBody }: Native): unknown =>
  rawBody ?? request?.rawBody ?? (req === undefined ? body : (request?.body ?? req.body))

function look(req: Peekable, native: Native, limit: number): Promise<PeekedBody> | PeekedBody {
  if (isUnread(req)) {
    if (!hasBody(req)) return EMPTY
    return readAhead(req, limit)
  }
  const value = leftOn(native)
  if (typeof value === 'string') return { kind: 'raw', bytes: Buffer.from(value), isWhole: true }
  if (value instanceof Uint8Array) return { kind: 'raw', bytes: Buffer.from(value), isWhole: true }
  return value === undefined ? { kind: 'unseen' } : { kind: 'parsed', value }
}

const EMPTY: PeekedBody = { kind: 'raw', bytes: Buffer.alloc(0), isWhole: true }

/** Returns whether the framing announces a body (RFC 9112, 6.3; RFC 9113, 8.1). */
export function hasBody(req: IncomingMessage): boolean {
  const stream = http2StreamOf(req)
  if (stream !== undefined) return !stream.endAfterHeaders
  const { headers } = req
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

/**
 * Returns the size of the body that a request declares, in bytes. 0 if it has no body, undefined if
 * the client does not say how large it is.
 */
export function declaredBodySize(native: unknown): number | undefined {
  const req = nodeRequestOf(native)
  if (!hasBody(req)) return 0
  const { 'content-length': length, 'transfer-encoding': coding } = req.headers
  return length === undefined || coding !== undefined ? undefined : Number(length)
}

/** Returns whether the last byte of the body has arrived and was read. */
function isReadWhole(req: IncomingMessage): boolean {
  const stream = http2StreamOf(req)
  return stream === undefined ? req.complete : stream.readableEnded && !req.aborted
}

/** Reads to the end or to the limit, and puts the bytes back before the stream can notice. */
function readAhead(req: Peekable, limit: number): Promise<PeekedBody> {
  const reading = new Promise<PeekedBody>((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    let isOver = false
    const events = [
      ['readable', read],
      ['aborted', fail],
      ['close', fail],
      ['error', fail],
    ] as const
    function read(): void {
      // Reading past the end of an empty body would emit `end` before a later reader listens.
      if (size === 0 && req.readableLength === 0 && isReadWhole(req)) return finish(true)
      // A string if another reader has set an encoding.
      let chunk: Buffer | string | null
      while ((chunk = req.read() as Buffer | string | null) !== null) {
        const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk
        chunks.push(bytes)
        size += bytes.length
        if (size > limit) return finish(false)
      }
      // A stream that has ended emits `end` in the next tick, but only if it is still empty then.
      if (isReadWhole(req)) finish(true)
    }
    function fail(): void {
      stop()
      reject(
        new TurnpikeError('TP_REQUEST_ABORTED', 'The client left before its request had arrived.', {
          status: 400,
        }),
      )
    }
    function stop(): void {
      isOver = true
      for (const [event, listener] of events) req.off(event, listener)
    }
    function finish(isWhole: boolean): void {
      stop()
      const bytes = Buffer.concat(chunks)
      if (size > 0) req.unshift(bytes)
      // Node discards a body that no handler read, when the response is sent. Our reading does not count:
      // otherwise the rest of the body would block the connection.
      if ('_consuming' in req) Reflect.set(req, '_consuming', false)
      resolve({ kind: 'raw', bytes: isWhole ? bytes : bytes.subarray(0, limit), isWhole })
    }
    // A short request arrives whole in this tick. Listening would then end an empty stream.
    process.nextTick(() => {
      if (req.destroyed) return fail()
      if (req.readableLength > 0 || isReadWhole(req)) read()
      if (isOver) return
      for (const [event, listener] of events) req.on(event, listener)
    })
  })
  // Later callers get the result without a promise.
  reading.then(
    (body) => (req[peeked] = body),
    () => {},
  )
  return reading
}

/**
 * Watches the upload of a request.
 * @returns a function that returns true if the client left before the whole request had arrived
 */
export function watchUpload(native: unknown): () => boolean {
  const req = nodeRequestOf(native) as Peekable
  const body = req[peeked]
  const isSeenWhole =
    body !== undefined && !(body instanceof Promise) && (body.kind !== 'raw' || body.isWhole)
  const stream = http2StreamOf(req)
  if (stream === undefined) {
    if (req.complete) return never
    // Requests that did not come over a socket (Lambda) may have no `complete`.
    return () =>
      (req.complete as boolean | undefined) === false && (req.destroyed || req.socket?.destroyed)
  }
  const isArrived =
    isSeenWhole ||
    stream.endAfterHeaders ||
    (stream.readableEnded && !req.aborted) ||
    stream.state.state === HALF_CLOSED_REMOTE
  if (isArrived) return never
  // Node ends the stream of a broken upload like any other, but emits `aborted` before.
  let isBroken = req.aborted
  req.once('aborted', () => (isBroken = !stream.readableEnded))
  return () => isBroken
}

/** State of a stream whose request has arrived: NGHTTP2_STREAM_STATE_HALF_CLOSED_REMOTE. */
const HALF_CLOSED_REMOTE = 6

const never = (): boolean => false
