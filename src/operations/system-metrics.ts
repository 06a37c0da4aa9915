/** What a process measures of itself and its machine once a minute, and how it is read. */
import { cpus, freemem, loadavg, totalmem } from 'node:os'
import type { FeatureCounts } from '../feature-counts.ts'
import { keyPart, type KeySpace } from '../store/keys.ts'
import { operation, type Operation } from '../store/store.ts'
import prelude from '../store/whole.lua'
import { processesKey } from './beat-keys.ts'
import { ALL_SCORES, readFields, readScores } from './beat-operations.ts'
import { pairs, type ReportSource } from './processes.ts'
import writeLua from './write-system.lua'

/** How long the metrics are kept, in ms. */
export const SYSTEM_TTL_MS = 120_000

/** Metrics of a process and its machine. They are of the last minute before `at`. */
export interface SystemMetrics {
  /** Identifies the process, as `tp.processes()` does. */
  readonly id: string
  /** When they were written by Redis's clock, ms since the epoch. */
  readonly at: number
  /** CPU that the process used, in percent of one core. */
  readonly cpuPercent: number
  /** CPU that the machine used, in percent of all cores. */
  readonly hostCpuPercent: number
  /** Processes of the machine that ran or waited to run, the mean of a minute. 0 on Windows. */
  readonly load: number
  /** Memory in use, in percent: of the container's limit, or of the machine. */
  readonly memoryPercent: number
  /** Memory of the process, in bytes. */
  readonly rss: number
  /** Memory of its JavaScript objects, in bytes. */
  readonly heapUsed: number
  /** Time that its event loop was busy, in percent. */
  readonly loopPercent: number
  /** Seconds since the process was started. */
  readonly uptime: number
  /** TCP connections that it has open. */
  readonly connections: number
  /** Jobs that waited when `health()` of its queues was last called. */
  readonly queueDepth: number
  /** Requests that its response caches have answered, in percent. Undefined without requests. */
  readonly cacheHitPercent: number | undefined
}

/** Names of the fields in Redis. */
const FIELDS: Readonly<Record<Exclude<keyof SystemMetrics, 'id' | 'at'>, string>> = {
  cpuPercent: 'cpu_usage_percent',
  hostCpuPercent: 'host_cpu_usage_percent',
  load: 'load',
  memoryPercent: 'memory_usage_percent',
  rss: 'rss',
  heapUsed: 'heap_used',
  loopPercent: 'loop_usage_percent',
  uptime: 'uptime_seconds',
  connections: 'active_connections',
  queueDepth: 'queue_depth',
  cacheHitPercent: 'cache_hit_rate',
}

const systemKey = (keys: KeySpace, id: string): string => keys.key('system', 'all', keyPart(id))

/** Writes the metrics of a process. */
export const writeSystem: Operation<number> = operation({
  name: 'operations.system',
  lua: `${prelude}\n${writeLua}`,
  memory(database, [key], [ms, ...fields], now) {
    const before = database.get<Readonly<Record<string, string>>>(key!)
    const written: Record<string, string> = { ...before, at: String(now) }
    for (let i = 0; i + 1 < fields.length; i += 2)
      written[String(fields[i])] = String(fields[i + 1])
    database.set(key!, written, Number(ms))
    return now
  },
})

/** Returns the keys and arguments by which a process writes its metrics. */
export function systemCall(
  keys: KeySpace,
  id: string,
  sample: Omit<SystemMetrics, 'id' | 'at'>,
): [keys: string[], args: (string | number)[]] {
  const fields = Object.entries(FIELDS).flatMap(([name, field]) => {
    const value = sample[name as keyof typeof sample]
    // A field of the minute before must not stay.
    return [field, value === undefined ? '' : String(Math.round(value * 10) / 10)]
  })
  return [[systemKey(keys, id)], [SYSTEM_TTL_MS, ...fields]]
}

