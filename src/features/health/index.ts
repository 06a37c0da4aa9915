/** `tp.health()`: is the process alive, is it ready, and how is Redis? */
import { boolean, callback, validateOptions, anyOf, nonEmptyString } from '../../validate.ts'
import { durationOption, durationValidator, type Duration } from '../../duration.ts'
import { passThrough, type Exchange, type Feature, type Reply } from '../../http/exchange.ts'
import type { ExtensionContext } from '../../extension.ts'
import type { Store, StoreStatus } from '../../store/store.ts'

/** Options of `tp.health()`. */
export interface HealthOptions<Native> {
  /** Answer only below this path; other requests pass. Default: answer every request that comes here, the mount decides. */
  path?: string
  /** May the caller see Redis's version, memory, clients, uptime and hit rate? Default true. */
  details?: boolean | ((native: Native) => boolean | Promise<boolean>)
  /** For how long the details are kept before Redis is asked again. Default `'5s'`. */
  cacheFor?: Duration
  /** Answer 503 while Redis is away, also where requests are still served by their failure rules. Default false. */
  strict?: boolean
}

/** The body of the answer; the details are there when Redis could be asked. */
export interface HealthReport {
  /** `degraded`: Redis is away, and requests are answered by their failure rules. `error`: it was never there. */
  status: 'healthy' | 'degraded' | 'error'
  connected: boolean
  reason?: string
  latency_ms?: number
  version?: string
  used_memory?: string
  connected_clients?: number
  uptime_seconds?: number
  /** Share of reads on the whole server that found their key, from 0 to 1. */
  hit_rate?: number
  /** Share of requests that `tp.cache()` has answered in this process, from 0 to 1. */
  cache_hit_rate?: number
  warnings?: string[]
}

/** The health checks of an instance. */
export interface HealthApi<Native, Middleware> {
  /** Answers `/live`, `/ready` and the state of Redis. */
  health(options?: HealthOptions<Native>): Middleware
}

/**
 * Creates the health checks of an instance.
 * @param statusOf returns the status of its stores
 * @param hitRate returns the hit rate of its response cache, undefined before the first request
 */
export function createHealth<Native, Middleware>(
  context: ExtensionContext<Native, Middleware>,
  statusOf: () => StoreStatus,
  hitRate: () => number | undefined,
): { api: HealthApi<Native, Middleware> } {
  return {
    api: {
      health: (options) => context.mount(healthFeature(context.store, statusOf, hitRate, options)),
    },
  }
}

/** The health check as a feature: `/live`, `/ready`, and the details on any other path. */
function healthFeature<Native>(
  store: Store,
  statusOf: () => StoreStatus,
  hitRate: () => number | undefined,
  options: HealthOptions<Native> = {},
): Feature<Native> {
  const where = 'tp.health()'
  validateOptions(where, options, {
    path: nonEmptyString,
    details: anyOf(boolean, callback),
    cacheFor: durationValidator,
    strict: boolean,
  })
  const { path, details = true, strict = false } = options
  const cacheFor = durationOption(options.cacheFor ?? '5s', where, 'cacheFor', 0)
  let held: { until: number; details: Promise<Partial<HealthReport>> } | undefined

  /** Redis is asked once for all callers. */
  function detailsOf(): Promise<Partial<HealthReport>> {
    const now = performance.now()
    if (!held || held.until <= now) {
      const details = measure(store)
      held = { until: now + cacheFor, details }
      details.catch(() => (held = undefined))
    }
    return held.details
  }

  async function report(x: Exchange<Native>): Promise<Reply> {
    const status = statusOf()
    // A server that froze a moment ago still looks connected: what counts is that it answers.
    const found = status.status === 'ok' ? await detailsOf().catch(() => undefined) : undefined
    const ok = found !== undefined
    const body: HealthReport = {
      status: ok ? 'healthy' : status.status === 'down' ? 'error' : 'degraded',
      connected: ok,
    }
    if (ok && (typeof details === 'function' ? await details(x.native) : details)) {
      Object.assign(body, found)
      const rate = hitRate()
      if (rate !== undefined) body.cache_hit_rate = Math.round(rate * 1000) / 1000
      if (status.warnings.length > 0) body.warnings = status.warnings
    }
    if (!ok) body.reason = status.status === 'down' ? 'Redis was not reached yet' : 'Redis is away'
    return json(strict && !ok ? 503 : 200, body)
  }

  async function handle(x: Exchange<Native>): Promise<{ reply: Reply } | typeof passThrough> {
    const target = x.url.split('?', 1)[0]!.replace(/\/$/, '')
    if (path !== undefined && target !== path && !target.startsWith(`${path}/`)) return passThrough
    if (target.endsWith('/live')) return { reply: json(200, { status: 'alive' }) }
    if (!target.endsWith('/ready')) return { reply: await report(x) }
    const { status } = statusOf()
    const ready = strict ? status === 'ok' : status !== 'down'
    return { reply: json(ready ? 200 : 503, { status: ready ? 'ready' : 'not ready' }) }
  }

  return { name: 'health', handle }
}

async function measure(store: Store): Promise<Partial<HealthReport>> {
  const sent = performance.now()
  const info = await store.info()
  const latency = Math.round((performance.now() - sent) * 100) / 100
  if (store.kind === 'memory') return { latency_ms: latency }
  const hits = Number(info['keyspace_hits'])
  const reads = hits + Number(info['keyspace_misses'])
  return {
    latency_ms: latency,
    version: info['valkey_version'] ?? info['redis_version'] ?? 'unknown',
    used_memory: info['used_memory_human'] ?? 'unknown',
    connected_clients: Number(info['connected_clients']),
    uptime_seconds: Number(info['uptime_in_seconds']),
    ...(reads > 0 && { hit_rate: Math.round((hits / reads) * 1000) / 1000 }),
  }
}

const json = (status: number, body: object): Reply => ({
  status,
  headers: { 'Content-Type': 'application/json; charset=utf-8', 'Cache-Control': 'no-store' },
  body: JSON.stringify(body),
})
