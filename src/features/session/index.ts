/** Sessions: `tp.session()`, `tp.sessions`, `tp.sessionStore()`. */
import { durationOption } from '../../duration.ts'
import type { ExtensionContext } from '../../extension.ts'
import { plainUserId, USER_ID, userIdString, type UserId } from '../../user-id.ts'
import { isObject, optionError, validateOptions } from '../../validate.ts'
import type { Exchange } from '../../http/exchange.ts'
import { CookieTransport, secureBy } from './cookie-transport.ts'
import { SessionEngine } from './engine.ts'
import { SessionStore } from './express-store.ts'
import { SessionFeature } from './feature.ts'
import { HeaderTransport } from './header-transport.ts'
import { nearSettings } from './near-options.ts'
import type {
  RequireOptions,
  SessionCookieOptions,
  SessionOptions,
  SessionStorageOptions,
} from './options.ts'
import { requireFeature } from './require-feature.ts'
import { SessionDirectory, type SessionControl } from './session-control.ts'
import type { CookieSettings } from './session-cookie.ts'
import { SessionSlot, withSession } from './session-slot.ts'
import {
  cookieSettings,
  sessionEngineOptions,
  listOf,
  MOUNT_OPTIONS,
  STORE_OPTIONS,
  validatePrefix,
} from './settings.ts'
import { SignedIds } from './signed-ids.ts'
import type { SessionTransport } from './transport.ts'
import type { SessionStoreApi } from './types.ts'

export { asNodeRedis } from './node-redis.ts'

/** The sessions of one instance. */
export interface Sessions<Native, Middleware> {
  /** See `SessionEntry`. */
  session: SessionEntry<Native, Middleware>
  /** The sessions of users, outside a request: who is logged in, and where. */
  sessions: SessionControl
  /**
   * Creates a `Store` for express-session over the same engine.
   * @throws TP_OPTION for an option that cannot be used, or if the application has tenants
   * @example
   * app.use(session({ secret, resave: false, saveUninitialized: false, store: tp.sessionStore() }))
   */
  sessionStore(options?: SessionStorageOptions): SessionStoreApi
}

/** `tp.session`: creates the middleware. */
export interface SessionEntry<Native, Middleware> {
  /**
   * Creates a middleware that loads `req.session` (on Koa `ctx.session`), as express-session documents it.
   * @throws TP_OPTION for an option that cannot be used
   * @example
   * app.use(tp.session({ secret: process.env.SECRET, ttl: '7d' }))
   */
  (options: SessionOptions<Native>): Middleware
  /**
   * Logs a user in. The session gets a new ID, so that an attacker who knew the old one is not logged in with it
   * (session fixation). Its data stays; `userId` and `data` are added.
   *
   * @param native Express's or node's `req`, Koa's `ctx`
   * @param user the user's ID. `tp.sessions` finds the session by it. A bigint or an ObjectId is stored as its string
   * @param data added to the session
   * @throws TP_SESSION_LIMIT (409) beyond `maxPerUser` with `onOverflow: 'deny'`
   * @throws TP_UNAVAILABLE (503) if the session could not be stored
   * @example
   * await tp.session.login(req, user.id, { name: user.name })
   */
  login(native: Native, user: UserId, data?: object): Promise<void>
  /**
   * Logs the user out. When it resolves the session no longer exists in the store. The response removes the cookie.
   *
   * @param native Express's or node's `req`, Koa's `ctx`
   * @throws TP_UNAVAILABLE (503) if the store could not do that
   * @example
   * await tp.session.logout(req)
   */
  logout(native: Native): Promise<void>
  /**
   * Creates a middleware that lets a request pass only if its session has a user, and the permission.
   * Otherwise it responds with 401 or 403, or redirects.
   *
   * @param permission what the user needs, for example `'orders:write'`. A grant may have wildcards: `'orders:*'`
   * @example
   * app.get('/orders', tp.session.require('orders:read'), listOrders)
   * app.use('/account', tp.session.require({ redirect: '/login' }))
   */
  require(permission?: string, options?: RequireOptions<Native>): Middleware
  require(options: RequireOptions<Native>): Middleware
}

/** Creates the sessions of an instance. */
export function createSessions<Native, Middleware>(
  context: ExtensionContext<Native, Middleware>,
): { api: Sessions<Native, Middleware> } {
  const engines: SessionEngine[] = []
  const slot = new SessionSlot((native) => context.exchange(native as Native))
  let isMounted = false

  /** An application without `tp.session()` has another middleware that sets the user. */
  function warnOfOrder(): void {
    if (isMounted)
      context.events.warn(
        'tp.session.require(): a request has no session and no user, so it is refused. Mount tp.session() in front: app.use(tp.session({ … })) comes before the route.',
      )
  }

  function session(options: SessionOptions<Native>): Middleware {
    const engine = createMountEngine(context, options)
    isMounted ||= !options.lazy && options.skip === undefined
    if (engine.options.format === 'turnpike') engines.push(engine)
    return context.mount(createFeature(context, engine, slot, options))
  }

  const parts = { warnOfOrder, loadLazy: (native: object) => slot.loadLazy(native) }

  const api: Sessions<Native, Middleware> = {
    session: Object.assign(session, {
      login: (native: Native, user: UserId, data?: object) => login(slot, native, user, data),
      logout: (native: Native) =>
        withSession(slot, native, 'tp.session.logout()', (session) => session.logout()),
      require: (first?: string | RequireOptions<Native>, second?: RequireOptions<Native>) =>
        isObject(first)
          ? context.mount(requireFeature(undefined, first, parts))
          : context.mount(requireFeature(first as string | undefined, second ?? {}, parts)),
    }),
    sessions: new SessionDirectory(context, engines),
    sessionStore(options = {}) {
      const where = 'tp.sessionStore()'
      validateOptions(where, options, STORE_OPTIONS)
      if (context.hasTenants)
        throw optionError(
          where,
          'tenant',
          'of turnpike()',
          'absent: a Store does not see the request, so it cannot know the tenant. Use tp.session()',
        )
      const mount = {
        name: 'sessionStore',
        secrets: [],
        maxPerUser: 0,
        onOverflow: 'evict-oldest',
        near: undefined,
      } as const
      // express-session expects that a touch moves the end of a session. Nothing waits for it.
      const settings = sessionEngineOptions(where, { touchAfter: 0, ...options }, mount)
      const engine = new SessionEngine(context, settings)
      return new SessionStore(engine)
    },
  }
  return { api }
}

