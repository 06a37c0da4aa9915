import { StoreUnavailable, type UnavailableReason } from '../errors.ts'

/** Lets calls wait for a connection, unless it was lost and refused repeatedly. */
export class Readiness {
  readonly #isReady: () => boolean
  readonly #waiters = new Set<() => void>()
  #wasReady: boolean
  #failedAttempts = 0

  constructor(isReady: () => boolean) {
    this.#isReady = isReady
    this.#wasReady = isReady()
  }

  /**
   * Resolves with true once the connection is ready, with false after `ms`. Resolves with false at
   * once if the server is gone.
   */
  wait(ms: number): Promise<boolean> {
    if (this.#isGone) return Promise.resolve(false)
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer)
        this.#waiters.delete(wake)
        resolve(this.#isReady())
      }
      const timer = setTimeout(wake, ms)
      this.#waiters.add(wake)
    })
  }

  /** Records that the connection is ready. */
  connected(): void {
    this.#wasReady = true
    this.#failedAttempts = 0
    this.wakeAll()
  }

  /** Records that the connection was refused or lost. */
  disconnected(): void {
    this.#failedAttempts++
    if (this.#isGone) this.wakeAll()
  }

  /** Number of calls that wait. */
  get waiting(): number {
    return this.#waiters.size
  }

  /** Ends all waiting. */
  wakeAll(): void {
    for (const wake of this.#waiters) wake()
  }

  /** Once is a lost connection, twice a server that is not there. */
  get #isGone(): boolean {
    return this.#wasReady && this.#failedAttempts >= 2
  }
}

/**
 * Resolves with the value of `promise` if that takes no longer than `ms`.
 * @throws TP_UNAVAILABLE with this reason if it takes longer
 */
export function within<Value>(
  promise: Promise<Value>,
  ms: number,
  reason: UnavailableReason,
): Promise<Value> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new StoreUnavailable(reason, false)), ms)
    promise.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}
