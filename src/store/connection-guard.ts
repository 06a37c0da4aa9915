import { isUnavailable, StoreUnavailable, type UnavailableReason } from '../errors.ts'
import type { RequestBudget } from '../request-budget.ts'
import { CircuitBreaker } from './circuit-breaker.ts'
import { PendingReplies } from './pending-replies.ts'
import { Latency } from './latency.ts'
import { Readiness } from './readiness.ts'
import type { Trouble } from './diagnose.ts'

/** What the guard needs of a client: ioredis's Redis and Cluster both have it. */
export interface GuardedClient {
  readonly status: string
  on(event: 'ready', listener: () => void): unknown
  off(event: 'ready', listener: () => void): unknown
  disconnect(reconnect?: boolean): void
}

export interface GuardOptions {
  /** Milliseconds within which each call is answered, one way or the other. */
  commandTimeout: number
  /** Calls that may wait for an answer at once; further ones are refused. */
  maxInFlight: number
  /** A connection that owes an answer for so many ms is replaced. */
  hungAfter: number
  /** Asks the server whether it is there. */
  probe(): Promise<unknown>
  /** Which kind of error is this? Undefined: the command itself was wrong. */
  classify(error: unknown): Trouble | undefined
  onBreaker(state: 'open' | 'closed', reason: string | undefined): void
  onReplaced(): void
  /** What the caller of `name` is told of an error. */
  explain(error: unknown, name: string): unknown
  /** Where latencies are noted, if several guards share that. */
  latency?: Latency
}

/** A call that waits for its answer. */
interface Call {
  until: number
  sent: number
  budget: RequestBudget | undefined
  /** It got a little more time, because the event loop was blocked. */
  spared: boolean
  reject(error: unknown): void
}

/** How often the calls in flight are looked at, in ms. */
const SWEEP = 10

/**
 * Stands between the features and one client: every call ends within its deadline, a sick server is
 * not asked again and again, and a connection that hangs is replaced.
 *
 * The state machine is Nygard's circuit breaker (Release It!, 2007), with one change: the probes
 * run in the background, so that no request is the guinea pig.
 */
export class ConnectionGuard {
  readonly latency: Latency
  readonly #client: GuardedClient
  readonly #options: GuardOptions
  readonly #breaker: CircuitBreaker
  readonly #calls = new Set<Call>()
  readonly #readiness: Readiness
  readonly #debt = new PendingReplies()
  #sweeper: NodeJS.Timeout | undefined
  #sweepAt = 0
  #closed = false

