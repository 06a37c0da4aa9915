/** Metrics for the registry of prom-client and for OpenTelemetry. Neither package is imported. */
import { METRICS } from './catalogue.ts'
import { METRIC_PREFIX, type HistogramSample, type MetricFamily } from './snapshot.ts'

/** What is needed of a Registry of prom-client. */
export interface MetricRegistry {
  /** Adds a metric. */
  registerMetric(metric: any): void
}

/** Registers all metrics with a registry of prom-client, which reads them when it is scraped. */
export function registerMetrics(
  registry: MetricRegistry,
  read: () => Promise<MetricFamily[]>,
): void {
  for (const [short, { type, help, labels }] of Object.entries(METRICS)) {
    const name = `${METRIC_PREFIX}${short}`
    registry.registerMetric({
      name,
      help,
      type,
      labelNames: labels,
      aggregator: 'sum',
      collect() {},
      reset() {},
      async get() {
        const family = (await read()).find((each) => each.name === name)
        return { name, help, type, aggregator: 'sum', values: family ? valuesOf(family) : [] }
      },
    })
  }
}

function valuesOf(family: MetricFamily): object[] {
  if (family.type !== 'histogram')
    return family.samples.map(({ labels, value }) => ({ labels, value }))
  return family.samples.flatMap(({ labels, bounds, counts, sum }) => {
    let count = 0
    const buckets = [...bounds, Infinity].map((bound, i) => {
      count += counts[i]!
      const le = bound === Infinity ? '+Inf' : bound
      return { metricName: `${family.name}_bucket`, labels: { ...labels, le }, value: count }
    })
    return [
      ...buckets,
      { metricName: `${family.name}_sum`, labels, value: sum },
      { metricName: `${family.name}_count`, labels, value: count },
    ]
  })
}

/** Codes of OpenTelemetry's enumerations: AggregationTemporality, DataPointType, ValueType. */
const CUMULATIVE = 1
const HISTOGRAM = 0
const GAUGE = 2
const SUM = 3
const DOUBLE = 1

type HighResolutionTime = [seconds: number, nanoseconds: number]

const timeOf = (ms: number): HighResolutionTime => [Math.floor(ms / 1000), (ms % 1000) * 1_000_000]

/** Returns metrics as OpenTelemetry's MetricProducer collects them. @param since when counting began */
export function openTelemetryMetrics(families: readonly MetricFamily[], since: number): object {
  const startTime = timeOf(since)
  const endTime = timeOf(Date.now())
  const metrics = families.map((family) => {
    const { name, help: description, type } = family
    const unit = name.endsWith('_seconds') ? 's' : ''
    const point = { startTime, endTime }
    return {
      descriptor: { name, description, unit, valueType: DOUBLE, type: type.toUpperCase() },
      aggregationTemporality: CUMULATIVE,
      dataPointType: type === 'histogram' ? HISTOGRAM : type === 'counter' ? SUM : GAUGE,
      ...(type === 'counter' && { isMonotonic: true }),
      dataPoints:
        family.type === 'histogram'
          ? family.samples.map((each) => ({ ...point, ...histogramPoint(each) }))
          : family.samples.map(({ labels, value }) => ({ ...point, attributes: labels, value })),
    }
  })
  return {
    resourceMetrics: {
      resource: { attributes: {}, merge: (other: unknown) => other },
      scopeMetrics: [{ scope: { name: 'turnpike' }, metrics }],
    },
    errors: [],
  }
}

function histogramPoint({ labels, bounds, counts, sum }: HistogramSample): object {
  const count = counts.reduce((all, each) => all + each, 0)
  return {
    attributes: labels,
    value: { buckets: { boundaries: [...bounds], counts: [...counts] }, sum, count },
  }
}
