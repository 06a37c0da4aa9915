/** Replies to refused requests. */
import { STATUS_CODES } from 'node:http'
import { TurnpikeError } from '../errors.ts'
import type { Exchange, HeaderFields, Reply } from './exchange.ts'
import { problemReply } from './problem.ts'
import { andThen } from './promises.ts'
import { refusalHeaders, type Refusal, type RefusalReply, type ReplyFunction } from './refusal.ts'

/** Returns the default reply: problem+json (RFC 9457), or plain text for a client that prefers it. */
export function defaultReply(x: Pick<Exchange, 'header'>, refusal: Refusal): Reply {
  const { status, title = STATUS_CODES[status] ?? 'Error', detail, type, members } = refusal
  const reply = problemReply(
    { ...(type !== undefined && { type }), title, status, detail, ...members },
    x,
  )
  return { ...reply, headers: { ...reply.headers, ...refusalHeaders(refusal) } }
}

/**
 * Returns the reply to a refused request. It is a promise only if the application's `reply` returns one.
 * @throws TP_VALUE if `reply` returns neither an object nor undefined
 */
export function refusalReply<Native>(
  x: Exchange<Native>,
  refusal: Refusal,
  reply: ReplyFunction<Native, any> | undefined,
): Reply | Promise<Reply> {
  const own = reply?.(x.native, refusal)
  if (own === undefined) return defaultReply(x, refusal)
  return andThen(own, (own) => merge(x, refusal, own))
}

/** Completes the application's reply with the refusal's status and header fields. */
function merge(x: Exchange, refusal: Refusal, own: RefusalReply | undefined): Reply {
  if (own === undefined) return defaultReply(x, refusal)
  if (typeof own !== 'object' || own === null)
    throw new TurnpikeError(
      'TP_VALUE',
      '`reply` must return { status, headers, body }, or undefined for the default reply.',
    )
  const { status = refusal.status, headers, body } = own
  const isEmpty = body === undefined || body === null || body === ''
  const isPlain = typeof body === 'string' || body instanceof Uint8Array
  const type = isPlain ? 'text/plain; charset=utf-8' : 'application/json; charset=utf-8'
  const defaults: HeaderFields = isEmpty ? {} : { 'Content-Type': type }
  return {
    status,
    headers: {
      ...defaults,
      'Cache-Control': 'no-store',
      ...refusalHeaders(refusal),
      ...headers,
    },
    body: isEmpty ? '' : isPlain ? bytesOrString(body) : JSON.stringify(body),
  }
}

const bytesOrString = (body: string | Uint8Array): string | Buffer =>
  typeof body === 'string' || Buffer.isBuffer(body) ? body : Buffer.from(body)
