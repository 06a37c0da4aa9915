/** `turnpike processes`, `turnpike status` and `turnpike top`: what the processes report. */
import {
  readMinute,
  readProcesses,
  readRefused,
  type ProcessReport,
  type ReportSource,
} from '../operations/processes.ts'
import { readServices } from '../operations/services/service-operations.ts'
import type { ServiceStatus } from '../operations/services/options.ts'
import { parseInfo } from '../store/info.ts'
import type { Command, OutputLine } from './command.ts'
import { formatBytes, formatCount, formatShare, formatSpan } from './format.ts'
import { tableLines } from './output.ts'
import { readApplication, reportSource } from './reports.ts'
import type { RedisTarget } from './target.ts'

const PERMISSIONS = ['get', 'hgetall', 'time', 'zrange']
const NONE =
  'No process reports under this prefix. A process reports after ten seconds, unless operations is false. `turnpike keys` shows what there is.'

export const processes: Command = {
  name: 'processes',
  usage: '',
  takes: [0, 0],
  summary: 'List the processes of the application, and what they disagree on.',
  notes: ['A process is lost if it has not reported for 35 seconds. The exit code is then 1.'],
  redis: 'read',
  permissions: PERMISSIONS,
  async run(call) {
    const source = await reportSource(await call.target())
    const found = await readProcesses(source)
    const { differing } = await readApplication(source, found)
    const now = source.store.now()
    const isWell = found.length > 0 && found.every(({ state }) => state !== 'lost')
    return {
      data: { now, processes: found, differing },
      lines: [
        ...(found.length === 0 ? [NONE] : processLines(found, now)),
        ...differing.map((mount): OutputLine => ({
          text: `Processes disagree on ${mount}. Deploy the same options everywhere.`,
          tone: 'review',
        })),
      ],
      exit: isWell && differing.length === 0 ? 'done' : 'finding',
    }
  },
}

const processLines = (found: readonly ProcessReport[], now: number): OutputLine[] =>
  tableLines([
    [
      'process',
      'state',
      'service',
      'release',
      'up',
      'memory',
      'loop p99',
      'Redis p99',
      'breaker',
      'seen',
    ],
    ...found.map((each) => [
      `${each.host}/${each.pid}`,
      each.state,
      each.service ?? '-',
      each.release ?? '-',
      each.since === undefined ? '-' : formatSpan(now - each.since),
      each.rss === undefined ? '-' : formatBytes(each.rss),
      each.loopDelayMs === undefined ? '-' : `${each.loopDelayMs} ms`,
      each.redis === undefined ? '-' : `${each.redis.p99.toFixed(1)} ms`,
      each.breaker ?? '-',
      `${formatSpan(now - each.lastSeen)} ago`,
    ]),
  ])

/** A count of a minute: what, which mount, which outcome. */
export interface MinuteCount {
  readonly kind: string
  readonly name: string
  readonly outcome: string
  readonly count: number
}

const MINUTE = 60_000

/** Returns the counts of the last whole minute, the highest first. @param ago or of one before */
export async function lastMinute(source: ReportSource, ago = 1): Promise<MinuteCount[]> {
  // Processes report every ten seconds: the counts of this minute are not whole.
  const counts = await readMinute(source, source.store.now() - ago * MINUTE)
  return [...counts]
    .map(([field, count]) => {
      const [kind = '', name = '', ...outcome] = field.split(':')
      return { kind, name, outcome: outcome.join(':'), count }
    })
    .toSorted((a, b) => b.count - a.count)
}

export const top: Command = {
  name: 'top',
  usage: '',
  takes: [0, 0],
  summary: 'Show what was counted in the last whole minute, and the subjects refused most.',
  options: {
    limit: { type: 'string', value: 'COUNT', help: 'Number of rows. Default: 20.' },
  },
  redis: 'read',
  permissions: PERMISSIONS,
  async run(call) {
    const most = Math.max(1, Number(call.options['limit'] ?? 20) || 20)
    const source = await reportSource(await call.target())
    const counts = (await lastMinute(source)).slice(0, most)
    const refused = (await readRefused(source)).slice(0, most)
    const live = (await readProcesses(source)).filter(({ state }) => state === 'live').length
    return {
      data: { now: source.store.now(), processes: live, counts, refused },
      lines: [
        formatCount(live, 'live process', 'live processes'),
        ...(counts.length === 0
          ? ['Nothing was counted in the last whole minute.']
          : tableLines([
              ['kind', 'mount', 'outcome', 'in the minute', 'a second'],
              ...counts.map(({ count, kind, name, outcome }) => [
                kind,
                name,
                outcome,
                count,
                (count / 60).toFixed(1),
              ]),
            ])),
        ...(refused.length === 0
          ? []
          : tableLines([
              ['refused subject', 'limit', 'policy', 'times'],
              ...refused.map(({ count, limit, policy, tag }) => [tag, limit, policy, count]),
            ])),
      ],
    }
  },
}

