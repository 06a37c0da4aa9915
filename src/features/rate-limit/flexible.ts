/** An existing rate-limiter-flexible instance behind our headers, answers and engine. */
import { optionError } from '../../check.ts'
import { duration } from '../../duration.ts'
import { StoreUnavailable } from '../../errors.ts'
import type { Decision, PolicyState } from './decision.ts'
import { tightestOf } from './decision.ts'
import type { Limiter, Subjects } from './limiter.ts'

/** What one of its limiters answers. */
interface FlexibleResult {
  remainingPoints: number
  msBeforeNext: number
}

/** The part of rate-limiter-flexible's interface that is used: any of its limiters will do, its unions and bursty ones too. */
export interface FlexibleLimiter {
  readonly points?: number
  /** Seconds. */
  readonly duration?: number
  readonly keyPrefix?: string
  consume(key: string, points?: number): Promise<unknown>
  get?(key: string): Promise<FlexibleResult | null>
  reward?(key: string, points?: number): Promise<unknown>
  delete?(key: string): Promise<boolean>
  block?(key: string, seconds: number): Promise<unknown>
}

const isResult = (value: unknown): value is FlexibleResult => typeof (value as FlexibleResult | null)?.msBeforeNext === 'number'

/** Calls a foreign limiter; it never hears of our store. */
export class FlexibleEngine implements Limiter {
  readonly limiterName: string
  readonly #limiter: FlexibleLimiter
  readonly #deadline: number

  /** @param deadline milliseconds after which it counts as away: it has no deadline of its own */
  constructor(limiter: FlexibleLimiter, name: string, deadline: number) {
    this.#limiter = limiter
    this.limiterName = name
    this.#deadline = deadline
  }

  /** @throws TP_UNAVAILABLE when its store failed or did not answer; the caller has a rule for that */
  async consume(subject: Subjects, options: number | { cost?: number } = 1): Promise<Decision> {
    const cost = typeof options === 'number' ? options : (options.cost ?? 1)
    if (cost === 0) return await this.peek(subject)
    const key = textOf(subject)
    try {
      return this.#decision(true, await this.#within(this.#limiter.consume(key, cost)), key, cost)
    } catch (refusal) {
      if (refusal instanceof Error) throw refusal.name === 'StoreUnavailable' ? refusal : new StoreUnavailable('error', true, refusal)
      return this.#decision(false, refusal, key, 0)
    }
  }

  async peek(subject: Subjects): Promise<Decision> {
    const key = textOf(subject)
    const result = await this.#within(this.#need('get')(key))
    const { points = 0 } = this.#limiter
    const state = result ?? { remainingPoints: points, msBeforeNext: 0 }
    return this.#decision(state.remainingPoints > 0, state, key, 0)
  }

  async refund(what: Decision | Subjects, options: number | { cost?: number } = 1): Promise<void> {
    if (typeof (what as Decision).refund === 'function') return await (what as Decision).refund()
    const cost = typeof options === 'number' ? options : (options.cost ?? 1)
    await this.#within(this.#need('reward')(textOf(what as Subjects), cost))
  }

  async reset(subject: Subjects): Promise<boolean> {
    return await this.#within(this.#need('delete')(textOf(subject)))
  }

  async block(subject: Subjects, time: Parameters<Limiter['block']>[1]): Promise<void> {
    const seconds = Math.ceil(duration(time, 'limiter.block()', 'time') / 1000)
    await this.#within(this.#need('block')(textOf(subject), seconds))
  }

  #need<Method extends 'get' | 'reward' | 'delete' | 'block'>(method: Method): NonNullable<FlexibleLimiter[Method]> {
    const own = this.#limiter[method]
    if (own) return own.bind(this.#limiter) as NonNullable<FlexibleLimiter[Method]>
    throw optionError('tp.rateLimit()', 'limiter', this.#limiter, `a limiter that has ${method}()`)
  }

  async #within<Answer>(promise: Promise<Answer>): Promise<Answer> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new StoreUnavailable('deadline', true)), this.#deadline)
    })
    try {
      return await Promise.race([promise, late])
    } finally {
      clearTimeout(timer)
    }
  }

  #decision(allowed: boolean, result: unknown, key: string, charged: number): Decision {
    const { points = 0, duration: seconds = 0 } = this.#limiter
    const states = (isResult(result) ? { [this.limiterName]: result } : result) as Record<string, FlexibleResult>
    const policies: PolicyState[] = Object.entries(states).filter(([, state]) => isResult(state)).map(([name, state]) => ({
      name,
      limit: points,
      windowMs: seconds * 1000,
      remaining: Math.max(0, state.remainingPoints),
      resetMs: Math.max(0, state.msBeforeNext),
      retryAfterMs: allowed ? 0 : Math.max(0, state.msBeforeNext),
      violated: !allowed,
      blocked: false,
    }))
    const tightest = tightestOf(policies)
    let cost = charged
    const reward = async (amount: number): Promise<void> => {
      if (amount > 0) await this.#within(this.#need('reward')(key, amount))
    }
    return {
      allowed,
      source: 'store',
      subject: key,
      policies,
      tightest,
      limit: tightest?.limit,
      remaining: tightest?.remaining,
      retryAfterMs: allowed ? 0 : tightest?.retryAfterMs,
      get cost() {
        return cost
      },
      refund: async () => {
        const amount = cost
        cost = 0
        await reward(amount)
      },
      settle: async (actual) => {
        const [before, after] = [cost, actual]
        cost = after
        await reward(before - after)
        if (after > before) await this.#within(this.#limiter.consume(key, after - before)).catch((refusal: unknown) => {
          if (refusal instanceof Error) throw refusal
        })
      },
    }
  }
}

/** Its keys are plain text; ours may have parts. */
const textOf = (subject: Subjects): string => (typeof subject === 'string' ? subject : Object.values(subject).flat().map(encodeURIComponent).join('/'))
