/** What `turnpike()` takes and gives: types only. */
import type { Duration } from './duration.ts'
import type { EventName, Listener as Hear } from './events.ts'
import type { Caching } from './features/cache/index.ts'
import type { Data } from './features/data/options.ts'
import type { HealthOptions } from './features/health/index.ts'
import type { IdempotencyOptions } from './features/idempotency/options.ts'
import type { Locking } from './features/lock/index.ts'
import type { TenantLocks } from './features/lock/tenant.ts'
import type { KeyHelpers } from './features/rate-limit/keys.ts'
import type { Limiter, WaitingLimiter } from './features/rate-limit/limiter.ts'
import type { Limits } from './features/rate-limit/limits.ts'
import type { LoginGuard, LoginGuardOptions } from './features/rate-limit/login-guard.ts'
import type { LimiterOptions, RateLimitOptions } from './features/rate-limit/options.ts'
import type { Semaphores } from './features/semaphore/index.ts'
import type { Semaphore, SemaphoreOptions } from './features/semaphore/options.ts'
import type { SessionControl } from './features/session/control.ts'
import type { Sessions } from './features/session/index.ts'
import type { Adapter } from './http/adapter.ts'
import type { Listener } from './http/edge.ts'
import type { RedisSource } from './store/redis.ts'
import type { Store, StoreStatus } from './store/store.ts'
import type { Area } from './store/stores.ts'

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
export interface TenantKit extends TenantLocks {
  /** As `tp.limiter()`, for this tenant. */
  limiter(name: string, options: LimiterOptions): WaitingLimiter
  /** As `tp.limits`, for this tenant. */
  readonly limits: Limits
  /** As `tp.semaphore()`, for this tenant. */
  semaphore(name: string, options: SemaphoreOptions): Semaphore
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
  /**
   * A listener for `http.createServer()` that answers hits in the near cache before the framework gets the
   * request, for mounts of `tp.cache()` with `edge: true`; everything else goes to `app`. What is mounted
   * outside of such a cache (session, limits, guards, logs, compression) has no part in these hits.
   * @param app an Express application, Koa's `app.callback()`, or any `(req, res)`
   * @throws TP_OPTION for anything else
   */
  edge(app: Listener): Listener
  /** Hear of events; gives the function that ends it. The same events are in node:diagnostics_channel as `turnpike:<name>`. */
  on<Name extends EventName>(name: Name, listener: Hear<Name>): () => void
  /** Resolves when Redis can be used; rejects after `timeout` (default `'10s'`) with TP_UNAVAILABLE. Not needed before serving. */
  ready(timeout?: Duration): Promise<void>
  /** How things stand, without asking Redis. */
  status(): StoreStatus
  /** Ends the connections; calls in flight may finish, for at most their deadline. */
  close(): Promise<void>
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
