import {
  callback,
  validateOptions,
  anyOf,
  identifier,
  isFunction,
  optionError,
  optionRuleError,
  nonEmptyString,
  integer,
  oneOf,
} from '../../validate.ts'
import type { Validator } from '../../validate.ts'
import {
  durationOption,
  DURATION_FORMAT,
  durationValidator,
  suggestDuration,
  parseDuration,
} from '../../duration.ts'
import { TurnpikeError } from '../../errors.ts'
import { keyPart } from '../../store/keys.ts'
import type { LimitAlgorithm } from './algorithms/algorithm.ts'
import { algorithmOf, ALGORITHMS } from './algorithms/index.ts'
import { calendar, type Calendar } from './calendar.ts'
import { MAX_LIMIT } from './operations/script.ts'
import type { PolicyOptions, ValueOrFunction } from './options.ts'

/** A policy ready for use: its options are valid, and what does not depend on a request is worked out. */
export interface Policy<Native> {
  readonly name: string
  readonly algorithm: LimitAlgorithm
  /** Undefined if it is a function of the request. */
  readonly limit: number | undefined
  /** In ms, 0 for calendar months. Undefined if it is a function of the request. */
  readonly window: number | undefined
  readonly limitOf: ((native: Native) => unknown) | undefined
  readonly windowOf: ((native: Native) => unknown) | undefined
  readonly costOf: ValueOrFunction<Native, number> | undefined
  readonly burst: number | undefined
  readonly calendar: Calendar | undefined
  readonly timeZone: string | undefined
  readonly blockFor: number
  readonly blockMax: number
  readonly key: PolicyOptions<Native>['key']
  /** How long a process may hold units of it, in ms. 0: no units are leased. */
  readonly lease: number
  /** Ends its keys: limiter, policy and algorithm. A changed algorithm must not read the other's state. */
  readonly keySuffix: string
}

/** The longest window, in ms. */
export const MAX_WINDOW: number = 366 * 86_400_000
/** The longest block, in ms. Its end must fit into the state. */
export const MAX_BLOCK: number = 100_000 * 86_400_000
const MAX_POLICIES = 16

const amount = integer(0, MAX_LIMIT)
/** A limit that is no function. `Infinity` is no limit. */
export const fixedLimitValidator: Validator = {
  expected: `${amount.expected}, or Infinity`,
  accepts: (value) => value === Infinity || amount.accepts(value),
  ...(amount.suggest && { suggest: amount.suggest }),
}
const limits = anyOf(fixedLimitValidator, callback)
/** A window that is no function. */
export const fixedWindowValidator: Validator = {
  expected: `${DURATION_FORMAT}, or 'month'`,
  accepts: (value) => value === 'month' || parseDuration(value) !== undefined,
  suggest: suggestDuration,
}
const windows: Validator = {
  expected: `${DURATION_FORMAT}, 'month', or a function`,
  accepts: (value) => value === 'month' || isFunction(value) || parseDuration(value) !== undefined,
  suggest: (value) =>
    typeof value === 'string' && /^(a |one |1 ?)?months?$/i.test(value)
      ? "'month'"
      : suggestDuration(value),
}

export const POLICY_OPTIONS: Record<string, Validator> = {
  name: identifier,
  limit: limits,
  window: windows,
  algorithm: oneOf(...ALGORITHMS.map(({ name }) => name)),
  burst: integer(1, MAX_LIMIT),
  timeZone: nonEmptyString,
  cost: anyOf(amount, callback),
  blockFor: durationValidator,
  blockMax: durationValidator,
  key: callback,
}

/**
 * Returns the policies of a mount.
 * @param where the call that makes it, for error messages
 * @param name the limiter's name, if it has one
 * @throws TP_OPTION
 */
export function policiesOf<Native>(
  where: string,
  options: Partial<PolicyOptions<Native>> & {
    policies?: readonly PolicyOptions<Native>[] | undefined
  },
  name: string | undefined,
): { name: string; policies: readonly Policy<Native>[] } {
  // In the short form key and cost are the mount's.
  const short = { ...options, key: undefined, cost: undefined } as unknown as PolicyOptions<Native>
  const list = options.policies ?? [short]
  if (!Array.isArray(list) || list.length === 0 || list.length > MAX_POLICIES) {
    throw optionError(where, 'policies', list, `a list of 1 to ${MAX_POLICIES} policies`)
  }
  if (options.policies && (options.limit !== undefined || options.window !== undefined)) {
    throw optionRuleError(
      where,
      'limit and window',
      options.limit ?? options.window,
      '`limit and window` belong into each of `policies`. Leave them out beside `policies`.',
    )
  }
  const drafts = Array.from(list, (policy: PolicyOptions<Native>, i) => {
    const at = options.policies ? `${where}: policies[${i}]` : where
    if (options.policies) validateOptions(at, policy, POLICY_OPTIONS)
    const own = options.policies ? policy.name : undefined
    return {
      at,
      policy,
      name: own ?? (options.policies ? undefined : name) ?? nameFrom(policy.window),
    }
  })
  for (const { at, name: each } of drafts) {
    if (drafts.filter((other) => other.name === each).length > 1) {
      throw optionRuleError(
        at,
        'name',
        each,
        `two policies have the name '${each}'. Give each policy its own \`name\`.`,
      )
    }
  }
  const limiterName =
    name ?? drafts.map((draft) => `${nameFrom(draft.policy.limit)}-${draft.name}`).join('_')
  return {
    name: limiterName,
    policies: drafts.map((draft) => policyOf(draft.at, draft.policy, limiterName, draft.name)),
  }
}

