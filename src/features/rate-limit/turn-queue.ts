import type { Store } from '../../store/store.ts'

/** How long a call waits for its turn. */
export interface TurnOptions {
  /** When it gives up, in ms since the epoch by the store's clock. */
  readonly until: number
  readonly signal: AbortSignal | undefined
  /** Creates the error of a call whose turn did not come in time. */
  createError(): Error
}

/** Serves calls for one key in order of arrival, within this process. */
export class TurnQueue {
  readonly #clock: Pick<Store, 'now' | 'sleep'>
  /** For each key with a call in progress, what wakes the calls that wait, in order of arrival. */
  readonly #waiting = new Map<string, Set<() => void>>()

  constructor(clock: Pick<Store, 'now' | 'sleep'>) {
    this.#clock = clock
  }

  /** Number of calls in progress or waiting. */
  get size(): number {
    let size = 0
    for (const waiting of this.#waiting.values()) size += 1 + waiting.size
    return size
  }

  /**
   * Runs `work` after all earlier calls for the key.
   * @throws the created error at `until`, and the signal's reason, while it waits
   */
  async run<Result>(
    key: string,
    work: () => Promise<Result>,
    options: TurnOptions,
  ): Promise<Result> {
    options.signal?.throwIfAborted()
    const waiting = this.#waiting.get(key)
    if (waiting === undefined) this.#waiting.set(key, new Set())
    else await this.#waitForTurn(key, waiting, options)
    try {
      return await work()
    } finally {
      this.#passOn(key)
    }
  }

  async #waitForTurn(
    key: string,
    waiting: Set<() => void>,
    { until, signal, createError }: TurnOptions,
  ): Promise<void> {
    let wake!: () => void
    const turn = new Promise<void>((resolve) => (wake = resolve))
    waiting.add(wake)
    const control = new AbortController()
    const signals = signal ? [signal, control.signal] : [control.signal]
    const tooLate = this.#sleepUntil(until, AbortSignal.any(signals)).then(() => {
      throw createError()
    })
    try {
      await Promise.race([turn, tooLate])
    } catch (error) {
      // A turn that came at the same moment must not be lost. All later calls would wait for ever.
      if (!waiting.delete(wake)) this.#passOn(key)
      throw error
    } finally {
      tooLate.catch(() => {})
      control.abort()
    }
  }

  #passOn(key: string): void {
    const waiting = this.#waiting.get(key)!
    const [next] = waiting
    if (next === undefined) {
      this.#waiting.delete(key)
      return
    }
    waiting.delete(next)
    next()
  }

  async #sleepUntil(until: number, signal: AbortSignal): Promise<void> {
    // A very long sleep ends early.
    while (this.#clock.now() < until) await this.#clock.sleep(until - this.#clock.now(), signal)
  }
}
