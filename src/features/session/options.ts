/** Options of `tp.session()`, `tp.sessionStore()` and `tp.session.require()`. */
import type { Duration } from '../../duration.ts'
import type { ReplyFunction } from '../../http/refusal.ts'
import type { UserId } from '../../user-id.ts'
import type { OnConflict } from './merge.ts'
import type { SessionSerializer } from './serializer.ts'
import type { CookieSettings } from './session-cookie.ts'
import type { Secret } from './session-id.ts'

/** Attributes of the session's cookie, by the names of express-session. */
export interface SessionCookieOptions extends Omit<CookieSettings, 'maxAge'> {
  /**
   * Lifetime of the cookie in the browser, and of an unused session.
   * A Date is the moment of expiry. False or null: the cookie ends with the browser session, and the session after `ttl`.
   * @default null
   */
  maxAge?: Duration | Date | false | null
}

/** How sessions are stored. `tp.session()` and `tp.sessionStore()` share these options. */
export interface SessionStorageOptions {
  /**
   * Lifetime of an unused session whose cookie has no `maxAge`.
   * @default '24h'
   */
  ttl?: Duration
  /**
   * Age of the last renewal after which a request renews the session's time to live.
   * @default a tenth of the time to live; `0` for `tp.sessionStore()`
   */
  touchAfter?: Duration
  /**
   * Lifetime of a session since it began, or since the login, however much it is used.
   * @default unlimited
   */
  absoluteTimeout?: Duration
  /**
   * Serializer of the data. `'json'` is plain JSON: a Date becomes a string. `'rich'` also preserves
   * Date, Map, Set and BigInt.
   * @default 'json'
   */
  serializer?: 'json' | 'rich' | SessionSerializer
  /**
   * Maximum size of the serialized data in bytes. A larger session is not saved (TP_SESSION_SIZE).
   * @default 65,536
   */
  maxBytes?: number
  /**
   * Key for AES-256-GCM, at least 32 random characters or bytes. Of a list the first key encrypts,
   * and all decrypt. A stored session that is not encrypted is refused, unless `plaintext` allows it.
   * @default not encrypted
   */
  encrypt?: Secret | readonly Secret[]
  /**
   * Treatment of plaintext while `encrypt` is set, for deploys that switch encryption on or off.
   * `'read'`: plaintext is read, and new sessions are encrypted. `'write'`: both are read, and new
   * sessions are plaintext. An existing session keeps its form, unless `rewrite` is set.
   * @default 'refuse'
   */
  plaintext?: 'refuse' | 'read' | 'write'
  /**
   * Resolution of a conflict between two requests that have changed one session.
   * @default 'merge'
   */
  onConflict?: OnConflict
  /**
   * Reaction to a stored value that cannot be read: a new session, or the error TP_SESSION_CORRUPT.
   * @default 'new'
   */
  onCorrupt?: 'new' | 'error'
  /**
   * Key prefix of sessions that connect-redis wrote, usually `'sess:'`. They are read too. A session
   * keeps that form, so that connect-redis can still read it, unless `rewrite` is set.
   * @default none
   */
  legacyPrefix?: string
  /**
   * Form of new sessions. `'connect-redis'` stores them as connect-redis does, under `legacyPrefix`
   * (default `'sess:'`), for servers that run side by side with connect-redis. In this form there is
   * no user index, encryption or absolute timeout. Sessions of turnpike's form are read, too.
   * @default 'turnpike'
   */
  format?: 'turnpike' | 'connect-redis'
  /**
   * Stores each session in the form of new sessions when it is next used. Set it when every server can
   * read that form. Without it a session keeps the form in which it was found.
   * @default false
   */
  rewrite?: boolean
}

