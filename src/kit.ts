/** Assembles the features over one store; the only file that knows them all. */
import {
  boolean,
  callback,
  check,
  either,
  isObject,
  nearest,
  optionError,
  whole,
  word,
  type Kind,
} from './check.ts'
import { Shelf } from './caching/shelf.ts'
import { redisFromEnvironment } from './environment.ts'
import { systemClock } from './clock.ts'
import { duration, durations, type Duration } from './duration.ts'
import { Emitter, type EventName, type Listener } from './events.ts'
import { TurnpikeError } from './errors.ts'
import type { Ground } from './features/ground.ts'
import { caching, type Caching } from './features/cache/index.ts'
import { data } from './features/data/index.ts'
import type { Data } from './features/data/options.ts'
import { idempotency } from './features/idempotency/index.ts'
import type { IdempotencyOptions } from './features/idempotency/options.ts'
import { locking, type Locking } from './features/lock/index.ts'
import { health, type HealthOptions } from './features/health/index.ts'
import { semaphores, type Semaphores } from './features/semaphore/index.ts'
import {
  keyHelpers,
  limits,
  loginGuard,
  namedLimiter,
  rateLimit,
} from './features/rate-limit/index.ts'
import type { KeyHelpers } from './features/rate-limit/keys.ts'
import type { Limiter, WaitingLimiter } from './features/rate-limit/limiter.ts'
import type { Limits } from './features/rate-limit/limits.ts'
import type { LoginGuard, LoginGuardOptions } from './features/rate-limit/login-guard.ts'
import type { LimiterOptions, RateLimitOptions } from './features/rate-limit/options.ts'
import type { SessionControl } from './features/session/control.ts'
import { sessions, type Sessions } from './features/session/index.ts'
import type { Adapter } from './http/adapter.ts'
import type { Feature } from './http/exchange.ts'
import { keySpace, type KeySpace } from './store/keys.ts'
import { MemoryStore } from './store/memory.ts'
import { isClient, prefixOf, type RedisSource } from './store/redis.ts'
import type { Store, StoreStatus } from './store/store.ts'
import { AREAS, Stores, type Area } from './store/stores.ts'

/** Options of `turnpike()`. All have defaults. */
export interface TurnpikeOptions<Native> {
  /**
   * Where Redis is: a URL (`redis://`, `rediss://`), ioredis options (with `sentinels` too), `{ cluster: nodes }`,
   * your own ioredis client or Cluster, or `'memory'` for the in-process engine.
   * Default: REDIS_URL; without it the in-process engine, except in production, where that is an error (TP_NO_REDIS).
   */
  redis?: RedisSource | 'memory'
  /** A store made elsewhere: `testStore()` of turnpike/testing. */
  store?: Store
  /** Stands before every key: up to 32 letters, digits and `_.:-`. Default `'tp'`. */
  prefix?: string
  /** Part of every key: another value makes everything cold. */
  version?: string | number
  /** Whose data a request may touch. It becomes part of every key, so that tenants never meet. */
  tenant?: (native: Native) => string | Promise<string>
  /** `'prefix'`: one database, told apart by key. `'databases'`: one database and connection for each area. Default `'prefix'`. */
  layout?: 'prefix' | 'databases'
  /** The databases of the areas: `{ session: 0, cache: 1, rateLimit: 2, … }`. Not on a Cluster. */
  databases?: Partial<Record<Area, number>>
  /** Servers of their own for some areas. */
  stores?: Partial<Record<Area, { redis: RedisSource | 'memory' }>>
  /** Use the ioredis client that was handed in itself, with its options, not a hardened duplicate of it. Default false. */
  reuse?: boolean
  /** Within which each call to Redis is answered, one way or the other. Default `'100ms'`. */
  deadline?: Duration
  /** What one request may wait for Redis over all its features. Default `'150ms'`. */
  budget?: Duration
  /** Calls to Redis that may be in flight at once. Default 5000. */
  maxInFlight?: number
  /** How many processes share the limits: while Redis is away each admits its part. Default 1. */
  instances?: number
  /** How many keys are counted in this process while Redis is away. Default 50,000. */
  floorKeys?: number
}

