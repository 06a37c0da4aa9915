/** What refusals tell clients about keys (draft-ietf-httpapi-idempotency-key-header-07, 2.7). */
import type { HeaderFields } from '../../http/exchange.ts'
import { unavailableRefusal } from '../../http/refusal.ts'
import type { IdempotencyRefusal } from './options.ts'

export interface IdempotencyRefusals {
  missing(): IdempotencyRefusal
  malformed(why: string): IdempotencyRefusal
  ambiguousHost(): IdempotencyRefusal
  mismatch(): IdempotencyRefusal
  running(retryAfterMs: number): IdempotencyRefusal
  notStored(status: number): IdempotencyRefusal
  interrupted(): IdempotencyRefusal
  unavailable(): IdempotencyRefusal
}

/**
 * Creates the refusals of a mount.
 * @param field name of the header field; undefined if a function of the application returns the key
 * @param docsUrl becomes `type` and a Link
 */
export function createRefusals(
  field: string | undefined,
  docsUrl: string | undefined,
): IdempotencyRefusals {
  const name = field ?? 'The idempotency key'
  const where = field === undefined ? 'the idempotency key' : `the header field ${field}`
  const headers: HeaderFields =
    docsUrl === undefined ? {} : { Link: `<${docsUrl}>; rel="describedby"` }
  const refusal = (
    reason: IdempotencyRefusal['reason'],
    code: IdempotencyRefusal['code'],
    rest: Pick<IdempotencyRefusal, 'status' | 'title' | 'detail' | 'members' | 'retryAfterMs'>,
  ): IdempotencyRefusal => ({ reason, code, type: docsUrl, headers, ...rest })
  const KEY = 'TP_IDEMPOTENCY_KEY'
  const CONFLICT = 'TP_IDEMPOTENCY_CONFLICT'
  return {
    missing: () =>
      refusal('missing', KEY, {
        status: 400,
        title: `${name} is missing`,
        detail: `This request needs ${where}: a string that no other request of yours has.`,
      }),
    malformed: (why) =>
      refusal('malformed', KEY, {
        status: 400,
        title: `${name} is malformed`,
        detail: `The request's key (${where}) cannot be used: ${why}.`,
      }),
    ambiguousHost: () =>
      refusal('malformed', KEY, {
        status: 400,
        title: 'The host is ambiguous',
        detail:
          'A key is for one host. This request names several hosts, or one that is malformed (RFC 9112, 3.2).',
      }),
    mismatch: () =>
      refusal('mismatch', CONFLICT, {
        status: 422,
        title: `${name} is already used`,
        detail:
          'This key was used for a request with other content. Use a new key for each request.',
      }),
    running: (retryAfterMs) =>
      refusal('running', CONFLICT, {
        status: 409,
        title: `A request is outstanding for this ${field ?? 'idempotency key'}`,
        detail:
          'The first request with this key is still running. Repeat this one for its response.',
        retryAfterMs,
      }),
    notStored: (status) =>
      refusal('not-stored', CONFLICT, {
        status: 409,
        title: 'The response was not stored',
        detail: `This request was carried out with status ${status}, but its response was not stored. Do not repeat it under another key. Ask for its result.`,
        members: { 'response-status': status },
      }),
    interrupted: () =>
      refusal('interrupted', CONFLICT, {
        status: 409,
        title: 'The request was interrupted',
        detail:
          'An earlier attempt at this request did not end, and its effect is unknown. Find out before you repeat it under another key.',
      }),
    unavailable: () => ({
      ...unavailableRefusal(
        'The key could not be checked, so nothing was done. Repeat the request with the same key.',
      ),
      reason: 'unavailable',
      type: docsUrl,
      headers,
    }),
  }
}
