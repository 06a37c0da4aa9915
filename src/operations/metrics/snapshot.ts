/** Reads the metrics of a process. */
import type { RuleLookup } from '../../control/active-rules.ts'
import {
  BUCKETS_MS,
  type CountedKind,
  type FeatureCounts,
  type ReadKind,
} from '../../feature-counts.ts'
import type { ExtensionContext } from '../../extension.ts'
import type { StoreStatus } from '../../store/store.ts'
import type { EventTotals } from '../event-totals.ts'
import { METRICS } from './catalogue.ts'
import type { MetricName } from './metric-name.ts'

/** Values of a metric's labels. */
export type MetricLabels = Readonly<Record<string, string>>

/** A value of a counter or gauge. */
export interface MetricSample {
  /** Values of the labels. */
  readonly labels: MetricLabels
  /** The count, or what is measured. */
  readonly value: number
}

/** Durations, by size. */
export interface HistogramSample {
  /** Values of the labels. */
  readonly labels: MetricLabels
  /** Upper bounds in seconds, without infinity. */
  readonly bounds: readonly number[]
  /** Number of durations in each bucket, not cumulative. The last is for those above all bounds. */
  readonly counts: readonly number[]
  /** Sum of the durations, in seconds. */
  readonly sum: number
}

/** A metric with its values. */
export type MetricFamily = {
  /** Its full name, for example `turnpike_limit_decisions_total`. */
  readonly name: string
  /** What it means. */
  readonly help: string
} & (
  | {
      /** Kind of the metric. */
      readonly type: 'counter' | 'gauge'
      /** Its values, one for each set of labels. */
      readonly samples: readonly MetricSample[]
    }
  | {
      /** Kind of the metric. */
      readonly type: 'histogram'
      /** Its values, one for each set of labels. */
      readonly samples: readonly HistogramSample[]
    }
)

/** Precedes the names of all metrics. */
export const METRIC_PREFIX = 'turnpike_'

/** What metrics are read from. */
export interface MetricSources {
  readonly context: ExtensionContext
  readonly totals: EventTotals
  readonly rules: RuleLookup
  status(): StoreStatus
  /** What the servers said of themselves, by store. Undefined: they were not asked. */
  readonly servers?: ReadonlyMap<string, Readonly<Record<string, string>>> | undefined
}

const sessionLabels = (session: string, outcome: string): MetricLabels => ({ session, outcome })

/** Returns all metrics that have values. It sends nothing to Redis. */
export function readMetrics({
  context,
  totals,
  status,
  rules,
  servers,
}: MetricSources): MetricFamily[] {
  const { counts } = context.events
  const { breaker, status: state } = status()
  const skew = context.store.kind === 'redis' ? (Date.now() - context.store.now()) / 1000 : 0
  const one = (labels: MetricLabels = {}, value = 1): MetricSample[] => [{ labels, value }]
  const values: Record<MetricName, readonly MetricSample[] | readonly HistogramSample[]> = {
    limit_decisions_total: rowSamples(counts, 'limit', (limit, outcome) => {
      const [decision = '', source = ''] = outcome.split(':')
      return { limit, outcome: decision, source }
    }),
    limit_refusals_total: rowSamples(counts, 'refusal', (name) => pair(name, 'limit', 'policy')),
    session_loads_total: rowSamples(counts, 'sessionLoad', sessionLabels),
    session_saves_total: rowSamples(counts, 'sessionSave', sessionLabels),
    session_events_total: rowSamples(counts, 'session', (session, type) => ({ session, type })),
    cache_requests_total: rowSamples(counts, 'cache', (cache, outcome) => ({ cache, outcome })),
    cache_fills_total: fillSamples(counts),
    cache_not_stored_total: rowSamples(counts, 'fill', (cache, why) =>
      why === 'stored' ? undefined : { cache, why },
    ),
    cache_make_seconds: durationSamples(counts, 'fill', (cache) => ({ cache })),
    cache_invalidations_total: rowSamples(counts, 'invalidation', (mode, outcome) => ({
      mode,
      outcome,
    })),
    near_bytes: readSamples(counts, 'nearBytes', () => ({})),
    near_entries: readSamples(counts, 'nearEntries', () => ({})),
    near_evictions_total: readSamples(counts, 'nearEvictions', () => ({})),
    data_requests_total: rowSamples(counts, 'data', (namespace, outcome) => ({
      namespace,
      outcome,
    })),
    idempotency_total: rowSamples(counts, 'idempotency', (mount, type) => ({ mount, type })),
    lease_total: rowSamples(counts, 'lease', (feature, type) => ({ feature, type })),
    lease_held: rowSamples(counts, 'held', (feature) => ({ feature }), true),
    lease_wait_seconds: durationSamples(counts, 'leaseWait', (feature) => ({ feature })),
    job_events_total: rowSamples(counts, 'job', (name, type) => ({
      ...pair(name, 'queue', 'task'),
      type,
    })),
    job_seconds: durationSamples(counts, 'job', (name) => pair(name, 'queue', 'task')),
    job_backlog: gaugeSamples(counts, 'jobBacklog', 0, (queue) => ({ queue })),
    job_oldest_seconds: gaugeSamples(counts, 'jobBacklog', 1, (queue) => ({ queue }), 1000),
    lease_hold_seconds: durationSamples(counts, 'leaseHold', (feature) => ({ feature })),
    store_operation_seconds: durationSamples(counts, 'operation', (name) =>
      pair(name, 'store', 'operation'),
    ),
    store_failures_total: totals.samples('failure', (reason) => ({ reason })),
    store_in_flight: readSamples(counts, 'inFlight', (store) => ({ store })),
    request_store_wait_seconds: durationSamples(counts, 'storeWait', () => ({})),
    unavailable_total: totals.samples('rule', (name) => pair(name, 'feature', 'rule')),
    connections_replaced_total: totals.samples('replaced', (store) => ({ store })),
    bans_total: rowSamples(counts, 'ban', (ban, outcome) => ({ ban, outcome })),
    rules: one({}, rules.total),
    control_version: one({}, rules.writes),
    maintenance: readSamples(counts, 'maintenance', (name) => ({ switch: name })),
    mount_mode: modeSamples(counts, rules),
    store_up: one({}, state === 'ok' ? 1 : 0),
    store_breaker_open: one({}, breaker === 'closed' ? 0 : 1),
    clock_skew_seconds: one({}, skew),
    service_up: readSamples(counts, 'serviceUp', (service) => ({ service })),
    build_info: one({ node: process.version }),
    ...serverMetrics(servers),
  }
  return Object.entries(METRICS).flatMap(([name, { type, help }]) => {
    const samples = values[name as MetricName]
    const family = { name: `${METRIC_PREFIX}${name}`, help, type, samples }
    return samples.length > 0 ? [family as MetricFamily] : []
  })
}