/** What helpers outside a request offer for one tenant. */
export interface TenantKit {
  /** As `tp.limiter()`, for this tenant. */
  limiter(name: string, options: LimiterOptions): WaitingLimiter
  /** As `tp.limits`, for this tenant. */
  readonly limits: Limits
}

/** One configured instance: it owns the connections, the prefix, the events and their end. */
export interface Turnpike<Native, Middleware>
  extends
    Caching<Native, Middleware>,
    Locking<Native, Middleware>,
    Semaphores<Native, Middleware>,
    AsyncDisposable {
  /**
   * Limits requests; the middleware is also its own engine (`consume`, `peek`, `refund`, `reset`, `block`).
   * Refusals are 429 with problem+json; headers follow draft-ietf-httpapi-ratelimit-headers-11.
   * @throws TP_OPTION for an option that cannot be used
   */
  rateLimit(options: RateLimitOptions<Native>): Middleware & Limiter
  /**
   * Slows down guessing of passwords: counts failures of (identity, address) and of the address.
   * @throws TP_OPTION for an option that cannot be used
   */
  loginGuard(options: LoginGuardOptions<Native>): Middleware & LoginGuard
  /**
   * Counts outside a request: outgoing calls, jobs, WebSockets.
   * @throws TP_OPTION for an option that cannot be used
   */
  limiter(name: string, options: LimiterOptions): WaitingLimiter
  /** Limits of single subjects, kept in Redis. */
  readonly limits: Limits
  /** Sessions: `tp.session(options)` loads them, `tp.session.require(permission)` asks for them. */
  readonly session: Sessions<Native, Middleware>['session']
  /** Who is logged in, and where: list, revoke, count. It knows the users of the `tp.session()`s of this instance. */
  readonly sessions: SessionControl
  /** A Store for express-session over the same storage. @throws TP_OPTION for an option that cannot be used */
  readonly sessionStore: Sessions<Native, Middleware>['sessionStore']
  /**
   * A repeated request has one effect and one answer, by the client's Idempotency-Key
   * (draft-ietf-httpapi-idempotency-key-header-07). The handler finds `req.idempotency` (Koa: `ctx.state.idempotency`).
   * @throws TP_OPTION for an option that cannot be used
   */
  idempotency(options?: IdempotencyOptions<Native>): Middleware
  /** Plain values over the machinery of the response cache: get-or-fetch, wrap, namespaces, counters. */
  readonly data: Data
  /** What requests can be counted by. */
  readonly key: KeyHelpers<Native>
  /** Answers `/live`, `/ready` and the state of Redis. */
  health(options?: HealthOptions<Native>): Middleware
  /** Several middlewares as one: the commands of ours that need only the request are sent together. */
  pipeline(...members: Middleware[]): Middleware
  /** The helpers for one tenant, outside a request. @throws TP_OPTION unless `id` is a text */
  forTenant(id: string): TenantKit
  /** Hear of events; gives the function that ends it. The same events are in node:diagnostics_channel as `turnpike:<name>`. */
  on<Name extends EventName>(name: Name, listener: Listener<Name>): () => void
  /** Resolves when Redis can be used; rejects after `timeout` (default `'10s'`) with TP_UNAVAILABLE. Not needed before serving. */
  ready(timeout?: Duration): Promise<void>
  /** How things stand, without asking Redis. */
  status(): StoreStatus
  /** Ends the connections; calls in flight may finish, for at most their deadline. */
  close(): Promise<void>
}

const areas = (expected: string, accepts: (value: unknown) => boolean): Kind => ({
  expected: `an object of ${expected} by area (${AREAS.join(', ')})`,
  accepts: (value) =>
    isObject(value) &&
    Object.entries(value).every(([area, each]) => AREAS.includes(area as Area) && accepts(each)),
  meant: (value) => {
    const odd = isObject(value)
      ? Object.keys(value).find((area) => !AREAS.includes(area as Area))
      : undefined
    return odd && nearest(odd, AREAS)
  },
})

