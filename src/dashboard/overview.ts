/** The first page: what needs attention. */
import { lastMinute, serverRows, type MinuteCount, type ServerRow } from '../commands/processes.ts'
import { readApplication, reportSource } from '../commands/reports.ts'
import type { RedisTarget } from '../commands/target.ts'
import { cacheRequestsOf } from '../operations/hit-rate.ts'
import { readProcesses, type ProcessReport, type ReportSource } from '../operations/processes.ts'
import type { ServiceStatus } from '../operations/services/options.ts'
import { readServices } from '../operations/services/service-operations.ts'
import type { MinuteHistory, MinuteSummary } from './minute-history.ts'
import { severityOf, THRESHOLDS, type Severity } from '../operations/thresholds.ts'

/** Something that a person should look at. */
interface Attention {
  readonly severity: Exclude<Severity, 'ok'>
  readonly text: string
  /** Page that says more. */
  readonly page: string
}

/** What the first page shows. */
export interface Overview {
  readonly now: number
  readonly attention: readonly Attention[]
  readonly servers: readonly ServerRow[]
  readonly processes: Readonly<Record<ProcessReport['state'], number>>
  /** The slowest 99th percentile that a live process reports, in ms. */
  readonly storeP99: number | undefined
  /** Of the requests to caches in the last minutes, those that were answered from it. */
  readonly cacheHitRate: number | undefined
  /** The services of `tp.service()`. */
  readonly services: readonly ServiceStatus[]
  /** The last half hour, minute by minute, the oldest first. */
  readonly minutes: readonly MinuteSummary[]
  /** What was counted in the last whole minute. */
  readonly counts: readonly MinuteCount[]
}

/** Counts of caches, by mount. */
export interface CacheCounts {
  readonly name: string
  /** Requests of the last five minutes by outcome. */
  readonly requests: Readonly<Record<string, number>>
  /** Responses that were made in the last five minutes: stored, or why not. */
  readonly fills: Readonly<Record<string, number>>
}

const MINUTES = [1, 2, 3, 4, 5]

/** Reads the overview. Sends no SCAN. */
export async function readOverview(target: RedisTarget, history: MinuteHistory): Promise<Overview> {
  const source = await reportSource(target)
  const processes = await readProcesses(source)
  const [{ differing }, servers, counts, services, minutes] = await Promise.all([
    readApplication(source, processes),
    serverRows(target),
    lastMinute(source),
    readServices(source),
    history.read(source),
  ])
  const states = { live: 0, late: 0, lost: 0 }
  for (const { state } of processes) states[state]++
  const p99s = processes.flatMap(({ redis, state }) =>
    redis !== undefined && state === 'live' ? [redis.p99] : [],
  )
  const { asked, answered } = cacheRequestsOf(counts.map(fieldOf))
  return {
    now: source.store.now(),
    attention: [
      ...processAttention(processes, differing),
      ...servers.flatMap(serverAttention),
      ...countAttention(counts),
      ...services.flatMap(serviceAttention),
    ],
    servers,
    processes: states,
    storeP99: p99s.length > 0 ? Math.max(...p99s) : undefined,
    cacheHitRate: asked > 0 ? answered / asked : undefined,
    services,
    minutes,
    counts,
  }
}

function* processAttention(
  processes: readonly ProcessReport[],
  differing: readonly string[],
): Generator<Attention> {
  const page = 'processes'
  if (processes.length === 0)
    yield {
      severity: 'warn',
      text: 'No process reports: its first report is due after ten seconds.',
      page,
    }
  const lost = processes.filter(({ state }) => state === 'lost')
  if (lost.length > 0)
    yield {
      severity: 'warn',
      text: `Lost: ${lost.map(({ host, pid }) => `${host}/${pid}`).join(', ')}`,
      page,
    }
  const open = processes.filter(({ breaker, state }) => state !== 'lost' && breaker === 'open')
  if (open.length > 0)
    yield { severity: 'critical', text: `Redis is away for ${open.length} of the processes.`, page }
  for (const mount of differing)
    yield { severity: 'warn', text: `Processes disagree on ${mount}.`, page }
  for (const { clockSkewMs, host, pid, state } of processes) {
    if (state === 'lost' || clockSkewMs === undefined) continue
    const severity = severityOf(THRESHOLDS.clockSkew, Math.abs(clockSkewMs))
    if (severity !== 'ok')
      yield { severity, text: `The clock of ${host}/${pid} is ${clockSkewMs} ms off.`, page }
  }
}

function serverAttention({ address, hitRate, maxMemory, memory }: ServerRow): Attention[] {
  const found: Attention[] = []
  const report = (severity: Severity, text: string): void => {
    if (severity !== 'ok') found.push({ severity, text, page: 'redis' })
  }
  if (maxMemory !== undefined) {
    const share = memory / maxMemory
    report(
      severityOf(THRESHOLDS.memory, share),
      `${address} uses ${Math.round(share * 100)} % of its memory.`,
    )
  }
  if (hitRate !== undefined)
    report(
      severityOf(THRESHOLDS.hitRate, hitRate),
      `${Math.round(hitRate * 100)} % of the reads of ${address} find a key.`,
    )
  return found
}

function* countAttention(counts: readonly MinuteCount[]): Generator<Attention> {
  const unavailable = sumOf(counts.filter(({ kind }) => kind === 'unavailable'))
  if (unavailable > 0)
    yield {
      severity: 'critical',
      text: `Failure rules answered ${unavailable} times in the last minute.`,
      page: 'processes',
    }
}

function serviceAttention({ name, reason, status }: ServiceStatus): Attention[] {
  if (status === 'healthy') return []
  const severity = status === 'error' ? 'critical' : 'warn'
  const why = reason === undefined ? '' : ` (${reason})`
  return [
    { severity, text: `The service ${name} is in the state ${status}${why}.`, page: 'overview' },
  ]
}

const fieldOf = ({ count, kind, name, outcome }: MinuteCount): [string, number] => [
  `${kind}:${name}:${outcome}`,
  count,
]

const sumOf = (counts: readonly MinuteCount[]): number =>
  counts.reduce((sum, { count }) => sum + count, 0)

/** Reads what caches counted in the last five minutes. Sends no SCAN. */
export async function readCacheCounts(target: RedisTarget): Promise<readonly CacheCounts[]> {
  const source: ReportSource = await reportSource(target)
  const minutes = await Promise.all(MINUTES.map((ago) => lastMinute(source, ago)))
  const caches = new Map<string, { requests: Map<string, number>; fills: Map<string, number> }>()
  for (const { count, kind, name, outcome } of minutes.flat()) {
    if (kind !== 'cache' && kind !== 'fill') continue
    const cache = caches.get(name) ?? { requests: new Map(), fills: new Map() }
    caches.set(name, cache)
    const counts = kind === 'cache' ? cache.requests : cache.fills
    counts.set(outcome, (counts.get(outcome) ?? 0) + count)
  }
  return [...caches]
    .map(([name, { fills, requests }]) => ({
      name,
      requests: Object.fromEntries(requests),
      fills: Object.fromEntries(fills),
    }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
}
