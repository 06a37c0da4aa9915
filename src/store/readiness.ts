import { StoreUnavailable } from '../errors.ts'

/** Who waits for a connection, and whether that is any use. */
export class Readiness {
  readonly #isReady: () => boolean
  readonly #waiters = new Set<() => void>()
  #everReady: boolean
  #failures = 0

  constructor(isReady: () => boolean) {
    this.#isReady = isReady
    this.#everReady = isReady()
  }

  /** Waits for at most `ms`, and not at all for a server that has gone and refused again and again. */
  wait(ms: number): Promise<boolean> {
    if (this.#hopeless) return Promise.resolve(false)
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

  ready(): void {
    this.#everReady = true
    this.#failures = 0
    this.wakeAll()
  }

  /** The connection was refused or lost. */
  lost(): void {
    this.#failures++
    if (this.#hopeless) this.wakeAll()
  }

  wakeAll(): void {
    for (const wake of this.#waiters) wake()
  }

  get #hopeless(): boolean {
    return this.#everReady && this.#failures >= 2
  }
}

/** What a promise comes to, if that is within `ms`. @throws TP_UNAVAILABLE if it fails or is late */
export function soon<Value>(promise: Promise<Value>, ms: number): Promise<Value> {
  return new Promise((resolve, reject) => {
    const late = (cause?: unknown): void => reject(new StoreUnavailable('not-ready', false, cause))
    const timer = setTimeout(late, ms)
    promise.then(resolve, late).finally(() => clearTimeout(timer))
  })
}
