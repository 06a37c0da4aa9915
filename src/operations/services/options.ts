/** What `tp.service()` takes and returns. */
import { durationOption, durationValidator, type Duration } from '../../duration.ts'
import {
  callback,
  identifier,
  isObject,
  oneOf,
  optionError,
  optionRuleError,
  plainObject,
  validateOptions,
  type Validator,
} from '../../validate.ts'

/** How a service is. `degraded`: it works, but not as it should. */
export type ServiceState = 'healthy' | 'degraded' | 'error'

const STATES: readonly string[] = ['healthy', 'degraded', 'error']

/** Returns true for the name of a state. */
export const isServiceState = (value: unknown): value is ServiceState =>
  STATES.includes(value as string)

/** What a check may return besides nothing and a boolean. */
export interface ServiceCheckResult {
  /** How the service is. `'ok'` is `'healthy'`, so that a check of `tp.health()` can be passed. */
  readonly status: 'ok' | ServiceState
  /** Numbers to show with it, up to 10. */
  readonly values?: Readonly<Record<string, number>>
}

type CheckReturn = void | boolean | ServiceCheckResult

/** Options of `tp.service()`. */
export interface ServiceOptions {
  /**
   * Whether the service works. Nothing and `true` mean that it does. `false`, an exception and no
   * answer within `timeout` mean that it does not. One process at a time calls it.
   * @param signal fires after `timeout`, and when the instance is closed
   * @default none: the service reports itself, by `report()`
   * @example (signal) => fetch('https://payments.example/health', { signal }).then(({ ok }) => ok)
   */
  check?(signal: AbortSignal): CheckReturn | Promise<CheckReturn>
  /**
   * Interval in which one of all processes calls `check` once: 1 s to 30 min.
   * @default '30s'
   */
  every?: Duration
  /**
   * Time after which a check has failed. No longer than `every`.
   * @default '5s', or `every` if that is shorter
   */
  timeout?: Duration
  /**
   * How long the service is known after its last check or report: up to 1 h, and at least twice
   * `every` with a check.
   * @default '2m', or twice `every` if that is longer
   */
  ttl?: Duration
}

/** What a service says of itself. */
export interface ServiceReport {
  /**
   * How it is.
   * @default 'healthy'
   */
  readonly status?: ServiceState
  /**
   * How long it took to respond, in ms.
   * @default none
   */
  readonly responseTimeMs?: number
  /**
   * Numbers to show with it, up to 10.
   * @default none
   * @example { queue_size: 3 }
   */
  readonly values?: Readonly<Record<string, number>>
}

/** What is known of a service. */
export interface ServiceStatus {
  /** Its name. */
  readonly name: string
  /** How it was at its last check or report. */
  readonly status: ServiceState
  /** When that was, by Redis's clock in ms since the epoch. */
  readonly lastCheck: number
  /** How long it took to respond, in ms. */
  readonly responseTimeMs: number | undefined
  /** Share of its last 100 checks and reports that found it in the state `error`, from 0 to 1. */
  readonly errorRate: number
  /** Why its check failed: an exception, or `timeout`. What was thrown is in the event `error` only. */
  readonly reason: 'failed' | 'timeout' | undefined
  /** Numbers that it was reported with. */
  readonly values: Readonly<Record<string, number>>
}

/** The options with defaults. Times are in ms. */
export interface ServiceSettings {
  readonly check: ServiceOptions['check']
  readonly every: number
  readonly timeout: number
  readonly ttl: number
}

const MAX_VALUES = 10
const MIN_EVERY = 1000
const MAX_TTL = 3_600_000

const DEFAULT_TTL = 120_000

const durationFrom = (min: number, max: number, expected: string): Validator => ({
  expected,
  accepts(value) {
    if (!durationValidator.accepts(value)) return false
    const ms = durationOption(value, 'tp.service()', 'every', 0)
    return ms >= min && ms <= max
  },
  ...(durationValidator.suggest && { suggest: durationValidator.suggest }),
})

/** Returns the settings of a service. @throws TP_OPTION */
export function serviceSettings(name: string, options: ServiceOptions): ServiceSettings {
  const where = 'tp.service()'
  if (!identifier.accepts(name))
    throw optionError(where, 'name', name, identifier.expected, identifier.suggest?.(name))
  validateOptions(where, options, {
    check: callback,
    every: durationFrom(MIN_EVERY, MAX_TTL / 2, 'a duration from 1 second to 30 minutes'),
    timeout: durationFrom(1, MAX_TTL / 2, 'a duration of at most 30 minutes'),
    ttl: durationFrom(MIN_EVERY, MAX_TTL, 'a duration from 1 second to 1 hour'),
  })
  const ms = (option: 'every' | 'timeout' | 'ttl', otherwise: number): number =>
    durationOption(options[option] ?? otherwise, where, option, 1)
  const every = ms('every', 30_000)
  const timeout = ms('timeout', Math.min(5000, every))
  const ttl = ms('ttl', Math.max(DEFAULT_TTL, 2 * every))
  if (timeout > every)
    throw optionRuleError(
      where,
      'timeout',
      options.timeout,
      '`timeout` is longer than `every`. The next check would begin before this one ends.',
    )
  if (options.check !== undefined && ttl < 2 * every)
    throw optionRuleError(
      where,
      'ttl',
      options.ttl,
      '`ttl` is shorter than twice `every`. The service would be forgotten between two checks.',
    )
  return { check: options.check, every, timeout, ttl }
}

/** Validates what a service says of itself. @throws TP_OPTION */
export function validateReport(report: ServiceReport, isOwnField: (name: string) => boolean): void {
  const where = 'service.report()'
  validateOptions(where, report, {
    status: oneOf(...STATES),
    responseTimeMs: {
      expected: 'a number of milliseconds, 0 or more',
      accepts: (value) => Number.isFinite(value) && (value as number) >= 0,
    },
    values: plainObject,
  })
  if (!areValues(report.values, isOwnField))
    throw optionError(
      where,
      'values',
      report.values,
      `up to ${MAX_VALUES} finite numbers, under names of ${identifier.expected} that are no fields of services`,
    )
}

/** Returns true for numbers that a service can have. */
export const areValues = (values: unknown, isOwnField: (name: string) => boolean): boolean =>
  values === undefined ||
  (isObject(values) &&
    Object.keys(values).length <= MAX_VALUES &&
    Object.entries(values).every(
      ([name, value]) => identifier.accepts(name) && !isOwnField(name) && Number.isFinite(value),
    ))
