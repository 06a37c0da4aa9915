/**
 * Why a request was passed by, or why its response was not stored. The codes stand in `detail` of
 * Cache-Status (RFC 9211, 2.8) and in `reason` of the event `cache`; docs/cache.md explains each.
 */
export const CACHE_REASONS = {
  // The request was passed by.
  'api-key': 'The request has an API key or another credential in a header field.',
  authorization: 'The request has an Authorization field.',
  body: 'The request is a GET with a body.',
  certificate: 'The client has shown a TLS certificate.',
  cookie: 'The request has a cookie that is not on the list of ignored cookies.',
  coding: 'The client cannot read the stored body, and it cannot be decoded.',
  host: 'The request has no Host field, two of them, or one that is not the host in plain form.',
  loop: 'The handler of a response has requested that response.',
  nested: 'An outer cache is filling the same entry for the same request.',
  precondition: 'The request has If-Match or If-Unmodified-Since.',
  scheme: 'X-Forwarded-Proto is neither http nor https.',
  session: 'The request has a session that holds data.',
  skip: '`skip` returned true.',
  target: 'The request target is not a plain path and query.',
  upgrade: 'The request asks for another protocol.',
  user: 'The request has a logged-in user.',
  // The response was not stored.
  aborted: 'The client left, or the body did not end as announced.',
  condition: 'The response is 304, for the copy that the client has.',
  'content-range': 'The response is a part of a body.',
  error: 'The handler failed.',
  freshness: 'The response does not say how long it is fresh, or is not fresh.',
  head: 'HEAD has no body to store.',
  'no-cache': 'Cache-Control of the response says no-cache.',
  'no-store': 'Cache-Control of the response says no-store.',
  nonce: 'Content-Security-Policy of the response has a nonce.',
  private: 'Cache-Control of the response says private.',
  range: 'The request asks for a range in another unit than bytes, or the response is that range.',
  'request-no-store': 'Cache-Control of the request says no-store.',
  scope: 'An inner cache has stored the response for one owner.',
  'set-cookie': 'The response sets a cookie.',
  size: 'The body is larger than `maxBodyBytes`.',
  status: 'The status is not stored.',
  store: 'Redis is unavailable.',
  stream: 'The response is a stream of events.',
  tags: 'The entry would have more than 1,000 tags.',
  vary: 'Vary of the response is `*`.',
} as const

/** One of the codes in docs/cache.md. */
export type CacheReason = keyof typeof CACHE_REASONS

/** Returns the member of Cache-Status for a response of the handler. */
export const forwardStatus = (forward: string, reason?: CacheReason): string =>
  `turnpike; fwd=${forward}${reason === undefined ? '' : `; detail=${reason}`}`
