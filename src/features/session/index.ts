/** Sessions: `tp.session()`, `tp.sessions`, `tp.sessionStore()`. */
import type { Store as ExpressStore } from 'express-session'
import { durationOption } from '../../duration.ts'
import type { ExtensionContext } from '../../extension.ts'
import { isObject, optionError, validateOptions } from '../../validate.ts'
import { SessionEngine } from './engine.ts'
import { SessionStore } from './express-store.ts'
import { SessionFeature } from './feature.ts'
import type { RequireOptions, SessionOptions, SessionStorageOptions } from './options.ts'
import { requireFeature } from './require-feature.ts'
import { SessionDirectory, type SessionControl } from './session-control.ts'
import {
  cookieSettings,
  sessionEngineOptions,
  listOf,
  MOUNT_OPTIONS,
  STORAGE_OPTIONS,
} from './settings.ts'

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
  sessionStore(options?: SessionStorageOptions): ExpressStore
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
  /** Creates a middleware that lets a request pass only if its session has a user, and the permission. Otherwise it responds with 401 or 403. */
  require(permission?: string, options?: RequireOptions<Native>): Middleware
}

/** Creates the sessions of an instance. */
export function createSessions<Native, Middleware>(
  context: ExtensionContext<Native, Middleware>,
): { api: Sessions<Native, Middleware> } {
  const engines: SessionEngine[] = []

  function session(options: SessionOptions<Native>): Middleware {
    const engine = createMountEngine(context, options)
    if (engine.options.format === 'turnpike') engines.push(engine)
    return context.mount(createFeature(context, engine, options))
  }

  const api: Sessions<Native, Middleware> = {
    session: Object.assign(session, {
      require: (permission?: string, options?: RequireOptions<Native>) =>
        context.mount(requireFeature(permission, options)),
    }),
    sessions: new SessionDirectory(context, engines),
    sessionStore(options = {}) {
      const where = 'tp.sessionStore()'
      validateOptions(where, options, STORAGE_OPTIONS)
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
      } as const
      const engine = new SessionEngine(context, sessionEngineOptions(where, options, mount))
      return new SessionStore(engine) as unknown as ExpressStore
    },
  }
  return { api }
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
  const { secret, name = 'sid', maxPerUser = 0, onOverflow = 'evict-oldest' } = options
  if (secret === undefined)
    throw optionError(
      SESSION,
      'secret',
      undefined,
      'a string that only your servers know, or a list of them',
    )
  return new SessionEngine(
    context,
    sessionEngineOptions(SESSION, options, {
      name,
      secrets: listOf(secret),
      maxPerUser,
      onOverflow,
    }),
  )
}

/** Creates the feature of a mount. The options must be validated already. */
function createFeature<Native>(
  context: ExtensionContext<Native>,
  engine: SessionEngine,
  options: SessionOptions<Native>,
): SessionFeature<Native> {
  const {
    name,
    proxy,
    skip,
    genid,
    cookie = {},
    grace = '10s',
    lazy = false,
    rolling = false,
    resave = false,
    saveUninitialized = false,
    unset = 'keep',
    fail = 'closed',
  } = options
  return new SessionFeature<Native>(engine, {
    name,
    proxy,
    skip,
    genid,
    lazy,
    rolling,
    resave,
    saveUninitialized,
    unset,
    fail,
    tenant: context.hasTenants ? (native) => context.tenantOf(native) : undefined,
    cookie:
      typeof cookie === 'function'
        ? (native) => cookieSettings(SESSION, cookie(native))
        : cookieSettings(SESSION, cookie),
    grace: durationOption(grace, SESSION, 'grace', 0),
    store: new SessionStore(engine),
    warn: (message) => context.events.warn(message),
  })
}
