/** Whether the response of one request is stored: what the request, the mount and the fields say. */
import type { FieldReader, Reply, RequestHead, SentResponse } from '../../http/exchange.ts'
import { senderReason } from './bypass.ts'
import type { CacheLookup } from './cache-lookup.ts'
import { isUnchanged } from './conditional.ts'
import { directivesOf } from './directives.ts'
import type { HandlerRequest } from './handler-request.ts'
import { dateOf, fieldOf, type Candidate } from './freshness.ts'
import { judgeResponse, type StorageRefusal, type StorageVerdict } from './policy.ts'
import type { CacheReason } from './reasons.ts'
import { notModified } from './reply.ts'

/** Returns the verdict that a response is not stored. */
export const refuseFill = (reason: CacheReason): StorageRefusal => ({ isStored: false, reason })

/** A response that goes on for as long as the client listens. */
const STREAM = /^\s*(?:text\/event-stream|multipart\/x-mixed-replace)\b/i

/** @param field reads the fields as they are sent, including those of outer middlewares */
export function judgeFill<Native>(
  { x, mount, owner, sender: knownSender, now }: CacheLookup<Native>,
  { seesConditions }: HandlerRequest,
  response: Candidate,
  field: FieldReader,
): StorageVerdict {
  const { isPublic, maxBodyBytes, policy } = mount
  if (directivesOf(x.header('cache-control')).has('no-store')) return refuseFill('request-no-store')
  if (seesConditions && response.status === 206) return refuseFill('range')
  if (seesConditions && response.status === 304) return refuseFill('condition')
  if (STREAM.test(fieldOf(response, 'content-type') ?? '')) return refuseFill('stream')
  if (Number(fieldOf(response, 'content-length') ?? 0) > maxBodyBytes) return refuseFill('size')
  // A session or a user may have come into being in the handler.
  const isOwned = isPublic || owner !== undefined
  const sender = isOwned ? undefined : (knownSender ?? senderReason(x, mount))
  const verdict = judgeResponse(response, policy, sender, now)
  if (isPublic || !verdict.isStored) return verdict
  if (field('set-cookie') !== undefined) return refuseFill('set-cookie')
  return hasNonce(field) ? refuseFill('nonce') : verdict
}

/** A nonce is for one response. In a stored page it would not match the field of the next. */
const hasNonce = (field: FieldReader): boolean =>
  ['content-security-policy', 'content-security-policy-report-only'].some((name) =>
    /'nonce-/i.test(field(name) ?? ''),
  )

/**
 * Returns the 304 that a framework would have sent, had the handler seen the client's conditions.
 * Undefined: it would have sent the whole response.
 */
export function notModifiedReply(
  sent: SentResponse,
  { headers }: Pick<RequestHead, 'headers'>,
): Reply | undefined {
  const etag = fieldOf(sent, 'etag')
  const lastModified = dateOf(fieldOf(sent, 'last-modified'))
  if (sent.status !== 200 || directivesOf(headers['cache-control']).has('no-cache'))
    return undefined
  const since = dateOf(headers['if-modified-since'])
  const isCurrent = isUnchanged(headers['if-none-match'], since, { etag, lastModified })
  return isCurrent ? notModified(sent.headers, {}) : undefined
}
