import {
  isUnavailable,
  StoreUnavailable,
  TurnpikeError,
  type UnavailableReason,
} from '../errors.ts'
import type { RequestBudget } from '../request-budget.ts'
import { CircuitBreaker } from './circuit-breaker.ts'
import { toCause, type Outage } from './diagnose.ts'
import type { GuardedCall, GuardedClient } from './guarded-call.ts'
import { Latency } from './latency.ts'
import { PendingCalls, type PendingCall } from './pending-calls.ts'
import { PendingReplies } from './pending-replies.ts'
import { Readiness } from './readiness.ts'
import { SlowCalls, type SlowCall } from './slow-calls.ts'

export type { GuardedCall, GuardedClient } from './guarded-call.ts'

export interface GuardOptions {
  /** Timeout for each call, in ms. */
  commandTimeout: number
  /** Largest number of calls in progress. Further ones are refused. */
  maxInFlight: number
  /** Time in ms after which a connection without the reply that is due is replaced. */
  hangTimeout: number
  /** Asks the server whether it is there. */
  probe(): Promise<unknown>
  /** Returns what an error means for the connection; undefined if the command itself is wrong. */
  classify(error: unknown): Outage | undefined
  onBreaker(state: 'open' | 'closed', reason: string | undefined): void
  onReplaced(): void
  /** Measures a reply. @param operation names the call */
  onReply?(operation: string, ms: number): void
  /** Reports a call that took half of `commandTimeout` or longer. */
  onSlow?(call: SlowCall): void
  /** Returns the error for the caller of `name`, whose command was wrong. */
  explain(error: unknown, name: string): TurnpikeError
  /**
   * Whether a timeout counts as a failure while much data arrives. It does not where replies are
   * large: then it only means that this process requests more than the connection can carry.
   */
  toleratesProgress?: boolean
  /** Where latencies are recorded if several guards share them. */
  latency?: Latency
}

/** So many bytes during one call are progress. */
const PROGRESS = 65_536

/**
 * Stands between the features and one client. Every call ends by its deadline, an unavailable server
 * is not called again and again, and a connection that hangs is replaced.
 *
 * This is the circuit breaker of Nygard (Release It!, 2007), except that it probes in the
 * background: no request is used as a probe.
 */
export class ConnectionGuard {
  readonly latency: Latency
  readonly #client: GuardedClient
  readonly #options: GuardOptions
  readonly #breaker: CircuitBreaker
  readonly #calls = new PendingCalls((expired, now) => this.#onExpired(expired, now))
  readonly #readiness: Readiness
  readonly #replies = new PendingReplies()
  readonly #slow: SlowCalls
  /** True from when a connection is given up until the next one is ready. */
  #isReplacing = false
  #isClosed = false