/** See `SessionEntry.login`. */
function login(
  slot: SessionSlot,
  native: unknown,
  user: unknown,
  data: unknown = {},
): Promise<void> {
  const where = 'tp.session.login()'
  return withSession(slot, native, where, (session) => {
    if (userIdString(user) === undefined)
      throw optionError(where, 'user', user, `the user's ID: ${USER_ID}`)
    if (!isObject(data)) throw optionError(where, 'data', data, 'an object')
    return session.login(plainUserId(user) as string | number, data)
  })
}

const SESSION = 'tp.session()'

/** Creates the engine of a mount. @throws TP_OPTION */
function createMountEngine<Native>(
  context: ExtensionContext,
  options: SessionOptions<Native>,
): SessionEngine {
  if (isObject(options) && 'store' in options)
    throw optionError(
      SESSION,
      'store',
      options['store'],
      'absent: sessions are in the store of this instance. With express-session itself, use session({ store: tp.sessionStore() })',
    )
  validateOptions(SESSION, options, MOUNT_OPTIONS)
  const { secret, name, transport, maxPerUser = 0, onOverflow = 'evict-oldest' } = options
  if (secret === undefined)
    throw optionError(
      SESSION,
      'secret',
      undefined,
      'a string that only your servers know, or a list of them',
    )
  if (name !== undefined && isObject(transport))
    throw optionError(SESSION, 'name', name, 'absent with transport: { header }')
  const [called = 'sid'] = isObject(transport) ? [transport.header] : namesOf(name)
  return new SessionEngine(
    context,
    sessionEngineOptions(SESSION, options, {
      name: called,
      secrets: listOf(secret),
      maxPerUser,
      onOverflow,
      near: nearSettings(SESSION, options.near),
    }),
  )
}

const namesOf = (name: string | readonly string[] | undefined): readonly string[] =>
  name === undefined ? [] : typeof name === 'string' ? [name] : name

/** Creates the feature of a mount. The options must be validated already. */
function createFeature<Native>(
  context: ExtensionContext<Native>,
  engine: SessionEngine,
  slot: SessionSlot,
  options: SessionOptions<Native>,
): SessionFeature<Native> {
  const isKoa = context.framework === 'koa'
  const {
    skip,
    genid,
    user,
    cookie = {},
    grace = '10s',
    lazy = false,
    rolling = false,
    resave = false,
    saveUninitialized = false,
    unset = isKoa ? 'destroy' : 'keep',
    fail = 'closed',
  } = options
  const settingsOf = (given: SessionCookieOptions): CookieSettings => {
    const settings = cookieSettings(SESSION, given, engine.now())
    for (const name of namesOf(options.name)) validatePrefix(SESSION, name, settings)
    return settings
  }
  const isSecure = secureBy<Native>(options.proxy)
  const { name, ttl: ttlMs, format, near } = engine.options
  context.events.counts.describe('session', name, {
    fail,
    lazy,
    rolling,
    ttlMs,
    format,
    nearMs: near?.ms,
  })
  const settings =
    typeof cookie === 'function'
      ? (native: Native) => settingsOf(cookie(native))
      : settingsOf(cookie)
  return new SessionFeature<Native>(engine, {
    isKoa,
    slot,
    skip,
    genid,
    user,
    lazy,
    rolling,
    resave,
    saveUninitialized,
    unset,
    fail,
    reply: options.reply,
    isSecure,
    tenant: context.hasTenants ? (native) => context.tenantOf(native) : undefined,
    cookie: settings,
    transport: createTransport(context, engine, options, isSecure),
    grace: durationOption(grace, SESSION, 'grace', 0),
    store: new SessionStore(engine, typeof settings === 'function' ? {} : settings),
  })
}

function createTransport<Native>(
  context: ExtensionContext<Native>,
  engine: SessionEngine,
  { format, legacyPrefix, legacySignature, name, transport }: SessionOptions<Native>,
  isSecure: (x: Exchange<Native>) => boolean,
): SessionTransport<Native> {
  const inherited =
    format === 'connect-redis' ? 'write' : legacyPrefix === undefined ? 'refuse' : 'read'
  const ids = new SignedIds(engine, legacySignature ?? inherited)
  if (isObject(transport)) return new HeaderTransport(ids, transport.header)
  return new CookieTransport(ids, engine.diagnosis, {
    names: name === undefined ? undefined : namesOf(name),
    isSecure,
    warn: (message) => context.events.warn(message),
  })
}
