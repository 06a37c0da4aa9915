/** A limiter of rate-limiter-flexible behind our header fields, responses and calls. */
import { optionError, optionRuleError } from '../../../validate.ts'
import { StoreUnavailable, TurnpikeError } from '../../../errors.ts'
import { classify, redact } from '../../../store/diagnose.ts'
import type { Subject } from '../../../store/keys.ts'
import { tightestOf, type Decision, type PolicyState } from '../decision.ts'
import { MAX_LIMIT } from '../operations/script.ts'
import { checkedValue, MAX_WINDOW } from '../policy.ts'
import {
  membersOf,
  unwrapped,
  type CompositeLimiter,
  type FlexibleLimiter,
  type FlexibleMember,
  type FlexibleResult,
} from './flexible-members.ts'

/** A subject, and the key that the mounted limiter counts it by. */
export interface FlexibleSubject {
  readonly key: string
  /** As decisions and events show it. */
  readonly subject: Subject
  readonly tenant: string | undefined
}

/** A window of so many ms never ends. That of a blacklisted key lasts 285,000 years. */
const NEVER = 1e14

/** Calls a limiter of rate-limiter-flexible, which has a store of its own. */
export class FlexibleEngine {
  /** Its policies, as our own engine has them. */
  readonly policies: readonly { name: string; limit: number; window: number }[]
  readonly #limiter: FlexibleLimiter
  readonly #members: readonly FlexibleMember[]
  readonly #burst: FlexibleLimiter | undefined
  readonly #timeout: number

