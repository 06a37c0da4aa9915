/** Rules of flags: what is accepted, and how a rule is decided. */
import { userIdString, type UserId } from '../../user-id.ts'
import {
  isListOf,
  isObject,
  optionError,
  optionRuleError,
  validateOptions,
  type Validator,
} from '../../validate.ts'
import { BUCKETS, bucketOf } from './buckets.ts'
import type { FlagRule } from './options.ts'

/** A rule as it is stored: lists of strings, times in ms since the epoch. */
export interface StoredRule {
  readonly percentage?: number
  readonly users?: readonly string[]
  readonly organisations?: readonly string[]
  readonly plans?: readonly string[]
  readonly from?: number
  readonly until?: number
  readonly value?: unknown
  readonly variants?: readonly { readonly value: unknown; readonly weight: number }[]
}

/** Whom a flag is evaluated for. Properties are read only where a rule needs them. */
export interface SubjectReader {
  readonly user: string | undefined
  readonly organisation: string | undefined
  readonly plan: string | undefined
}

const MAX_RULES = 20
const MAX_NAMES = 1_000
const MAX_NAME_LENGTH = 256
const MAX_VARIANTS = 20

const isName = (value: unknown): value is UserId => {
  const name = userIdString(value)
  return name !== undefined && name.length <= MAX_NAME_LENGTH
}

/** @param ids accepted by `names` */
const namesOf = (ids: readonly UserId[]): string[] => ids.map((id) => userIdString(id)!)

const names: Validator = {
  expected: `a list of at most ${MAX_NAMES} strings or numbers, each of 1 to ${MAX_NAME_LENGTH} characters`,
  accepts: (value) => isListOf(value, isName, 0, MAX_NAMES),
  suggest: (value) => (isName(value) ? `['${userIdString(value)!.slice(0, 40)}']` : undefined),
}

const time: Validator = {
  expected: 'a Date, a string like 2026-01-31T12:00Z, or milliseconds since the epoch',
  accepts: (value) => Number.isSafeInteger(timeOf(value)),
}

const timeOf = (value: unknown): number => {
  if (value instanceof Date) return value.getTime()
  return typeof value === 'string' ? Date.parse(value) : typeof value === 'number' ? value : NaN
}

const isBetween = (value: unknown, min: number, max: number): boolean =>
  typeof value === 'number' && value >= min && value <= max

const RULE: Record<string, Validator> = {
  percentage: {
    expected: 'a number from 0 to 100',
    accepts: (value) => isBetween(value, 0, 100),
  },
  users: names,
  organisations: names,
  plans: names,
  from: time,
  until: time,
  value: { expected: 'a value that JSON can hold', accepts: isJson },
  variants: {
    expected: `a list of 1 to ${MAX_VARIANTS} objects { value, weight }, with weights from 0.001 to 1000`,
    accepts: (value) =>
      isListOf(
        value,
        (each) => isObject(each) && isJson(each['value']) && isBetween(each['weight'], 0.001, 1000),
        1,
        MAX_VARIANTS,
      ),
  },
}

/** Returns whether JSON can hold a value. It has no form for undefined, NaN, functions and cycles. */
export function isJson(value: unknown): boolean {
  try {
    const json = JSON.stringify(value) as string | undefined
    return json !== undefined && json !== 'null'
  } catch {
    return false
  }
}

/** Returns a value as it is after it was stored: a Date is a string then. */
const stored = (value: unknown): unknown =>
  value === undefined ? undefined : JSON.parse(JSON.stringify(value))

/**
 * Returns the rules of a setting as they are stored.
 * @param standard the flag's default: values must have its type. Undefined: any type will do
 * @throws TP_OPTION
 */
export function rulesOf(where: string, setting: unknown, standard: unknown): StoredRule[] {
  if (setting === false) return []
  const isBoolean = typeof standard === 'boolean' || standard === undefined
  if (setting === true && isBoolean) return [{}]
  const rules = Array.isArray(setting) ? (setting as readonly unknown[]) : [setting]
  const isOnOff = isBoolean ? 'true or false' : 'false'
  if (!isListOf(rules, isObject, 0, MAX_RULES)) {
    const expected = `${isOnOff}, a rule like { percentage: 20 }, or a list of at most ${MAX_RULES} rules`
    throw optionError(where, 'the setting', setting, expected)
  }
  return (rules as Record<string, unknown>[]).map((rule) => ruleOf(where, rule, standard))
}

