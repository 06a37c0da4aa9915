/** What a process says of itself in Redis, for the people who operate the application. */
import { anyOf, boolean, nonEmptyString, validateOptions, type Validator } from '../validate.ts'
import { durationOption, durationValidator, type Duration } from '../duration.ts'

/** Option `operations` of `turnpike()`. */
export interface OperationsOptions {
  /**
   * Name of the service, for people who operate several.
   * @default none
   * @example 'checkout'
   */
  service?: string
  /**
   * Release that the process runs, so that processes of different releases can be told apart.
   * @default none
   * @example process.env.GIT_COMMIT
   */
  release?: string | undefined
  /**
   * Pause between two reports of the process, from 1 to 20 seconds.
   * @default '10s'
   */
  every?: Duration
  /**
   * Whether the subjects that limits refuse most are reported. They stand in Redis as in the keys of
   * limits: an address, or what `key` returned.
   * @default true
   */
  subjects?: boolean
  /**
   * Path of a file where the process keeps the rules of `tp.control`, so that one that starts while
   * Redis is away heeds them. It is readable by its owner alone.
   * @default none
   * @example '/var/lib/shop/rules.json'
   */
  snapshot?: string
}

const WHERE = 'turnpike()'
const MIN_MS = 1000
const MAX_MS = 20_000

const label: Validator = {
  expected: 'a string of 1 to 64 printable characters',
  accepts: (value) => typeof value === 'string' && /^[^\p{C}]{1,64}$/u.test(value),
}

/** Validates the option `operations`. */
export const operationsValidator: Validator = anyOf(boolean, {
  expected: '{ service, release, every, subjects, snapshot }',
  accepts: (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
})

/** The options with defaults. Times are in ms. */
export interface OperationsSettings {
  readonly service: string | undefined
  readonly release: string | undefined
  readonly every: number
  readonly subjects: boolean
  readonly snapshot?: string | undefined
}

/** Returns the settings. @throws TP_OPTION */
export function operationsSettings(given: boolean | OperationsOptions): OperationsSettings {
  const options = typeof given === 'boolean' ? {} : given
  const where = `${WHERE}: operations`
  validateOptions(where, options, {
    service: label,
    release: label,
    every: everyValidator,
    subjects: boolean,
    snapshot: nonEmptyString,
  })
  const { service, release, every: pause = '10s', subjects = true, snapshot } = options
  const every = durationOption(pause, where, 'every', MIN_MS)
  return { service, release, every, subjects, snapshot }
}

const everyValidator: Validator = {
  expected: 'a duration from 1 to 20 seconds',
  accepts: (value) => {
    if (!durationValidator.accepts(value)) return false
    const ms = durationOption(value, WHERE, 'every', 0)
    return ms >= MIN_MS && ms <= MAX_MS
  },
  ...(durationValidator.suggest && { suggest: durationValidator.suggest }),
}
