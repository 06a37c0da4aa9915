/** A limiter as people call it: by subject, inside or outside a request. */
import { validateOptions, integer } from '../../validate.ts'
import { durationOption, durationValidator, type Duration } from '../../duration.ts'
import { StoreUnavailable, TurnpikeError } from '../../errors.ts'
import type { Subject } from '../../store/keys.ts'
import type { ExtensionContext } from '../../extension.ts'
import type { Charge } from './charge.ts'
import type { Decision } from './decision.ts'
import type { RateLimitEngine } from './engine.ts'
import { checked, MOST, type Policy } from './policy.ts'
import { subjectTag, requireTenant } from '../../store/subject.ts'

/** How much, and for whom. */
export interface ConsumeOptions {
  /** A whole number; 0 looks without counting. Default 1. */
  cost?: number
  /** Limits by policy name, where a policy's own is a function of the request. */
  limits?: Record<string, number>
  /** Whose data, where the application has tenants. */
  tenant?: string
}

export interface LimiterWaitOptions extends ConsumeOptions {
  /** How long to wait at most. Default `'30s'`. */
  wait?: Duration
  /** Ends the wait with its reason. */
  signal?: AbortSignal
}

/** One subject for all policies, or one for each by name. */
export type Subjects = Subject | Readonly<Record<string, Subject>>

/** The engine of a mount or of `tp.limiter()`. */
export interface Limiter {
  /** The name in keys and events. */
  readonly limiterName: string
  /**
   * Count a use, if every policy admits it. While Redis is away the failure rule decides.
   * @throws TP_KEY, TP_VALUE for a subject or cost that cannot be used
   */
  consume(subject: Subjects, options?: number | ConsumeOptions): Promise<Decision>
  /**
   * What a use would be answered, without counting it.
   * @throws TP_UNAVAILABLE when the store cannot answer
   */
  peek(subject: Subjects, options?: number | ConsumeOptions): Promise<Decision>
  /**
   * Give back what a decision charged, or `cost` uses of a subject (the oldest ones).
   * @throws TP_UNAVAILABLE when the store cannot answer
   */
  refund(what: Decision | Subjects, options?: number | ConsumeOptions): Promise<void>
  /**
   * Forget all uses and blocks of a subject, in every process. True if there were any.
   * @throws TP_UNAVAILABLE when the store cannot answer
   */
  reset(subject: Subjects, options?: { tenant?: string }): Promise<boolean>
  /**
   * Refuse a subject for a while.
   * @throws TP_UNAVAILABLE when the store cannot answer
   */
  block(subject: Subjects, time: Duration, options?: { tenant?: string }): Promise<void>
}

/** A limiter that can also wait for its turn. */
export interface WaitingLimiter extends Limiter {
  /**
   * Consume as soon as the policies admit it. Waiters of a subject are served in order, in each process.
   * @throws TP_LIMITED when that would be after `wait`, or never
   * @throws TP_UNAVAILABLE when Redis is away and the rule is `fail: 'closed'`
   */
  wait(subject: Subjects, options?: number | LimiterWaitOptions): Promise<Decision>
}

const CONSUME = {
  cost: integer(0, MOST),
  limits: {
    expected: 'an object of limits by policy name',
    accepts: (value: unknown) => typeof value === 'object',
  },
  tenant: { expected: 'a text', accepts: (value: unknown) => typeof value === 'string' },
}
const WAIT = {
  ...CONSUME,
  wait: durationValidator,
  signal: { expected: 'an AbortSignal', accepts: (value: unknown) => value instanceof AbortSignal },
}

/** Makes the limiter of an engine. */
export function limiter(
  context: ExtensionContext,
  engine: RateLimitEngine,
  policies: readonly Policy<never>[],
  where: string,
): WaitingLimiter {
  const queues = new Map<string, Promise<unknown>>()

  /** What a call asks of each policy. */
  function chargesOf(subject: Subjects, options: number | ConsumeOptions, counts = true): Charge[] {
    const {
      cost = 1,
      limits = {},
      tenant,
    } = typeof options === 'number' ? { cost: options } : options
    requireTenant(context, tenant, where, ', or use tp.forTenant(id)')
    return policies.map((policy) => {
      const own =
        typeof subject === 'string' || Array.isArray(subject)
          ? (subject as Subject)
          : (subject as Record<string, Subject>)?.[policy.name]
      const tag = subjectTag(context.keys, own, tenant, where)
      const limit = limits[policy.name] ?? policy.limit ?? (counts ? undefined : 0)
      const window = policy.window ?? (counts ? undefined : 1)
      if (limit === undefined || window === undefined) {
        throw new TurnpikeError(
          'TP_VALUE',
          `${where}: the limit or window of policy '${policy.name}' is a function of the request: give limits: { '${policy.name}': … }.`,
        )
      }
      return {
        policy,
        tag,
        limit: checked('limit', limit, policy.name),
        window,
        cost: checked('cost', cost, policy.name),
      }
    })
  }

  async function wait(
    subject: Subjects,
    given: number | LimiterWaitOptions = {},
  ): Promise<Decision> {
    const options = typeof given === 'number' ? { cost: given } : given
    validateOptions(`${where}.wait()`, options, WAIT)
    const { wait: longest = '30s', signal } = options
    const until = context.store.now() + durationOption(longest, where, 'wait', 0)
    const charges = chargesOf(subject, options)
    const queue = charges.map(({ tag }) => tag).join('\n')
    const before = queues.get(queue)
    const turn = Promise.resolve(before)
      .catch(() => {})
      .then(() => admitted(charges, until, signal))
    queues.set(queue, turn)
    const leave = (): void => void (queues.get(queue) === turn && queues.delete(queue))
    turn.then(leave, leave)
    return await turn
  }

  async function admitted(
    charges: readonly Charge[],
    until: number,
    signal: AbortSignal | undefined,
  ): Promise<Decision> {
    for (;;) {
      signal?.throwIfAborted()
      const decision = await engine.consume(charges)
      if (decision.allowed) return decision
      if (decision.source === 'closed') throw new StoreUnavailable('not-ready', false)
      const { retryAfterMs } = decision
      if (retryAfterMs === undefined || context.store.now() + retryAfterMs > until) {
        throw new TurnpikeError(
          'TP_LIMITED',
          `${where}: not admitted within its waiting time${retryAfterMs === undefined ? ', nor ever: the cost is above the limit' : ''}.`,
          { status: 429 },
        )
      }
      await context.store.sleep(retryAfterMs, signal)
    }
  }

  return {
    limiterName: engine.options.name,
    async consume(subject, options = {}) {
      if (typeof options === 'object') validateOptions(`${where}.consume()`, options, CONSUME)
      return await engine.consume(chargesOf(subject, options))
    },
    async peek(subject, options = {}) {
      if (typeof options === 'object') validateOptions(`${where}.peek()`, options, CONSUME)
      return await engine.peek(chargesOf(subject, options))
    },
    async refund(what, options = {}) {
      if (isDecision(what)) return await what.refund()
      await engine.adjust('r', chargesOf(what, options), 'store', 0)
    },
    reset: async (subject, options = {}) =>
      await engine.reset(chargesOf(subject, { ...options, cost: 0 }, false)),
    async block(subject, time, options = {}) {
      const ms = durationOption(time, `${where}.block()`, 'time')
      await engine.block(chargesOf(subject, { ...options, cost: 0 }, false), ms)
    },
    wait,
  }
}

export const isDecision = (what: unknown): what is Decision =>
  typeof (what as Decision | undefined)?.refund === 'function'
