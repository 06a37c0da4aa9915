/** `tp.metrics()`: what a process has counted, for Prometheus and OpenTelemetry. Loaded when it is read. */
import type { RuleLookup } from '../control/active-rules.ts'
import type { ExtensionContext } from '../extension.ts'
import { passThrough, type Exchange, type Feature, type Reply } from '../http/exchange.ts'
import type { Store, StoreStatus } from '../store/store.ts'
import {
  boolean,
  callback,
  isFunction,
  isObject,
  optionError,
  validateOptions,
} from '../validate.ts'
import { EventTotals } from './event-totals.ts'
import type { MetricRegistry } from './metrics/receivers.ts'
import type { ServerInfo, ServerInfoReader } from './metrics/server-info.ts'
import type { MetricFamily } from './metrics/snapshot.ts'

/** Options of `tp.metrics()`. */
export interface MetricsOptions<Native> {
  /**
   * Whether a request may read the metrics. Others get 404.
   * @default all may: mount it where only operators reach it
   * @example (req) => req.get('authorization') === `Bearer ${process.env.METRICS_TOKEN}`
   */
  authorize?: (native: Native) => boolean | Promise<boolean>
  /**
   * Whether the metrics contain Redis's memory, hit rate, evictions and clients. Redis is asked by one
   * INFO in five seconds at most. On a Cluster they are missing: use the exporter of its servers.
   * @default false: reading metrics sends nothing to Redis
   */
  server?: boolean
}

/** What the metrics of an instance are read from. */
export interface MetricsParts {
  status(): StoreStatus
  /** The rules of `tp.control`. */
  readonly rules: RuleLookup
  /** Returns the open stores by name. */
  stores(): ReadonlyMap<string, Store>
}

/** Metrics outside a request. */
export interface Metrics {
  /**
   * Resolves with the metrics in a text format.
   * @param format Prometheus's format or OpenMetrics. Default `'prometheus'`
   */
  text(format?: 'prometheus' | 'openmetrics'): Promise<string>
  /**
   * Adds the metrics to a registry of prom-client, which then contains them at each scrape.
   * @throws TP_OPTION unless it has `registerMetric`
   * @example
   * await tp.metrics().register(promClient.register)
   */
  register(registry: MetricRegistry): Promise<void>
  /**
   * Returns a MetricProducer for OpenTelemetry.
   * @example
   * new PeriodicExportingMetricReader({ exporter, metricProducers: [tp.metrics().producer()] })
   */
  producer(): { collect(): Promise<any> }
  /** Resolves with the metrics as data. */
  snapshot(): Promise<MetricFamily[]>
}

/** The metrics of an instance. */
export interface MetricsApi<Native, Middleware> {
  /**
   * Returns a middleware that answers with the metrics of this process, in Prometheus's text format or
   * OpenMetrics. docs/metrics.md lists the metrics.
   * @throws TP_OPTION
   * @example
   * const isLocal = (req) => /^(::ffff:)?127\.|^::1$/.test(req.ip ?? '')
   * app.get('/metrics', tp.metrics({ authorize: isLocal }))
   */
  metrics(options?: MetricsOptions<Native>): Middleware & Metrics
}

/** Creates the metrics of an instance. */
export function createMetrics<Native, Middleware extends object>(
  context: ExtensionContext<Native, Middleware>,
  { status, rules, stores }: MetricsParts,
): { api: MetricsApi<Native, Middleware> } {
  const since = Date.now()
  let totals: EventTotals | undefined

  let reader: ServerInfoReader | undefined

  async function serverInfo(): Promise<ServerInfo> {
    const { ServerInfoReader } = await import('./metrics/server-info.ts')
    reader ??= new ServerInfoReader(stores)
    return await reader.read()
  }

  async function snapshotOf(hasServers: boolean): Promise<MetricFamily[]> {
    const { readMetrics } = await import('./metrics/snapshot.ts')
    const servers = hasServers ? await serverInfo() : undefined
    return readMetrics({ context, totals: totals!, status, rules, servers })
  }

  const createReaders = (snapshot: () => Promise<MetricFamily[]>): Metrics => ({
    snapshot,
    async text(format = 'prometheus') {
      const { metricsText } = await import('./metrics/exposition.ts')
      return metricsText(await snapshot(), format === 'openmetrics')
    },
    async register(registry) {
      if (
        !isObject(registry) ||
        !isFunction((registry as { registerMetric?: unknown }).registerMetric)
      )
        throw optionError(
          'tp.metrics().register()',
          'registry',
          registry,
          'a Registry of prom-client',
        )
      const { registerMetrics } = await import('./metrics/receivers.ts')
      registerMetrics(registry, snapshot)
    },
    producer: () => ({
      async collect() {
        const { openTelemetryMetrics } = await import('./metrics/receivers.ts')
        return openTelemetryMetrics(await snapshot(), since)
      },
    }),
  })
  return {
    api: {
      metrics(options = {}) {
        validateOptions('tp.metrics()', options, { authorize: callback, server: boolean })
        totals ??= new EventTotals(context.events)
        const metrics = createReaders(() => snapshotOf(options.server === true))
        return Object.assign(context.mount(metricsFeature(metrics.text, options)), metrics)
      },
    },
  }
}

function metricsFeature<Native>(
  text: Metrics['text'],
  { authorize }: MetricsOptions<Native>,
): Feature<Native> {
  async function handle(x: Exchange<Native>): Promise<{ reply: Reply } | typeof passThrough> {
    if (x.method !== 'GET' && x.method !== 'HEAD') return passThrough
    // What JavaScript returns may be anything. Only `true` allows.
    const isAllowed: unknown = authorize ? await authorize(x.native) : true
    if (isAllowed !== true)
      return { reply: { status: 404, headers: { 'Cache-Control': 'no-store' }, body: '' } }
    const isOpen = x.header('accept')?.includes('application/openmetrics-text') ?? false
    const { OPENMETRICS_TYPE, PROMETHEUS_TYPE } = await import('./metrics/exposition.ts')
    return {
      reply: {
        status: 200,
        headers: {
          'Content-Type': isOpen ? OPENMETRICS_TYPE : PROMETHEUS_TYPE,
          'Cache-Control': 'no-store',
        },
        body: await text(isOpen ? 'openmetrics' : 'prometheus'),
      },
    }
  }
  return { name: 'metrics', handle }
}
