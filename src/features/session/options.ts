import type { Duration } from '../../duration.ts'
import type { CookieSettings } from './cookie.ts'
import type { Secret } from './id.ts'
import type { OnConflict } from './merge.ts'
import type { SessionSerializer } from './serializer.ts'

/** Settings of the session's cookie, by the names of express-session. */
export interface SessionCookieOptions extends Omit<CookieSettings, 'maxAge'> {
  /** How long the browser keeps it; it then is also how long the session lives unused. Default: until the browser is closed. */
  maxAge?: Duration | null
}

/** How sessions are kept: what `tp.session()` and `tp.sessionStore()` share. */
export interface SessionStorageOptions {
  /** How long a session lives after its last use, where its cookie has no `maxAge`. Default `'24h'`. */
  ttl?: Duration
  /** A use renews the time to live only when so much of it has passed. Default: a tenth of it. */
  touchAfter?: Duration
  /** A session ends so long after it began, or after its login, however much it is used. Default: never. */
  absoluteTimeout?: Duration
  /**
   * How data becomes text. `'json'`: dates become texts, and the rest is as JSON has it. `'rich'` keeps Date, Map, Set and
   * BigInt too. Default `'json'`.
   */
  serializer?: 'json' | 'rich' | SessionSerializer
  /** The largest a session's data may be, in bytes of its text; beyond it the save fails with TP_SESSION_SIZE. Default 65,536. */
  maxBytes?: number
  /**
   * Encrypt what is stored with AES-256-GCM. A list rotates: the first key encrypts, all decrypt. At least 32 characters
   * or bytes each, random. Values that were stored in the clear can still be read. Default: not encrypted.
   */
  encrypt?: Secret | readonly Secret[]
  /** What is done when two requests have changed one session at once. Default `'merge'`. */
  onConflict?: OnConflict
  /** What is done with a stored value that cannot be read: begin a new session, or fail with TP_SESSION_CORRUPT. Default `'new'`. */
  onCorrupt?: 'new' | 'error'
  /** Also read sessions that connect-redis wrote under this prefix, such as `'sess:'`; each is upgraded when it is next saved. */
  legacyPrefix?: string
  /**
   * `'connect-redis'` reads and writes connect-redis's own values under `legacyPrefix` (default `'sess:'`), for fleets in
   * which both run. Without index, encryption and absolute timeout. Default `'turnpike'`.
   */
  format?: 'turnpike' | 'connect-redis'
}

/** Options of `tp.session()`. Those of express-session mean what its README says. */
export interface SessionOptions<Native> extends SessionStorageOptions {
  /** Signs the cookie. A list rotates: the first signs, all verify, and what an older one signed is signed anew. */
  secret: Secret | readonly Secret[]
  /**
   * The cookie's name. Default: `'__Host-sid'` where the request came over HTTPS (and the cookie has no domain and no
   * other path than `/`), and `'sid'` elsewhere.
   */
  name?: string
  /**
   * The cookie's attributes, or a function of the request that gives them.
   * Default: HttpOnly, `path: '/'`, `sameSite: 'lax'`, and `secure: 'auto'`: Secure where the request came over HTTPS.
   */
  cookie?: SessionCookieOptions | ((native: Native) => SessionCookieOptions)
  /** Is the request secure where a proxy says so in X-Forwarded-Proto? Default: as the framework's own proxy setting says. */
  proxy?: boolean
  /** Send the cookie with every response, so that its `maxAge` begins anew. Default false. */
  rolling?: boolean
  /** Store sessions that were not changed. Default false (express-session: true, deprecated). */
  resave?: boolean
  /** Store new sessions that nothing was put into. Default false (express-session: true, deprecated). */
  saveUninitialized?: boolean
  /** What `req.session = null` means: nothing is saved, or the session is destroyed. Default `'keep'`. */
  unset?: 'keep' | 'destroy'
  /** Makes the ids of sessions that nobody is logged in to. Must be unguessable. Default: 240 random bits. */
  genid?: (native: Native) => string
  /** How many sessions a user may have at once. Default: any number. */
  maxPerUser?: number
  /** At a login beyond `maxPerUser`: end the session that would end first, or refuse the login with TP_SESSION_LIMIT. Default `'evict-oldest'`. */
  onOverflow?: 'evict-oldest' | 'deny'
  /** How long the id from before a login still works, without a user, for requests under way. Default `'10s'`. */
  grace?: Duration
  /** Load no session by itself: `await req.getSession()` (on Koa `ctx.getSession()`) does, and then `req.session` is there. Default false. */
  lazy?: boolean
  /** Requests for which it is true have no session. */
  skip?: (native: Native) => boolean | Promise<boolean>
  /**
   * What to do with a request whose session cannot be loaded because Redis is away: `'closed'` answers 503 with
   * Retry-After, `'open'` lets it pass with an empty session that is not saved. Default `'closed'`.
   */
  fail?: 'closed' | 'open'
}

/** What `tp.session.require()` goes by. */
export interface RequireOptions<Native> {
  /** Who is logged in. Default: `session.userId`, else `req.user` (passport) or `ctx.state.user`. */
  user?: (native: Native) => unknown
  /** What the user may do. Default: the list `session.permissions`, else `permissions` of the user. */
  permissions?: (
    native: Native,
  ) => readonly string[] | undefined | Promise<readonly string[] | undefined>
}