  /**
   * @param name name of its policy, if it has only one; default: its keyPrefix
   * @param timeout ms after which it counts as unavailable; it has no timeout of its own
   * @throws TP_OPTION for a limiter that delays what it admits, because that looks like an outage
   */
  constructor(limiter: FlexibleLimiter, name: string | undefined, timeout: number, where: string) {
    this.#limiter = limiter
    this.#timeout = timeout
    this.#members = membersOf(limiter, name)
    const { _burstLimiter: burst } = unwrapped(limiter) as CompositeLimiter
    this.#burst = burst
    if (
      [limiter, ...this.#members.map((member) => member.limiter)].some(
        ({ execEvenly }) => execEvenly,
      )
    ) {
      throw optionRuleError(
        where,
        'limiter',
        limiter,
        "`limiter` delays requests (`execEvenly`), which looks like an outage. Leave `execEvenly` out, or use `algorithm: 'gcra'` without `limiter`: it spaces requests evenly.",
      )
    }
    this.policies = this.#members.map((member) => ({
      name: member.name,
      limit: Math.min(MAX_LIMIT, toInteger(member.points ?? MAX_LIMIT)),
      window: Math.min(MAX_WINDOW, Math.max(1000, (member.seconds || Infinity) * 1000)),
    }))
  }

  /** Consumes. @throws TP_UNAVAILABLE if its store failed or did not answer; then the failure rule decides */
  async consume(subject: FlexibleSubject, cost: number): Promise<Decision> {
    if (cost === 0) return await this.peek(subject, 0)
    const { answer, refused } = await this.#ask(() => this.#limiter.consume(subject.key, cost))
    return this.#decision(!refused, answer, subject, cost, refused ? 0 : cost)
  }

  /** Decides without counting. @throws TP_UNAVAILABLE; TP_OPTION if it cannot */
  async peek(subject: FlexibleSubject, cost: number): Promise<Decision> {
    const { key } = subject
    const found = await Promise.all(
      this.#members.map((member) => this.#call('get', member.limiter, key)),
    )
    const spare = this.#burst && (await this.#call('get', this.#burst, key))
    const answer: Record<string, FlexibleResult> = {}
    let allowed = true
    for (const [i, { name, points = 0 }] of this.#members.entries()) {
      const state = found[i] ?? { remainingPoints: points, msBeforeNext: 0 }
      const left = this.#burst
        ? spare === null
          ? Infinity
          : Math.max(state.remainingPoints, spare!.remainingPoints)
        : state.remainingPoints
      allowed &&= cost === 0 ? Number(state.msBeforeNext) < NEVER : left >= cost
      answer[name] = state
    }
    return this.#decision(allowed, answer, subject, cost, 0)
  }

  /** Refunds what is still counted, at most `cost`. @throws TP_UNAVAILABLE; TP_OPTION if it cannot */
  async refund({ key }: FlexibleSubject, cost: number): Promise<void> {
    await Promise.all(
      this.#members.map(async ({ limiter, points = 0 }) => {
        const { consumedPoints = 0 } = (await this.#call('get', limiter, key)) ?? {}
        if (consumedPoints > 0)
          await this.#reward(limiter, key, Math.min(cost, consumedPoints), consumedPoints > points)
      }),
    )
  }

  /** Deletes the counts of a subject. @throws TP_UNAVAILABLE; TP_OPTION if it cannot */
  async reset({ key }: FlexibleSubject): Promise<boolean> {
    const forgotten = await Promise.all(
      this.#counting().map((limiter) => this.#call('delete', limiter, key)),
    )
    return forgotten.includes(true)
  }

  /** Blocks a subject. @throws TP_UNAVAILABLE; TP_OPTION if it cannot */
  async block({ key }: FlexibleSubject, ms: number): Promise<void> {
    await Promise.all(
      this.#counting().map((limiter) => this.#call('block', limiter, key, Math.ceil(ms / 1000))),
    )
  }

  #counting(): FlexibleLimiter[] {
    const all = this.#members.map(({ limiter }) => limiter)
    return this.#burst ? [...all, this.#burst] : all
  }

  /** A bursty limiter charges its second limiter for what the first one refused. */
  async #reward(
    limiter: FlexibleLimiter,
    key: string,
    amount: number,
    over: boolean,
  ): Promise<void> {
    await this.#call('reward', limiter, key, amount)
    if (over && this.#burst) await this.#call('reward', this.#burst, key, amount)
  }

  async #call<Method extends 'get' | 'reward' | 'penalty' | 'delete' | 'block'>(
    method: Method,
    limiter: FlexibleLimiter,
    ...args: Parameters<NonNullable<FlexibleLimiter[Method]>>
  ): Promise<Awaited<ReturnType<NonNullable<FlexibleLimiter[Method]>>>> {
    const own = limiter[method] as ((...args: unknown[]) => Promise<unknown>) | undefined
    if (!own)
      throw optionError('tp.rateLimit()', 'limiter', limiter, `a limiter that has ${method}()`)
    const { answer } = await this.#ask(() => own.apply(limiter, args))
    return answer as Awaited<ReturnType<NonNullable<FlexibleLimiter[Method]>>>
  }

  /** It refuses by rejecting with a result. Anything else is an outage, or a programming error, which must surface. */
  async #ask(call: () => Promise<unknown>): Promise<{ answer: unknown; refused: boolean }> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new StoreUnavailable('timeout', true)), this.#timeout)
    })
    try {
      return { answer: await Promise.race([call(), late]), refused: false }
    } catch (thrown) {
      if (isRefusal(thrown)) return { answer: thrown, refused: true }
      if (thrown instanceof StoreUnavailable) throw thrown
      const outage = classify(thrown)
      if (outage) throw new StoreUnavailable('error', outage.uncertain, thrown)
      throw new TurnpikeError(
        'TP_COMMAND',
        `The limiter of rate-limiter-flexible failed: ${redact(thrown)}`,
      )
    } finally {
      clearTimeout(timer)
    }
  }

  #decision(
    allowed: boolean,
    answer: unknown,
    { key, subject, tenant }: FlexibleSubject,
    cost: number,
    charged: number,
  ): Decision {
    const policies: PolicyState[] = []
    const charges: MemberCharge[] = []
    for (const member of this.#members) {
      const result = resultOf(member, answer)
      if (result === undefined) continue
      policies.push({ ...stateOf(member, result, allowed, cost), subject })
      charges.push(chargeOf(member, result))
    }
    const tightest = tightestOf(policies)
    const retryAfterMs = tightest && tightest.retryAfterMs >= 0 ? tightest.retryAfterMs : undefined
    let left = charged
    const reward = async (amount: number): Promise<void> => {
      const due = amount > 0 ? charges.filter(({ until }) => performance.now() < until) : []
      await Promise.all(due.map(({ limiter, over }) => this.#reward(limiter, key, amount, over)))
    }
    return {
      allowed,
      source: 'store',
      subject,
      tenant,
      policies,
      tightest,
      limit: tightest?.limit,
      remaining: tightest?.remaining,
      retryAfterMs: allowed ? 0 : retryAfterMs,
      at: 0,
      get cost() {
        return left
      },
      refund: async () => {
        const amount = left
        left = 0
        await reward(amount)
      },
      settle: async (actual) => {
        checkedValue('cost', actual, tightest?.name ?? '')
        if (left === 0) return
        const more = actual - left
        left = actual
        await reward(-more)
        if (more > 0)
          await Promise.all(charges.map(({ limiter }) => this.#call('penalty', limiter, key, more)))
      },
    }
  }
}

/** What one member was charged. */
interface MemberCharge {
  readonly limiter: FlexibleLimiter
  /** When its window ends, in ms of `performance.now()`. A later refund would be a credit in the next window. */
  readonly until: number
  /** True if it was charged beyond its points. */
  readonly over: boolean
}

function chargeOf({ limiter, points }: FlexibleMember, result: FlexibleResult): MemberCharge {
  const { remainingPoints, consumedPoints = 0 } = result
  const ms = Number(result.msBeforeNext)
  const limit = toInteger(points ?? remainingPoints + consumedPoints)
  return {
    limiter,
    until: ms < 0 ? Infinity : performance.now() + ms,
    over: consumedPoints > limit,
  }
}

function stateOf(
  { name, points, seconds = 0 }: FlexibleMember,
  result: FlexibleResult,
  allowed: boolean,
  cost: number,
): Omit<PolicyState, 'subject'> {
  const { remainingPoints, consumedPoints = 0 } = result
  const ms = Number(result.msBeforeNext)
  const isEndless = ms < 0 || ms >= NEVER
  const limit = toInteger(points ?? remainingPoints + consumedPoints)
  return {
    name,
    limit,
    windowMs: seconds * 1000,
    // A whitelisted key has more left than a field can say, and a rewarded one more than the limit.
    remaining: Math.min(limit, toInteger(remainingPoints)),
    resetMs: isEndless ? 0 : ms,
    retryAfterMs: allowed ? 0 : isEndless || cost > limit ? -1 : ms,
    violated: !allowed,
    blocked: !allowed && isEndless,
  }
}

/** Returns a member's result. A union answers with an object of them by prefix. */
function resultOf({ prefix, name }: FlexibleMember, answer: unknown): FlexibleResult | undefined {
  if (isResult(answer)) return answer
  const results = answer as Record<string, unknown>
  const result = results[prefix ?? name] ?? results[name]
  return isResult(result) ? result : undefined
}

const isResult = (value: unknown): value is FlexibleResult =>
  typeof value === 'object' && value !== null && 'msBeforeNext' in value

/** A union rejects with an object of what its members rejected with: results, and errors of their stores. */
const isRefusal = (thrown: unknown): boolean =>
  isResult(thrown) ||
  (typeof thrown === 'object' && thrown !== null && Object.values(thrown).some(isResult))

/** A number as a field can say it. Points may be negative, or fractions. */
const toInteger = (value: number): number =>
  Math.min(999_999_999_999_999, Math.max(0, Math.floor(value)))
