/** Sessions: `tp.session()`, `tp.sessions`, `tp.sessionStore()`. */
import type { Store as ExpressStore } from 'express-session'
import {
  boolean,
  callback,
  validateOptions,
  anyOf,
  isFunction,
  isObject,
  optionError,
  nonEmptyString,
  integer,
  oneOf,
  type Validator,
} from '../../validate.ts'
import { durationOption, durationValidator } from '../../duration.ts'
import type { ExtensionContext } from '../../extension.ts'
import { Cipher } from './cipher.ts'
import { sessionControl, type SessionControl } from './control.ts'
import type { CookieSettings } from './cookie.ts'
import { SessionEngine } from './engine.ts'
import { SessionStore } from './express-store.ts'
import { sessionFeature } from './feature.ts'
import type { Secret } from './id.ts'
import type {
  RequireOptions,
  SessionCookieOptions,
  SessionOptions,
  SessionStorageOptions,
} from './options.ts'
import { requireFeature } from './require.ts'
import { serializerOf } from './serializer.ts'

export { asNodeRedis } from './node-redis.ts'

const isSecret = (value: unknown): boolean =>
  (typeof value === 'string' || Buffer.isBuffer(value)) && value.length > 0

const secretKind = (least: number): Validator => ({
  expected:
    least > 1
      ? `a text or Buffer of at least ${least} characters, or a list of them`
      : 'a text, a Buffer, or a list of them',
  accepts: (value) => {
    const all: unknown[] = Array.isArray(value) ? value : [value]
    return all.length > 0 && all.every((each) => isSecret(each) && (each as string).length >= least)
  },
})

const STORAGE: Record<string, Validator> = {
  ttl: durationValidator,
  touchAfter: durationValidator,
  absoluteTimeout: durationValidator,
  serializer: anyOf(oneOf('json', 'rich'), {
    expected: '{ serialize, deserialize }',
    accepts: (value) =>
      isObject(value) && isFunction(value['serialize']) && isFunction(value['deserialize']),
  }),
  maxBytes: integer(1),
  encrypt: secretKind(32),
  onConflict: anyOf(oneOf('merge', 'last-write-wins', 'reject'), callback),
  onCorrupt: oneOf('new', 'error'),
  legacyPrefix: { expected: 'a text', accepts: (value) => typeof value === 'string' },
  format: oneOf('turnpike', 'connect-redis'),
}

