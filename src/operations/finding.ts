/** What a check of a server consists of. */
import type { Fact, ServerFacts } from './server-facts.ts'
import { severityOf, type Severity, type Threshold } from './thresholds.ts'

/** Value of a check that was skipped because the server has not what it is about. */
export const DOES_NOT_APPLY = 'does not apply'

/** What a check has found. */
export interface Finding {
  /** `skip`: a permission is missing, which `value` names, or the check does not apply. */
  readonly status: Severity | 'skip'
  /** What was found. */
  readonly value: string
  /** What counts as bad. */
  readonly threshold: string
  /** What to do about it. Left out if all is well. */
  readonly remedy?: string
}

/** One check of a server. */
export interface ServerCheck {
  readonly name: string
  check(facts: ServerFacts, now: number): Finding
}

/** Areas whose data must not be lost. */
const LASTING = ['session', 'rateLimit', 'idempotency', 'lock', 'tokens', 'collections']

export const isLasting = ({ areas }: ServerFacts): boolean =>
  areas.some((area) => LASTING.includes(area))

export const percent = (share: number): string => `${(share * 100).toFixed(1)} %`
export const millis = (ms: number): string => `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`
export const bytes = (count: number): string => `${(count / 2 ** 20).toFixed(1)} MB`
const FORMATS: Record<Threshold['unit'], (value: number) => string> = {
  ms: millis,
  share: percent,
  bytes,
  count: String,
}

/** Returns a threshold as a person reads it: `warn above 80.0 %, critical above 90.0 %`. */
export function describeThreshold(threshold: Threshold): string {
  const { unit, bad, warn, critical, good } = threshold
  const format = FORMATS[unit]
  const marks = [`warn ${bad} ${format(warn)}`]
  if (critical !== undefined) marks.push(`critical ${bad} ${format(critical)}`)
  if (good !== undefined) marks.push(`good ${bad === 'above' ? 'below' : 'above'} ${format(good)}`)
  return marks.join(', ')
}

/** Returns a finding about a number. */
export function measured(
  threshold: Threshold,
  value: number,
  shown: string,
  remedy: string,
): Finding {
  const status = severityOf(threshold, value)
  return finding(status, shown, describeThreshold(threshold), remedy)
}

export const finding = (
  status: Finding['status'],
  value: string,
  threshold: string,
  remedy: string,
): Finding => ({
  status,
  value,
  threshold,
  ...(status !== 'ok' && status !== 'skip' && { remedy }),
})

/** Returns a check that needs one fact. */
export function needs<Value>(
  name: string,
  of: (facts: ServerFacts) => Fact<Value> | undefined,
  check: (value: Value, facts: ServerFacts, now: number) => Finding,
): ServerCheck {
  return {
    name,
    check(facts, now) {
      const known = of(facts)
      if (known === undefined) return { status: 'skip', value: DOES_NOT_APPLY, threshold: '' }
      if ('missing' in known)
        return { status: 'skip', value: `the Redis user lacks ${known.missing}`, threshold: '' }
      return check(known.value, facts, now)
    },
  }
}

export const byInfo = (
  name: string,
  check: (field: (name: string) => number, facts: ServerFacts, info: Info) => Finding,
): ServerCheck =>
  needs(
    name,
    ({ info }) => info,
    (info, facts) => check((field) => Number(info[field] ?? 0), facts, info),
  )
type Info = Readonly<Record<string, string>>
