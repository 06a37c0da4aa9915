/** A limiter that is called by subject, inside or outside a request. */
import { durationOption, durationValidator, type Duration } from '../../duration.ts'
import { StoreUnavailable, TurnpikeError } from '../../errors.ts'
import type { ExtensionContext } from '../../extension.ts'
import type { Subject } from '../../store/keys.ts'
import { passedSubjectTag, requireTenant, shownSubject } from '../../store/subject.ts'
import { integer, isObject, validateOptions, type Validator } from '../../validate.ts'
import type { Charge } from './charge.ts'
import type { Decision } from './decision.ts'
import type { RateLimitEngine } from './engine.ts'
import { unlimitedDecision } from './limit-decision.ts'
import { MAX_LIMIT } from './operations/script.ts'
import { checkedValue, type Policy } from './policy.ts'
import { TurnQueue } from './turn-queue.ts'

/** Options of a limiter's calls. */
export interface ConsumeOptions {
  /**
   * Units that the use costs: an integer. 0 decides without counting.
   * @default 1
   */
  cost?: number
  /** Limits by policy name. Needed where a policy's own limit is a function of the request. */
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
  /** Signal that ends the wait with its reason. */
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
   * @throws TP_KEY, TP_VALUE if the subject or the cost cannot be used
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
   * Gives back what a decision charged, or the oldest uses of a subject.
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

const CONSUME_OPTIONS: Record<string, Validator> = {
  cost: integer(0, MAX_LIMIT),
  limits: { expected: 'an object of limits by policy name', accepts: isObject },
  tenant: { expected: 'a string', accepts: (value: unknown) => typeof value === 'string' },
}
const WAIT_OPTIONS: Record<string, Validator> = {
  ...CONSUME_OPTIONS,
  wait: durationValidator,
  signal: { expected: 'an AbortSignal', accepts: (value: unknown) => value instanceof AbortSignal },
}

/** Creates the limiter of an engine. */
export function createLimiter(
  context: ExtensionContext,
  engine: RateLimitEngine,
  policies: readonly Policy<never>[],
  where: string,
  normalize: SubjectNormalizer = (_policy, subject) => subject,
): WaitingLimiter {
  return new EngineLimiter(context, engine, policies, where, normalize)
}

/** Returns a subject in the form in which a policy's `key` returns it. */
export type SubjectNormalizer = (policy: Policy<never>, subject: Subject) => Subject

/** What a call does with the subject. */
interface SubjectUse {
  /** True if the subject may come from a decision or an event, where a digest stands for a long string. */
  readonly isShown: boolean
  /** True if the limits matter. */
  readonly isCounted: boolean
}
// A digest is no subject to be counted by: a client that is free to choose its name could use another's.
const COUNT: SubjectUse = { isShown: false, isCounted: true }
const LOOK_UP: SubjectUse = { isShown: true, isCounted: true }
const CLEAR: SubjectUse = { isShown: true, isCounted: false }

class EngineLimiter implements WaitingLimiter {
  readonly limiterName: string
  readonly #context: ExtensionContext
  readonly #engine: RateLimitEngine
  readonly #policies: readonly Policy<never>[]
  readonly #where: string
  readonly #normalize: SubjectNormalizer
  readonly #queue: TurnQueue

  constructor(
    context: ExtensionContext,
    engine: RateLimitEngine,
    policies: readonly Policy<never>[],
    where: string,
    normalize: SubjectNormalizer,
  ) {
    this.limiterName = engine.options.name
    this.#context = context
    this.#engine = engine
    this.#policies = policies
    this.#where = where
    this.#normalize = normalize
    this.#queue = new TurnQueue(context.store)
  }

  // Methods are own properties, because they are copied onto the middleware.
  readonly consume: Limiter['consume'] = async (subject, given = {}) => {
    const options = optionsOf(given)
    validateOptions(`${this.#where}.consume()`, options, CONSUME_OPTIONS)
    return await this.#consume(this.#chargesOf(subject, options, COUNT))
  }

  readonly peek: Limiter['peek'] = async (subject, given = {}) => {
    const options = optionsOf(given)
    validateOptions(`${this.#where}.peek()`, options, CONSUME_OPTIONS)
    const charges = this.#chargesOf(subject, options, LOOK_UP)
    const limited = charges.filter(isLimited)
    return limited.length > 0 ? await this.#engine.peek(limited) : unlimitedOf(charges)
  }

  readonly refund: Limiter['refund'] = async (what, given = {}) => {
    if (isDecision(what)) return await what.refund()
    const charges = this.#chargesOf(what, optionsOf(given), LOOK_UP).filter(isLimited)
    if (charges.length > 0) await this.#engine.adjust('refund', charges, 'store', 0)
  }

  readonly reset: Limiter['reset'] = async (subject, { tenant } = {}) =>
    await this.#engine.reset(this.#chargesOf(subject, { tenant }, CLEAR))