function ruleOf(where: string, rule: Record<string, unknown>, standard: unknown): StoredRule {
  validateOptions(where, rule, RULE)
  const { percentage, users, organisations, plans, from, until, value, variants } = rule as FlagRule
  if (value !== undefined && variants !== undefined)
    throw optionRuleError(where, 'variants', variants, 'A rule has a value or variants, not both.')
  const values = variants?.map((each) => each.value) ?? [value]
  if (standard !== undefined && typeof standard !== 'boolean' && values[0] === undefined) {
    const remedy = 'Give the rule a value or variants: the flag is not only on or off.'
    throw optionRuleError(where, 'value', value, remedy)
  }
  const wrong = values.find((each) => !isOfKind(each, standard))
  if (wrong !== undefined)
    throw optionError(where, 'the value', wrong, `of the default's type, ${kindOf(standard)}`)
  if (from !== undefined && until !== undefined && timeOf(from) >= timeOf(until))
    throw optionRuleError(where, 'until', until, '`until` must be later than `from`.')
  return {
    ...(percentage !== undefined && { percentage }),
    ...(users && { users: namesOf(users) }),
    ...(organisations && { organisations: namesOf(organisations) }),
    ...(plans && { plans: namesOf(plans) }),
    ...(from !== undefined && { from: timeOf(from) }),
    ...(until !== undefined && { until: timeOf(until) }),
    ...(value !== undefined && { value }),
    ...(variants && { variants: variants.map(({ value, weight }) => ({ value, weight })) }),
  }
}

const kindOf = (value: unknown): string => (Array.isArray(value) ? 'an array' : `a ${typeof value}`)

/** Returns whether a value may stand for a flag with this default. Undefined is the value "on". */
export const isOfKind = (value: unknown, standard: unknown): boolean =>
  value === undefined || standard === undefined || kindOf(value) === kindOf(standard)

/** What a rule decides: it does not hold, or it holds with a value. Undefined is the value "on". */
export type RuleOutcome = { readonly value: unknown } | undefined

/** A rule as this process evaluates it. */
export class CompiledRule {
  readonly #users: ReadonlySet<string> | undefined
  readonly #organisations: ReadonlySet<string> | undefined
  readonly #plans: ReadonlySet<string> | undefined
  readonly #isTimed: boolean
  readonly #from: number
  readonly #until: number
  /** Subjects below this bucket are in. */
  readonly #end: number
  readonly #seed: number
  readonly #outcome: RuleOutcome
  readonly #variants: readonly { readonly outcome: RuleOutcome; readonly end: number }[]

  /** @param flag its name: buckets depend on it */
  constructor(flag: string, rule: StoredRule) {
    const { percentage = 100, users, organisations, plans, value, variants = [] } = rule
    this.#users = users && new Set(users)
    this.#organisations = organisations && new Set(organisations)
    this.#plans = plans && new Set(plans)
    this.#isTimed = rule.from !== undefined || rule.until !== undefined
    this.#from = rule.from ?? -Infinity
    this.#until = rule.until ?? Infinity
    this.#end = (percentage / 100) * BUCKETS
    this.#seed = bucketOf(flag, 0)
    this.#outcome = { value: frozen(value) }
    const sum = variants.reduce((total, { weight }) => total + weight, 0)
    let weight = 0
    this.#variants = variants.map((variant, i) => {
      weight += variant.weight
      const end = i === variants.length - 1 ? BUCKETS : (weight / sum) * BUCKETS
      return { outcome: { value: frozen(variant.value) }, end }
    })
  }

  decide(subject: SubjectReader, clock: { now(): number }): RuleOutcome {
    if (this.#isTimed) {
      const now = clock.now()
      if (now < this.#from || now >= this.#until) return undefined
    }
    if (!isIn(this.#plans, subject, 'plan')) return undefined
    if (!isIn(this.#organisations, subject, 'organisation')) return undefined
    if (!isIn(this.#users, subject, 'user')) return undefined
    if (this.#end < BUCKETS) {
      const { user } = subject
      if (user === undefined || bucketOf(user, this.#seed) >= this.#end) return undefined
    }
    if (this.#variants.length === 0) return this.#outcome
    const { user } = subject
    // Another seed: otherwise the users of a low percentage would all get the first variant.
    const bucket = user === undefined ? BUCKETS : bucketOf(user, ~this.#seed)
    return this.#variants.find(({ end }) => bucket < end)?.outcome
  }
}

function isIn(
  names: ReadonlySet<string> | undefined,
  subject: SubjectReader,
  property: keyof SubjectReader,
): boolean {
  if (names === undefined) return true
  const name = subject[property]
  return name !== undefined && names.has(name)
}

/** Returns a copy that no request can change: all requests share it. */
export function frozen<Value>(value: Value): Value {
  return deepFreeze(stored(value)) as Value
}

function deepFreeze(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  Object.values(value).forEach(deepFreeze)
  return Object.freeze(value)
}
