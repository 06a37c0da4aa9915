/** API keys, one-time tokens and refresh tokens: what `turnpike/tokens` offers. */
import { extension, type ExtensionContext, type Instance } from '../../extension.ts'
import { createApiKeys } from './api-keys/index.ts'
import type { ApiKeyOptions, ApiKeys } from './api-keys/options.ts'
import { createOneTimeTokens } from './one-time/index.ts'
import type { OneTimeTokenOptions, OneTimeTokens } from './one-time/options.ts'
import { createRefreshTokens } from './refresh/index.ts'
import type { RefreshTokenOptions, RefreshTokens } from './refresh/options.ts'

/** What all kinds of tokens of one instance share. */
interface Tokens<Native, Middleware> {
  readonly context: ExtensionContext<Native, Middleware>
  /** Lookups of API keys by the name of their mount. */
  readonly lookups: Map<string, unknown>
}

const tokensOf = <Native, Middleware>(
  tp: Instance<Native, Middleware>,
): Tokens<Native, Middleware> =>
  extension(tp, 'tokens', (context) => ({ context, lookups: new Map() }))

/**
 * Creates a middleware that lets requests with a valid API key pass. They find its record in
 * `req.apiKey` (Koa: `ctx.state.apiKey`), typed in `keys.of(req)`. Redis and each process remember
 * what your database knows of a key. Refusals: 401, 429 for an address that tries made-up keys.
 *
 * @param tp the instance that `turnpike()` returned
 * @throws TP_OPTION for an option that cannot be used
 * @see docs/tokens.md
 * @example
 * const keys = apiKeys(tp, { lookup: (digest) => db.apiKeys.findByDigest(digest) })
 * app.use('/api', keys, tp.rateLimit({ key: keys.subject, limit: keys.limit(60), window: '1m' }))
 * app.post('/api/orders', keys.require('orders:write'), createOrder)
 */
export function apiKeys<Native, Middleware extends object, Known extends object>(
  tp: Instance<Native, Middleware>,
  options: ApiKeyOptions<Native, Known>,
): Middleware & ApiKeys<Native, Middleware, Known> {
  const { context, lookups } = tokensOf(tp)
  return createApiKeys(context, options, lookups)
}

/**
 * Creates tokens that can be used once: codes to verify an e-mail address, links to reset a
 * password, second factors. Redis stores digests only.
 *
 * @param tp the instance that `turnpike()` returned
 * @throws TP_OPTION for an option that cannot be used
 * @see docs/tokens.md
 * @example
 * const verify = oneTimeTokens(tp, { purpose: 'verify-email', format: 'digits:6', pepper })
 * const issued = await verify.issue(user.email)
 * if (issued.sent) await mailer.send(user.email, issued.code)
 * await verify.consume(user.email, req.body.code)      // throws unless it is right
 */
export function oneTimeTokens<Native, Middleware>(
  tp: Instance<Native, Middleware>,
  options: OneTimeTokenOptions,
): OneTimeTokens<Native, Middleware> {
  return createOneTimeTokens(tokensOf(tp).context, options)
}

/**
 * Creates refresh tokens: each is exchanged once, and one that is used again ends its family
 * (RFC 9700, 4.14.2).
 *
 * @param tp the instance that `turnpike()` returned
 * @throws TP_OPTION for an option that cannot be used
 * @see docs/tokens.md
 * @example
 * const refresh = refreshTokens(tp, { ttl: '7d', grace: '10s' })
 * const { token } = await refresh.issue(user.id, { data: { userAgent } })
 * const next = await refresh.rotate(token)             // next.token, next.user
 */
export function refreshTokens<Native, Middleware>(
  tp: Instance<Native, Middleware>,
  options?: RefreshTokenOptions,
): RefreshTokens {
  return createRefreshTokens(tokensOf(tp).context, options)
}
