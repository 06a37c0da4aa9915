/** Checks options when a middleware is created, so that a mistake shows before the first request. */
import { TurnpikeError } from './errors.ts'
import { quote, withoutSecrets } from './option-value.ts'

/** Reports an option that cannot be used. */
export class OptionError extends TurnpikeError {
  /** Always `'OptionError'`. */
  override readonly name: string = 'OptionError'
  /** Name of the option. */
  readonly option: string
  /** The value that was passed. Undefined for secrets, objects and functions: a log must not show what they hold. */
  readonly value: unknown
  /** What the option accepts. */
  readonly expected: string
  /** What was probably meant, if there is a near match. */
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
    this.value = withoutSecrets(option, value)
    this.expected = expected
    this.suggestion = suggestion
  }
}

/**
 * Returns the error for one option.
 * @param where the call that was given the option, for example `tp.rateLimit()`
 * @param expected completes the sentence "`option` must be ..."
 */
export function optionError(
  where: string,
  option: string,
  value: unknown,
  expected: string,
  suggestion?: string,
): OptionError {
  const hint = suggestion === undefined ? '' : ` Did you mean ${suggestion}?`
  return new OptionError(
    `${where}: ${option} must be ${expected}. It is ${quote(option, value)}.${hint}`,
    option,
    value,
    expected,
    suggestion,
  )
}

/**
 * Returns the error for an option that breaks a rule between options.
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

/** Decides which values an option accepts. */
export interface Validator {
  /** Completes the sentence "The option must be ...". */
  expected: string
  /** Returns true for a value that the option accepts. */
  accepts(value: unknown): boolean
  /** Returns what a value that is not accepted was probably meant to be. */
  suggest?(value: unknown): string | undefined
}

export const isFunction = (value: unknown): value is (...args: never[]) => unknown =>
  typeof value === 'function'
export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Returns true for a list whose items are all accepted. The holes of a sparse array are items, too. */
export function isListOf(
  value: unknown,
  accepts: (item: unknown) => boolean,
  min: number,
  max: number = Number.MAX_SAFE_INTEGER,
): value is unknown[] {
  if (!Array.isArray(value) || value.length < min || value.length > max) return false
  // `every` would skip holes.
  for (const item of value) if (!accepts(item)) return false
  return true
}

/** Accepts true and false. */
export const boolean: Validator = {
  expected: 'true or false',
  accepts: (value) => typeof value === 'boolean',
}
/** Accepts a string with at least one character. */
export const nonEmptyString: Validator = {
  expected: 'a non-empty string',
  accepts: (value) => typeof value === 'string' && value !== '',
}
export const anyString: Validator = {
  expected: 'a string',
  accepts: (value) => typeof value === 'string',
}
/** Accepts a function. */
export const callback: Validator = { expected: 'a function', accepts: isFunction }
/** Accepts an object that is no array. */
export const plainObject: Validator = { expected: 'an object', accepts: isObject }

/** Accepts an integer within bounds. */
export function integer(min: number, max: number = Number.MAX_SAFE_INTEGER): Validator {
  const bounds = max === Number.MAX_SAFE_INTEGER ? `${min} or more` : `from ${min} to ${max}`
  const accepts = (value: unknown): boolean =>
    Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max
  return {
    expected: `an integer, ${bounds}`,
    accepts,
    suggest: (value) =>
      typeof value === 'string' && value.trim() !== '' && accepts(Number(value))
        ? String(Number(value))
        : undefined,
  }
}

/** Accepts one of a few words. */
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

/** Accepts a name for keys and headers: up to 40 letters, digits and `_.-`. */
export const identifier: Validator = {
  expected: "up to 40 letters, digits, '_', '.' or '-'",
  accepts: (value) => typeof value === 'string' && /^[\w.-]{1,40}$/.test(value),
  suggest: (value) => {
    const valid =
      typeof value === 'string'
        ? value
            .trim()
            .replace(/[^\w.-]+/g, '-')
            .slice(0, 40)
        : ''
    return /\w/.test(valid) ? `'${valid}'` : undefined
  },
}