/** RFC 6265, 4.1.1: a cookie's name is a token. */
const token: Validator = {
  expected: "a cookie's name: letters, digits and !#$%&'*+-.^_`|~",
  accepts: (value) => typeof value === 'string' && /^[\w!#$%&'*+.^`|~-]+$/.test(value),
}

const MOUNT: Record<string, Validator> = {
  ...STORAGE,
  secret: secretKind(1),
  name: token,
  cookie: anyOf({ expected: 'an object', accepts: isObject }, callback),
  proxy: boolean,
  rolling: boolean,
  resave: boolean,
  saveUninitialized: boolean,
  unset: oneOf('keep', 'destroy'),
  genid: callback,
  maxPerUser: integer(1),
  onOverflow: oneOf('evict-oldest', 'deny'),
  grace: durationValidator,
  lazy: boolean,
  skip: callback,
  fail: oneOf('closed', 'open'),
}

const COOKIE: Record<string, Validator> = {
  maxAge: anyOf(durationValidator, { expected: 'null', accepts: (value) => value === null }),
  expires: { expected: 'a Date', accepts: (value) => value === null || value instanceof Date },
  httpOnly: boolean,
  secure: anyOf(boolean, oneOf('auto')),
  sameSite: anyOf(boolean, oneOf('lax', 'strict', 'none')),
  domain: nonEmptyString,
  path: {
    expected: "a path that begins with '/'",
    accepts: (value) => typeof value === 'string' && value.startsWith('/'),
  },
  priority: oneOf('low', 'medium', 'high'),
  partitioned: boolean,
}

/** The sessions of one instance, as the kit offers them. */
export interface Sessions<Native, Middleware> {
  /** See `Turnpike.session`. */
  session: SessionEntry<Native, Middleware>
  sessions: SessionControl
  sessionStore(options?: SessionStorageOptions): ExpressStore
}

/** `tp.session`: makes the middleware. */
export interface SessionEntry<Native, Middleware> {
  /**
   * Loads `req.session` (on Koa `ctx.session`), as express-session documents it, with `login()` and `logout()`.
   * @throws TP_OPTION for an option that cannot be used
   */
  (options: SessionOptions<Native>): Middleware
  /** Lets only requests pass whose session has a user, and the permission: 401 and 403 with problem+json. */
  require(permission?: string, options?: RequireOptions<Native>): Middleware
}

/** Creates the sessions of an instance. */
export function createSessions<Native, Middleware>(
  context: ExtensionContext<Native, Middleware>,
): { api: Sessions<Native, Middleware> } {
  const engines: SessionEngine[] = []

  function session(options: SessionOptions<Native>): Middleware {
    const where = 'tp.session()'
    if (isObject(options) && 'store' in options)
      throw optionError(
        where,
        'store',
        options['store'],
        'left out: sessions are kept in the store of this instance. With express-session itself, use session({ store: tp.sessionStore() })',
      )
    validateOptions(where, options, MOUNT)
    if (options.secret === undefined)
      throw optionError(
        where,
        'secret',
        undefined,
        'a text that only your servers know, or a list of them',
      )
    const secrets = listOf(options.secret)
    const engine = engineOf(context, where, options, {
      name: options.name ?? 'sid',
      secrets,
      maxPerUser: options.maxPerUser ?? 0,
      onOverflow: options.onOverflow ?? 'evict-oldest',
    })
    if (engine.options.format === 'turnpike') engines.push(engine)
    const {
      cookie = {},
      grace = '10s',
      name,
      proxy,
      skip,
      genid,
      lazy = false,
      rolling = false,
      resave = false,
    } = options
    const { saveUninitialized = false, unset = 'keep', fail = 'closed' } = options
    const { events, hasTenants } = context
    const feature = sessionFeature<Native>(engine, {
      name,
      proxy,
      skip,
      lazy,
      rolling,
      resave,
      saveUninitialized,
      unset,
      fail,
      tenant: hasTenants ? (native) => context.tenantOf(native) : undefined,
      genid,
      cookie:
        typeof cookie === 'function'
          ? (native) => cookieOf(where, cookie(native))
          : cookieOf(where, cookie),
      grace: durationOption(grace, where, 'grace', 0),
      store: new SessionStore(engine),
      warn: (message) => events.warn(message),
    })
    return context.mount(feature)
  }

  const api: Sessions<Native, Middleware> = {
    session: Object.assign(session, {
      require: (permission?: string, options?: RequireOptions<Native>) =>
        context.mount(requireFeature(permission, options)),
    }),
    sessions: sessionControl(context, engines),
    sessionStore(options = {}) {
      const where = 'tp.sessionStore()'
      validateOptions(where, options, STORAGE)
      if (context.hasTenants)
        throw optionError(
          where,
          'tenant',
          'of turnpike()',
          'left out: a Store does not see the request, and cannot tell whose session it is. Use tp.session()',
        )
      const engine = engineOf(context, where, options, {
        name: 'sessionStore',
        secrets: [],
        maxPerUser: 0,
        onOverflow: 'evict-oldest',
      })
      return new SessionStore(engine) as unknown as ExpressStore
    },
  }
  return { api }
}

type Own = Pick<SessionEngine['options'], 'name' | 'secrets' | 'maxPerUser' | 'onOverflow'>

function engineOf(
  context: ExtensionContext,
  where: string,
  options: SessionStorageOptions,
  own: Own,
): SessionEngine {
  const {
    ttl = '24h',
    touchAfter,
    absoluteTimeout,
    serializer = 'json',
    maxBytes = 65_536,
    encrypt,
  } = options
  const { onConflict = 'merge', onCorrupt = 'new', legacyPrefix, format = 'turnpike' } = options
  if (format === 'connect-redis') {
    const left: Record<string, unknown> = {
      encrypt,
      absoluteTimeout,
      maxPerUser: own.maxPerUser || undefined,
      serializer: serializer === 'json' ? undefined : serializer,
    }
    for (const [option, value] of Object.entries(left)) {
      if (value !== undefined)
        throw optionError(
          where,
          option,
          value,
          "left out with format: 'connect-redis', whose values have no place for it",
        )
    }
  }
  return new SessionEngine(context, {
    ...own,
    ttl: durationOption(ttl, where, 'ttl'),
    touchAfter:
      touchAfter === undefined ? undefined : durationOption(touchAfter, where, 'touchAfter', 0),
    absolute:
      absoluteTimeout === undefined ? 0 : durationOption(absoluteTimeout, where, 'absoluteTimeout'),
    serializer: serializerOf(serializer),
    maxBytes,
    cipher: encrypt === undefined ? undefined : new Cipher(listOf(encrypt)),
    onConflict,
    onCorrupt,
    legacyPrefix,
    format,
  })
}

const listOf = (given: Secret | readonly Secret[]): readonly Secret[] =>
  typeof given === 'string' || Buffer.isBuffer(given) ? [given] : given

/** A cookie's settings with their defaults, in milliseconds. */
function cookieOf(where: string, options: SessionCookieOptions): CookieSettings {
  validateOptions(`${where}: cookie`, options, COOKIE)
  const { maxAge, ...rest } = options
  const life =
    maxAge === undefined || maxAge === null
      ? {}
      : { maxAge: durationOption(maxAge, where, 'cookie.maxAge') }
  return { httpOnly: true, path: '/', sameSite: 'lax', secure: 'auto', ...rest, ...life }
}
