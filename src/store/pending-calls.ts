import type { RequestBudget } from '../request-budget.ts'

/** A call whose reply has not arrived. */
export interface PendingCall {
  /** When its caller gives up, by `performance.now()`. */
  deadline: number
  /** Bytes that the connection had received before the call. */
  readonly bytesReadBefore: number
  /** How long the event loop had been blocked before the call, in ms. */
  readonly blockedBefore: number
  readonly budget: RequestBudget | undefined
  /** True once the deadline was extended because the event loop was blocked. */
  wasExtended: boolean
  reject(error: unknown): void
}

/** Interval at which the deadlines are checked, in ms. */
const CHECK_INTERVAL = 10

/** The calls in progress on one connection, and the one timer that watches their deadlines. */
export class PendingCalls {
  readonly #calls = new Set<PendingCall>()
  readonly #onExpired: (expired: readonly PendingCall[], now: number) => void
  #timer: NodeJS.Timeout | undefined
  #checkDueAt = 0
  /** How long the event loop was blocked while calls were in progress, in ms. */
  blockedMs = 0

  /** @param onExpired gets the calls whose deadlines have passed, after they were removed */
  constructor(onExpired: (expired: readonly PendingCall[], now: number) => void) {
    this.#onExpired = onExpired
  }

  get size(): number {
    return this.#calls.size
  }

  add(call: PendingCall, now: number): void {
    this.#calls.add(call)
    call.budget?.begin(now)
    if (!this.#timer) this.#scheduleCheck(now)
  }

  has(call: PendingCall): boolean {
    return this.#calls.has(call)
  }

  /** Returns how long the event loop was blocked since a call began, in ms. */
  blockedSince({ blockedBefore }: PendingCall, now: number): number {
    // The reply may have been read before the timer ran that was due during the block.
    const current = this.#timer ? Math.max(0, now - this.#checkDueAt) : 0
    return this.blockedMs + current - blockedBefore
  }

  /** Removes a call. Returns false if it had expired. */
  remove(call: PendingCall, now: number): boolean {
    if (!this.#calls.delete(call)) return false
    call.budget?.end(now)
    return true
  }

  /**
   * One timer serves all calls: a timer for each would cost more than everything else that is done
   * for a call. It is all that keeps the process alive.
   */
  #scheduleCheck(now: number): void {
    this.#checkDueAt = now + CHECK_INTERVAL
    this.#timer = setTimeout(this.#check, CHECK_INTERVAL)
  }

  readonly #check = (): void => {
    this.#timer = undefined
    if (this.#calls.size === 0) return
    const now = performance.now()
    this.blockedMs += Math.max(0, now - this.#checkDueAt)
    // A blocked event loop also delayed what was to be sent. Send it before judging the server.
    if (now - this.#checkDueAt > CHECK_INTERVAL) this.#extendDeadlines(now)
    this.#scheduleCheck(now)
    for (const call of this.#calls) if (call.deadline <= now) return this.#expire()
  }

  /** Extends, once, the deadlines that passed while the event loop was blocked. */
  #extendDeadlines(now: number): void {
    for (const call of this.#calls) {
      if (call.wasExtended || call.deadline > now) continue
      call.wasExtended = true
      call.deadline = now + 3 * CHECK_INTERVAL
    }
  }

  /**
   * Removes calls whose deadlines have passed, but reads the socket first. After a blocked event
   * loop timers run before the poll phase, which may hold the replies.
   */
  #expire(): void {
    setImmediate(() =>
      setImmediate(() => {
        const now = performance.now()
        const expired = [...this.#calls].filter(({ deadline }) => deadline <= now)
        for (const call of expired) this.remove(call, now)
        this.#onExpired(expired, now)
      }),
    )
  }
}
