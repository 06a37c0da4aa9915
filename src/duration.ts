import { closestMatch, optionError, type Validator } from './validate.ts'

/**
 * A length of time: a number of milliseconds, or a number with a unit and without a space.
 * @example '250ms', '61s', '15m', '1h', '7d', '2w'
 */
export type Duration = number | `${number}${Unit}`

/**
 * A duration that may come from a variable. A string whose type is not a literal is checked at run time.
 * A literal that is no duration is a type error.
 * @template Literal inferred from the value
 */
export type CheckedDuration<Literal extends string> =
  | Duration
  | (string extends Literal ? Literal : never)

type Unit = 'ms' | 's' | 'm' | 'h' | 'd' | 'w'

const UNITS: Record<Unit, number> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
}

/** Words that are often written for a unit. */
const WORDS: Record<string, Unit> = {
  msec: 'ms',
  millis: 'ms',
  millisecond: 'ms',
  milliseconds: 'ms',
  sec: 's',
  secs: 's',
  second: 's',
  seconds: 's',
  min: 'm',
  mins: 'm',
  minute: 'm',
  minutes: 'm',
  hr: 'h',
  hrs: 'h',
  hour: 'h',
  hours: 'h',
  day: 'd',
  days: 'd',
  week: 'w',
  weeks: 'w',
}

const EXACT = /^(\d+(?:\.\d+)?)(ms|s|m|h|d|w)$/
const LOOSE = /^\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*$/i

export const DURATION_FORMAT =
  "a duration: a number of milliseconds, or a string like '250ms', '61s', '15m', '1h', '7d'"

/**
 * Returns the milliseconds of a duration as an integer, undefined for a value that is none. Redis
 * takes no fractions, and no more than a safe integer.
 */
export function parseDuration(duration: unknown): number | undefined {
  const ms = typeof duration === 'number' ? duration : millisecondsOf(duration)
  return ms >= 0 && ms <= Number.MAX_SAFE_INTEGER ? Math.round(ms) : undefined
}

function millisecondsOf(duration: unknown): number {
  const match = typeof duration === 'string' ? EXACT.exec(duration) : null
  return match ? Number(match[1]) * UNITS[match[2] as Unit] : Number.NaN
}

/** Returns milliseconds, an integer, for a person, and loses none: `1h`, `1h 30m`, `59m 59s 871ms`. */
export function printDuration(ms: number): string {
  const parts: string[] = []
  let left = ms
  for (const unit of ['d', 'h', 'm', 's', 'ms'] as const) {
    const count = Math.floor(left / UNITS[unit])
    left -= count * UNITS[unit]
    if (count > 0) parts.push(`${count}${unit}`)
  }
  return parts.join(' ') || '0ms'
}

/** Returns the duration that a value was probably meant to be. */
export function suggestDuration(duration: unknown): string | undefined {
  const match = typeof duration === 'string' ? LOOSE.exec(duration) : null
  if (!match) return undefined
  const word = match[2]!.toLowerCase()
  const unit =
    word in UNITS ? word : (WORDS[word] ?? WORDS[closestMatch(word, Object.keys(WORDS)) ?? ''])
  return unit && `'${match[1]}${unit}'`
}

/**
 * Returns the milliseconds of an option that holds a duration.
 * @param min shortest duration that is accepted, in milliseconds
 * @throws TP_OPTION if the value is no duration or shorter than `min`
 */
export function durationOption(value: unknown, where: string, option: string, min = 1): number {
  const ms = parseDuration(value)
  if (ms === undefined)
    throw optionError(where, option, value, DURATION_FORMAT, suggestDuration(value))
  if (ms < min) throw optionError(where, option, value, `at least ${min} ms`)
  return ms
}

/** Accepts a duration. */
export const durationValidator: Validator = {
  expected: DURATION_FORMAT,
  accepts: (value) => parseDuration(value) !== undefined,
  suggest: suggestDuration,
}
