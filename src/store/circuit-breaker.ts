import { StoreUnavailable } from '../errors.ts'

export interface CircuitBreakerOptions {
  /** Resolves if the server answers. Called in the background while the breaker is open. */
  probe(): Promise<void>
  onChange(state: 'open' | 'closed', reason: string | undefined): void
  /**
   * Number of consecutive failures that open the breaker. The same number within `window` opens it
   * too if at least half of the calls failed.
   * @default 5
   */
  threshold?: number
  /** Period over which the share of failures is measured, in ms. @default 1000 */
  window?: number
  /** Pause before the first probe, in ms. Doubles with each probe that fails. @default 250 */
  probeAfter?: number
  /** Longest pause between probes, in ms. @default 1000 */
  maxProbeInterval?: number
}

/** Counts successes and failures. While open, it probes in the background until a probe succeeds. */
export class CircuitBreaker {
  state: 'closed' | 'open' | 'half-open' = 'closed'
  /** Message of the last failure. */
  reason: string | undefined
  /** Shared by all calls that an open breaker refuses: a stack trace for each would cost more than the call. */
  refusal: StoreUnavailable = new StoreUnavailable('breaker-open', false)
  readonly #options: Required<CircuitBreakerOptions>
  #windowStart = -Infinity
  #successes = 0
  #failures = 0
  #consecutiveFailures = 0
  #failedProbes = 0
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor({
    threshold = 5,
    window = 1000,
    probeAfter = 250,
    maxProbeInterval = 1000,
    ...rest
  }: CircuitBreakerOptions) {
    this.#options = { threshold, window, probeAfter, maxProbeInterval, ...rest }
  }

  recordSuccess(): void {
    this.#successes++
    this.#consecutiveFailures = 0
  }

  recordFailure(reason: string): void {
    this.reason = reason
    const now = performance.now()
    if (now - this.#windowStart > this.#options.window) {
      this.#windowStart = now
      this.#successes = this.#failures = 0
    }
    this.#failures++
    this.#consecutiveFailures++
    if (this.state !== 'closed' || this.#isClosed) return
    const { threshold } = this.#options
    const isMajority = this.#failures >= threshold && this.#failures >= this.#successes
    if (this.#consecutiveFailures >= threshold || isMajority) this.#open()
  }

  /** Probes at once: the connection is back. */
  probeNow(): void {
    if (this.state !== 'open') return
    clearTimeout(this.#timer)
    // If this probe fails, the next one must not wait as long as after a long outage.
    this.#failedProbes = 0
    void this.#probe()
  }

  /** Ends the probes. */
  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
  }

  #open(): void {
    this.state = 'open'
    this.#failedProbes = 0
    this.refusal = new StoreUnavailable('breaker-open', false, new Error(this.reason))
    this.#options.onChange('open', this.reason)
    this.#scheduleProbe()
  }

  #scheduleProbe(): void {
    if (this.#isClosed) return
    const { probeAfter, maxProbeInterval } = this.#options
    const pause = Math.min(probeAfter * 2 ** this.#failedProbes++, maxProbeInterval)
    // Jitter keeps many processes from probing at the same moment.
    this.#timer = setTimeout(() => void this.#probe(), pause * (0.5 + Math.random() / 2))
    this.#timer.unref()
  }

  async #probe(): Promise<void> {
    this.state = 'half-open'
    try {
      await this.#options.probe()
    } catch {
      this.state = 'open'
      this.#scheduleProbe()
      return
    }
    this.state = 'closed'
    this.reason = undefined
    this.#consecutiveFailures = this.#successes = this.#failures = 0
    this.#options.onChange('closed', undefined)
  }
}