const KINDS: Record<string, Kind> = {
  redis: {
    expected: "a URL, ioredis options, an ioredis client, or 'memory'",
    accepts: (value) => value !== null,
  },
  store: {
    expected: 'a store, like testStore()',
    accepts: (value) => isObject(value) && 'run' in value,
  },
  prefix: {
    expected: "up to 32 letters, digits, '_', '.', ':' or '-'",
    accepts: (value) => typeof value === 'string' && /^[\w.:-]{1,32}$/.test(value),
  },
  version: either(whole(0), { expected: 'a text', accepts: (value) => typeof value === 'string' }),
  tenant: callback,
  layout: word('prefix', 'databases'),
  databases: areas('database numbers', whole(0, 15_000).accepts),
  stores: areas('{ redis }', (value) => isObject(value) && 'redis' in value),
  reuse: boolean,
  deadline: durations,
  budget: durations,
  maxInFlight: whole(1),
  instances: whole(1),
  floorKeys: whole(1),
}

/** What an entry hands in: its framework. @param adapter made for one instance */
export type Framework<Native, Middleware> = (options: {
  budgetMs: number
  warn(message: string): void
}) => Adapter<Native, Middleware>

/** What an entry of the package offers: `turnpike()` for one framework. */
export interface Entry<Native, Middleware> {
  /**
   * Makes an instance: one configured store, and the middlewares that share it. It may be made
   * before Redis is up, and serves by the failure rules until then.
   * @throws TP_OPTION for an option that cannot be used
   * @throws TP_NO_REDIS in production, where no Redis is named
   */
  (options?: TurnpikeOptions<Native>): Turnpike<Native, Middleware>
  /**
   * As `turnpike()`, with Redis from REDIS_URL, REDIS_USERNAME, REDIS_PASSWORD, REDIS_SSL,
   * REDIS_SSL_CA_CERTS, REDIS_SSL_CERTFILE and REDIS_SSL_KEYFILE (the last three name files).
   */
  fromEnv(options?: TurnpikeOptions<Native>): Turnpike<Native, Middleware>
}

/** The entry for a framework. */
export function entry<Native, Middleware extends object>(
  framework: Framework<Native, Middleware>,
): Entry<Native, Middleware> {
  const turnpike = (options?: TurnpikeOptions<Native>): Turnpike<Native, Middleware> =>
    kit(framework, options)
  const fromEnv: Entry<Native, Middleware>['fromEnv'] = (options) => {
    const redis = redisFromEnvironment()
    return turnpike(redis ? { redis, ...options } : options)
  }
  return Object.assign(turnpike, { fromEnv })
}

