import type { Duration } from '../../../duration.ts'
import type { UserId } from '../../../user-id.ts'

/** Options of `refreshTokens()`. All have defaults. */
export interface RefreshTokenOptions {
  /** How long a token may be exchanged. Each exchange restarts it. @default '7d' */
  ttl?: Duration
  /**
   * Time within which a used token is exchanged for the same successor again: two tabs at once, or
   * an answer that was lost. `0`: never.
   * @default '10s'
   */
  grace?: Duration
  /** How long a family lives at most, however often its tokens are exchanged. @default '30d', or `ttl` if that is longer */
  absoluteTimeout?: Duration
  /** Most families of a user: devices that are logged in. The one longest unused makes room. @default 100 */
  maxPerUser?: number
  /** What tokens begin with: `refresh_…`. Secret scanners look for it. @default 'refresh' */
  prefix?: string
  /** Sets these tokens apart from others of the application. @default 'default' */
  name?: string
}

/** The tenant of a call. */
export interface OfTenant {
  /** Tenant of the user. Required if the application has tenants. */
  tenant?: string
}

/** Options of `issue()` and `rotate()`. */
export interface RefreshDataOptions extends OfTenant {
  /**
   * What `list()` shows of the family and `rotate()` returns, for example `{ userAgent, ip }`: up to
   * 1 KB as JSON. It is stored in Redis as it is.
   * @default null; for `rotate()`, what was stored before
   */
  data?: unknown
}

/** A token that was issued. */
export interface RefreshToken {
  /** The token. Keep it where scripts of the page cannot read it: in an HttpOnly cookie. */
  readonly token: string
  /** Names the family in `list()`, `revokeFamily()` and events. No token can be made from it. */
  readonly family: string
  /** The user's ID, as a string. */
  readonly user: string
  /** What was bound to the family. */
  readonly data: unknown
  /** When the token ends, in ms from now. */
  readonly expiresInMs: number
}

/** A family: the tokens that follow each other since one login. */
export interface RefreshFamily {
  /** Names the family in `revokeFamily()` and events. */
  readonly family: string
  /** When the user logged in. */
  readonly created: Date
  /** When its token was last exchanged. */
  readonly lastUsed: Date
  /** When it ends if it is not used again. */
  readonly expires: Date
  /** The data of `issue()`, or of the last `rotate()` that had data. */
  readonly data: unknown
}

/** Refresh tokens: each is exchanged once, for an access token and its own successor (RFC 9700, 4.14). */
export interface RefreshTokens {
  /**
   * Begins a family, at login.
   * @throws TP_KEY if `user` is empty or unusable
   * @throws TP_VALUE if `data` cannot be stored
   * @throws TP_UNAVAILABLE if the store cannot answer
   */
  issue(user: UserId, options?: RefreshDataOptions): Promise<RefreshToken>
  /**
   * Exchanges a token for its successor.
   *
   * @param token what the client sent, of any type
   * @throws TP_TOKEN_INVALID (401) for anything that is no token, or has expired or was revoked
   * @throws TP_TOKEN_REUSED (401) if the token was used before and its grace is over. Another party
   * may have it. Its family has ended, and all clients with a token of it must log in again.
   * @throws TP_UNAVAILABLE (503) if the store cannot answer. The token may still be good.
   */
  rotate(token: unknown, options?: RefreshDataOptions): Promise<RefreshToken>
  /**
   * Ends the family of a token, at logout. Any token of the family will do, also a used one.
   * @returns true if it was alive
   * @throws TP_UNAVAILABLE if the store cannot answer. Do not report a logout then.
   */
  revoke(token: unknown, options?: OfTenant): Promise<boolean>
  /** Ends one family that `list()` showed. @returns true if it was alive @throws TP_UNAVAILABLE */
  revokeFamily(user: UserId, family: string, options?: OfTenant): Promise<boolean>
  /**
   * Ends all families of a user, for example after a change of password.
   * @param options `except`: a family that may live on
   * @returns how many were alive
   * @throws TP_UNAVAILABLE
   */
  revokeUser(user: UserId, options?: OfTenant & { except?: string }): Promise<number>
  /** Lists the families of a user, the last used first. @throws TP_UNAVAILABLE */
  list(user: UserId, options?: OfTenant): Promise<RefreshFamily[]>
}
