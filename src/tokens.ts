/** API keys, one-time tokens and refresh tokens, over an instance of any framework. */
import type { OneTimeToken } from './extensions/tokens/one-time/options.ts'

/** What middlewares of turnpike/tokens add to a request. */
export interface TokenRequestProperties {
  /** With `apiKeys()`: the record of the request's key. `keys.of(req)` has its type. */
  apiKey?: any
  /** With `guard()` of one-time tokens: the token that was used. */
  oneTimeToken?: OneTimeToken
}

declare global {
  namespace Express {
    // Inherited, so that an application may declare a property of the same name more narrowly.
    interface Request extends TokenRequestProperties {}
  }
}

export { apiKeys, oneTimeTokens, refreshTokens } from './extensions/tokens/index.ts'
export type {
  ApiKeyCallOptions,
  ApiKeyOptions,
  ApiKeys,
  JsonOf,
  LookupContext,
} from './extensions/tokens/api-keys/options.ts'
export type { OneTimeFormat } from './extensions/tokens/code-format.ts'
export type {
  IssuedToken,
  IssueOptions,
  OneTimeCallOptions,
  OneTimeToken,
  OneTimeTokenOptions,
  OneTimeTokens,
  TokenGuardOptions,
} from './extensions/tokens/one-time/options.ts'
export type {
  OfTenant,
  RefreshDataOptions,
  RefreshFamily,
  RefreshToken,
  RefreshTokenOptions,
  RefreshTokens,
} from './extensions/tokens/refresh/options.ts'