function kit<Native, Middleware extends object>(
  framework: Framework<Native, Middleware>,
  options: TurnpikeOptions<Native> = {},
): Turnpike<Native, Middleware> {
  const where = 'turnpike()'
  check(where, options, KINDS)
  const {
    redis,
    store,
    prefix = 'tp',
    version,
    tenant,
    reuse = false,
    instances = 1,
    floorKeys = 50_000,
  } = options
  const {
    deadline = 100,
    budget = 150,
    maxInFlight = 5000,
    layout = 'prefix',
    databases,
    stores: own = {},
  } = options
  const events = new Emitter()
  const stores = new Stores({
    redis,
    store,
    databases,
    layout,
    stores: own,
    reuse,
    maxInFlight,
    events,
    deadline: duration(deadline, where, 'deadline'),
  })
  const adapter = framework({
    budgetMs: duration(budget, where, 'budget'),
    warn: (message) => events.warn(message),
  })
  const keysOf = (area: Area): KeySpace =>
    keySpace(`${outer(own[area]?.redis ?? redis, reuse)}${prefix}`, version)
  const clock = store ?? systemClock()
  const floor = {
    evicting: new MemoryStore({ clock, maxKeys: floorKeys }),
    refusing: new MemoryStore({ clock, maxKeys: floorKeys, whenFull: 'refuse' }),
  }
  const ground = (area: Area): Ground<Native> => ({
    store: stores.for(area),
    keys: keysOf(area),
    events,
    floor,
    instances,
    claim: claims(events),
    tenant: tenant && named(tenant),
  })
  const limiting = ground('rateLimit')
  const mount = (feature: Feature<Native>): Middleware => adapter.mount(feature)
  const locks = locking(() => ground('lock'), mount)
  let shelf: Shelf | undefined
  const opened = (): { ground: Ground<Native>; shelf: Shelf } => {
    const own = ground('cache')
    return { ground: own, shelf: (shelf ??= new Shelf(own.store, own.keys, events)) }
  }
  const caches = caching(opened, mount)
  const places = semaphores(() => ground('lock'), mount)

  return {
    rateLimit(given) {
      const { feature, limiter } = rateLimit(limiting, given)
      return Object.assign(adapter.mount(feature), limiter)
    },
    loginGuard(given) {
      const { feature, guard } = loginGuard(limiting, given)
      return Object.assign(adapter.mount(feature), guard)
    },
    limiter: (name, given) => namedLimiter(limiting, name, given),
    limits: limits(limiting),
    ...sessions(
      () => ground('session'),
      (feature) => adapter.mount(feature),
    ),
    idempotency: (given) => mount(idempotency(ground('idempotency'), given)),
    ...caches.caching,
    data: data(opened),
    ...locks.locks,
    ...places.semaphores,
    key: keyHelpers((native) => adapter.exchange(native)),
    health: (given) =>
      adapter.mount(health(limiting.store, () => stores.status(), given, caches.hitRate)),
    pipeline: (...members) => adapter.pipeline(members),
    forTenant(id) {
      if (typeof id !== 'string') throw optionError('tp.forTenant()', 'id', id, 'a text')
      const theirs: Ground = { ...limiting, keys: within(limiting.keys, id), tenant: undefined }
      return { limiter: (name, given) => namedLimiter(theirs, name, given), limits: limits(theirs) }
    },
    on: (name, listener) => events.on(name, listener),
    async ready(timeout = '10s') {
      const ms = duration(timeout, 'tp.ready()', 'timeout')
      await Promise.all(stores.all().map((each) => each.ready(ms)))
    },
    status: () => stores.status(),
    close,
    [Symbol.asyncDispose]: close,
  }

  async function close(): Promise<void> {
    // The floor stays: requests that are still being served are limited to the end.
    await Promise.allSettled([locks.close(), places.close()])
    await Promise.all(stores.all().map((each) => each.close()))
  }
}

/** The `keyPrefix` of the client that was handed in comes before ours; a reused client adds it itself. */
const outer = (redis: RedisSource | 'memory' | undefined, reuse: boolean): string =>
  redis === undefined || redis === 'memory' || (reuse && isClient(redis)) ? '' : prefixOf(redis)

/** The keys of one tenant. */
const within = (keys: KeySpace, tenant: string): KeySpace => ({
  ...keys,
  tag: (subject) => keys.tag(subject, tenant),
})

/** The tenant of a request; one that is no text would let strangers share what belongs to nobody. */
const named =
  <Native>(tenant: (native: Native) => unknown) =>
  async (native: Native): Promise<string> => {
    const id = await tenant(native)
    if (typeof id === 'string') return id
    throw new TurnpikeError(
      'TP_KEY',
      'turnpike(): tenant gave no text for this request. Refuse requests of nobody before they come here.',
    )
  }

function claims(events: Emitter): Ground['claim'] {
  const derived = new Set<string>()
  return (name, given) => {
    if (given) return
    if (derived.has(name))
      events.warn(
        `Two rate limits are both ${name}, and so they share their counts: give each a name of its own.`,
      )
    derived.add(name)
  }
}
