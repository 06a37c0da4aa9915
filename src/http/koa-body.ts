/** Sees `ctx.body` at one place of Koa's stack. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable, Transform, pipeline } from 'node:stream'
import type { ReadableStream as WebStream } from 'node:stream/web'
import type { BodyCollector, BodyTap } from './body-tap.ts'
import type { SentResponse } from './exchange.ts'
import { isBodiless } from './headers.ts'
import { stateOf } from './response.ts'

/** The part of Koa's context that is needed here. */
export interface BodyContext {
  readonly app: object
  readonly method: string
  readonly status: number
  readonly message: string
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly response: object
  body: unknown
}

/** Koa's own mark of a body that was set to null, and not merely left out. */
const explicitNull = '_explicitNullBody'

/** Returns whether a body is still to be produced after all middlewares have returned. */
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
 * Captures `ctx.body` as it is at this place: outer middlewares (compression, for example) have yet
 * to change it. A stream is copied while Koa sends it.
 */
export async function captureBody(
  ctx: BodyContext,
  tap: BodyTap,
): Promise<SentResponse | undefined> {
  const { app, body, message, method, res, response, status } = ctx
  const head = tap.head(res, stateOf(ctx.req, res).lateHeaders)
  const { headers } = head
  const length = res.getHeader('content-length')
  const { capture, collector } = tap
  tap.isDone = true
  const deliver = (body = collector.body(length)): SentResponse | undefined => {
    const sent = body && { status, headers, body }
    if (sent !== undefined) capture.onComplete(sent)
    return sent
  }
  // Without a body, Koa answers with the status.
  const isUnanswered = (body === undefined || body === null) && !(explicitNull in response)
  if (isUnanswered && !isBodiless(method, status))
    headers['content-type'] = 'text/plain; charset=utf-8'
  capture.onHead?.({ ...head, status })
  if (isBodiless(method, status)) return deliver(Buffer.alloc(0))
  if (isStream(body)) {
    copy(ctx, body, collector, deliver)
    return undefined
  }
  if (isWeb(body)) {
    // Koa 2 knows no web streams. `compose` came with the same version as they did.
    if (!('compose' in app) || (body instanceof Blob && body.size > collector.limit))
      return undefined
    const source = body instanceof Response ? body.body : body
    if (source instanceof ReadableStream) {
      copy(ctx, Readable.fromWeb(source), collector, deliver)
      return undefined
    }
    if (source instanceof Blob) collector.add(new Uint8Array(await source.arrayBuffer()))
  } else if (body !== undefined && body !== null) {
    const bytes = typeof body === 'string' || Buffer.isBuffer(body) ? body : json(body)
    if (bytes === undefined) return undefined
    collector.add(bytes)
  } else if (isUnanswered) {
    collector.add(message || String(status))
  }
  return deliver()
}

/** Koa serializes a body again when it sends it, and then also reports why it cannot. */
function json(body: unknown): string | undefined {
  try {
    return JSON.stringify(body)
  } catch {
    return undefined
  }
}

/** Replaces a body by a stream that copies it, and keeps the fields that Koa resets. */
function copy(
  ctx: BodyContext,
  source: Readable,
  collector: BodyCollector,
  deliver: () => unknown,
): void {
  const kept = ['Content-Type', 'Content-Length'].map(
    (name) => [name, ctx.res.getHeader(name)] as const,
  )
  // Else Koa removes Content-Length, and node remembers: it would send an empty body in chunks.
  Object.assign(ctx.response, { _body: undefined })
  ctx.body = new Transform({
    transform(chunk, encoding, done) {
      collector.add(chunk, encoding)
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
