/** What a process says of itself in Redis, for the people who operate the application. */
import { anyOf, boolean, validateOptions, type Validator } from '../validate.ts'
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
  release?: string
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
  expected: '{ service, release, every, subjects }',
  accepts: (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
})

/** The options with defaults. Times are in ms. */
export interface OperationsSettings {
  readonly service: string | undefined
  readonly release: string | undefined
  readonly every: number
  readonly subjects: boolean
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
  })
  const { service, release, every = '10s', subjects = true } = options
  return { service, release, every: durationOption(every, where, 'every', MIN_MS), subjects }
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