/** Returns the settings that all limits of one name must agree on, because they share counts. */
export function sharedSettings(policies: readonly Policy<never>[]): Record<string, unknown> {
  return Object.fromEntries(
    policies.flatMap((policy) => {
      const { name, limit, limitOf, window, windowOf, algorithm, burst, timeZone, lease } = policy
      const of = policies.length === 1 ? '' : ` of policy ${name}`
      return [
        [`limit${of}`, limit ?? limitOf],
        [`window${of}`, window ?? windowOf],
        [`algorithm${of}`, algorithm.name],
        [`burst${of}`, burst],
        [`timeZone${of}`, timeZone],
        [`lease${of}`, lease],
      ]
    }),
  )
}

/** Returns a name derived from an option as it was written, so that all processes derive the same. */
const nameFrom = (value: unknown): string => {
  if (isFunction(value)) return 'fn'
  const written = typeof value === 'number' || typeof value === 'string' ? String(value) : ''
  return written.replace(/[^\w.-]/g, '-') || 'default'
}

function policyOf<Native>(
  where: string,
  options: PolicyOptions<Native>,
  limiter: string,
  name: string,
): Policy<Native> {
  const { limit, window, burst, timeZone, cost, key } = options
  if (limit === undefined) throw optionError(where, 'limit', limit, limits.expected)
  if (window === undefined) throw optionError(where, 'window', window, windows.expected)
  const algorithm = algorithmOf(
    options.algorithm ??
      (window === 'month' || timeZone !== undefined ? 'fixed-window' : 'sliding-window'),
  )
  if (burst !== undefined && !algorithm.hasBurst)
    throw optionRuleError(
      where,
      'burst',
      burst,
      `\`burst\` requires \`algorithm\`: ${namesWith('hasBurst')}. It is '${algorithm.name}'.`,
    )
  const { blockFor, blockMax } = blockOf(where, options)
  return {
    name,
    algorithm,
    limit: isFunction(limit) ? undefined : limit,
    limitOf: isFunction(limit) ? limit : undefined,
    window: window === 'month' ? 0 : isFunction(window) ? undefined : windowMs(where, window),
    windowOf: isFunction(window) ? window : undefined,
    costOf: cost,
    burst,
    calendar: calendarOf(where, window, algorithm, timeZone),
    timeZone,
    blockFor,
    blockMax,
    key,
    lease: 0,
    keySuffix: keyPart([limiter, name, algorithm.code].map(withoutDots).join('.')),
  }
}

/** A dot separates names in keys. Names cannot contain `@`. */
const withoutDots = (name: string): string => name.replaceAll('.', '@')

const namesWith = (ability: 'hasBurst' | 'hasCalendar'): string =>
  ALGORITHMS.filter((each) => each[ability])
    .map(({ name }) => `'${name}'`)
    .join(' or ')

function blockOf(
  where: string,
  options: Pick<PolicyOptions<never>, 'blockFor' | 'blockMax'>,
): { blockFor: number; blockMax: number } {
  const blockFor =
    options.blockFor === undefined ? 0 : durationOption(options.blockFor, where, 'blockFor')
  const blockMax =
    options.blockMax === undefined ? blockFor : durationOption(options.blockMax, where, 'blockMax')
  for (const [option, ms] of Object.entries({ blockFor, blockMax }))
    if (ms > MAX_BLOCK)
      throw optionError(where, option, options[option as 'blockFor'], 'at most 100,000 days')
  if (blockMax < blockFor)
    throw optionRuleError(
      where,
      'blockMax',
      options.blockMax,
      `\`blockMax\` (${blockMax} ms) is shorter than \`blockFor\` (${blockFor} ms). It is the longest block.`,
    )
  return { blockFor, blockMax }
}

function windowMs(where: string, window: unknown): number {
  const ms = durationOption(window, where, 'window')
  if (ms > MAX_WINDOW) throw optionError(where, 'window', window, 'at most 366 days')
  return ms
}

function calendarOf(
  where: string,
  window: unknown,
  algorithm: LimitAlgorithm,
  timeZone: string | undefined,
): Calendar | undefined {
  if (window !== 'month' && timeZone === undefined) return undefined
  if (!algorithm.hasCalendar) {
    throw optionRuleError(
      where,
      'algorithm',
      algorithm.name,
      `\`window: 'month'\` and \`timeZone\` require \`algorithm\`: ${namesWith('hasCalendar')}. It is '${algorithm.name}'.`,
    )
  }
  if (window !== 'month' && parseDuration(window) !== 86_400_000) {
    throw optionRuleError(
      where,
      'timeZone',
      timeZone,
      "`timeZone` requires `window: '1d'` or `window: 'month'`. Other windows do not begin at midnight.",
    )
  }
  try {
    return calendar(window === 'month' ? 'month' : 'day', timeZone ?? 'UTC')
  } catch {
    throw optionError(where, 'timeZone', timeZone, "an IANA time zone, like 'Europe/Berlin'")
  }
}

/** Returns a limit, window or cost that a function of the request returned. @throws TP_VALUE */
export function checkedValue(
  what: 'limit' | 'window' | 'cost',
  value: unknown,
  policy: string,
): number {
  if (what === 'window') {
    const ms = parseDuration(value)
    if (ms !== undefined && ms >= 1 && ms <= MAX_WINDOW) return ms
  } else if ((what === 'limit' ? fixedLimitValidator : amount).accepts(value)) {
    return value as number
  }
  const expected = {
    limit: fixedLimitValidator.expected,
    window: DURATION_FORMAT,
    cost: amount.expected,
  }[what]
  throw new TurnpikeError(
    'TP_VALUE',
    `The ${what} of policy '${policy}' must be ${expected}. It is ${String(value)} (${typeof value}).`,
  )
}
