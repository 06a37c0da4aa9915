/** The body of a request, seen without taking it away from those who come later. */
import type { IncomingMessage } from 'node:http'

/** What can be seen of a body. */
export type PeekedBody =
  /** The bytes as they were sent; the first ones only where it is longer than was asked for. */
  | { kind: 'raw'; bytes: Buffer; isWhole: boolean }
  /** What a body parser has made of it. */
  | { kind: 'parsed'; value: unknown }
  /** It was read, and nobody has left it on the request. */
  | { kind: 'unseen' }

const kept = Symbol.for('turnpike.body@1')
type Keeping = IncomingMessage & { [kept]?: Promise<PeekedBody> | PeekedBody }

/** What Koa and body parsers add. */
interface Native {
  req?: IncomingMessage
  request?: { body?: unknown; rawBody?: unknown }
  body?: unknown
  rawBody?: unknown
}

/** Node's own request behind Express's `req` or Koa's `ctx`. */
export const nodeRequestOf = (native: unknown): IncomingMessage =>
  ((native as Native).req ?? native) as IncomingMessage

/**
 * The body: as raw bytes where nobody has read it yet, and as the parser left it where one has.
 * Whoever comes later reads it as if nobody had.
 *
 * @param limit how many bytes are held at most
 * @returns at once where it is there already
 * @throws Error when the client goes away meanwhile
 */
export function peekBody(native: unknown, limit: number): Promise<PeekedBody> | PeekedBody {
  const req = nodeRequestOf(native) as Keeping
  // What was put back counts as read: remember it for the next one who asks.
  return (req[kept] ??= see(req, native as Native, limit))
}

/** Can the body be seen at once, without reading ahead? */
export function isBodyAvailable(native: unknown): boolean {
  const req = nodeRequestOf(native) as Keeping
  if (req[kept] !== undefined) return !(req[kept] instanceof Promise)
  if (isFresh(req) && req.httpVersionMajor < 2) return !hasBody(req)
  return !isFresh(req) && leftOn(native as Native) !== undefined
}

const isFresh = (req: IncomingMessage): boolean =>
  !req.readableDidRead && req.readableFlowing !== true && !req.readableEnded

/** What a body parser has left. */
const leftOn = ({ rawBody, body, request }: Native): unknown =>
  rawBody ?? request?.rawBody ?? body ?? request?.body

function see(
  req: IncomingMessage,
  native: Native,
  limit: number,
): Promise<PeekedBody> | PeekedBody {
  if (isFresh(req) && req.httpVersionMajor < 2) return hasBody(req) ? peek(req, limit) : NOTHING
  const value = leftOn(native)
  if (typeof value === 'string') return { kind: 'raw', bytes: Buffer.from(value), isWhole: true }
  if (value instanceof Uint8Array) return { kind: 'raw', bytes: Buffer.from(value), isWhole: true }
  return value === undefined ? { kind: 'unseen' } : { kind: 'parsed', value }
}

const NOTHING: PeekedBody = { kind: 'raw', bytes: Buffer.alloc(0), isWhole: true }

/** By the framing of HTTP/1.1 (RFC 9112, 6.3). */
const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0

/** Read to the end, or to the limit, and put it back before the stream can notice. */
function peek(req: IncomingMessage, limit: number): Promise<PeekedBody> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    const events = [
      ['readable', look],
      ['close', gone],
      ['error', gone],
    ] as const
    function look(): void {
      // Text, where somebody has set an encoding.
      let chunk: Buffer | string | null
      while ((chunk = req.read() as Buffer | string | null) !== null) {
        const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk
        chunks.push(bytes)
        size += bytes.length
        if (size > limit) return finish(false)
      }
      // A stream that has ended says so in the next tick only if it is still empty by then.
      if (req.complete) finish(true)
    }
    function gone(): void {
      leave()
      reject(new Error('The client went away before its request was there.'))
    }
    function leave(): void {
      for (const [event, listener] of events) req.off(event, listener)
    }
    function finish(isWhole: boolean): void {
      leave()
      const bytes = Buffer.concat(chunks)
      if (size > 0) req.unshift(bytes)
      resolve({ kind: 'raw', bytes: isWhole ? bytes : bytes.subarray(0, limit), isWhole })
    }
    if (req.destroyed) return gone()
    for (const [event, listener] of events) req.on(event, listener)
  })
}
