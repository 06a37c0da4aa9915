/** A limiter that is called by subject, inside or outside a request. */
import { durationOption } from '../../duration.ts'
import { StoreUnavailable, TurnpikeError } from '../../errors.ts'
import type { ExtensionContext } from '../../extension.ts'
import type { Subject } from '../../store/keys.ts'
import { passedSubjectTag, requireTenant, shownSubject } from '../../store/subject.ts'
import type { Charge } from './charge.ts'
import type { Decision } from './decision.ts'
import type { RateLimitEngine } from './engine.ts'
import { unlimitedDecision } from './limit-decision.ts'
import {
  blockTime,
  callOptions,
  CONSUME_OPTIONS,
  RESET_OPTIONS,
  WAIT_OPTIONS,
  type ConsumeOptions,
  type Limiter,
  type Subjects,
  type WaitingLimiter,
} from './limiter-options.ts'
import { checkedValue, type Policy } from './policy.ts'
import { TurnQueue } from './turn-queue.ts'

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
    const options = callOptions(`${this.#where}.consume()`, given, CONSUME_OPTIONS)
    return await this.#consume(this.#chargesOf(subject, options, COUNT))
  }

  readonly peek: Limiter['peek'] = async (subject, given = {}) => {
    const options = callOptions(`${this.#where}.peek()`, given, CONSUME_OPTIONS)
    const charges = this.#chargesOf(subject, options, LOOK_UP)
    const limited = charges.filter(isLimited)
    return limited.length > 0 ? await this.#engine.peek(limited) : unlimitedOf(charges)
  }

  readonly refund: Limiter['refund'] = async (what, given = {}) => {
    if (isDecision(what)) return await what.refund()
    const options = callOptions(`${this.#where}.refund()`, given, CONSUME_OPTIONS)
    const charges = this.#chargesOf(what, options, LOOK_UP).filter(isLimited)
    if (charges.length > 0) await this.#engine.adjust('refund', charges, 'store', 0)
  }

  readonly reset: Limiter['reset'] = async (subject, given = {}) => {
    const options = callOptions(`${this.#where}.reset()`, given, RESET_OPTIONS)
    return await this.#engine.reset(this.#chargesOf(subject, options, CLEAR))
  }

  readonly block: Limiter['block'] = async (subject, time, given = {}) => {
    const where = `${this.#where}.block()`
    const ms = blockTime(where, time)
    const options = callOptions(where, given, RESET_OPTIONS)
    await this.#engine.block(this.#chargesOf(subject, options, CLEAR), ms)
  }

  readonly wait: WaitingLimiter['wait'] = async (subject, given = {}) => {
    const options = callOptions(`${this.#where}.wait()`, given, WAIT_OPTIONS)
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