const serverMetrics = (servers: MetricSources['servers']) =>
  ({
    server_memory_bytes: serverSamples(servers, 'used_memory'),
    server_memory_limit_bytes: serverSamples(servers, 'maxmemory'),
    server_hits_total: serverSamples(servers, 'keyspace_hits'),
    server_misses_total: serverSamples(servers, 'keyspace_misses'),
    server_evictions_total: serverSamples(servers, 'evicted_keys'),
    server_clients: serverSamples(servers, 'connected_clients'),
  }) satisfies Partial<Record<MetricName, readonly MetricSample[]>>

function rowSamples(
  counts: FeatureCounts,
  kind: CountedKind,
  labelsOf: (name: string, outcome: string) => MetricLabels | undefined,
  hasZeros = false,
): MetricSample[] {
  const samples: MetricSample[] = []
  for (const { name, outcomes, values } of counts.rows(kind)) {
    for (const [i, outcome] of outcomes.entries()) {
      const value = values[i]!
      const labels = value > 0 || hasZeros ? labelsOf(name, outcome) : undefined
      if (labels) samples.push({ labels, value })
    }
  }
  return samples
}

/** Returns one column of rows that are no counts. @param unit how many of the column's unit are one of the metric's */
function gaugeSamples(
  counts: FeatureCounts,
  kind: CountedKind,
  column: number,
  labelsOf: (name: string) => MetricLabels,
  unit = 1,
): MetricSample[] {
  return Array.from(counts.rows(kind), ({ name, values }) => ({
    labels: labelsOf(name),
    value: values[column]! / unit,
  }))
}

function readSamples(
  counts: FeatureCounts,
  kind: ReadKind,
  labelsOf: (name: string) => MetricLabels,
): MetricSample[] {
  return (
    counts
      .readValues(kind)
      .map(({ name, read }) => ({ labels: labelsOf(name), value: read() }))
      // What is not known has no value.
      .filter(({ value }) => !Number.isNaN(value))
  )
}

function serverSamples(servers: MetricSources['servers'], field: string): MetricSample[] {
  return [...(servers ?? [])].flatMap(([store, info]) => {
    const value = Number(info[field] ?? NaN)
    return Number.isFinite(value) ? [{ labels: { store }, value }] : []
  })
}

/** Returns the modes that an operator has set for mounted limits. */
const modeSamples = (counts: FeatureCounts, rules: RuleLookup): MetricSample[] =>
  counts.mounts().flatMap(({ kind, name: limit }): MetricSample[] => {
    const mode = kind === 'rateLimit' ? rules.modeOf(limit) : undefined
    return mode === undefined ? [] : [{ labels: { limit, mode }, value: 1 }]
  })

function fillSamples(counts: FeatureCounts): MetricSample[] {
  return [...counts.rows('fill')].flatMap(({ name: cache, values }) => {
    const all = values.reduce((sum, value) => sum + value, 0)
    const stored = values[0]!
    return [
      { labels: { cache, outcome: 'stored' }, value: stored },
      { labels: { cache, outcome: 'not_stored' }, value: all - stored },
    ]
  })
}

function durationSamples(
  counts: FeatureCounts,
  kind: Parameters<FeatureCounts['durations']>[0],
  labelsOf: (name: string) => MetricLabels,
): HistogramSample[] {
  return Array.from(counts.histograms(kind), ({ name, values }) => ({
    labels: labelsOf(name),
    bounds: BUCKETS_MS.map((ms) => ms / 1000),
    counts: [...values.subarray(0, -1)],
    sum: values.at(-1)! / 1000,
  }))
}

/** Returns the two labels of a name that has two parts. The row of names without room has one. */
function pair(name: string, first: string, second: string): MetricLabels {
  const [a = '', b = a] = name.split('\n')
  return { [first]: a, [second]: b }
}
