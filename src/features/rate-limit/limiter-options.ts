/** What a limiter is called with, and what it can do. */
import { durationOption, durationValidator, type Duration } from '../../duration.ts'
import type { Subject } from '../../store/keys.ts'
import {
  integer,
  optionError,
  plainObject,
  validateOptions,
  type Validator,
} from '../../validate.ts'
import type { Decision } from './decision.ts'
import { MAX_LIMIT } from './operations/script.ts'
import { MAX_BLOCK } from './policy.ts'

/** Options of a limiter's calls. */
export interface ConsumeOptions {
  /**
   * Units that the use costs: an integer. 0 decides without counting.
   * @default 1
   */
  cost?: number
  /** Limits by policy name. Required if the limit of a policy is a function of the request. */
  limits?: Record<string, number>
  /** Tenant of the subject. Required if the application has tenants. */
  tenant?: string | undefined
}

/** Options of `limiter.wait()`. */
export interface LimiterWaitOptions extends ConsumeOptions {
  /**
   * Longest time to wait.
   * @default '30s'
   */
  wait?: Duration
  /** Signal that ends the wait with its reason. @default none */
  signal?: AbortSignal
}

/**
 * One subject for all policies, or one for each by policy name. Where requests are counted by
 * address, an address is normalised as theirs are. `peek`, `refund`, `reset` and `block` take what
 * a decision or an event shows of a subject.
 */
export type Subjects = Subject | number | Readonly<Record<string, Subject | number>>

/** What can be done with a limit by subject. */
export interface Limiter {
  /** Name of the limiter in keys and events. */
  readonly limiterName: string
  /**
   * Counts a use if every policy admits it. While Redis is away the failure rule decides.
   * @param options the cost, or an object
   * @throws TP_KEY if the subject is no identity
   * @throws TP_OPTION for an option that cannot be used
   * @example
   * const { allowed, retryAfterMs } = await limiter.consume('user-42')
   */
  consume(subject: Subjects, options?: number | ConsumeOptions): Promise<Decision>
  /**
   * Returns what a use would be answered, without counting it.
   * @throws TP_UNAVAILABLE if the store cannot answer
   */
  peek(subject: Subjects, options?: number | ConsumeOptions): Promise<Decision>
  /**
   * Refunds what a decision charged, or the oldest uses of a subject.
   * @throws TP_UNAVAILABLE if the store cannot answer
   */
  refund(what: Decision | Subjects, options?: number | ConsumeOptions): Promise<void>
  /**
   * Deletes all uses and blocks of a subject, for every process. Returns true if there were any.
   * @throws TP_UNAVAILABLE if the store cannot answer
   * @example
   * tp.on('decision', ({ allowed, subject }) => { if (!allowed) refused.add(subject) })
   * await limiter.reset(subject)
   */
  reset(subject: Subjects, options?: { tenant?: string }): Promise<boolean>
  /**
   * Refuses a subject for a time, in every process.
   * @param time up to 100,000 days
   * @throws TP_OPTION for an option that cannot be used
   * @throws TP_UNAVAILABLE if the store cannot answer
   */
  block(subject: Subjects, time: Duration, options?: { tenant?: string }): Promise<void>
}

/** A limiter that can also wait for its turn. */
export interface WaitingLimiter extends Limiter {
  /**
   * Consumes as soon as the policies admit it. In each process, those who wait for a subject are served in order.
   * @throws TP_LIMITED if that would be after `wait`, or never
   * @throws TP_UNAVAILABLE if Redis is away and the rule is `fail: 'closed'`
   */
  wait(subject: Subjects, options?: number | LimiterWaitOptions): Promise<Decision>
}

const tenant: Validator = {
  expected: 'a string',
  accepts: (value) => typeof value === 'string',
}

/** Options of calls that count nothing. */
export const RESET_OPTIONS: Record<string, Validator> = { tenant }
export const CONSUME_OPTIONS: Record<string, Validator> = {
  cost: integer(0, MAX_LIMIT),
  limits: { ...plainObject, expected: 'an object of limits by policy name' },
  tenant,
}
export const WAIT_OPTIONS: Record<string, Validator> = {
  ...CONSUME_OPTIONS,
  wait: durationValidator,
  signal: { expected: 'an AbortSignal', accepts: (value) => value instanceof AbortSignal },
}

/**
 * Returns the options of a call as an object. A number is the cost.
 * @throws TP_OPTION for an option that cannot be used
 */
export function callOptions<Options extends object>(
  where: string,
  given: number | Options,
  kinds: Record<string, Validator>,
): Options {
  const options = typeof given === 'number' && 'cost' in kinds ? { cost: given } : given
  validateOptions(where, options, kinds)
  return options as Options
}

/** Returns the milliseconds of a block. @throws TP_OPTION */
export function blockTime(where: string, time: unknown): number {
  const ms = durationOption(time, where, 'time')
  if (ms > MAX_BLOCK) throw optionError(where, 'time', time, 'at most 100,000 days')
  return ms
}
