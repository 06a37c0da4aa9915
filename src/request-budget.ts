import type { DurationHistogram } from './feature-counts.ts'

/**
 * The time that one request may wait for the store, over all features. Calls that wait
 * concurrently count once. Time in a body parser or the handler does not count.
 */
export class RequestBudget {
  #left: number
  #waiting = 0
  #since = 0
  readonly #waits: DurationHistogram | undefined

  /**
   * @param ms the whole budget, in milliseconds
   * @param waits records how long each wait took
   */
  constructor(ms: number, waits?: DurationHistogram) {
    this.#left = ms
    this.#waits = waits
  }

  /** Returns the milliseconds that are left. */
  left(now: number): number {
    return this.#waiting === 0 ? this.#left : this.#left - (now - this.#since)
  }

  /** Starts the clock: a call waits for the store. */
  begin(now: number): void {
    if (this.#waiting++ === 0) this.#since = now
  }

  /** Stops the clock when no call waits any more. */
  end(now: number): void {
    if (--this.#waiting > 0) return
    const ms = now - this.#since
    this.#left -= ms
    this.#waits?.add(ms)
  }
}