  constructor(client: GuardedClient, options: GuardOptions) {
    this.#client = client
    this.#options = options
    this.latency = options.latency ?? new Latency()
    this.#readiness = new Readiness(() => this.isReady)
    this.#slow = new SlowCalls(options.commandTimeout / 2, (call) => options.onSlow?.(call))
    this.#breaker = new CircuitBreaker({
      probe: () => this.#probe(),
      onChange: (state, reason) => options.onBreaker(state, reason),
    })
    client.on('ready', this.#onReady)
  }

  get breaker(): 'closed' | 'open' | 'half-open' {
    return this.#breaker.state
  }

  /** Number of calls in progress. */
  get inFlight(): number {
    return this.#calls.size
  }

  get lastError(): string | undefined {
    return this.#breaker.reason
  }

  /**
   * True if a command can be sent. ioredis reports a connection that it ends as ready until the
   * socket has closed. A command sent in between would be lost with it.
   */
  get isReady(): boolean {
    return !this.#isReplacing && this.#client.status === 'ready'
  }

  /** Returns the error for a call that would be refused now, or undefined. */
  refusal(): StoreUnavailable | undefined {
    if (this.#isClosed) return new StoreUnavailable('closed', false)
    if (this.#breaker.state !== 'closed') return this.#breaker.refusal
    if (this.#calls.size + this.#readiness.waiting >= this.#options.maxInFlight)
      return new StoreUnavailable('saturated', false)
    return undefined
  }

  /**
   * Runs one call within `commandTimeout` and the request's budget.
   * @param startedAt when the caller began to wait, by `performance.now()`. Default: now
   * @throws TP_UNAVAILABLE, TP_COMMAND
   */
  run<Reply>(call: GuardedCall<Reply>, budget?: RequestBudget, startedAt?: number): Promise<Reply> {
    const refusal = this.refusal()
    if (refusal) return Promise.reject(refusal)
    const now = performance.now()
    let ms = this.#options.commandTimeout - (now - (startedAt ?? now))
    if (budget) {
      const left = budget.left(now)
      if (left <= 0) return Promise.reject(new StoreUnavailable('budget', false))
      if (left < ms) ms = left
    }
    if (this.isReady) return this.#execute(call, now, now + ms, budget)
    return this.#executeWhenReady(call, now, now + ms, budget)
  }

  /** Refuses further calls. Resolves when those in progress have ended, which they do by their deadlines. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#breaker.close()
    this.#client.off('ready', this.#onReady)
    this.#readiness.wakeAll()
    while (this.#calls.size > 0) await new Promise((resolve) => setTimeout(resolve, 5))
  }

  /** Records that the connection was refused or lost. */
  disconnected(): void {
    this.#readiness.disconnected()
  }

  async #executeWhenReady<Reply>(
    call: GuardedCall<Reply>,
    now: number,
    deadline: number,
    budget: RequestBudget | undefined,
  ): Promise<Reply> {
    budget?.begin(now)
    const isReady = await this.#readiness.wait(deadline - now)
    const later = performance.now()
    budget?.end(later)
    if (isReady && later < deadline) return await this.#execute(call, later, deadline, budget)
    throw this.#failure('not-ready', this.#notReady())
  }

  #execute<Reply>(
    call: GuardedCall<Reply>,
    now: number,
    deadline: number,
    budget: RequestBudget | undefined,
  ): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const pending: PendingCall = {
        deadline,
        bytesReadBefore: this.#bytesRead,
        blockedBefore: this.#calls.blockedMs,
        budget,
        wasExtended: false,
        reject,
      }
      const onReply = (reply: Reply): void => {
        const later = performance.now()
        this.#replies.received(later)
        if (!this.#calls.remove(pending, later)) return
        const ms = later - now
        this.latency.add(ms, later)
        this.#options.onReply?.(call.name, ms)
        if (this.#slow.concerns(ms))
          this.#slow.record(call.name, ms, later, this.#calls.blockedSince(pending, later))
        this.#breaker.recordSuccess()
        resolve(reply)
      }
      const onError = (error: unknown): void => {
        const later = performance.now()
        const outage = this.#options.classify(error)
        if (outage) this.#replies.abandoned()
        else this.#replies.received(later)
        if (!this.#calls.has(pending)) return
        const retry = outage ? undefined : call.retry?.(error, pending.deadline)
        if (retry) {
          this.#replies.sent(later)
          follow(retry)
          return
        }
        this.#calls.remove(pending, later)
        reject(this.#explained(error, outage, call.name))
      }
      const follow = (attempt: Promise<Reply>): void => void attempt.then(onReply, onError)
      this.#calls.add(pending, now)
      this.#replies.sent(now)
      try {
        follow(call.send(deadline))
      } catch (error) {
        // Nothing was sent: the arguments are wrong.
        this.#replies.abandoned()
        this.#calls.remove(pending, now)
        reject(error)
      }
    })
  }

  get #bytesRead(): number {
    return this.#options.toleratesProgress ? (this.#client.stream?.bytesRead ?? 0) : 0
  }

  /** Returns the error for the caller, and records what it means for the server. */
  #explained(error: unknown, outage: Outage | undefined, name: string): unknown {
    // Another guard or the clock has explained and recorded it.
    if (error instanceof TurnpikeError) return error
    if (!outage || outage.isServerHealthy) this.#breaker.recordSuccess()
    if (!outage) return this.#options.explain(error, name)
    const { uncertain, message } = outage
    return outage.isServerHealthy
      ? new StoreUnavailable('error', false, toCause(error))
      : this.#failure('error', toCause(error), uncertain, message)
  }

  #failure(
    reason: UnavailableReason,
    cause: Error,
    uncertain = false,
    message = cause.message,
  ): StoreUnavailable {
    this.#breaker.recordFailure(message)
    return new StoreUnavailable(reason, uncertain, cause)
  }

  #onExpired(expired: readonly PendingCall[], now: number): void {
    const cause = new Error('no reply within commandTimeout')
    for (const call of expired) {
      const isProgress = this.#bytesRead - call.bytesReadBefore >= PROGRESS
      if (isProgress) this.#replies.restart(now)
      call.reject(
        isProgress
          ? new StoreUnavailable('timeout', true, cause)
          : this.#failure('timeout', cause, true),
      )
    }
    if (this.#replies.isOverdue(now, this.#options.hangTimeout)) this.#replace(now)
  }

  #replace(now: number): void {
    if (!this.isReady) return
    this.#isReplacing = true
    this.#replies.restart(now)
    this.#options.onReplaced()
    this.#client.disconnect(true)
  }

  async #probe(): Promise<void> {
    const now = performance.now()
    // An open breaker sends nothing. A reply that is still missing will not come, or only with that
    // of the next command, and so on: the connection has lost the order of replies.
    if (this.#replies.isStranded(now, this.#options.commandTimeout)) this.#replace(now)
    if (!this.isReady) throw this.#notReady()
    const call = { name: 'probe', send: () => this.#options.probe() }
    try {
      await this.#execute(call, now, now + this.#options.commandTimeout, undefined)
    } catch (error) {
      // A server that replies is there, even if it replies with an error.
      if (isUnavailable(error)) throw error
    }
  }

  #notReady(): Error {
    const { status } = this.#client
    return new Error(`the connection is ${this.#isReplacing ? 'being replaced' : status}`)
  }

  readonly #onReady = (): void => {
    this.#isReplacing = false
    this.#replies.restart(performance.now())
    this.#readiness.connected()
    this.#breaker.probeNow()
  }
}