/** Options of similar packages, and their names here. */
const ELSEWHERE: Record<string, string> = {
  max: 'limit',
  points: 'limit',
  windowMs: 'window',
  duration: 'window',
  maxRequests: 'limit',
  permits: 'limit',
  keyGenerator: 'key',
  handler: 'reply',
  message: 'reply',
  skipFailedRequests: 'skipFailed',
  skipSuccessfulRequests: 'skipSuccessful',
  standardHeaders: 'headers',
  keyPrefix: 'prefix',
  headerName: 'header',
  maxAge: 'ttl',
  expires: 'ttl',
  expiresIn: 'ttl',
  ttl: 'lease',
  maxLength: 'max',
  delay: 'in',
  url: 'redis',
  redisUrl: 'redis',
  client: 'redis',
  redisClient: 'redis',
  connection: 'redis',
  deadline: 'commandTimeout',
}

/** Accepts what either of two validators accepts. */
export function anyOf(a: Validator, b: Validator): Validator {
  return {
    expected: `${a.expected}, or ${b.expected}`,
    accepts: (value) => a.accepts(value) || b.accepts(value),
    suggest: (value) => a.suggest?.(value) ?? b.suggest?.(value),
  }
}

/**
 * Checks an object of options. An option that is undefined counts as omitted.
 * @param where the call that was given the options, for example `tp.rateLimit()`
 * @param kinds the known options, and what each accepts
 * @throws TP_OPTION for the first option that is unknown or not accepted
 */
export function validateOptions(
  where: string,
  options: unknown,
  kinds: Record<string, Validator>,
): void {
  if (!isObject(options)) throw optionError(where, 'the options', options, 'an object')
  if (isRequest(options)) throw notCalled(where)
  for (const [option, value] of Object.entries(options)) {
    const kind = Object.hasOwn(kinds, option) ? kinds[option] : undefined
    if (!kind) {
      const known = ELSEWHERE[option]
      const near =
        known !== undefined && known in kinds ? known : closestMatch(option, Object.keys(kinds))
      const listed = Object.keys(kinds).join(', ')
      const expected = `one of ${listed}`
      throw new OptionError(
        `${where}: there is no option ${option}. ${near ? `Did you mean ${near}?` : `The options are ${listed}.`}`,
        option,
        // Nothing is known of it: it may be a password under another name.
        undefined,
        expected,
        near,
      )
    }
    if (value !== undefined && !kind.accepts(value)) {
      throw optionError(where, option, value, kind.expected, kind.suggest?.(value))
    }
  }
}

/** Returns true for a request of node, or Koa's ctx. A middleware gets it if it is mounted without a call. */
const isRequest = (value: unknown): boolean =>
  isObject(value) && ('rawHeaders' in value || isRequest(value['req']))

const notCalled = (where: string): OptionError => {
  const call = where.replace(/\(.*$/, '')
  const rule = `It got a request instead of options. Call it where you mount it: app.use(${call}({ … })).`
  return optionRuleError(where, 'the options', undefined, rule)
}

/** Returns the word that `input` most likely misspells, or undefined if none is near. */
export function closestMatch(input: string, words: readonly string[]): string | undefined {
  const lower = input.toLowerCase()
  let best: string | undefined
  let fewest = Math.max(2, Math.floor(input.length / 3)) + 1
  for (const candidate of words) {
    const edits = distance(lower, candidate.toLowerCase())
    const isLonger = edits === fewest && candidate.startsWith(input)
    if (edits < fewest || (best !== undefined && isLonger)) [best, fewest] = [candidate, edits]
  }
  return best
}

/** Returns the Levenshtein distance: the fewest insertions, deletions and substitutions. */
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
