/** Validates what `tp.control` is called with. */
import { addressRuleId, subjectRuleId } from '../../control/rule-table.ts'
import type { PolicyChange } from '../../control/active-rules.ts'
import { durationOption, durationValidator } from '../../duration.ts'
import type { ExtensionContext } from '../../extension.ts'
import { parseAddressPrefix } from '../../http/address-prefix.ts'
import type { Subject } from '../../store/keys.ts'
import { passedSubjectTag, requireTenant, shownSubject } from '../../store/subject.ts'
import {
  anyString,
  integer,
  isObject,
  oneOf,
  optionError,
  validateOptions,
  type Validator,
} from '../../validate.ts'
import type { ControlChangeOptions, RuleOptions } from './change-options.ts'
import type { PolicyValues } from './options.ts'
import { MAX_AMOUNT, MAX_WINDOW_MS } from './stored-rule.ts'

/** The longest time that a rule may be in force, in ms. */
const MAX_MS = 3_650 * 86_400_000
/** Accepts a string that is not empty. */
export const stringUpTo = (max: number): Validator => ({
  expected: `a string of 1 to ${max} characters`,
  accepts: (value) => typeof value === 'string' && value.trim() !== '' && value.length <= max,
})

/** Options of every change. */
export const CHANGE_OPTIONS: Record<string, Validator> = {
  by: stringUpTo(100),
  reason: stringUpTo(200),
}
/** Options of a change that may end by itself. */
export const RULE_OPTIONS: Record<string, Validator> = { ...CHANGE_OPTIONS, for: durationValidator }

const AMOUNTS: Record<string, Validator> = {
  limit: integer(0, MAX_AMOUNT),
  burst: integer(1, MAX_AMOUNT),
  window: durationValidator,
}

/** The option `enforce`. */
export const PERCENT: Validator = integer(0, 100)

/** The modes of a limit, and what ends them. */
export const MODES: Validator = oneOf('on', 'shadow', 'off', 'closed', 'default')

/** A target, as it is stored and shown. */
export interface NamedTarget {
  readonly id: string
  readonly shown: string
  readonly subject?: Subject
  readonly tenant?: string | undefined
  readonly change?: PolicyChange
  readonly enforce?: number
}

/** Returns whom a rule is about. @throws TP_OPTION, TP_KEY */
export function namedTarget(
  context: ExtensionContext,
  target: unknown,
  where: string,
): NamedTarget {
  if (typeof target === 'string') {
    const prefix = parseAddressPrefix(target)
    if (prefix !== undefined) return { id: addressRuleId(prefix), shown: prefix.text }
    // A misspelled address must not become a subject that no request has.
    throw optionError(
      where,
      'the target',
      target,
      "an address like '203.0.113.7', a network like '203.0.113.0/24', or { subject }",
    )
  }
  if (!isObject(target) || target['subject'] === undefined)
    throw optionError(where, 'the target', target, 'an address, a network, or { subject }')
  validateOptions(where, target, { subject: anySubject, tenant: anyString })
  const { subject, tenant } = target as { subject: Subject | number; tenant?: string }
  requireTenant(context, tenant, where)
  const tag = passedSubjectTag(context.keys, subject, tenant, where)
  return {
    id: subjectRuleId(tag),
    shown: `subject ${tag}`,
    subject: shownSubject(subject),
    tenant,
  }
}

/** Returns a change of a policy. @throws TP_OPTION */
export function changeOf(where: string, values: unknown): PolicyChange {
  if (!isObject(values) || Object.values(values).every((value) => value === undefined))
    throw optionError(where, 'values', values, "an object like { limit: 30 }, or 'default'")
  validateOptions(where, values, AMOUNTS)
  const { limit, window: time, burst } = values as PolicyValues
  const window = time === undefined ? undefined : durationOption(time, where, 'window')
  if (window !== undefined && window > MAX_WINDOW_MS)
    throw optionError(where, 'window', time, 'at most 366 days')
  return {
    ...(limit !== undefined && { limit }),
    ...(window !== undefined && { window }),
    ...(burst !== undefined && { burst }),
  }
}

/** What is no identity is reported as such later. */
const anySubject: Validator = {
  expected: 'a string, a number, or a list of strings',
  accepts: (value) => ['string', 'number'].includes(typeof value) || Array.isArray(value),
}

/** Validates the options of a change. @throws TP_OPTION also if `by` or `reason` is missing */
export function checkedOptions<Options extends ControlChangeOptions>(
  where: string,
  options: Options,
  kinds: Record<string, Validator>,
): Options {
  validateOptions(where, options, kinds)
  for (const option of ['by', 'reason'] as const)
    if (options[option] === undefined)
      throw optionError(where, option, undefined, kinds[option]!.expected)
  return options
}

/** Returns how long a change is in force, in ms, 0: until it is lifted. @throws TP_OPTION */
export function timeInForce(where: string, { for: time }: RuleOptions): number {
  const ms = time === undefined ? 0 : durationOption(time, where, 'for')
  if (ms > MAX_MS) throw optionError(where, 'for', time, 'at most ten years')
  return ms
}
