/** A rule as Redis holds it: '<set at> <ends at, 0: never> <details>'. See write-rule.lua. */
import type { PolicyChange } from '../../control/active-rules.ts'
import { isEffectOn, type RuleTarget } from '../../control/rule-table.ts'
import type { StoredEffect } from '../../control/rule.ts'
import { isObject } from '../../validate.ts'

/** The highest limit and the highest burst of a change. */
export const MAX_AMOUNT = 1e12
/** The longest window of a change, in ms. */
export const MAX_WINDOW_MS: number = 366 * 86_400_000

/** No rule is stored as a longer string: 10,000 of them are a few megabytes. */
const MAX_LENGTH = 2_000

/** A rule as it is stored. */
export interface StoredAccessRule {
  readonly effect: StoredEffect
  /** What a policy counts by. Undefined in rules with another effect than `change`. */
  readonly change: PolicyChange | undefined
  /** Share of clients that a limit refuses, in percent. Undefined: all. */
  readonly enforce: number | undefined
  /** Name of the ban that set it. Undefined in rules that people have set. */
  readonly ban: string | undefined
  /** When it was set, by Redis's clock. */
  readonly at: number
  /** When it ends. Infinity: when it is lifted. */
  readonly until: number
  readonly by: string
  readonly reason: string
  /** The subject as it was named, in a rule for one. */
  readonly subject: string | readonly string[] | undefined
  readonly tenant: string | undefined
}

/** Returns a stored rule about a target, undefined for what is none. */
export function parseRule(target: RuleTarget, value: string): StoredAccessRule | undefined {
  if (value.length > MAX_LENGTH) return undefined
  const [, at, ends, json = ''] = /^(\d{1,15}) (\d{1,15}) (.*)$/s.exec(value) ?? []
  let details: unknown
  try {
    details = JSON.parse(json)
  } catch {
    return undefined
  }
  if (!isObject(details)) return undefined
  const { effect, by, reason, subject, tenant, enforce, ban } = details
  if (typeof effect !== 'string' || !isEffectOn(target, effect)) return undefined
  const change = effect === 'change' ? parseChange(details) : undefined
  if (effect === 'change' && change === undefined) return undefined
  return {
    effect: effect as StoredEffect,
    change,
    enforce: isInteger(enforce, 0, 100) ? (enforce as number | undefined) : undefined,
    ban: effect === 'deny' && typeof ban === 'string' ? ban : undefined,
    at: Number(at),
    until: Number(ends) || Infinity,
    by: typeof by === 'string' ? by : '',
    reason: typeof reason === 'string' ? reason : '',
    subject: isSubject(subject) ? subject : undefined,
    tenant: typeof tenant === 'string' ? tenant : undefined,
  }
}

const isSubject = (value: unknown): value is string | readonly string[] =>
  typeof value === 'string' ||
  (Array.isArray(value) && value.every((each) => typeof each === 'string'))

/** Returns how a policy is changed, undefined unless each part of it can be used. */
function parseChange({ limit, window, burst }: Record<string, unknown>): PolicyChange | undefined {
  const isKnown =
    isInteger(limit, 0, MAX_AMOUNT) &&
    isInteger(window, 1, MAX_WINDOW_MS) &&
    isInteger(burst, 1, MAX_AMOUNT)
  if (!isKnown) return undefined
  const change = { limit, window, burst } as PolicyChange
  return Object.values(change).some((value) => value !== undefined) ? change : undefined
}

const isInteger = (value: unknown, min: number, max: number): boolean =>
  value === undefined ||
  (Number.isInteger(value) && (value as number) >= min && (value as number) <= max)
