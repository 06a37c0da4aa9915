/** What `tp.session()` adds to express-session's types. */
import type { Session, SessionData } from 'express-session'

declare module 'express-session' {
  interface Session {
    /**
     * Log a user in: the session gets a new id (so that nobody else knows it), belongs to the user, and is found by
     * `tp.sessions`. Its data stays; `userId` and `data` are added. With `tp.session()` only.
     *
     * Rejects with TP_SESSION_LIMIT (409) beyond `maxPerUser` with `onOverflow: 'deny'`, and with TP_UNAVAILABLE (503)
     * when it could not be stored.
     */
    login(user: string | number, data?: object): Promise<void>
    /**
     * Log the user out: the session is gone from the store when this resolves, and the cookie is removed.
     * Rejects with TP_UNAVAILABLE (503) when that was not possible. With `tp.session()` only.
     */
    logout(): Promise<void>
    /** Without a callback: a promise. */
    save(): Promise<void>
    reload(): Promise<void>
    regenerate(): Promise<void>
    destroy(): Promise<void>
  }
}

/** `req.session`, `ctx.session`: declare your data as for express-session. */
export type AnySession = Session & Partial<SessionData>

/** The names that `tp.session()` puts on a request or context. */
export interface WithSession {
  session: AnySession
  sessionID: string
  /** With `lazy: true`: loads the session, once. */
  getSession?: () => Promise<AnySession>
}
