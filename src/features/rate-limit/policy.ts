import {
  callback,
  validateOptions,
  anyOf,
  identifier,
  isFunction,
  optionError,
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
import { calendar, type Calendar } from './calendar.ts'
import type { RateLimitAlgorithm, PolicyOptions, ValueOrFunction } from './options.ts'

/** A policy ready for use: options checked, constants worked out. */
export interface Policy<Native> {
  readonly name: string
  readonly letter: 's' | 'g' | 'f'
  /** Undefined where it is worked out for each request. */
  readonly limit: number | undefined
  /** Milliseconds; 0 for calendar months. */
  readonly window: number | undefined
  readonly limitOf: ((native: Native) => unknown) | undefined
  readonly windowOf: ((native: Native) => unknown) | undefined
  readonly costOf: ValueOrFunction<Native, number> | undefined
  readonly burst: number | undefined
  readonly calendar: Calendar | undefined
  readonly timeZone: string | undefined
  readonly block: number
  readonly blockMax: number
  readonly key: PolicyOptions<Native>['key']
  /** The last part of its keys: limiter, policy and algorithm, so that a changed algorithm never meets old state. */
  readonly sub: string
}

export const MOST: number = 1e12
/** Milliseconds. */
export const LONGEST: number = 366 * 86_400_000
const LETTERS = { 'sliding-window': 's', gcra: 'g', 'fixed-window': 'f' } as const

const limits = anyOf(integer(0, MOST), callback)
/** A window that is no function. */
export const FIXED_WINDOW: Validator = {
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

export const POLICY: Record<string, Validator> = {
  name: identifier,
  limit: limits,
  window: windows,
  algorithm: oneOf('sliding-window', 'gcra', 'fixed-window'),
  burst: integer(1, MOST),
  timeZone: nonEmptyString,
  cost: limits,
  blockFor: durationValidator,
  blockMax: durationValidator,
  key: callback,
}

/**
 * The policies of a mount.
 * @param where names the call in error messages
 * @param name the limiter's own name, if it was given one
 */
export function policiesOf<Native>(
  where: string,
  options: Partial<PolicyOptions<Native>> & {
    policies?: readonly PolicyOptions<Native>[] | undefined
  },
  name: string | undefined,
): { name: string; policies: readonly Policy<Native>[] } {
  // In the short form key and cost are the mount's, which come first.
  const short = { ...options, key: undefined, cost: undefined } as unknown as PolicyOptions<Native>
  const list = options.policies ?? [short]
  if (!Array.isArray(list) || list.length === 0 || list.length > 16) {
    throw optionError(where, 'policies', list, 'a list of 1 to 16 policies')
  }
  if (options.policies && (options.limit !== undefined || options.window !== undefined)) {
    throw optionError(
      where,
      'limit and window',
      options.limit ?? options.window,
      'left out where there are policies',
    )
  }
  const drafts = list.map((policy: PolicyOptions<Native>, i) => {
    const at = options.policies ? `${where}: policies[${i}]` : where
    if (options.policies) validateOptions(at, policy, POLICY)
    const own = options.policies ? policy.name : undefined
    return {
      at,
      policy,
      name: own ?? (options.policies ? undefined : name) ?? described(policy.window),
    }
  })
  for (const { at, name: each } of drafts) {
    if (drafts.filter((other) => other.name === each).length > 1) {
      throw optionError(at, 'name', each, 'different for each policy of a limiter')
    }
  }
  const whole =
    name ?? drafts.map((draft) => `${described(draft.policy.limit)}-${draft.name}`).join('_')
  return {
    name: whole,
    policies: drafts.map((draft) => policyOf(draft.at, draft.policy, whole, draft.name)),
  }
}

/** Returns the settings that all limits of one name must agree on, because they share counts. */
export function sharedSettings(policies: readonly Policy<never>[]): Record<string, unknown> {
  return Object.fromEntries(
    policies.flatMap((policy) => {
      const { name, limit, limitOf, window, windowOf, letter, burst, timeZone } = policy
      const of = policies.length === 1 ? '' : ` of policy ${name}`
      return [
        [`limit${of}`, limit ?? limitOf],
        [`window${of}`, window ?? windowOf],
        [`algorithm${of}`, letter],
        [`burst${of}`, burst],
        [`timeZone${of}`, timeZone],
      ]
    }),
  )
}

/** A stand-in for a name: the value as it was written, the same in every process. */
const described = (value: unknown): string => {
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
  const {
    algorithm = window === 'month' || timeZone !== undefined ? 'fixed-window' : 'sliding-window',
  } = options
  if (burst !== undefined && algorithm !== 'gcra')
    throw optionError(where, 'burst', burst, "left out, except with algorithm: 'gcra'")
  const block =
    options.blockFor === undefined ? 0 : durationOption(options.blockFor, where, 'blockFor')
  const blockMax =
    options.blockMax === undefined ? block : durationOption(options.blockMax, where, 'blockMax')
  if (blockMax < block) throw optionError(where, 'blockMax', options.blockMax, 'at least blockFor')
  const calendarWindow = calendarOf(where, window, algorithm, timeZone)
  const fixed = window === 'month' ? 0 : isFunction(window) ? undefined : windowMs(where, window)
  return {
    name,
    letter: LETTERS[algorithm],
    limit: isFunction(limit) ? undefined : limit,
    limitOf: isFunction(limit) ? limit : undefined,
    window: fixed,
    windowOf: isFunction(window) ? window : undefined,
    costOf: cost,
    burst,
    calendar: calendarWindow,
    timeZone,
    block,
    blockMax,
    key,
    sub: keyPart(`${limiter}.${name}.${LETTERS[algorithm]}`),
  }
}

function windowMs(where: string, window: unknown): number {
  const ms = durationOption(window, where, 'window')
  if (ms > LONGEST) throw optionError(where, 'window', window, 'at most 366 days')
  return ms
}

function calendarOf(
  where: string,
  window: unknown,
  algorithm: RateLimitAlgorithm,
  timeZone: string | undefined,
): Calendar | undefined {
  if (window !== 'month' && timeZone === undefined) return undefined
  if (algorithm !== 'fixed-window') {
    throw optionError(
      where,
      'algorithm',
      algorithm,
      "'fixed-window' where the window is 'month' or there is a timeZone",
    )
  }
  if (window !== 'month' && parseDuration(window) !== 86_400_000) {
    throw optionError(where, 'timeZone', timeZone, "left out, except with window: '1d' or 'month'")
  }
  try {
    return calendar(window === 'month' ? 'month' : 'day', timeZone ?? 'UTC')
  } catch {
    throw optionError(where, 'timeZone', timeZone, "an IANA time zone, like 'Europe/Berlin'")
  }
}

/** A limit, window or cost that a function gave for a request. @throws TP_VALUE */
export function checked(what: 'limit' | 'window' | 'cost', value: unknown, policy: string): number {
  const ms = what === 'window' ? parseDuration(value) : undefined
  const usable =
    what === 'window'
      ? ms !== undefined && ms >= 1 && ms <= LONGEST
      : Number.isInteger(value) && (value as number) >= 0 && (value as number) <= MOST
  if (usable) return ms ?? (value as number)
  const expected = what === 'window' ? DURATION_FORMAT : `a whole number from 0 to ${MOST}`
  throw new TurnpikeError(
    'TP_VALUE',
    `The ${what} of policy '${policy}' must be ${expected}; it came out as ${String(value)} (${typeof value}).`,
  )
}