/** Options of `tp.session()`. Those that express-session has mean what its README says. */
export interface SessionOptions<Native> extends SessionStorageOptions {
  /**
   * Secret that signs the cookie. Of a list the first secret signs, and all verify. A cookie that an
   * older secret signed is signed again.
   */
  secret: Secret | readonly Secret[]
  /**
   * Name of the cookie. Of a list the first is sent, and all are read. The signature covers the name,
   * so two mounts of one secret do not accept each other's cookies.
   * @default '__Host-sid' over HTTPS if the cookie has no domain and the path '/', otherwise 'sid'
   */
  name?: string | readonly string[]
  /**
   * Way of the session's ID. `'cookie'`, or a header field for API clients that keep no cookies: the
   * client sends back the value that it received in that field. An empty value means that the session
   * has ended.
   * @default 'cookie'
   * @example
   * tp.session({ secret, transport: { header: 'x-session' } })
   */
  transport?: 'cookie' | { header: string }
  /**
   * Treatment of signatures of express-session's form, which do not cover the cookie's name. `'read'`:
   * they are accepted. `'write'`: new cookies are signed so, and both forms are accepted.
   * @default 'write' with format 'connect-redis', 'read' with legacyPrefix, otherwise 'refuse'
   */
  legacySignature?: 'refuse' | 'read' | 'write'
  /**
   * Returns the ID of the user whom the application has logged in itself, for example with passport.
   * `tp.sessions` and `maxPerUser` then know the session. With `tp.session.login()` it is not needed.
   * @default none
   * @example
   * tp.session({ secret, user: (req) => req.user?.id })
   */
  user?: (native: Native) => UserId | false | null | undefined
  /**
   * Attributes of the cookie, or a function of the request that returns them.
   * @default { httpOnly: true, path: '/', sameSite: 'lax', secure: 'auto' }
   */
  cookie?: SessionCookieOptions | ((native: Native) => SessionCookieOptions)
  /**
   * Whether X-Forwarded-Proto decides if a request is secure.
   * @default the framework's own proxy setting decides
   */
  proxy?: boolean
  /**
   * Sends the cookie with every response, so that its `maxAge` starts again.
   * @default false
   */
  rolling?: boolean
  /**
   * Stores sessions that did not change.
   * @default false (express-session: true, deprecated)
   */
  resave?: boolean
  /**
   * Stores new sessions that hold no data.
   * @default false (express-session: true, deprecated)
   */
  saveUninitialized?: boolean
  /**
   * Meaning of `req.session = null`: `'keep'` saves nothing, `'destroy'` destroys the session.
   * @default 'keep', on Koa 'destroy' as in koa-session
   */
  unset?: 'keep' | 'destroy'
  /**
   * Generator of IDs for anonymous sessions. They must be unguessable.
   * @default 240 random bits
   */
  genid?: (native: Native) => string
  /**
   * Maximum number of sessions of one user.
   * @default unlimited
   */
  maxPerUser?: number
  /**
   * Reaction to a login beyond `maxPerUser`: the user's session that expires first ends, or the login
   * is refused (TP_SESSION_LIMIT).
   * @default 'evict-oldest'
   */
  onOverflow?: 'evict-oldest' | 'deny'
  /**
   * Time for which the ID from before a login remains valid, without a user, for requests in progress.
   * @default '10s'
   */
  grace?: Duration
  /**
   * Whether the session is loaded only when something asks for it: `await req.getSession()` (on Koa
   * `ctx.getSession()`), a login, or `tp.session.require()`.
   * @default false
   */
  lazy?: boolean
  /**
   * Time for which this process reads a session that it has loaded without asking Redis, at most `'1m'`.
   * Changes by other processes are published and arrive at once. `maxBytes` bounds the copies.
   *
   * This is a security decision. While messages of Redis are lost, a session that was ended elsewhere
   * is accepted for this time at most. Saves still compare with what is stored, and lose nothing.
   * @default off; `maxBytes`: 33,554,432
   * @example
   * tp.session({ secret, near: '2s' })
   */
  near?: Duration | { for: Duration; maxBytes?: number }
  /** Returns true for requests that have no session. @default none */
  skip?: (native: Native) => boolean | Promise<boolean>
  /**
   * Reaction to a session that cannot be loaded because Redis is unavailable. `'closed'` responds with
   * 503 and Retry-After. `'open'` continues with an empty session that is not saved.
   * @default 'closed'
   */
  fail?: 'closed' | 'open'
  /**
   * Own reply to a request that is refused because its session cannot be loaded. Returns undefined for
   * the default reply, problem+json (RFC 9457).
   * @default none
   */
  reply?: ReplyFunction<Native>
}

/** Options of `tp.session.require()`. */
export interface RequireOptions<Native> {
  /**
   * Returns who is logged in.
   * @default `session.userId`, otherwise `req.user` (passport) or `ctx.state.user`
   */
  user?: (native: Native) => unknown
  /**
   * Returns what the user may do.
   * @default the list `session.permissions`, otherwise `permissions` of the user
   */
  permissions?: (
    native: Native,
  ) => readonly string[] | undefined | Promise<readonly string[] | undefined>
  /**
   * Page to redirect to if no user is logged in: a path, an http(s) URL, or a function that returns one.
   * A missing permission is still refused with 403.
   * @default none: 401
   * @example
   * app.use('/account', tp.session.require({ redirect: '/login' }))
   */
  redirect?: string | ((native: Native) => string | Promise<string>)
  /**
   * Own reply to a refused request. Returns undefined for the default reply, problem+json (RFC 9457).
   * @default none
   */
  reply?: ReplyFunction<Native>
}
