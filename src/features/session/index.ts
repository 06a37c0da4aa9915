/** Sessions: `tp.session()`, `tp.sessions`, `tp.sessionStore()`. */
import type { Store as ExpressStore } from 'express-session'
import {
  boolean,
  callback,
  check,
  either,
  isFunction,
  isObject,
  optionError,
  text,
  whole,
  word,
  type Kind,
} from '../../check.ts'
import { duration, durations } from '../../duration.ts'
import type { Feature } from '../../http/exchange.ts'
import type { Ground } from '../ground.ts'
import { Cipher } from './cipher.ts'
import { sessionControl, type SessionControl } from './control.ts'
import type { CookieSettings } from './cookie.ts'
import { Engine } from './engine.ts'
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

const secretKind = (least: number): Kind => ({
  expected:
    least > 1
      ? `a text or Buffer of at least ${least} characters, or a list of them`
      : 'a text, a Buffer, or a list of them',
  accepts: (value) => {
    const all: unknown[] = Array.isArray(value) ? value : [value]
    return all.length > 0 && all.every((each) => isSecret(each) && (each as string).length >= least)
  },
})

const STORAGE: Record<string, Kind> = {
  ttl: durations,
  touchAfter: durations,
  absoluteTimeout: durations,
  serializer: either(word('json', 'rich'), {
    expected: '{ stringify, parse }',
    accepts: (value) =>
      isObject(value) && isFunction(value['stringify']) && isFunction(value['parse']),
  }),
  maxBytes: whole(1),
  encrypt: secretKind(32),
  onConflict: either(word('merge', 'last-write-wins', 'reject'), callback),
  onCorrupt: word('new', 'error'),
  legacyPrefix: { expected: 'a text', accepts: (value) => typeof value === 'string' },
  format: word('turnpike', 'connect-redis'),
}

/** RFC 6265, 4.1.1: a cookie's name is a token. */
const token: Kind = {
  expected: "a cookie's name: letters, digits and !#$%&'*+-.^_`|~",
  accepts: (value) => typeof value === 'string' && /^[\w!#$%&'*+.^`|~-]+$/.test(value),
}

const MOUNT: Record<string, Kind> = {
  ...STORAGE,
  secret: secretKind(1),
  name: token,
  cookie: either({ expected: 'an object', accepts: isObject }, callback),
  proxy: boolean,
  rolling: boolean,
  resave: boolean,
  saveUninitialized: boolean,
  unset: word('keep', 'destroy'),
  genid: callback,
  maxPerUser: whole(1),
  onOverflow: word('evict-oldest', 'deny'),
  grace: durations,
  lazy: boolean,
  skip: callback,
  fail: word('closed', 'open'),
}

const COOKIE: Record<string, Kind> = {
  maxAge: either(durations, { expected: 'null', accepts: (value) => value === null }),
  expires: { expected: 'a Date', accepts: (value) => value === null || value instanceof Date },
  httpOnly: boolean,
  secure: either(boolean, word('auto')),
  sameSite: either(boolean, word('lax', 'strict', 'none')),
  domain: text,
  path: {
    expected: "a path that begins with '/'",
    accepts: (value) => typeof value === 'string' && value.startsWith('/'),
  },
  priority: word('low', 'medium', 'high'),
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

/** The sessions over one store. @param groundOf called when the first of them is made */
export function sessions<Native, Middleware>(
  groundOf: () => Ground<Native>,
  mount: (feature: Feature<Native, never>) => Middleware,
): Sessions<Native, Middleware> {
  const engines: Engine[] = []
  let made: Ground<Native> | undefined
  const ground = (): Ground => (made ??= groundOf())

  function session(options: SessionOptions<Native>): Middleware {
    const where = 'tp.session()'
    if (isObject(options) && 'store' in options)
      throw optionError(
        where,
        'store',
        options['store'],
        'left out: sessions are kept in the store of this instance. With express-session itself, use session({ store: tp.sessionStore() })',
      )
    check(where, options, MOUNT)
    if (options.secret === undefined)
      throw optionError(
        where,
        'secret',
        undefined,
        'a text that only your servers know, or a list of them',
      )
    const secrets = listOf(options.secret)
    const engine = engineOf(ground(), where, options, {
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
    const { events, tenant } = groundOf()
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
      tenant,
      genid,
      cookie:
        typeof cookie === 'function'
          ? (native) => cookieOf(where, cookie(native))
          : cookieOf(where, cookie),
      grace: duration(grace, where, 'grace', 0),
      store: new SessionStore(engine),
      warn: (message) => events.warn(message),
    })
    return mount(feature as unknown as Feature<Native, never>)
  }

  return {
    session: Object.assign(session, {
      require: (permission?: string, options?: RequireOptions<Native>) =>
        mount(requireFeature(permission, options)),
    }),
    sessions: sessionControl(ground, engines),
    sessionStore(options = {}) {
      const where = 'tp.sessionStore()'
      check(where, options, STORAGE)
      if (ground().tenant)
        throw optionError(
          where,
          'tenant',
          'of turnpike()',
          'left out: a Store does not see the request, and cannot tell whose session it is. Use tp.session()',
        )
      const engine = engineOf(ground(), where, options, {
        name: 'sessionStore',
        secrets: [],
        maxPerUser: 0,
        onOverflow: 'evict-oldest',
      })
      return new SessionStore(engine) as unknown as ExpressStore
    },
  }
}

type Own = Pick<Engine['options'], 'name' | 'secrets' | 'maxPerUser' | 'onOverflow'>

function engineOf(ground: Ground, where: string, options: SessionStorageOptions, own: Own): Engine {
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
  return new Engine(ground, {
    ...own,
    ttl: duration(ttl, where, 'ttl'),
    touchAfter: touchAfter === undefined ? undefined : duration(touchAfter, where, 'touchAfter', 0),
    absolute:
      absoluteTimeout === undefined ? 0 : duration(absoluteTimeout, where, 'absoluteTimeout'),
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
  check(`${where}: cookie`, options, COOKIE)
  const { maxAge, ...rest } = options
  const life =
    maxAge === undefined || maxAge === null
      ? {}
      : { maxAge: duration(maxAge, where, 'cookie.maxAge') }
  return { httpOnly: true, path: '/', sameSite: 'lax', secure: 'auto', ...rest, ...life }
}
