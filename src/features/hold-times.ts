/** How long holders keep a lease, as an estimate for those that are refused. */
import type { AcquireRefused } from './waiters.ts'

/** Weight of the latest hold in the moving average. */
const WEIGHT = 1 / 8
/** Estimate before the first hold has ended, and the bounds of all estimates, in ms. */
const SHORTEST = 1000
const LONGEST = 60_000

/** A moving average of hold times. */
export class HoldTimes {
  #mean: number | undefined

  /** Adds a hold that has ended. @param ms its length */
  add(ms: number): void {
    this.#mean = this.#mean === undefined ? ms : this.#mean + (ms - this.#mean) * WEIGHT
  }

  /** Returns the time until a retry can succeed, in ms. */
  estimate({ heldMs = 0, permits = 1 }: Partial<AcquireRefused> = {}): number {
    const mean = this.#mean ?? SHORTEST
    // A hold beyond the average is a long one. It is expected to last as long again.
    const left = mean > heldMs ? mean - heldMs : heldMs
    return Math.min(LONGEST, Math.max(SHORTEST, left / Math.max(1, permits)))
  }
}
