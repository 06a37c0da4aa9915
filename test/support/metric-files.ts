/** The page, the dashboard and the alerting rules, generated from the table of metrics. */
import { METRICS } from '../../src/operations/metrics/catalogue.ts'
import type { MetricDefinition } from '../../src/operations/metrics/metric-name.ts'
import { METRIC_PREFIX } from '../../src/operations/metrics/snapshot.ts'
import { THRESHOLDS, type ThresholdName } from '../../src/operations/thresholds.ts'

const all: [name: string, definition: MetricDefinition][] = Object.entries(METRICS).map(
  ([name, definition]) => [`${METRIC_PREFIX}${name}`, definition],
)

/** Returns the part of docs/metrics.md that lists the metrics. */
export function metricTable(): string {
  const rows = all.map(([name, { type, help, labels, remedy = '' }]) => {
    const named = labels.map((label) => `\`${label}\``).join(', ')
    return `| \`${name}\` | ${type} | ${named} | ${help} | ${remedy} |`
  })
  return [
    '| metric | type | labels | meaning | what to do |',
    '|---|---|---|---|---|',
    ...rows,
  ].join('\n')
}

/** Returns what a panel shows of a metric. */
function expressionOf(name: string, { type, labels }: MetricDefinition): string {
  const by = labels.length > 0 ? ` by (${labels.join(', ')})` : ''
  if (type === 'counter') return `sum(rate(${name}[5m]))${by}`
  if (type === 'gauge') return labels.length > 0 ? `sum(${name})${by}` : name
  const parts = ['le', ...labels].join(', ')
  return `histogram_quantile(0.99, sum(rate(${name}_bucket[5m])) by (${parts}))`
}

/** Returns the dashboard for Grafana. */
export function dashboard(): string {
  const panels = all.map(([name, definition], i) => ({
    id: i + 1,
    type: 'timeseries',
    title: name,
    description: [definition.help, definition.remedy].filter(Boolean).join(' '),
    datasource: { type: 'prometheus', uid: '${datasource}' },
    gridPos: { h: 8, w: 12, x: (i % 2) * 12, y: Math.floor(i / 2) * 8 },
    fieldConfig: {
      defaults: {
        unit: name.endsWith('_seconds') ? 's' : definition.type === 'counter' ? 'ops' : 'short',
      },
      overrides: [],
    },
    targets: [
      {
        refId: 'A',
        expr: expressionOf(name, definition),
        legendFormat: definition.labels.map((label) => `{{${label}}}`).join(' ') || name,
      },
    ],
  }))
  const datasource = { name: 'datasource', type: 'datasource', query: 'prometheus' }
  const board = {
    title: 'turnpike',
    uid: 'turnpike',
    schemaVersion: 39,
    time: { from: 'now-3h', to: 'now' },
    refresh: '30s',
    templating: { list: [datasource] },
    panels,
  }
  return `${JSON.stringify(board, null, 2)}\n`
}

/** Returns a mark of the table as Prometheus compares with it: times in seconds. */
function beyond(name: ThresholdName, level: 'warn' | 'critical'): string {
  const { bad, unit, [level]: mark } = THRESHOLDS[name]
  if (mark === undefined) throw new Error(`${name} has no mark ${level}`)
  return `${bad === 'above' ? '>' : '<'} ${unit === 'ms' ? mark / 1000 : mark}`
}

const RULES = [
  {
    alert: 'TurnpikeRedisAway',
    expr: 'turnpike_store_up == 0',
    for: '1m',
    severity: 'critical',
    metric: 'store_up',
    summary: 'Redis cannot be used by {{ $labels.instance }}. The failure rules apply.',
  },
  {
    alert: 'TurnpikeRedisSlow',
    expr: `histogram_quantile(0.99, sum(rate(turnpike_store_operation_seconds_bucket[5m])) by (le)) ${beyond('slowCall', 'warn')}`,
    for: '5m',
    severity: 'warning',
    metric: 'store_operation_seconds',
    summary: 'One call to Redis in a hundred takes more than 50 ms.',
  },
  {
    alert: 'TurnpikeRedisMemory',
    expr: `max(turnpike_server_memory_bytes / (turnpike_server_memory_limit_bytes > 0)) by (store) ${beyond('memory', 'critical')}`,
    for: '1m',
    severity: 'critical',
    metric: 'server_memory_bytes',
    summary: 'The memory of Redis is nearly full.',
  },
  {
    alert: 'TurnpikeRedisEvictions',
    expr: `max(increase(turnpike_server_evictions_total[10m])) by (store) ${beyond('evictions', 'warn')}`,
    for: '0m',
    severity: 'warning',
    metric: 'server_evictions_total',
    summary: 'Redis was full and deleted keys in the last ten minutes.',
  },
  {
    alert: 'TurnpikeLeaseLost',
    expr: 'increase(turnpike_lease_total{type="lost"}[10m]) > 0',
    for: '0m',
    severity: 'warning',
    metric: 'lease_total',
    summary: 'A lock or permit was lost while work was in progress.',
  },
  {
    alert: 'TurnpikeJobFailed',
    expr: 'increase(turnpike_job_events_total{type=~"failed|stalled"}[10m]) > 0',
    for: '0m',
    severity: 'warning',
    metric: 'job_events_total',
    summary: 'Jobs of the queue {{ $labels.queue }} failed for good, or their worker was lost.',
  },
  {
    alert: 'TurnpikeJobsLate',
    expr: `max(turnpike_job_oldest_seconds) by (queue) ${beyond('waitingJob', 'warn')}`,
    for: '5m',
    severity: 'warning',
    metric: 'job_oldest_seconds',
    summary: 'A job of the queue {{ $labels.queue }} has waited for more than five minutes.',
  },
  {
    alert: 'TurnpikeResponseUnstored',
    expr: 'increase(turnpike_idempotency_total{type="unstored"}[10m]) > 0',
    for: '0m',
    severity: 'critical',
    metric: 'idempotency_total',
    summary: 'The response of an idempotent request was not stored.',
  },
  {
    alert: 'TurnpikeHitRateLow',
    expr: `sum(rate(turnpike_cache_requests_total{outcome=~"hit|near|stale|collapsed"}[1h])) by (cache) / sum(rate(turnpike_cache_requests_total{outcome!="bypass"}[1h])) by (cache) ${beyond('hitRate', 'warn')}`,
    for: '1h',
    severity: 'info',
    metric: 'cache_not_stored_total',
    summary: 'Fewer than half of the requests of the cache {{ $labels.cache }} are answered by it.',
  },
  {
    alert: 'TurnpikeClockSkew',
    expr: `abs(turnpike_clock_skew_seconds) ${beyond('clockSkew', 'critical')}`,
    for: '5m',
    severity: 'warning',
    metric: 'clock_skew_seconds',
    summary: 'The clocks of {{ $labels.instance }} and Redis differ by more than 5 s.',
  },
] as const

/** Returns the alerting rules for Prometheus. */
export function alertingRules(): string {
  const rules = RULES.map(({ alert, expr, severity, metric, summary, for: duration }) => {
    const { remedy = METRICS[metric].help } = METRICS[metric]
    return [
      `      - alert: ${alert}`,
      `        expr: '${expr}'`,
      `        for: ${duration}`,
      '        labels:',
      `          severity: ${severity}`,
      '        annotations:',
      `          summary: '${summary}'`,
      `          description: '${remedy.replaceAll("'", "''")}'`,
    ].join('\n')
  })
  return `groups:\n  - name: turnpike\n    rules:\n${rules.join('\n')}\n`
}
