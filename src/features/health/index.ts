/** `tp.health()`: whether the process is alive and ready, and the state of Redis. */
import {
  anyOf,
  boolean,
  callback,
  nonEmptyString,
  validateOptions,
  type Validator,
  isListOf,
} from '../../validate.ts'
import { durationOption, durationValidator, type Duration } from '../../duration.ts'
import { passThrough, type Exchange, type Feature, type Reply } from '../../http/exchange.ts'
import type { ExtensionContext } from '../../extension.ts'
import type { Store, StoreStatus } from '../../store/store.ts'
import { reportedServices, type HealthService, type ServiceSource } from './services.ts'
import { checksValidator, runChecks, type HealthCheck, type HealthChecks } from './checks.ts'

/** Options of `tp.health()`. */
export interface HealthOptions<Native> {
  /**
   * Path below which it answers. Other requests pass.
   * @default none: it answers every request that reaches it, so the mount decides
   * @example '/health'
   */
  path?: string
  /**
   * Whether the report has details: version, memory, clients, uptime and hit rate of Redis. A
   * function decides for each request.
   * @default true
   * @example (req) => /^(::ffff:)?127\.|^::1$/.test(req.ip ?? '')
   */
  details?: boolean | ((native: Native) => boolean | Promise<boolean>)
  /**
   * How long the details are reused before Redis is asked again.
   * @default '5s'
   */
  cacheFor?: Duration
  /**
   * Whether the report and `/ready` answer 503 while Redis is away, although requests are still
   * served by the failure rules.
   * @default false
   */
  strict?: boolean
  /**
   * Further checks by name, for example of a queue of jobs. The report shows what each returns. A
   * `status` other than `'ok'` makes the report `degraded`, and 503 with `strict`. `/ready` does not
   * depend on them.
   * @default none
   * @example { orders: () => queue.health() }
   */
  checks?: HealthChecks
  /**
   * Names of services of `tp.service()` without which the process is of no use. If one is in the state
   * `error`, the report is `degraded` and `/ready` answers 503. Other services are shown, and change
   * neither.
   * @default none
   * @example ['payments']
   */
  services?: readonly string[]
}

/** Body of the report. The details are present if Redis could be asked and `details` allows it. */
export interface HealthReport {
  /** `degraded`: Redis is away, and the failure rules apply. `error`: Redis was never reached. */
  status: 'healthy' | 'degraded' | 'error'
  /** Whether Redis replied. */
  connected: boolean
  /** Why `status` is not `healthy`. */
  reason?: string
  /** Duration of one call to Redis, in milliseconds. */
  latency_ms?: number
  /** Version of Redis or Valkey. */
  version?: string
  /** Memory that the server uses, as it reports it. */
  used_memory?: string
  /** Number of clients that are connected to the server. */
  connected_clients?: number
  /** Seconds since the server was started. */
  uptime_seconds?: number
  /** Share of reads on the whole server that found their key, from 0 to 1. */
  hit_rate?: number
  /** Share of requests that `tp.cache()` has answered in this process, from 0 to 1. */
  cache_hit_rate?: number
  /** What an operator should fix. */
  warnings?: string[]
  /** Results of `checks`, if `details` allows them. */
  checks?: Readonly<Record<string, HealthCheck>>
  /** Services of `tp.service()` by name, if this process uses it. */
  services?: Readonly<Record<string, HealthService>>
}

/** What the health checks of an instance are made of. */
export interface HealthParts {
  /** Returns the status of its stores. */
  status(): StoreStatus
  /** Returns the hit rate of its response cache, undefined before the first request. */
  hitRate(): number | undefined
  readonly services: ServiceSource
}

const noResults: Readonly<Record<string, HealthCheck>> = {}

const pathValidator: Validator = {
  expected: "a path that begins with '/'",
  accepts: (value) => typeof value === 'string' && value.startsWith('/'),
  suggest: (value) => (typeof value === 'string' && value !== '' ? `'/${value}'` : undefined),
}

const serviceNames: Validator = {
  expected: 'names of services, like ["payments"]',
  accepts: (value) => isListOf(value, nonEmptyString.accepts, 0),
  suggest: (value) => (nonEmptyString.accepts(value) ? `['${String(value)}']` : undefined),
}

/** The health checks of an instance. */
export interface HealthApi<Native, Middleware> {
  /**
   * Returns a middleware that reports the state of Redis. Paths that end with `/live` and `/ready`
   * answer the probes of an orchestrator.
   * @throws TP_OPTION
   * @example
   * app.use('/health', tp.health())
   */
  health(options?: HealthOptions<Native>): Middleware
}

/** Creates the health checks of an instance. */
export function createHealth<Native, Middleware>(
  context: ExtensionContext<Native, Middleware>,
  parts: HealthParts,
): { api: HealthApi<Native, Middleware> } {
  return {
    api: { health: (options) => context.mount(healthFeature(context, parts, options)) },
  }
}

