/**
 * Reads limits in another process: states that were read with GET become what the middleware would
 * reply. No script is needed, so it works on a replica and for a user who may only read.
 */
import type { MemoryDatabase } from '../../store/store.ts'
import { ALGORITHMS, type RateLimitAlgorithm } from './algorithms/index.ts'
import { decodeState } from './algorithms/stored-state.ts'
import { calendar } from './calendar.ts'
import { knownPolicyOf } from './charge.ts'
import { applyPolicies, numbersOf, policyArguments } from './operations/apply-policies.ts'
import type { StoredOverrides } from './operations/overrides.ts'
import type { KnownPolicy } from './operations/script.ts'

export { normalizeAddress } from './addresses.ts'
export { applyPolicies, policyArguments } from './operations/apply-policies.ts'
export { getOverrides, setOverrides } from './operations/overrides.ts'
export { MAX_LIMIT } from './operations/script.ts'
export { resetPolicies } from './operations/reset.ts'

/** A policy as a process reports it. */
export interface ReportedPolicy {
  readonly name: string
  /** Undefined if it is a function of the request. */
  readonly limit: number | undefined
  /** In ms, 0 for calendar months. Undefined if it is a function of the request. */
  readonly window: number | undefined
  readonly algorithm: RateLimitAlgorithm
  readonly burst: number | undefined
  readonly timeZone: string | undefined
  readonly isMonth: boolean
  readonly blockFor: number
  readonly blockMax: number
  /** How long a process may hold units of it, in ms. 0: no units are leased. */
  readonly lease: number
  /** Ends the keys of its states. */
  readonly keySuffix: string
}

/** What a policy would reply now to a request that costs 1. */
export interface InspectedLimit {
  readonly limit: number
  readonly remaining: number
  /** In ms. */
  readonly reset: number
  /** ms until a request is admitted: 0 at once, -1 never. */
  readonly retryAfter: number
  readonly isLimited: boolean
  readonly isBlocked: boolean
}

/**
 * Returns the policy in the settings of a mount, undefined for what is none. Anyone with access to
 * Redis can write it.
 */
export function reportedPolicy(given: unknown): ReportedPolicy | undefined {
  const each = (typeof given === 'object' && given !== null ? given : {}) as Record<string, unknown>
  const { name, algorithm, keySuffix } = each
  const found = ALGORITHMS.find((known) => known.name === algorithm)
  if (typeof name !== 'string' || typeof keySuffix !== 'string' || found === undefined)
    return undefined
  const number = (value: unknown): number | undefined =>
    typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined
  return {
    name,
    limit: each['limit'] === 'unlimited' ? Infinity : number(each['limit']),
    window: number(each['windowMs']),
    algorithm: found.name,
    burst: number(each['burst']),
    timeZone: typeof each['timeZone'] === 'string' ? each['timeZone'] : undefined,
    isMonth: each['isMonth'] === true,
    blockFor: number(each['blockForMs']) ?? 0,
    blockMax: number(each['blockMaxMs']) ?? 0,
    lease: number(each['leaseMs']) ?? 0,
    keySuffix,
  }
}

/**
 * Returns a policy as the scripts know it at a moment. Undefined if limit or window depend on the
 * request, or there is no limit.
 */
export function policyAt(reported: ReportedPolicy, now: number): KnownPolicy | undefined {
  const { algorithm, isMonth, limit, timeZone, window, ...rest } = reported
  if (limit === undefined || window === undefined || limit === Infinity) return undefined
  const found = ALGORITHMS.find(({ name }) => name === algorithm)!
  const hasCalendar = isMonth || timeZone !== undefined
  const policy = {
    ...rest,
    algorithm: found,
    calendar: hasCalendar ? calendar(isMonth ? 'month' : 'day', timeZone ?? 'UTC') : undefined,
  }
  return knownPolicyOf({ policy: policy as never, limit, window, cost: 1 }, 1, now)
}

/**
 * Returns what a policy would reply.
 * @param value its state as Redis holds it
 * @param overrides of the subject: policy name and limit, as HGETALL replies them
 * @param now Redis's clock, in ms since the epoch
 */
export function policyState(
  policy: KnownPolicy,
  value: Buffer | null,
  overrides: readonly string[],
  now: number,
): InspectedLimit | undefined {
  const stored =
    value === null ? undefined : decodeState(policy.algorithm.name as RateLimitAlgorithm, value)
  if (value !== null && stored === undefined) return undefined
  const limits = new Map<string, string>()
  for (let i = 0; i + 1 < overrides.length; i += 2) limits.set(overrides[i]!, overrides[i + 1]!)
  limits.delete('~')
  // A renewal would be a write.
  const own: StoredOverrides = { limits, renewal: 0, until: Infinity }
  const database = readOnly({ state: stored, overrides: limits.size > 0 ? own : undefined })
  const args = policyArguments('peek', [policy], 0)
  const reply = numbersOf(applyPolicies.memory(database, ['state', 'overrides'], args, now))
  const [allowed, , limit, remaining, reset, retryAfter, violated] = reply as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ]
  if (allowed === -1) return undefined
  return {
    limit,
    remaining,
    reset,
    retryAfter,
    isLimited: violated > 0,
    isBlocked: violated === 2,
  }
}

/** Returns a database of values that cannot be changed. */
const readOnly = (values: Readonly<Record<string, unknown>>): MemoryDatabase => ({
  get: <Value>(key: string) => values[key] as Value | undefined,
  set() {},
  delete: () => false,
  publish() {},
})
