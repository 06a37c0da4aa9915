import type { ServerResponse } from 'node:http'
import { Readable, Transform, pipeline } from 'node:stream'
import type { ReadableStream as WebStream } from 'node:stream/web'
import type { Capture } from './capture.ts'
import type { SentResponse } from './exchange.ts'
import { isBodiless } from './headers.ts'
import type { Tap } from './joint.ts'
import { fieldsSince } from './response.ts'

/** What is needed of Koa's context here. */
export interface BodyContext {
  readonly app: object
  readonly method: string
  readonly status: number
  readonly message: string
  readonly res: ServerResponse
  readonly response: object
  body: unknown
}

/** Koa's own mark of a body that was set to null, and not merely left out. */
const explicitNull = '_explicitNullBody'

/** Is this body still to be produced when the onion is left behind? */
export function isStreaming(body: unknown): boolean {
  return isStream(body) || isWeb(body)
}

function isStream(body: unknown): body is Readable {
  return typeof (body as Readable | null | undefined)?.pipe === 'function'
}

function isWeb(body: unknown): body is WebStream | Blob | Response {
  return body instanceof ReadableStream || body instanceof Blob || body instanceof Response
}

/**
 * Show `ctx.body` as it is at this place of the onion: middleware further out (compression, say) has
 * yet to change it. A stream is copied while Koa sends it.
 */
export async function capture(ctx: BodyContext, tap: Tap): Promise<SentResponse | undefined> {
  const { app, body, message, method, res, response, status } = ctx
  const headers = fieldsSince(res, tap)
  const length = res.getHeader('content-length')
  tap.done = true
  const deliver = (body = tap.capture.body(length)): SentResponse | undefined => {
    const sent = body && { status, headers, body }
    if (sent !== undefined) tap.then(sent)
    return sent
  }
  // Nobody has answered, so Koa will.
  const isNobodys = (body === undefined || body === null) && !(explicitNull in response)
  if (isNobodys && !isBodiless(method, status))
    headers['content-type'] = 'text/plain; charset=utf-8'
  tap.seen?.({ status, headers })
  if (isBodiless(method, status)) return deliver(Buffer.alloc(0))
  if (isStream(body)) {
    copy(ctx, body, tap.capture, deliver)
    return undefined
  }
  if (isWeb(body)) {
    // Koa 2 knows no web streams; `compose` came with the same version as they did.
    if (!('compose' in app) || (body instanceof Blob && body.size > tap.capture.limit))
      return undefined
    const source = body instanceof Response ? body.body : body
    if (source instanceof ReadableStream) {
      copy(ctx, Readable.fromWeb(source), tap.capture, deliver)
      return undefined
    }
    if (source instanceof Blob) tap.capture.add(new Uint8Array(await source.arrayBuffer()))
  } else if (body !== undefined && body !== null) {
    const bytes = typeof body === 'string' || Buffer.isBuffer(body) ? body : json(body)
    if (bytes === undefined) return undefined
    tap.capture.add(bytes)
  } else if (isNobodys) {
    tap.capture.add(message || String(status))
  }
  return deliver()
}

/** Koa stringifies a body again when it sends it, and then also reports why it cannot. */
function json(body: unknown): string | undefined {
  try {
    return JSON.stringify(body)
  } catch {
    return undefined
  }
}

/** Put a copying stream in the place of a body, with the fields that Koa forgets at that. */
function copy(ctx: BodyContext, source: Readable, capture: Capture, deliver: () => unknown): void {
  const kept = ['content-type', 'content-length'].map(
    (name) => [name, ctx.res.getHeader(name)] as const,
  )
  ctx.body = new Transform({
    transform(chunk, encoding, done) {
      capture.add(chunk, encoding)
      done(null, chunk)
    },
    flush(done) {
      deliver()
      done()
    },
  })
  for (const [name, value] of kept) if (value !== undefined) ctx.res.setHeader(name, value)
  // Koa watches the copy, and the copy breaks with its source.
  pipeline(source, ctx.body as Transform, () => {})
}
