/** Waiting longer and longer between refreshes of stale entries that keep failing. */
import { BoundedMap } from './bounded-map.ts'

const FIRST_PAUSE = 1_000
const MAX_PAUSE = 60_000
const MAX_REMEMBERED = 10_000

/** The failures of one process, by the entry's key. Times in ms on a clock that does not jump. */
export class RefreshBackoff {
  readonly #failures = new BoundedMap<{ readonly count: number; readonly until: number }>(
    MAX_REMEMBERED,
  )

  /** Returns whether it is too soon to refresh an entry again. */
  isActive(key: string, now: number): boolean {
    return (this.#failures.get(key)?.until ?? 0) > now
  }

  /** Notes that a refresh has failed. */
  fail(key: string, now: number): void {
    const count = (this.#failures.get(key)?.count ?? 0) + 1
    const pause = Math.min(FIRST_PAUSE * 2 ** (count - 1), MAX_PAUSE)
    this.#failures.set(key, { count, until: now + pause })
  }

  /** Notes that an entry was filled. */
  succeed(key: string): void {
    this.#failures.delete(key)
  }
}
