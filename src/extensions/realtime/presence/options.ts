/** Options and results of `presence()`. */
import type { Duration } from '../../../duration.ts'
import type { UserId } from '../../../user-id.ts'

/** Options of `presence()`. */
export interface PresenceOptions<Native> {
  /** Returns the user of a request. Requests without one are not noted. @default `req.session.userId`, `req.user.id`, `ctx.state.user.id` */
  user?: (native: Native) => UserId | undefined | null
  /** Time after which a user who was not seen has left. At least `'3s'`, at most a day. @default '5m' */
  ttl?: Duration
  /** Most users who are online, of each tenant. Those that were seen longest ago make room. @default 100_000 */
  max?: number
}

/** Options of a call. */
export interface PresenceCallOptions {
  /** Tenant of the users. Required if the application has tenants. */
  tenant?: string
}

/** Options of `online()`. */
export interface OnlineOptions extends PresenceCallOptions {
  /** `next` of the page before. @default the first users */
  cursor?: string | undefined
  /** Most users of the page, from 1 to 1000. @default 100 */
  limit?: number
}

/** A page of users. */
export interface OnlinePage {
  /** Users, in the order of their names. */
  readonly users: readonly string[]
  /** Pass it as `cursor` for the next page. Undefined on the last page. */
  readonly next: string | undefined
}

/** A connection that keeps its user online. */
export interface PresenceConnection {
  /** Ends it. The user leaves `ttl` after the last note. A connection is noted every third of `ttl`. */
  close(): void
}

/** What a middleware of `presence()` offers besides. Methods reject with TP_UNAVAILABLE while Redis is away. */
export interface Presence {
  /** Topic of the messages `{ type: 'joined' | 'left', users }`, for `live.subscribe()` and `sse()`. */
  readonly topic: string
  /** Returns true if a user was noted within `ttl`. @throws TP_KEY, TP_UNAVAILABLE */
  isOnline(user: UserId, options?: PresenceCallOptions): Promise<boolean>
  /**
   * Returns users who are online. No user is missing or there twice who is online all the time.
   * @throws TP_KEY, TP_OPTION, TP_UNAVAILABLE
   */
  online(options?: OnlineOptions): Promise<OnlinePage>
  /** Returns the number of users who are online. @throws TP_KEY, TP_UNAVAILABLE */
  count(options?: PresenceCallOptions): Promise<number>
  /**
   * Keeps a user online as long as a connection lasts, for example a WebSocket. It ends with this
   * process, also if that is killed.
   * @throws TP_KEY; TP_LIMITED beyond 100,000 connections of this process
   */
  connection(user: UserId, options?: PresenceCallOptions): PresenceConnection
}
