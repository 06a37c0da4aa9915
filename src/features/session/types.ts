/** Types of `req.session` and `ctx.session`. They need no package of sessions. */
import type { EventEmitter } from 'node:events'
import type { CookieData } from './session-cookie.ts'

declare global {
  /**
   * The data of your sessions. Declare it to type `req.session` and `ctx.session`.
   * @example
   * declare global {
   *   interface TurnpikeSessionData {
   *     userId: string
   *   }
   * }
   */
  interface TurnpikeSessionData {}
}

/** Is called when a method is done. Without a callback the method returns a promise. */
type Done = (error?: any) => void

/** `req.session.cookie`. */
export interface SessionCookieProperties extends Omit<CookieData, 'expires'> {
  /** The moment of expiry. False or null for a cookie that ends with the browser session. */
  expires?: Date | false | null | undefined
  /** Milliseconds left. Assign false to make it a cookie that ends with the browser session. */
  maxAge?: number | false | null | undefined
}

/** The members that every session has: those of express-session. */
export interface SessionMembers {
  /** The session's ID. */
  readonly id: string
  /** The settings of the session's cookie. */
  cookie: SessionCookieProperties
  /** Continues with a new, empty session under a new ID. To log in, use `tp.session.login()`. On Koa, without a callback, the data stays. */
  regenerate(callback?: Done): this | Promise<void>
  /** Removes the session from the store, and `req.session`. To log out, use `tp.session.logout()`. */
  destroy(callback?: Done): this | Promise<void>
  /** Replaces the data with what is stored now. */
  reload(callback?: Done): this | Promise<void>
  /** Stores the session now. At the end of the response a changed session is stored without it. */
  save(callback?: Done): this | Promise<void>
  /** Restarts the lifetime of the cookie. */
  touch(): this
  /** Restarts the lifetime of the cookie. */
  resetMaxAge(): this
}

/** The members that a session has on Koa: those of koa-session as well. */
export interface KoaSessionMembers extends SessionMembers {
  /** True if the request brought no session that is still valid. */
  readonly isNew: boolean
  /** Number of values in the session. */
  readonly length: number
  /** True if the session holds data. */
  readonly populated: boolean
  /** Lifetime of the cookie in ms, or `'session'`: it ends with the browser session. */
  maxAge: number | 'session'
  /** The session's ID. */
  readonly externalKey: string
  /** Stores the session now, if it has changed. */
  manuallyCommit(callback?: Done): this | Promise<void>
  /** Returns the data of the session, without its members. */
  toJSON(): object
}

/** `req.session`: its members, and the data that you declare as `TurnpikeSessionData`. */
export type RequestSessionData = SessionMembers & Partial<TurnpikeSessionData>

/** `ctx.session`: its members, and the data that you declare as `TurnpikeSessionData`. */
export type KoaSessionData = KoaSessionMembers & Partial<TurnpikeSessionData>

/** What `tp.session()` adds to a request of Express, Connect or node:http. */
export interface SessionProperties<Session = RequestSessionData> {
  /** The session. Assign properties to it to store them. */
  session: Session
  /** The session's ID. */
  sessionID: string
  /** The store that holds the session. */
  sessionStore: Pick<SessionStoreApi, 'get' | 'set' | 'destroy'>
  /** With `lazy: true`: loads the session, once. */
  getSession?: () => Promise<Session>
}

/** What `tp.session()` adds to Koa's `ctx`. */
export interface KoaSessionProperties extends SessionProperties<KoaSessionData> {}

/** What `tp.sessionStore()` returns: a `Store` for express-session. */
export interface SessionStoreApi extends EventEmitter {
  /** Calls back with the session, without one if it does not exist. */
  get(id: string, callback: (error: any, session?: any) => void): void
  /** Stores a session. */
  set(id: string, session: any, callback?: Done): void
  /** Renews a session's time to live. */
  touch(id: string, session: any, callback?: () => void): void
  /** Ends a session, by its ID or by a handle of `ids()`. */
  destroy(id: string, callback?: Done): void
  /** Replaces `req.session` with a new, empty session. */
  regenerate(req: any, callback: Done): any
  /** Calls back with a session object of express-session. */
  load(id: string, callback: (error: any, session?: any) => any): any
  /** Creates a session object of express-session from stored data. */
  createSession(req: any, session: any): any
  /** Returns all sessions. It reads every key of the sessions, in bounded steps: for administration. */
  all(callback: (error: any, sessions?: any) => void): void
  /** Returns the number of sessions. See `all`. */
  length(callback: (error: any, length?: number) => void): void
  /** Returns what `destroy` can be given. IDs are stored as hashes, so these are handles. See `all`. */
  ids(callback: (error: any, ids?: string[]) => void): void
  /** Ends all sessions. See `all`. */
  clear(callback?: Done): void
}
