/** Options are checked once, when a middleware is made: a typing error should not wait for a request. */
import { TurnpikeError } from './errors.ts'

/** An option that cannot be used: which, what it was, what was expected, and what was probably meant. */
export class OptionError extends TurnpikeError {
  override readonly name: string = 'OptionError'
  readonly option: string
  readonly value: unknown
  readonly expected: string
  readonly suggestion: string | undefined

  constructor(
    message: string,
    option: string,
    value: unknown,
    expected: string,
    suggestion: string | undefined,
  ) {
    super('TP_OPTION', message)
    this.option = option
    this.value = value
    this.expected = expected
    this.suggestion = suggestion
  }
}

/** The error for one option of the call `where`, for example `tp.rateLimit()`. */
export function optionError(
  where: string,
  option: string,
  value: unknown,
  expected: string,
  suggestion?: string,
): OptionError {
  const hint = suggestion === undefined ? '' : ` Did you mean ${suggestion}?`
  return new OptionError(
    `${where}: ${option} must be ${expected}; it is ${quote(value)}.${hint}`,
    option,
    value,
    expected,
    suggestion,
  )
}

/**
 * The error for an option that breaks a rule between options.
 * @param rule the rule as a sentence: which options, and what to do
 */
export function optionRuleError(
  where: string,
  option: string,
  value: unknown,
  rule: string,
): OptionError {
  return new OptionError(`${where}: ${rule}`, option, value, rule, undefined)
}

/** What an option may be. */
export interface Validator {
  expected: string
  accepts(value: unknown): boolean
  /** What was probably meant by a value that is not accepted. */
  suggest?(value: unknown): string | undefined
}

export const isFunction = (value: unknown): value is (...args: never[]) => unknown =>
  typeof value === 'function'
export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export const boolean: Validator = {
  expected: 'true or false',
  accepts: (value) => typeof value === 'boolean',
}
export const nonEmptyString: Validator = {
  expected: 'a text that is not empty',
  accepts: (value) => typeof value === 'string' && value !== '',
}
export const callback: Validator = { expected: 'a function', accepts: isFunction }
export const plainObject: Validator = { expected: 'an object', accepts: isObject }

/** A whole number within bounds. */
export function integer(min: number, max: number = Number.MAX_SAFE_INTEGER): Validator {
  const bounds = max === Number.MAX_SAFE_INTEGER ? `${min} or more` : `from ${min} to ${max}`
  return {
    expected: `a whole number, ${bounds}`,
    accepts: (value) =>
      Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max,
    suggest: (value) =>
      typeof value === 'string' && value.trim() !== '' && Number.isSafeInteger(Number(value))
        ? String(Number(value))
        : undefined,
  }
}

/** One of a few words. */
export function oneOf(...words: readonly string[]): Validator {
  return {
    expected: words.map((each) => `'${each}'`).join(' or '),
    accepts: (value) => words.includes(value as string),
    suggest: (value) => {
      const near = typeof value === 'string' ? closestMatch(value, words) : undefined
      return near && `'${near}'`
    },
  }
}

/** A name that goes into keys and headers: up to 40 characters of letters, digits and `_.-`. */
export const identifier: Validator = {
  expected: "up to 40 letters, digits, '_', '.' or '-'",
  accepts: (value) => typeof value === 'string' && /^[\w.-]{1,40}$/.test(value),
  suggest: (value) => {
    const mended =
      typeof value === 'string'
        ? value
            .trim()
            .replace(/[^\w.-]+/g, '-')
            .slice(0, 40)
        : ''
    return /\w/.test(mended) ? `'${mended}'` : undefined
  },
}

/** What the options of other packages are called here. */
const ELSEWHERE: Record<string, string> = {
  max: 'limit',
  points: 'limit',
  windowMs: 'window',
  duration: 'window',
  keyGenerator: 'key',
  handler: 'reply',
  message: 'reply',
  skipFailedRequests: 'skipFailed',
  skipSuccessfulRequests: 'skipSuccessful',
  standardHeaders: 'headers',
  keyPrefix: 'prefix',
  maxAge: 'ttl',
}

/** Either of two kinds. */
export function anyOf(a: Validator, b: Validator): Validator {
  return {
    expected: `${a.expected}, or ${b.expected}`,
    accepts: (value) => a.accepts(value) || b.accepts(value),
    suggest: (value) => a.suggest?.(value) ?? b.suggest?.(value),
  }
}

/**
 * Checks that `options` is an object whose every property is known and of its kind. An option that
 * is undefined counts as left out.
 * @throws TP_OPTION at the first that is not
 */
export function validateOptions(
  where: string,
  options: unknown,
  kinds: Record<string, Validator>,
): void {
  if (!isObject(options)) throw optionError(where, 'the options', options, 'an object')
  for (const [option, value] of Object.entries(options)) {
    const kind = Object.hasOwn(kinds, option) ? kinds[option] : undefined
    if (!kind) {
      const known = ELSEWHERE[option]
      const near =
        known !== undefined && known in kinds ? known : closestMatch(option, Object.keys(kinds))
      const expected = `one of ${Object.keys(kinds).join(', ')}`
      throw new OptionError(
        `${where}: there is no option ${option}.${near ? ` Did you mean ${near}?` : ` It takes ${expected}.`}`,
        option,
        value,
        expected,
        near,
      )
    }
    if (value !== undefined && !kind.accepts(value)) {
      throw optionError(where, option, value, kind.expected, kind.suggest?.(value))
    }
  }
}

/** The word of `words` that `input` is most likely a slip of, or undefined. */
export function closestMatch(input: string, words: readonly string[]): string | undefined {
  const lower = input.toLowerCase()
  let best: string | undefined
  let least = Math.max(2, Math.floor(input.length / 3)) + 1
  for (const candidate of words) {
    const slips = distance(lower, candidate.toLowerCase())
    if (slips < least) [best, least] = [candidate, slips]
  }
  return best
}

/** Levenshtein's distance: the fewest insertions, deletions and substitutions. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(
        row[j]! + 1,
        next[j - 1]! + 1,
        row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1),
      )
    }
    row = next
  }
  return row[b.length]!
}

/** A value as an error message shows it: short, with its type. */
function quote(value: unknown): string {
  if (value === undefined || value === null) return String(value)
  if (typeof value === 'string')
    return `'${value.length > 60 ? `${value.slice(0, 57)}...` : value}' (a string)`
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint')
    return `${value} (a ${typeof value})`
  if (Array.isArray(value)) return 'an array'
  return typeof value === 'function' ? 'a function' : 'an object'
}
