/** A rule as Redis holds it: '<set at> <ends at, 0: never> <details>'. See write-rule.lua. */
import type { LimitMode, RuleEffect } from '../../control/active-rules.ts'
import { isEffectOn, type RuleTarget } from '../../control/rule-table.ts'
import { isObject } from '../../validate.ts'

/** A rule as it is stored. */
export interface StoredAccessRule {
  readonly effect: RuleEffect | LimitMode
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
  const [, at, ends, json = ''] = /^(\d{1,15}) (\d{1,15}) (.*)$/s.exec(value) ?? []
  let details: unknown
  try {
    details = JSON.parse(json)
  } catch {
    return undefined
  }
  if (!isObject(details)) return undefined
  const { effect, by, reason, subject, tenant } = details
  if (typeof effect !== 'string' || !isEffectOn(target, effect)) return undefined
  return {
    effect: effect as RuleEffect | LimitMode,
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
