/** What `turnpike()` takes and returns: types only. */
import type { Logger } from './availability-log.ts'
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
import type { ControlApi } from './operations/control/options.ts'
import type { AlertsApi } from './operations/alerts/index.ts'
import type { OperationsApi } from './operations/index.ts'
import type { ServicesApi } from './operations/services/index.ts'
import type { DashboardApi } from './operations/dashboard.ts'
import type { MetricsApi } from './operations/metrics.ts'
import type { OperationsOptions } from './operations/options.ts'
import type { AdapterOptions, FrameworkAdapter } from './http/adapter.ts'
import type { NodeListener } from './http/cache-listener.ts'
import type { TenantSource } from './http/tenant.ts'
import type { RedisSource } from './store/redis.ts'
import type { Store, StoreStatus } from './store/store.ts'
import type { Area } from './store/areas.ts'

/** Options of `turnpike()`. All have defaults. */
export interface TurnpikeOptions<Native> {
  /**
   * Location of Redis. One of: a URL, options of ioredis, `{ cluster: nodes }`, an ioredis client or
   * Cluster of your own, `'memory'` for the in-process engine.
   *
   * A client is not used itself: turnpike connects a duplicate of it (see `reuse`).
   * @default REDIS_URL. Without it the in-process engine, and in production the error TP_NO_REDIS.
   * @example 'redis://localhost:6379'
   * @example { sentinels: [{ host: 'sentinel-1', port: 26379 }], name: 'main' }
   * @example { cluster: [{ host: 'node-1', port: 6379 }] }
   */
  redis?: RedisSource | 'memory'
  /**
   * Store in place of Redis, for tests: `testStore()` of `turnpike/testing`.
   * @default none
   */
  store?: Store
  /**
   * Beginning of every key: up to 32 letters, digits and `_.:-`. Applications that share a Redis need
   * different prefixes.
   * @default 'tp'
   * @example 'shop'
   */
  prefix?: string
  /**
   * Version of the stored data. It is added to every key, so a new value discards all stored data.
   * Keys of `operations` have no version: rules of `tp.control` hold for all releases.
   * @default none
   * @example 2
   */
  version?: string | number
  /**
   * The tenant of a request: a function that returns it, or `'host'`. The tenant becomes part of every
   * key, so that tenants never share data. A request without one fails with TP_KEY.
   *
   * Hosts are tenants in lower case, without a port and a final dot. A function sees the host of its
   * request in this form.
   * @default none: the application has no tenants
   * @example (req) => req.user.team
   */
  tenant?: TenantSource<Native>
  /**
   * Placement of the areas (sessions, cache, limits ...). `'prefix'`: one database, in which keys
   * tell them apart. `'databases'`: a database and a connection for each area.
   * @default 'prefix'
   */
  layout?: 'prefix' | 'databases'
  /**
   * Number of the database for each area. Not available on a Cluster.
   * @default none. With `layout: 'databases'`: session 0, cache 1, rateLimit 2, realtime 3, queue 4,
   *   others 0.
   * @example { session: 0, cache: 1, rateLimit: 2 }
   */
  databases?: { readonly [area in Area]?: number }
  /**
   * Servers of their own for some areas.
   * @default none: all areas use `redis`
   * @example { cache: { redis: 'redis://cache:6379' } }
   */
  stores?: { readonly [area in Area]?: { redis: RedisSource | 'memory' } }
  /**
   * Whether the ioredis client in `redis` is used itself, with its own options. By default turnpike
   * uses a duplicate whose options let no command run late or twice.
   * @default false
   */
  reuse?: boolean
  /**
   * Who answers a request that a feature refuses (429, 503, ...). `'reply'`: turnpike, with
   * problem+json (RFC 9457). `'next'`: the application's error handler, which gets an error with
   * `status`, `code`, `expose`, `headers` and `refusal`. A mount with a `reply` of its own replies
   * in both cases.
   * @default 'reply'
   */
  refusals?: 'reply' | 'next'
  /**
   * Receiver of log lines. There is one when Redis goes away, and one when it is back. After 1, 5 and 30
   * minutes one says that it is still away. Each minute in which limits refused, or calls to Redis were
   * slow, has a line about it. `false`: no lines.
   * @default standard error: text on a terminal, a line of JSON elsewhere
   * @example console
   * @example pino()
   */
  logger?: Logger | false
  /**
   * Timeout for each Redis call. After it, the `fail` rule of the feature applies.
   * @default '100ms'
   */
  commandTimeout?: Duration
  /**
   * Time that one request may wait for Redis in all, over all its features. What the application
   * awaits itself (`limiter.consume()`, `session.save()`) is not counted.
   * @default '150ms'
   */
  requestBudget?: Duration
  /**
   * Number of Redis calls that may be in flight at once. Further calls fail at once with
   * TP_UNAVAILABLE (`saturated`).
   * @default 5000
   */
  maxInFlight?: number
  /**
   * Number of processes that share the limits. While Redis is away, each admits its part of a limit.
   * `'auto'`: the processes that were live when this one last reported (see `operations`), and 1
   * before its first report.
   * @default 1
   */
  instances?: number | 'auto'
  /**
   * Whether the process reports to Redis every ten seconds: what it has mounted and counted, and how it
   * is. `tp.processes()` and the program `turnpike` show it. Options name its service and release.
   * @default true, and false without Redis
   * @example { service: 'checkout', release: process.env.GIT_COMMIT }
   */
  operations?: boolean | OperationsOptions
  /**
   * Number of keys that this process counts itself while Redis is away.
   * @default 50_000
   */
  fallbackMaxKeys?: number
}

