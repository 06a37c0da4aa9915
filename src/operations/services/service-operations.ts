/** Services in Redis, and how they are read. Keys, arguments and replies: see the Lua files. */
import { keyPart, type KeySpace } from '../../store/keys.ts'
import { operation, type Operation } from '../../store/store.ts'
import prelude from '../../store/whole.lua'
import { ALL_SCORES, readFields, readScores } from '../beat-operations.ts'
import { pairs, type ReportSource } from '../processes.ts'
import { isServiceState, type ServiceStatus } from './options.ts'
import reportLua from './report-service.lua'
import turnLua from './take-service-turn.lua'

/** All keys share a hash slot: one script writes them. */
const ALL = 'all'
/** Number of services that are kept. */
export const MAX_SERVICES = 500
/** How long the list of services is kept, in ms. No service is kept for longer. */
export const MAX_TTL_MS = 3_600_000
/** Number of results that the error rate is of. */
const REMEMBERED = 100

/** Returns the key of a service. @param keys of the extension `operations` */
export const serviceKey = (keys: KeySpace, name: string): string =>
  keys.key('service', ALL, keyPart(name))

/** Returns the key of the services by the time until which they are kept. */
export const servicesKey = (keys: KeySpace): string => keys.key('services', ALL)

/** Returns the key of a service's turn: when its last check began. */
export const serviceTurnKey = (keys: KeySpace, name: string): string =>
  keys.key('service-turn', ALL, keyPart(name))

type Fields = Readonly<Record<string, string>>

/** Lets one process check a service in each interval. */
export const takeServiceTurn: Operation<[turn: string, status: string]> = operation({
  name: 'services.takeTurn',
  lua: `${prelude}\n${turnLua}`,
  memory(database, [turnKey, key], [interval], now) {
    const status = database.get<Fields>(key!)?.['status'] ?? ''
    const every = Number(interval)
    const turn = Number(database.get<string>(turnKey!) ?? 0)
    if (turn <= now && turn >= now - (now % every)) return ['0', status]
    database.set(turnKey!, String(now), 2 * every)
    return [String(now), status]
  },
})

/** Stores the result of a check, or what a service says of itself. */
export const reportService: Operation<[result: 'stored' | 'late' | 'full', before: string]> =
  operation({
    name: 'services.report',
    lua: `${prelude}\n${reportLua}`,
    memory(database, [key, services, turnKey], args, now) {
      const [name, turn, status, outcome] = args.map(String) as [string, string, string, string]
      const [ms, allMs, most, remembered] = args.slice(4, 8).map(Number) as [
        number,
        number,
        number,
        number,
      ]
      if (turn !== '' && database.get<string>(turnKey!) !== turn) return ['late', '']
      const earlier = database.get<Fields>(key!)
      const before = earlier?.['status'] ?? ''
      const kept = [...(database.get<ReadonlyMap<string, number>>(services!) ?? [])].filter(
        ([, until]) => until > now,
      )
      if (before === '' && kept.length >= most) return ['full', '']
      const outcomes = `${outcome}${earlier?.['outcomes'] ?? ''}`.slice(0, remembered)
      const failures = outcomes.replaceAll('0', '').length
      const rate = Math.floor((1000 * failures) / outcomes.length + 0.5) / 1000
      const fields: Record<string, string> = {
        status,
        last_check: String(now),
        error_rate: rate.toFixed(3),
        outcomes,
      }
      for (let i = 8; i + 1 < args.length; i += 2) fields[String(args[i])] = String(args[i + 1])
      database.set(key!, fields, ms)
      database.set(services!, new Map(kept).set(name, now + ms), allMs)
      return ['stored', before]
    },
  })

/** What a report is stored with. */
export interface ReportParts extends Pick<ServiceStatus, 'status' | 'reason' | 'values'> {
  readonly name: string
  /** The turn of a check, `''` for a report. */
  readonly turn: string
  readonly ttlMs: number
  readonly responseTimeMs: number | undefined
}

/** Returns the keys and arguments of a report. */
export function reportCall(
  keys: KeySpace,
  { name, reason, responseTimeMs, status, ttlMs, turn, values }: ReportParts,
): [keys: string[], args: (string | number)[]] {
  const fields = [
    ...(reason === undefined ? [] : ['reason', reason]),
    ...(responseTimeMs === undefined ? [] : ['response_time_ms', responseTimeMs]),
    ...Object.entries(values).flat(),
  ]
  const outcome = status === 'error' ? 1 : 0
  return [
    [serviceKey(keys, name), servicesKey(keys), serviceTurnKey(keys, name)],
    [
      name,
      turn,
      status,
      outcome,
      ttlMs,
      MAX_TTL_MS,
      MAX_SERVICES,
      REMEMBERED,
      ...fields.map(String),
    ],
  ]
}

const OWN_FIELDS: ReadonlySet<string> = new Set([
  'status',
  'last_check',
  'response_time_ms',
  'error_rate',
  'outcomes',
  'reason',
])

/** Returns true for a name that a value of a service may not have: it is a field of its own. */
export const isOwnField = (name: string): boolean => OWN_FIELDS.has(name)

/** Returns the services that are kept, in the order of their names. @throws TP_UNAVAILABLE */
export async function readServices({ store, keys }: ReportSource): Promise<ServiceStatus[]> {
  const scores = pairs(await store.run(readScores, [servicesKey(keys)], ALL_SCORES))
  const now = store.now()
  const names = scores.filter(([, until]) => Number(until) > now).map(([name]) => name)
  const found = await Promise.all(
    names.slice(0, MAX_SERVICES).map(async (name) => {
      const fields = await store.run(readFields, [serviceKey(keys, name)], [])
      return statusOf(name, new Map(pairs(fields)))
    }),
  )
  return found.flatMap((each) => each ?? []).toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

/** Returns what fields say of a service. Anyone with access to Redis can write them: expect any value. */
function statusOf(name: string, fields: ReadonlyMap<string, string>): ServiceStatus | undefined {
  const status = fields.get('status')
  const number = (field: string): number | undefined => {
    const value = Number(fields.get(field) ?? NaN)
    return Number.isFinite(value) ? value : undefined
  }
  const lastCheck = number('last_check')
  if (!isServiceState(status) || lastCheck === undefined) return undefined
  const reason = fields.get('reason')
  const values = [...fields.keys()].flatMap((field): [string, number][] => {
    const value = isOwnField(field) ? undefined : number(field)
    return value === undefined ? [] : [[field, value]]
  })
  return {
    name,
    status,
    lastCheck,
    responseTimeMs: number('response_time_ms'),
    errorRate: number('error_rate') ?? 0,
    reason: reason === 'failed' || reason === 'timeout' ? reason : undefined,
    values: Object.fromEntries(values),
  }
}
