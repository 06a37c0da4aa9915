/** What made a call slow. */
export type SlowCause = 'process' | 'server' | 'call'

/** A call that Redis answered late. */
export interface SlowCall {
  readonly operation: string
  readonly ms: number
  readonly cause: SlowCause
  /** Number of slow calls since the last one that was reported, this one included. */
  readonly count: number
}

/** Shortest time between two reports, in ms. */
const REPORT_INTERVAL = 10_000

/** Finds out what made calls of one connection slow. It sends nothing. */
export class SlowCalls {
  readonly #after: number
  readonly #onSlow: (call: SlowCall) => void
  /** A slow call whose cause the next reply shows. */
  #suspect: { operation: string; ms: number; repliedAt: number } | undefined
  #count = 0
  #reportedAt = -Infinity

  /** @param after duration in ms from which a call is slow */
  constructor(after: number, onSlow: (call: SlowCall) => void) {
    this.#after = after
    this.#onSlow = onSlow
  }

  /** Returns true if `record` must get a reply that took `ms`. */
  concerns(ms: number): boolean {
    return ms >= this.#after || this.#suspect !== undefined
  }

  /**
   * Records a reply. Replies come in order: one call holds up those that were sent behind it. So a
   * slow call is judged by the next call that was sent after its reply.
   * @param now when the reply arrived
   * @param blockedMs how long the event loop was blocked meanwhile
   */
  record(operation: string, ms: number, now: number, blockedMs: number): void {
    const isSlow = ms >= this.#after
    if (isSlow) this.#count++
    if (isSlow && blockedMs * 2 >= ms) return this.#report(operation, ms, 'process', now)
    const suspect = this.#suspect
    if (suspect === undefined) {
      this.#suspect = { operation, ms, repliedAt: now }
    } else if (now - ms >= suspect.repliedAt) {
      this.#suspect = undefined
      this.#report(suspect.operation, suspect.ms, isSlow ? 'server' : 'call', now)
    }
  }

  #report(operation: string, ms: number, cause: SlowCause, now: number): void {
    if (now - this.#reportedAt < REPORT_INTERVAL) return
    const count = this.#count
    this.#count = 0
    this.#reportedAt = now
    this.#onSlow({ operation, ms, cause, count })
  }
}
