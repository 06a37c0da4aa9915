/**
 * The time that one request may wait for the store, over all features. Calls that wait
 * concurrently count once. Time in a body parser or the handler does not count.
 */
export class RequestBudget {
  #left: number
  #waiting = 0
  #since = 0

  /** @param ms the whole budget, in milliseconds */
  constructor(ms: number) {
    this.#left = ms
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
    if (--this.#waiting === 0) this.#left -= now - this.#since
  }
}