export const status: Command = {
  name: 'status',
  usage: '',
  takes: [0, 0],
  summary: 'Show in a few lines how Redis and the application are.',
  notes: [
    'The exit code is 1 if a process is lost, a failure rule answered requests, or a service is in the state error. `turnpike doctor` looks closer, and says what to do.',
  ],
  redis: 'read',
  permissions: PERMISSIONS,
  async run(call) {
    const target = await call.target()
    const source = await reportSource(target)
    const found = await readProcesses(source)
    const counts = await lastMinute(source)
    const refusals = sum(
      counts.filter(({ kind, outcome }) => kind === 'limit' && outcome === 'refused'),
    )
    const unavailable = sum(counts.filter(({ kind }) => kind === 'unavailable'))
    const servers = await serverRows(target)
    const services = await readServices(source)
    const failed = services.some((service) => service.status === 'error')
    const states = { live: 0, late: 0, lost: 0 }
    for (const { state } of found) states[state]++
    if (found.length === 0) call.warn(NONE)
    return {
      data: { prefix: target.start, servers, processes: states, refusals, unavailable, services },
      lines: [
        ...servers.map(
          ({ address, clients, memory, role, version }) =>
            `Redis ${address}: ${version}, ${role}, ${formatBytes(memory)}, ${formatCount(clients, 'client')}`,
        ),
        `Processes: ${states.live} live, ${states.late} late, ${states.lost} lost`,
        `Last minute: ${refusals} refused by limits, ${unavailable} answered by a failure rule`,
        ...services.map(serviceLine),
      ],
      exit: states.lost > 0 || unavailable > 0 || failed ? 'finding' : 'done',
    }
  },
}

const TONES = { healthy: 'good', degraded: 'review', error: 'bad' } as const

function serviceLine({
  errorRate,
  name,
  reason,
  responseTimeMs,
  status,
}: ServiceStatus): OutputLine {
  const details = [
    ...(reason === undefined ? [] : [reason]),
    ...(responseTimeMs === undefined ? [] : [`${responseTimeMs} ms`]),
    `${formatShare(errorRate)} errors`,
  ]
  return { text: `Service ${name}: ${status}, ${details.join(', ')}`, tone: TONES[status] }
}

const sum = (counts: readonly MinuteCount[]): number =>
  counts.reduce((total, { count }) => total + count, 0)

/** What a server says of itself. */
export interface ServerRow {
  readonly address: string
  readonly version: string
  readonly role: string
  readonly memory: number
  /** Undefined if Redis may use any amount. */
  readonly maxMemory: number | undefined
  readonly clients: number
  /** Of all reads since the server was started, those that found a key. Undefined without reads. */
  readonly hitRate: number | undefined
}

/** Returns the servers of an application. */
export async function serverRows(target: RedisTarget): Promise<ServerRow[]> {
  const rows = new Map<string, ServerRow>()
  for (const { access } of await target.servers()) {
    for (const node of access.nodes()) {
      const info = parseInfo(String(await node.send('INFO')))
      const hits = Number(info['keyspace_hits'] ?? 0)
      const misses = Number(info['keyspace_misses'] ?? 0)
      rows.set(node.address, {
        address: node.address,
        version: info['valkey_version'] ?? info['redis_version'] ?? '?',
        role: info['role'] ?? '?',
        memory: Number(info['used_memory'] ?? 0),
        maxMemory: Number(info['maxmemory']) || undefined,
        clients: Number(info['connected_clients'] ?? 0),
        hitRate: hits + misses > 0 ? hits / (hits + misses) : undefined,
      })
    }
  }
  return [...rows.values()]
}