  readonly block: Limiter['block'] = async (subject, time, { tenant } = {}) => {
    const ms = durationOption(time, `${this.#where}.block()`, 'time')
    await this.#engine.block(this.#chargesOf(subject, { tenant }, CLEAR), ms)
  }

  readonly wait: WaitingLimiter['wait'] = async (subject, given = {}) => {
    const options = optionsOf(given)
    validateOptions(`${this.#where}.wait()`, options, WAIT_OPTIONS)
    const { wait = '30s', signal } = options
    const until = this.#context.store.now() + durationOption(wait, this.#where, 'wait', 0)
    const charges = this.#chargesOf(subject, options, COUNT)
    const queue = charges.map(({ tag }) => tag).join('\n')
    return await this.#queue.run(queue, () => this.#consumeUntil(charges, until, signal), {
      until,
      signal,
      createError: () => this.#limitedError('The wait would be too long'),
    })
  }

  async #consume(charges: readonly Charge[]): Promise<Decision> {
    const limited = charges.filter(isLimited)
    return limited.length > 0
      ? await this.#engine.consume(limited)
      : this.#engine.report(unlimitedOf(charges))
  }

  async #consumeUntil(
    charges: readonly Charge[],
    until: number,
    signal: AbortSignal | undefined,
  ): Promise<Decision> {
    for (;;) {
      signal?.throwIfAborted()
      const decision = await this.#consume(charges)
      if (decision.allowed) return decision
      if (decision.source === 'closed') throw new StoreUnavailable('not-ready', false)
      const { retryAfterMs } = decision
      if (retryAfterMs === undefined || this.#context.store.now() + retryAfterMs > until) {
        const why =
          retryAfterMs === undefined ? 'The cost is above the limit' : 'The wait would be too long'
        throw this.#limitedError(why)
      }
      await this.#context.store.sleep(retryAfterMs, signal)
    }
  }

  #limitedError(why: string): TurnpikeError {
    const message = `${this.#where}.wait(): not admitted. ${why}.`
    return new TurnpikeError('TP_LIMITED', message, { status: 429 })
  }

  /** Returns what a call asks of each policy. */
  #chargesOf(
    subject: Subjects,
    { cost = 1, limits = {}, tenant }: ConsumeOptions,
    use: SubjectUse,
  ): Charge[] {
    requireTenant(this.#context, tenant, this.#where, ', or use tp.forTenant(id)')
    return this.#policies.map((policy) => {
      const value = this.#subjectOf(subject, policy)
      const tag = passedSubjectTag(this.#context.keys, value, tenant, this.#where, use.isShown)
      const { limit, window } = use.isCounted
        ? this.#amountsOf(policy, limits)
        : { limit: 0, window: 1 }
      return {
        policy,
        tag,
        subject: shownSubject(value!),
        tenant,
        limit,
        window,
        cost: checkedValue('cost', cost, policy.name),
      }
    })
  }

  #subjectOf(subject: Subjects, policy: Policy<never>): Subject | number | undefined {
    const isRecord = typeof subject === 'object' && subject !== null && !Array.isArray(subject)
    const value = isRecord
      ? ownValue(subject as Readonly<Record<string, Subject | number>>, policy.name)
      : (subject as Subject | number)
    return typeof value === 'string' || Array.isArray(value)
      ? this.#normalize(policy, value as Subject)
      : value
  }

  #amountsOf(
    { name, limit: constant, window }: Policy<never>,
    limits: Readonly<Record<string, number>>,
  ): { limit: number; window: number } {
    const limit = ownValue(limits, name) ?? constant
    if (limit !== undefined && window !== undefined)
      return { limit: checkedValue('limit', limit, name), window }
    const [missing, remedy] =
      limit === undefined
        ? ['limit', `Pass limits: { '${name}': … }.`]
        : ['window', 'Give it a constant window.']
    throw new TurnpikeError(
      'TP_VALUE',
      `${this.#where}: the ${missing} of policy '${name}' is a function of the request, and there is none. ${remedy}`,
    )
  }
}

const optionsOf = <Options extends ConsumeOptions>(given: number | Options): Options =>
  typeof given === 'number' ? ({ cost: given } as Options) : given

/** A policy may be named as a property of all objects, for example `constructor`. */
const ownValue = <Value>(
  record: Readonly<Record<string, Value>>,
  name: string,
): Value | undefined => (Object.hasOwn(record, name) ? record[name] : undefined)

const isLimited = ({ limit }: Charge): boolean => limit !== Infinity

const unlimitedOf = ([charge]: readonly Charge[]): Decision =>
  unlimitedDecision(charge!.subject, charge!.tenant)

/** Returns true for a decision, false for a subject. */
export const isDecision = (what: unknown): what is Decision =>
  typeof (what as Decision | undefined)?.refund === 'function'
