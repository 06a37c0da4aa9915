/** An existing rate-limiter-flexible instance behind our headers, answers and engine. */
import { optionError } from '../../validate.ts'
import { StoreUnavailable, TurnpikeError } from '../../errors.ts'
import { classify, discreet } from '../../store/diagnose.ts'
import { tightestOf, type Decision, type PolicyState } from './decision.ts'
import {
  behind,
  membersOf,
  type Composite,
  type FlexibleLimiter,
  type FlexibleResult,
  type Member,
} from './flexible-members.ts'
import { checked, LONGEST, MOST } from './policy.ts'

/** Who is counted: under its own key for the limiter, escaped for everybody else. */
export interface Counted {
  key: string
  subject: string
}

/** Windows that end later than this never do: a blacklisted key's lasts 285,000 years. */
const NEVER = 1e14

/** Calls a foreign limiter; it never hears of our store. */
export class FlexibleEngine {
  /** Its policies, as our own engine would have them. */
  readonly policies: readonly { name: string; limit: number; window: number }[]
  readonly #limiter: FlexibleLimiter
  readonly #members: readonly Member[]
  readonly #burst: FlexibleLimiter | undefined
  readonly #deadline: number

  /**
   * @param name of its policy, if it has one only; default: its keyPrefix
   * @param deadline milliseconds after which it counts as away: it has no deadline of its own
   * @throws TP_OPTION for a limiter that delays what it admits: that looks like an outage
   */
  constructor(limiter: FlexibleLimiter, name: string | undefined, deadline: number, where: string) {
    this.#limiter = limiter
    this.#deadline = deadline
    this.#members = membersOf(limiter, name)
    const { _burstLimiter: burst } = behind(limiter) as Composite
    this.#burst = burst
    if (
      [limiter, ...this.#members.map((member) => member.limiter)].some(
        ({ execEvenly }) => execEvenly,
      )
    ) {
      throw optionError(
        where,
        'limiter',
        limiter,
        "one without execEvenly; algorithm: 'gcra' spaces requests evenly",
      )
    }
    this.policies = this.#members.map((member) => ({
      name: member.name,
      limit: Math.min(MOST, whole(member.points ?? MOST)),
      window: Math.min(LONGEST, Math.max(1000, (member.seconds || Infinity) * 1000)),
    }))
  }

  /** @throws TP_UNAVAILABLE when its store failed or did not answer; the caller has a rule for that */
  async consume(counted: Counted, cost: number): Promise<Decision> {
    if (cost === 0) return await this.peek(counted, 0)
    const { answer, refused } = await this.#ask(() => this.#limiter.consume(counted.key, cost))
    return this.#decision(!refused, answer, counted, cost, refused ? 0 : cost)
  }

  /** @throws TP_UNAVAILABLE, TP_OPTION where it cannot be asked without counting */
  async peek(counted: Counted, cost: number): Promise<Decision> {
    const { key } = counted
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
    return this.#decision(allowed, answer, counted, cost, 0)
  }

  /** Gives back what is still counted, at most `cost`. @throws TP_UNAVAILABLE, TP_OPTION */
  async refund({ key }: Counted, cost: number): Promise<void> {
    await Promise.all(
      this.#members.map(async ({ limiter, points = 0 }) => {
        const { consumedPoints = 0 } = (await this.#call('get', limiter, key)) ?? {}
        if (consumedPoints > 0)
          await this.#reward(limiter, key, Math.min(cost, consumedPoints), consumedPoints > points)
      }),
    )
  }

  /** @throws TP_UNAVAILABLE, TP_OPTION */
  async reset({ key }: Counted): Promise<boolean> {
    const forgotten = await Promise.all(
      this.#counting().map((limiter) => this.#call('delete', limiter, key)),
    )
    return forgotten.includes(true)
  }

  /** @throws TP_UNAVAILABLE, TP_OPTION */
  async block({ key }: Counted, ms: number): Promise<void> {
    await Promise.all(
      this.#counting().map((limiter) => this.#call('block', limiter, key, Math.ceil(ms / 1000))),
    )
  }

  #counting(): FlexibleLimiter[] {
    const all = this.#members.map(({ limiter }) => limiter)
    return this.#burst ? [...all, this.#burst] : all
  }

  /** A bursty limiter charges its second one for what its first one refused. */
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

  /** It refuses by rejecting with a result; what else it rejects with is an outage, unless it is a mistake: those must surface. */
  async #ask(call: () => Promise<unknown>): Promise<{ answer: unknown; refused: boolean }> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new StoreUnavailable('timeout', true)), this.#deadline)
    })
    try {
      return { answer: await Promise.race([call(), late]), refused: false }
    } catch (thrown) {
      if (isRefusal(thrown)) return { answer: thrown, refused: true }
      if (thrown instanceof StoreUnavailable) throw thrown
      const away = classify(thrown)
      if (away) throw new StoreUnavailable('error', away.uncertain, thrown)
      throw new TurnpikeError('TP_COMMAND', `The limiter failed: ${discreet(thrown)}`)
    } finally {
      clearTimeout(timer)
    }
  }

  #decision(
    allowed: boolean,
    answer: unknown,
    { key, subject }: Counted,
    cost: number,
    charged: number,
  ): Decision {
    const policies: PolicyState[] = []
    const owed: { limiter: FlexibleLimiter; until: number; over: boolean }[] = []
    for (const { limiter, name, points, seconds = 0, prefix } of this.#members) {
      const given = isResult(answer)
        ? answer
        : ((answer as Record<string, unknown>)[prefix ?? name] ??
          (answer as Record<string, unknown>)[name])
      if (!isResult(given)) continue
      const { remainingPoints, consumedPoints = 0 } = given
      const ms = Number(given.msBeforeNext)
      const endless = ms < 0 || ms >= NEVER
      const limit = whole(points ?? remainingPoints + consumedPoints)
      policies.push({
        name,
        subject,
        limit,
        windowMs: seconds * 1000,
        // A whitelisted key has more left than a header can say, and a rewarded one more than the limit.
        remaining: Math.min(limit, whole(remainingPoints)),
        resetMs: endless ? 0 : ms,
        retryAfterMs: allowed ? 0 : endless || cost > limit ? -1 : ms,
        violated: !allowed,
        blocked: !allowed && endless,
      })
      // Given back after its window, it would be a credit in the next.
      owed.push({
        limiter,
        until: ms < 0 ? Infinity : performance.now() + ms,
        over: consumedPoints > limit,
      })
    }
    const tightest = tightestOf(policies)
    let left = charged

    const reward = async (amount: number): Promise<void> => {
      const due = amount > 0 ? owed.filter(({ until }) => performance.now() < until) : []
      await Promise.all(due.map(({ limiter, over }) => this.#reward(limiter, key, amount, over)))
    }
    return {
      allowed,
      source: 'store',
      subject,
      policies,
      tightest,
      limit: tightest?.limit,
      remaining: tightest?.remaining,
      retryAfterMs: allowed
        ? 0
        : tightest && tightest.retryAfterMs >= 0
          ? tightest.retryAfterMs
          : undefined,
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
        checked('cost', actual, tightest?.name ?? '')
        if (left === 0) return
        const more = actual - left
        left = actual
        await reward(-more)
        if (more > 0)
          await Promise.all(owed.map(({ limiter }) => this.#call('penalty', limiter, key, more)))
      },
    }
  }
}

const isResult = (value: unknown): value is FlexibleResult =>
  typeof value === 'object' && value !== null && 'msBeforeNext' in value

/** A union rejects with an object of what its members rejected with: results, and the errors of their stores. */
const isRefusal = (thrown: unknown): boolean =>
  isResult(thrown) ||
  (typeof thrown === 'object' && thrown !== null && Object.values(thrown).some(isResult))

/** A number as a header can say it: its points may be negative, or fractions. */
const whole = (value: number): number =>
  Math.min(999_999_999_999_999, Math.max(0, Math.floor(value)))