/** Returns the health check as a feature. */
function healthFeature<Native>(
  { store }: ExtensionContext,
  { hitRate, services, status: statusOf }: HealthParts,
  options: HealthOptions<Native> = {},
): Feature<Native> {
  const where = 'tp.health()'
  validateOptions(where, options, {
    path: pathValidator,
    details: anyOf(boolean, callback),
    cacheFor: durationValidator,
    strict: boolean,
    checks: checksValidator,
    services: serviceNames,
  })
  const { details = true, strict = false, checks = {}, services: needed = [] } = options
  const hasChecks = Object.keys(checks).length > 0
  const path = options.path?.replace(/\/+$/, '')
  const cacheFor = durationOption(options.cacheFor ?? '5s', where, 'cacheFor', 0)
  let cached: { until: number; details: Promise<Partial<HealthReport>> } | undefined
  let checked: { until: number; results: Promise<Record<string, HealthCheck>> } | undefined

  /** Asks Redis once for all callers. */
  function detailsOf(): Promise<Partial<HealthReport>> {
    const now = store.monotonic()
    if (!cached || cached.until <= now) {
      const details = measure(store, services)
      cached = { until: now + cacheFor, details }
      details.catch(() => (cached = undefined))
    }
    return cached.details
  }

  /** Runs the checks once for all callers. */
  function checkAll(): Promise<Record<string, HealthCheck>> {
    const now = store.monotonic()
    if (!checked || checked.until <= now)
      checked = { until: now + cacheFor, results: runChecks(checks) }
    return checked.results
  }

  /** Returns a needed service that does not work. This process has heard of it: no store is asked. */
  const missing = (): string | undefined =>
    needed.find((name) => services.stateOf(name) === 'error')

  async function report(x: Exchange<Native>): Promise<Reply> {
    const status = statusOf()
    // Ask a server that looks connected, too. It may have been frozen a moment ago.
    const [found, results] = await Promise.all([
      status.status === 'ok' ? detailsOf().catch(() => undefined) : undefined,
      hasChecks ? checkAll() : noResults,
    ])
    const down = missing()
    const failed =
      Object.entries(results).find(([, result]) => result.status !== 'ok') ??
      (down === undefined ? undefined : [down, { status: 'error' }])
    const ok = found !== undefined && failed === undefined
    const body: HealthReport = {
      status: ok ? 'healthy' : status.status === 'down' ? 'error' : 'degraded',
      connected: found !== undefined,
    }
    const isShown =
      (found !== undefined || hasChecks) &&
      (typeof details === 'function' ? await details(x.native) : details)
    if (found !== undefined && isShown) {
      Object.assign(body, found)
      const rate = hitRate()
      if (rate !== undefined) body.cache_hit_rate = Math.round(rate * 1000) / 1000
      if (status.warnings.length > 0) body.warnings = status.warnings
    }
    if (hasChecks && isShown) body.checks = results
    if (found === undefined)
      body.reason = status.status === 'down' ? 'Redis has not been reached yet' : 'Redis is away'
    else if (failed) body.reason = isShown ? `${failed[0]}: ${failed[1].status}` : 'A check failed'
    return json(strict && !ok ? 503 : 200, body)
  }

  async function handle(x: Exchange<Native>): Promise<{ reply: Reply } | typeof passThrough> {
    const target = x.url.split('?', 1)[0]!.replace(/\/$/, '')
    if (path !== undefined && target !== path && !target.startsWith(`${path}/`)) return passThrough
    if (target.endsWith('/live')) return { reply: json(200, { status: 'alive' }) }
    if (!target.endsWith('/ready')) return { reply: await report(x) }
    const { status } = statusOf()
    const isReachable = strict ? status === 'ok' : status !== 'down'
    const ready = isReachable && missing() === undefined
    return { reply: json(ready ? 200 : 503, { status: ready ? 'ready' : 'not ready' }) }
  }

  return { name: 'health', handle }
}

/** Asks Redis for its details. */
async function measure(store: Store, services: ServiceSource): Promise<Partial<HealthReport>> {
  const listed = services.isUsed ? reportedServices(services) : undefined
  // It is awaited below. A failure before that would be unhandled.
  listed?.catch(() => {})
  const sent = performance.now()
  const info = await store.info()
  const latency = Math.round((performance.now() - sent) * 100) / 100
  const shown = listed && { services: await listed }
  if (store.kind === 'memory') return { latency_ms: latency, ...shown }
  const hits = Number(info['keyspace_hits'])
  const reads = hits + Number(info['keyspace_misses'])
  return {
    latency_ms: latency,
    version: info['valkey_version'] ?? info['redis_version'] ?? 'unknown',
    used_memory: info['used_memory_human'] ?? 'unknown',
    connected_clients: Number(info['connected_clients']),
    uptime_seconds: Number(info['uptime_in_seconds']),
    ...(reads > 0 && { hit_rate: Math.round((hits / reads) * 1000) / 1000 }),
    ...shown,
  }
}

const json = (status: number, body: object): Reply => ({
  status,
  headers: { 'Content-Type': 'application/json; charset=utf-8', 'Cache-Control': 'no-store' },
  body: JSON.stringify(body),
})
