/** API keys, one-time tokens and refresh tokens, over an instance of any framework. */
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