/** Returns the metrics of processes that wrote them within two minutes. @throws TP_UNAVAILABLE */
export async function readSystemMetrics({ store, keys }: ReportSource): Promise<SystemMetrics[]> {
  const scores = pairs(await store.run(readScores, [processesKey(keys)], ALL_SCORES))
  const since = store.now() - SYSTEM_TTL_MS
  const ids = scores.filter(([, at]) => Number(at) > since).map(([id]) => id)
  const found = await Promise.all(
    ids.map(async (id) => {
      const fields = new Map(pairs(await store.run(readFields, [systemKey(keys, id)], [])))
      return metricsOf(id, fields)
    }),
  )
  return found.flatMap((each) => each ?? [])
}

/** Returns what fields say. Anyone with access to Redis can write them: expect any value. */
function metricsOf(id: string, fields: ReadonlyMap<string, string>): SystemMetrics | undefined {
  const number = (field: string): number | undefined => {
    const value = Number(fields.get(field) || Number.NaN)
    return Number.isFinite(value) ? value : undefined
  }
  const at = number('at')
  if (at === undefined) return undefined
  const values = Object.entries(FIELDS).map(([name, field]): [string, number | undefined] => [
    name,
    number(field) ?? (name === 'cacheHitPercent' ? undefined : 0),
  ])
  return { id, at, ...Object.fromEntries(values) } as unknown as SystemMetrics
}

interface Totals {
  readonly at: number
  readonly cpuMicros: number
  readonly hostBusy: number
  readonly hostAll: number
  readonly loop: ReturnType<typeof performance.eventLoopUtilization>
  readonly answered: number
  readonly asked: number
}

/** Outcomes of caches that spared the handler. */
const ANSWERED = new Set(['hit', 'near', 'stale', 'collapsed'])

/** Measures a process and its machine. Each sample is of the time since the one before. */
export class SystemSampler {
  readonly #counts: FeatureCounts
  #before: Totals

  constructor(counts: FeatureCounts) {
    this.#counts = counts
    this.#before = this.#totals()
  }

  /** Returns a sample. */
  sample(): Omit<SystemMetrics, 'id' | 'at'> {
    const [before, now] = [this.#before, this.#totals()]
    this.#before = now
    const ms = Math.max(1, now.at - before.at)
    const { heapUsed, rss } = process.memoryUsage()
    const asked = now.asked - before.asked
    const loop = performance.eventLoopUtilization(now.loop, before.loop)
    const host = now.hostAll - before.hostAll
    return {
      cpuPercent: (now.cpuMicros - before.cpuMicros) / ms / 10,
      hostCpuPercent: host > 0 ? (100 * (now.hostBusy - before.hostBusy)) / host : 0,
      load: loadavg()[0]!,
      memoryPercent: memoryPercent(rss),
      rss,
      heapUsed,
      loopPercent: 100 * loop.utilization,
      uptime: process.uptime(),
      connections: process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap')
        .length,
      queueDepth: [...this.#counts.rows('jobBacklog')].reduce(
        (sum, row) => sum + row.values[0]!,
        0,
      ),
      cacheHitPercent: asked > 0 ? (100 * (now.answered - before.answered)) / asked : undefined,
    }
  }

  #totals(): Totals {
    const { system, user } = process.cpuUsage()
    let [hostAll, hostIdle] = [0, 0]
    for (const { times } of cpus()) {
      hostAll += times.user + times.nice + times.sys + times.irq + times.idle
      hostIdle += times.idle
    }
    let [answered, asked] = [0, 0]
    for (const { outcomes, values } of this.#counts.rows('cache'))
      for (const [i, outcome] of outcomes.entries()) {
        if (outcome !== 'bypass') asked += values[i]!
        if (ANSWERED.has(outcome)) answered += values[i]!
      }
    const loop = performance.eventLoopUtilization()
    const hostBusy = hostAll - hostIdle
    const at = performance.now()
    return { at, cpuMicros: system + user, hostBusy, hostAll, loop, answered, asked }
  }
}

/** Returns the memory in use, of what the process may use at most. */
function memoryPercent(rss: number): number {
  const total = totalmem()
  const limit = process.constrainedMemory()
  // Without a limit Node says 0, or a number that no machine has.
  return limit > 0 && limit < total ? (100 * rss) / limit : (100 * (total - freemem())) / total
}