/** Helpers for one tenant outside a request. */
export interface TenantScope extends RateLimitScope, LockScope, SemaphoreScope {}

/**
 * A configured instance. It owns the connections, the key prefix and the events.
 * @template Native the framework's request: Express's and node's `req`, Koa's `ctx`
 * @template Middleware what its methods return
 * @template Member what `pipeline()` accepts
 */
export interface Turnpike<Native, Middleware, Member = Middleware>
  extends
    Instance<Native, Middleware>,
    RateLimiting<Native, Middleware>,
    Sessions<Native, Middleware>,
    Caching<Native, Middleware>,
    IdempotencyApi<Native, Middleware>,
    Locking<Native, Middleware>,
    Semaphores<Native, Middleware>,
    HealthApi<Native, Middleware>,
    AlertsApi,
    OperationsApi,
    ServicesApi,
    ControlApi<Native, Middleware>,
    DashboardApi<Native, Middleware>,
    MetricsApi<Native, Middleware>,
    AsyncDisposable {
  /** Cache of plain values: get-or-fetch, memoized functions, namespaces, counters. */
  readonly data: DataCache
  /**
   * Returns one middleware that runs several in order. The Redis commands of members that need only
   * the request are sent together, in one round trip.
   * @param members middlewares of turnpike or of others
   * @throws TP_OPTION for a member that is no middleware or that handles errors
   * @example
   * app.get('/feed', tp.pipeline(tp.session({ secret }), tp.rateLimit({ limit: 60, window: '1m' })), feed)
   */
  pipeline(...members: Member[]): Middleware
  /**
   * Returns the helpers for one tenant, outside a request.
   * @throws TP_OPTION unless `id` is a string
   */
  forTenant(id: string): TenantScope
  /**
   * Returns a listener for `http.createServer()` that answers hits in the near cache before the
   * framework gets the request, for mounts of `tp.cache()` with `beforeFramework: true`. Everything
   * else goes to `app`. Middleware mounted outside such a cache (session, limits, guards, logs,
   * compression) does not see these hits.
   * @param app an Express application, Koa's `app.callback()`, or any `(req, res)`
   * @throws TP_OPTION for anything else
   * @example
   * http.createServer(tp.cacheListener(app)).listen(3000)
   */
  cacheListener(app: NodeListener): NodeListener
  /**
   * Subscribes to an event. The same events are published to `node:diagnostics_channel` as
   * `turnpike:<name>`.
   * @returns the function that unsubscribes
   * @throws TP_OPTION unless `listener` is a function
   * @example
   * tp.on('warning', ({ message }) => logger.warn(message))
   */
  on<Name extends EventName>(name: Name, listener: TurnpikeListener<Name>): () => void
  /**
   * Resolves when Redis can be used. Serving need not wait for it: until then, the failure rules
   * apply.
   * @param timeout after which it rejects. Default `'10s'`.
   * @throws TP_UNAVAILABLE after `timeout`
   * @throws TP_NO_IOREDIS if ioredis cannot be loaded
   */
  ready(timeout?: Duration): Promise<void>
  /** Returns the store's status without calling Redis. */
  status(): StoreStatus
  /**
   * Closes the instance. New idempotent requests, locks and permits are refused. Those in progress may
   * finish, and their responses are stored. Then extensions and connections are closed; calls in
   * flight may finish, for at most `commandTimeout`.
   *
   * @param options `drain`: how long work in progress may take. Default `'10s'`.
   * @throws TP_OPTION for an option that cannot be used
   * @example
   * process.once('SIGTERM', () => {
   *   server.close(() => tp.close())
   *   setTimeout(() => server.closeAllConnections(), 20_000).unref()
   * })
   */
  close(options?: { drain?: Duration }): Promise<void>
}

/** Returns how features are run in a framework. Called once for each instance. */
export type AdapterFactory<Native, Middleware> = (
  options: AdapterOptions,
) => FrameworkAdapter<Native, Middleware>

/** The function `turnpike()` of one entry of the package. */
export interface TurnpikeFactory<Native, Middleware, Member = Middleware> {
  /**
   * Creates an instance: one configured store, and the middlewares that share it. Redis need not be
   * up yet. Until it is, the failure rules apply.
   * @throws TP_OPTION for an option that cannot be used
   * @throws TP_NO_REDIS in production if neither `redis` nor REDIS_URL says where Redis is
   * @example
   * const tp = turnpike({ redis: 'redis://localhost:6379', prefix: 'shop' })
   * app.use(tp.rateLimit({ limit: 300, window: '1m' }))
   */
  (options?: TurnpikeOptions<Native>): Turnpike<Native, Middleware, Member>
  /**
   * Creates an instance whose Redis is described by REDIS_URL, REDIS_USERNAME, REDIS_PASSWORD,
   * REDIS_SSL, REDIS_SSL_CA_CERTS, REDIS_SSL_CERTFILE and REDIS_SSL_KEYFILE. The last three name
   * files. `options` win over the environment.
   * @throws TP_OPTION, TP_NO_REDIS
   */
  fromEnv(options?: TurnpikeOptions<Native>): Turnpike<Native, Middleware, Member>
}
