/**
 * What one request may spend waiting for the store, over all features. Calls that wait side by
 * side are counted once; time spent elsewhere (a body parser, the handler) is not counted.
 */
export class RequestBudget {
  #left: number
  #waiting = 0
  #since = 0

  /** @param ms the whole budget, in milliseconds */
  constructor(ms: number) {
    this.#left = ms
  }

  /** Milliseconds left. */
  left(now: number): number {
    return this.#waiting === 0 ? this.#left : this.#left - (now - this.#since)
  }

  begin(now: number): void {
    if (this.#waiting++ === 0) this.#since = now
  }

  end(now: number): void {
    if (--this.#waiting === 0) this.#left -= now - this.#since
  }
}
