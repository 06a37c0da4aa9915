export interface AvailabilityOptions {
  /** Returns true if all servers are connected and reply. */
  isWell(): boolean
  /** Returns true if calls are refused at once, without waiting for a server. */
  isOpen(): boolean
  /** Says why it is not well. */
  reason(): string
  onChange(type: 'away' | 'back', reason: string | undefined, awayMs: number): void
}

/**
 * A connection may take this many slices to come back before Redis counts as away. Time in which the
 * event loop stands still, for example while modules load, counts as one slice at most. Otherwise a
 * process that starts slowly reports a server that is well.
 */
const GRACE_SLICES = 5
/** In ms. */
const SLICE = 100

/**
 * Decides when Redis has gone away and when it is back. A connection that is replaced is neither:
 * it is away when the breaker opens, or when there is no connection for half a second.
 */
export class Availability {
  readonly #options: AvailabilityOptions
  #timer: NodeJS.Timeout | undefined
  #slices = 0
  /** When the problem began; undefined while all is well. */
  #since: number | undefined
  #isAway = false
  #isClosed = false

  constructor(options: AvailabilityOptions) {
    this.#options = options
  }

  /** Looks at the state again. Called whenever it may have changed. */
  update(): void {
    if (this.#isClosed) return
    const now = performance.now()
    if (this.#options.isWell()) {
      clearTimeout(this.#timer)
      this.#timer = undefined
      this.#slices = 0
      const awayMs = Math.round(now - (this.#since ?? now))
      this.#since = undefined
      if (!this.#isAway) return
      this.#isAway = false
      this.#options.onChange('back', undefined, awayMs)
      return
    }
    this.#since ??= now
    if (this.#isAway) return
    if (this.#options.isOpen() || this.#slices >= GRACE_SLICES) {
      this.#isAway = true
      this.#options.onChange('away', this.#options.reason(), 0)
    } else if (!this.#timer) {
      this.#timer = setTimeout(() => {
        this.#timer = undefined
        this.#slices++
        this.update()
      }, SLICE)
      this.#timer.unref()
    }
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
  }
}
