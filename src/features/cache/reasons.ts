/**
 * Why a request was passed by, or why its response was not stored. The codes stand in `detail` of
 * Cache-Status (RFC 9211, 2.8) and in `reason` of the event `cache`; docs/cache.md explains each.
 */
export const CACHE_REASONS = {
  // The request was passed by.
  'api-key': 'The request has an API key.',
  authorization: 'The request has an Authorization field.',
  body: 'The request is a GET with a body.',
  coding: 'The client cannot read the stored body, and it cannot be decoded.',
  host: 'The request has no Host field, two of them, or a malformed one.',
  precondition: 'The request has If-Match or If-Unmodified-Since.',
  session: 'The request has a session that holds data.',
  skip: '`skip` returned true.',
  target: 'The request target is not a plain path and query.',
  user: 'The request has a logged-in user.',
  // The response was not stored.
  aborted: 'The client left, or the body did not end as announced.',
  'content-range': 'The response is a part of a body.',
  error: 'The handler failed.',
  freshness: 'The response does not say how long it is fresh, or is not fresh.',
  head: 'HEAD has no body to store.',
  'no-cache': 'Cache-Control of the response says no-cache.',
  'no-store': 'Cache-Control of the response says no-store.',
  private: 'Cache-Control of the response says private.',
  'request-no-store': 'Cache-Control of the request says no-store.',
  'set-cookie': 'The response sets a cookie.',
  size: 'The body is larger than `maxBodyBytes`.',
  status: 'The status is not stored.',
  store: 'Redis is unavailable.',
  tags: 'The response has more than 1,000 tags.',
  vary: 'Vary of the response is `*`.',
} as const

/** One of the codes in docs/cache.md. */
export type CacheReason = keyof typeof CACHE_REASONS

/** Returns the member of Cache-Status for a response of the handler. */
export const forwardStatus = (forward: string, reason?: CacheReason): string =>
  `turnpike; fwd=${forward}${reason === undefined ? '' : `; detail=${reason}`}`
