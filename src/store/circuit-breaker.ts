import { StoreUnavailable } from '../errors.ts'

export interface CircuitBreakerOptions {
  /** Resolves when the server answers. */
  probe(): Promise<void>
  onChange(state: 'open' | 'closed', reason: string | undefined): void
  /** Failures in a row, or half of all calls within `window` but at least so many, that open it. Default 5. */
  trip?: number
  /** Milliseconds over which the share of failures is taken. Default 1000. */
  window?: number
  /** Milliseconds before the first probe. Doubles up to `longest`. Default 250. */
  pause?: number
  /** The longest pause between probes, in ms. Default 1000. */
  longest?: number
}

/** Counts good and bad calls; open, it probes in the background until one answers. */
export class CircuitBreaker {
  state: 'closed' | 'open' | 'half-open' = 'closed'
  /** What the last failure said. */
  reason: string | undefined
  /** One error for all calls while it is open: making one with its stack for each would cost more than the call. */
  refusal: StoreUnavailable = new StoreUnavailable('breaker-open', false)
  readonly #options: Required<CircuitBreakerOptions>
  #since = -Infinity
  #good = 0
  #bad = 0
  #row = 0
  #probes = 0
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor({
    trip = 5,
    window = 1000,
    pause = 250,
    longest = 1000,
    ...rest
  }: CircuitBreakerOptions) {
    this.#options = { trip, window, pause, longest, ...rest }
  }

  recordSuccess(): void {
    this.#good++
    this.#row = 0
  }

  recordFailure(reason: string): void {
    this.reason = reason
    const now = performance.now()
    if (now - this.#since > this.#options.window) {
      this.#since = now
      this.#good = this.#bad = 0
    }
    this.#bad++
    this.#row++
    const { trip } = this.#options
    if (this.state !== 'closed' || this.#closed) return
    if (this.#row >= trip || (this.#bad >= trip && this.#bad >= this.#good)) this.#open()
  }

  /** The connection is back: probe now. */
  hurry(): void {
    if (this.state !== 'open') return
    clearTimeout(this.#timer)
    // Should this probe fail, the next one does not wait as long as after a long outage.
    this.#probes = 0
    void this.#probe()
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }

  #open(): void {
    this.state = 'open'
    this.#probes = 0
    this.refusal = new StoreUnavailable('breaker-open', false, new Error(this.reason))
    this.#options.onChange('open', this.reason)
    this.#schedule()
  }

  #schedule(): void {
    if (this.#closed) return
    const { pause, longest } = this.#options
    const ms = Math.min(pause * 2 ** this.#probes++, longest) * (0.5 + Math.random() / 2)
    this.#timer = setTimeout(() => void this.#probe(), ms)
    this.#timer.unref()
  }

  async #probe(): Promise<void> {
    this.state = 'half-open'
    try {
      await this.#options.probe()
      this.state = 'closed'
      this.reason = undefined
      this.#row = this.#good = this.#bad = 0
      this.#options.onChange('closed', undefined)
    } catch {
      this.state = 'open'
      this.#schedule()
    }
  }
}