  constructor(client: GuardedClient, options: GuardOptions) {
    this.#client = client
    this.#options = options
    this.latency = options.latency ?? new Latency()
    this.#readiness = new Readiness(() => client.status === 'ready')
    this.#breaker = new CircuitBreaker({
      probe: () => this.#probe(),
      onChange: (state, reason) => options.onBreaker(state, reason),
    })
    client.on('ready', this.#onReady)
  }

  get breaker(): 'closed' | 'open' | 'half-open' {
    return this.#breaker.state
  }

  get lastError(): string | undefined {
    return this.#breaker.reason
  }

  /** The error for a call that is not worth trying, or undefined. */
  refusal(): StoreUnavailable | undefined {
    if (this.#closed) return new StoreUnavailable('closed', false)
    if (this.#breaker.state !== 'closed') return this.#breaker.refusal
    if (this.#calls.size >= this.#options.maxInFlight)
      return new StoreUnavailable('saturated', false)
    return undefined
  }

  /**
   * Send one command and wait for its answer, at most for the deadline.
   * @param name what it is called in errors
   * @param send starts the command
   * @param recover may give another attempt for an error of the first, within the same deadline
   * @param began when the caller began to wait, by `performance.now()`
   */
  run<Answer>(
    name: string,
    send: () => Promise<Answer>,
    budget?: RequestBudget,
    recover?: (error: unknown) => Promise<Answer> | undefined,
    began?: number,
  ): Promise<Answer> {
    const refusal = this.refusal()
    if (refusal) return Promise.reject(refusal)
    const now = performance.now()
    let ms = this.#options.commandTimeout - (now - (began ?? now))
    if (budget) {
      const left = budget.left(now)
      if (left <= 0) return Promise.reject(new StoreUnavailable('budget', false))
      if (left < ms) ms = left
    }
    if (this.#client.status === 'ready') return this.#race(name, send, recover, now, ms, budget)
    budget?.begin(now)
    return this.#readiness.wait(ms).then((ready) => {
      const later = performance.now()
      budget?.end(later)
      const left = ms - (later - now)
      if (ready && left > 0) return this.#race(name, send, recover, later, left, budget)
      throw this.#failed('not-ready', new Error(`the connection is ${this.#client.status}`))
    })
  }

  /** Stop taking calls; resolves when those in flight have ended (they do, within the deadline). */
  async close(): Promise<void> {
    this.#closed = true
    this.#breaker.close()
    this.#client.off('ready', this.#onReady)
    this.#readiness.wakeAll()
    while (this.#calls.size > 0) await new Promise((resolve) => setTimeout(resolve, 5))
  }

  #race<Answer>(
    name: string,
    send: () => Promise<Answer>,
    recover: ((error: unknown) => Promise<Answer> | undefined) | undefined,
    now: number,
    ms: number,
    budget: RequestBudget | undefined,
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const call: Call = { until: now + ms, sent: now, budget, spared: false, reject }
      const answered = (answer: Answer): void => {
        const later = performance.now()
        this.#debt.settle(later)
        if (!this.#end(call, later)) return
        this.latency.add(later - call.sent, later)
        this.#breaker.recordSuccess()
        resolve(answer)
      }
      const failed = (error: unknown): void => {
        const later = performance.now()
        const infrastructure = this.#options.classify(error)
        if (infrastructure) this.#debt.writeOff()
        else this.#debt.settle(later)
        if (!this.#calls.has(call)) return
        const again = infrastructure ? undefined : recover?.(error)
        if (again) return this.#expect(again, later, answered, failed)
        this.#end(call, later)
        if (!infrastructure || infrastructure.isWell) this.#breaker.recordSuccess()
        const told = infrastructure
          ? infrastructure.isWell
            ? new StoreUnavailable('error', false, error)
            : this.#failed('error', error, infrastructure.uncertain, infrastructure.said)
          : error
        reject(this.#options.explain(told, name))
      }
      this.#calls.add(call)
      budget?.begin(now)
      if (!this.#sweeper) this.#sweepSoon(now)
      try {
        this.#expect(send(), now, answered, failed)
      } catch (error) {
        this.#end(call, now)
        reject(error)
      }
    })
  }

  #expect<Answer>(
    promise: Promise<Answer>,
    now: number,
    answered: (answer: Answer) => void,
    failed: (error: unknown) => void,
  ): void {
    this.#debt.incur(now)
    promise.then(answered, failed)
  }

  /** Take a call off the list; false if it had been given up. */
  #end(call: Call, now: number): boolean {
    if (!this.#calls.delete(call)) return false
    call.budget?.end(now)
    return true
  }

  #failed(
    reason: UnavailableReason,
    cause: unknown,
    uncertain = false,
    said = (cause as Error).message,
  ): StoreUnavailable {
    this.#breaker.recordFailure(said)
    return new StoreUnavailable(reason, uncertain, cause)
  }

  /**
   * While calls are in flight there is one timer for all of them: a timer a call costs more than the
   * rest of this class. It is the only thing here that keeps the process alive.
   */
  #sweepSoon(now: number): void {
    this.#sweepAt = now + SWEEP
    this.#sweeper = setTimeout(this.#sweep, SWEEP)
  }

  readonly #sweep = (): void => {
    this.#sweeper = undefined
    if (this.#calls.size === 0) return
    const now = performance.now()
    // A blocked event loop kept back what was to be sent, too: let it out before judging.
    if (now - this.#sweepAt > SWEEP) this.#spare(now)
    this.#sweepSoon(now)
    for (const call of this.#calls) if (call.until <= now) return this.#expire()
  }

  /** Whose time ran out while nothing could happen gets a little more, once. */
  #spare(now: number): void {
    for (const call of this.#calls) {
      if (call.spared || call.until > now) continue
      call.spared = true
      call.until = now + 3 * SWEEP
    }
  }

  /**
   * After a blocked event loop timers run before the poll phase that holds our answers: look at the
   * socket once more before calling the server dead.
   */
  #expire(): void {
    setImmediate(() =>
      setImmediate(() => {
        const now = performance.now()
        for (const call of this.#calls) {
          if (call.until > now) continue
          this.#end(call, now)
          call.reject(this.#failed('timeout', new Error('no answer within the deadline'), true))
        }
        if (this.#debt.isOverdue(now, this.#options.hungAfter)) this.#replace(now)
      }),
    )
  }

  #replace(now: number): void {
    if (this.#client.status !== 'ready') return
    this.#debt.forgive(now)
    this.#options.onReplaced()
    this.#client.disconnect(true)
  }

  async #probe(): Promise<void> {
    const now = performance.now()
    // While the breaker is open nothing is sent. An answer that is still owed will not come, or only with that
    // of the next command, and so on for ever: what the connection delivers is out of step.
    if (this.#debt.isStranded(now, this.#options.commandTimeout)) this.#replace(now)
    if (this.#client.status !== 'ready') throw new Error(`the connection is ${this.#client.status}`)
    try {
      await this.#race(
        'probe',
        this.#options.probe,
        undefined,
        now,
        this.#options.commandTimeout,
        undefined,
      )
    } catch (error) {
      // A server that answers, and be it "no permission", is there.
      if (isUnavailable(error)) throw error
    }
  }

  /** The connection was refused or lost. */
  disconnected(): void {
    this.#readiness.lost()
  }

  readonly #onReady = (): void => {
    this.#debt.forgive(performance.now())
    this.#readiness.ready()
    this.#breaker.hurry()
  }
}
