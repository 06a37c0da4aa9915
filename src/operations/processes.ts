/** Reads what the processes of an application say of themselves. It writes nothing. */
import type { KeySpace } from '../store/keys.ts'
import type { Store } from '../store/store.ts'
import { descriptionKey, minuteKey, processesKey, processKey, refusedKey } from './beat-keys.ts'
import {
  ALL_SCORES,
  HOUR_MS,
  LATE_MS,
  LIVE_MS,
  readDescription,
  readFields,
  readScores,
} from './beat-operations.ts'

/** Where the reports are. */
export interface ReportSource {
  readonly store: Pick<Store, 'run' | 'now'>
  /** Keys of the extension `operations`. */
  readonly keys: KeySpace
}

/** A process of the application. What it has not reported, or not for 35 seconds, is undefined. */
export interface ProcessReport {
  /** Identifies the instance of turnpike. It begins with the host and the process ID. */
  readonly id: string
  /** Name of its machine or container. */
  readonly host: string
  /** Its process ID there. */
  readonly pid: number
  /**
   * `live`: it reported within 25 seconds. `late`: within 35 seconds. `lost`: it ended without
   * `tp.close()`, or cannot reach Redis.
   */
  readonly state: 'live' | 'late' | 'lost'
  /** When it reported last by Redis's clock, ms since the epoch. */
  readonly lastSeen: number
  /** When the instance was created, ms since the epoch. */
  readonly since: number | undefined
  /** Name of its service: option `operations`. */
  readonly service: string | undefined
  /** Release that it runs: option `operations`. */
  readonly release: string | undefined
  /** Version of Node. */
  readonly node: string | undefined
  /** Memory of the process, in bytes. */
  readonly rss: number | undefined
  /** Delay of its event loop since the report before, the 99th percentile in ms. */
  readonly loopDelayMs: number | undefined
  /** Duration of its calls to Redis in ms. */
  readonly redis: { readonly p50: number; readonly p99: number } | undefined
  /** Status of its stores, as `tp.status()` has it. */
  readonly status: string | undefined
  /** State of its circuit breaker. */
  readonly breaker: string | undefined
  /** Its clock minus Redis's clock, in ms. */
  readonly clockSkewMs: number | undefined
  /** Digest of what it has mounted. Processes with the same mounts have the same digest. */
  readonly description: string | undefined
}

/** Returns the processes that reported within the last hour, the longest silent first. @throws TP_UNAVAILABLE */
export async function readProcesses({ store, keys }: ReportSource): Promise<ProcessReport[]> {
  const scores = await store.run(readScores, [processesKey(keys)], ALL_SCORES)
  const now = store.now()
  const seen = pairs(scores)
    .map(([id, at]) => ({ id, lastSeen: Number(at) }))
    .filter(({ lastSeen }) => lastSeen > now - HOUR_MS)
  return await Promise.all(
    seen.map(async ({ id, lastSeen }) => {
      const age = now - lastSeen
      const fields = age < LATE_MS ? await store.run(readFields, [processKey(keys, id)], []) : []
      return reportOf(id, lastSeen, age, new Map(pairs(fields)))
    }),
  )
}

function reportOf(
  id: string,
  lastSeen: number,
  age: number,
  fields: ReadonlyMap<string, string>,
): ProcessReport {
  const text = (name: string): string | undefined => fields.get(name) || undefined
  const number = (name: string): number | undefined => {
    const value = Number(text(name) ?? NaN)
    return Number.isFinite(value) ? value : undefined
  }
  const [host = '', pid = ''] = id.split('/')
  const [p50, p99] = [number('redisP50Ms'), number('redisP99Ms')]
  return {
    id,
    host: text('host') ?? host,
    pid: number('pid') ?? Number(pid),
    state: age < LIVE_MS ? 'live' : age < LATE_MS ? 'late' : 'lost',
    lastSeen,
    since: number('since'),
    service: text('service'),
    release: text('release'),
    node: text('node'),
    rss: number('rss'),
    loopDelayMs: number('loopDelayMs'),
    redis: p50 === undefined || p99 === undefined ? undefined : { p50, p99 },
    status: text('status'),
    breaker: text('breaker'),
    clockSkewMs: number('clockSkewMs'),
    description: text('description'),
  }
}

/** What a process has mounted. Anyone with access to Redis can write it: expect any value. */
export interface ReportedMounts {
  /** Option `version` of the process, as its keys contain it. */
  readonly version: string | null
  readonly mounts: readonly {
    readonly kind: string
    readonly name: string
    readonly settings: Readonly<Record<string, unknown>>
  }[]
}

/** Returns what processes of a digest have mounted, undefined if it is not known. @throws TP_UNAVAILABLE */
export async function readMounts(
  { store, keys }: ReportSource,
  digest: string,
): Promise<ReportedMounts | undefined> {
  const text = await store.run(readDescription, [descriptionKey(keys, digest)], [])
  if (text === null) return undefined
  try {
    const parsed = JSON.parse(text) as Partial<ReportedMounts> | null
    const { version = null, mounts } = parsed ?? {}
    if (!Array.isArray(mounts)) return undefined
    const isVersion = version === null || typeof version === 'string'
    return { version: isVersion ? version : null, mounts: mounts.filter(isMount) }
  } catch {
    return undefined
  }
}

function isMount(value: unknown): value is ReportedMounts['mounts'][number] {
  const { kind, name, settings } = (value ?? {}) as Record<string, unknown>
  const isNamed = typeof kind === 'string' && typeof name === 'string'
  return isNamed && typeof settings === 'object' && settings !== null
}

/**
 * Returns what all processes counted in a minute: `<kind>:<name>:<outcome>`, and
 * `unavailable:<feature>:<rule>`.
 * @param at a moment of the minute, ms since the epoch
 * @throws TP_UNAVAILABLE
 */
export async function readMinute(
  { store, keys }: ReportSource,
  at: number,
): Promise<ReadonlyMap<string, number>> {
  const fields = await store.run(readFields, [minuteKey(keys, at)], [])
  return new Map(pairs(fields).map(([field, count]) => [field, Number(count)]))
}

/** A subject that was refused. */
export interface ReportedRefusals {
  readonly limit: string
  readonly policy: string
  /** The subject with its tenant, as the content of a key's hash tag. */
  readonly tag: string
  /** Number of refusals in this hour and the one before. It may be too high, never too low. */
  readonly count: number
}

/** Returns who was refused most in this hour and the one before. @throws TP_UNAVAILABLE */
export async function readRefused({ store, keys }: ReportSource): Promise<ReportedRefusals[]> {
  const now = store.now()
  const hours = await Promise.all(
    [now, now - HOUR_MS].map((at) => store.run(readScores, [refusedKey(keys, at)], ALL_SCORES)),
  )
  const counts = new Map<string, number>()
  for (const [member, count] of hours.flatMap(pairs))
    counts.set(member, (counts.get(member) ?? 0) + Number(count))
  return [...counts]
    .map(([member, count]) => {
      const [limit = '', policy = '', tag = ''] = member.split(' ')
      return { limit, policy, tag, count }
    })
    .toSorted((a, b) => b.count - a.count)
}

/** Returns members with scores, or fields with values. RESP3 nests the former, RESP2 does not. */
export function pairs(reply: readonly (string | readonly string[])[]): [string, string][] {
  const list = reply.flat()
  return Array.from({ length: list.length / 2 }, (_, i) => [
    String(list[2 * i]),
    String(list[2 * i + 1]),
  ])
}
