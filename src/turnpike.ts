/** What `turnpike()` takes and returns: types only. */
import type { Duration } from './duration.ts'
import type { EventName, TurnpikeListener } from './events.ts'
import type { Instance } from './extension.ts'
import type { Caching } from './features/cache/index.ts'
import type { DataCache } from './features/data/options.ts'
import type { HealthApi } from './features/health/index.ts'
import type { IdempotencyApi } from './features/idempotency/index.ts'
import type { Locking } from './features/lock/index.ts'
import type { LockScope } from './features/lock/options.ts'
import type { RateLimiting, RateLimitScope } from './features/rate-limit/index.ts'
import type { Semaphores } from './features/semaphore/index.ts'
import type { SemaphoreScope } from './features/semaphore/options.ts'
import type { Sessions } from './features/session/index.ts'
import type { AdapterOptions, FrameworkAdapter } from './http/adapter.ts'
import type { NodeListener } from './http/cache-listener.ts'
import type { RedisSource } from './store/redis.ts'
import type { Store, StoreStatus } from './store/store.ts'
import type { Area } from './store/areas.ts'

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
  databases?: { readonly [area in Area]?: number }
  /** Servers of their own for some areas. */
  stores?: { readonly [area in Area]?: { redis: RedisSource | 'memory' } }
  /** Use the ioredis client that was handed in itself, with its options, not a hardened duplicate of it. Default false. */
  reuse?: boolean
  /**
   * Who answers a request that a feature refuses (429, 503, ...). `'reply'`: turnpike, with
   * problem+json (RFC 9457). `'next'`: the application's error handler, which gets an error with
   * `status`, `code`, `expose`, `headers` and `refusal`. A mount with a `reply` of its own replies
   * in both cases.
   * @default 'reply'
   */
  refusals?: 'reply' | 'next'
  /** Within which each call to Redis is answered, one way or the other. Default `'100ms'`. */
  commandTimeout?: Duration
  /** What one request may wait for Redis over all its features. Default `'150ms'`. */
  requestBudget?: Duration
  /** Calls to Redis that may be in flight at once. Default 5000. */
  maxInFlight?: number
  /** How many processes share the limits: while Redis is away each admits its part. Default 1. */
  instances?: number
  /** How many keys are counted in this process while Redis is away. Default 50,000. */
  fallbackMaxKeys?: number
}

/** What can be done outside a request for one tenant. */
export interface TenantScope extends RateLimitScope, LockScope, SemaphoreScope {}

/** One configured instance. It owns the connections, the prefix, the events and their end. */
export interface Turnpike<Native, Middleware>
  extends
    Instance<Native, Middleware>,
    RateLimiting<Native, Middleware>,
    Sessions<Native, Middleware>,
    Caching<Native, Middleware>,
    IdempotencyApi<Native, Middleware>,
    Locking<Native, Middleware>,
    Semaphores<Native, Middleware>,
    HealthApi<Native, Middleware>,
    AsyncDisposable {
  /** Plain values over the machinery of the response cache: get-or-fetch, wrap, namespaces, counters. */
  readonly data: DataCache
  /** Several middlewares as one: the commands of ours that need only the request are sent together. */
  pipeline(...members: Middleware[]): Middleware
  /** Returns the helpers for one tenant, outside a request. @throws TP_OPTION unless `id` is a string */
  forTenant(id: string): TenantScope
  /**
   * Returns a listener for `http.createServer()` that answers hits in the near cache before the
   * framework gets the request, for mounts of `tp.cache()` with `beforeFramework: true`. Everything
   * else goes to `app`. Middleware mounted outside such a cache (session, limits, guards, logs,
   * compression) does not see these hits.
   * @param app an Express application, Koa's `app.callback()`, or any `(req, res)`
   * @throws TP_OPTION for anything else
   */
  cacheListener(app: NodeListener): NodeListener
  /** Subscribes to an event and returns the function that unsubscribes. The same events are in node:diagnostics_channel as `turnpike:<name>`. */
  on<Name extends EventName>(name: Name, listener: TurnpikeListener<Name>): () => void
  /** Resolves when Redis can be used; rejects after `timeout` (default `'10s'`) with TP_UNAVAILABLE. Not needed before serving. */
  ready(timeout?: Duration): Promise<void>
  /** Returns the store's status without calling Redis. */
  status(): StoreStatus
  /** Ends the connections; calls in flight may finish, for at most their timeout. */
  close(): Promise<void>
}

/** What an entry hands in: its framework. @param adapter made for one instance */
export type AdapterFactory<Native, Middleware> = (
  options: AdapterOptions,
) => FrameworkAdapter<Native, Middleware>

/** What an entry of the package offers: `turnpike()` for one framework. */
export interface TurnpikeFactory<Native, Middleware> {
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
