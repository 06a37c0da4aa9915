/** How long a measured offset is used before it is measured again, in ms. Clocks drift by about 50 ms a day. */
const MAX_AGE = 60_000

/**
 * Redis's clock, derived from this process's monotonic one. The wall clock of this machine is not
 * used: it may be wrong or jump.
 */
export class ServerClock {
  readonly #readTime: () => Promise<readonly (string | number)[]>
  /** Redis's time minus the monotonic time: an estimate, and a lower bound. */
  #offset: number | undefined
  #minOffset = 0
  #isKnown = false
  #measuredAt = -Infinity
  #measuring: Promise<void> | undefined

  /** @param readTime returns the reply of TIME: seconds and microseconds */
  constructor(readTime: () => Promise<readonly (string | number)[]>) {
    this.#readTime = readTime
  }

  /** Why the last measurement failed; undefined if it succeeded. */
  lastError: unknown

  /** True if the offset was measured on the current connection. Another one may lead to another server. */
  get isKnown(): boolean {
    return this.#isKnown
  }

  /** Returns Redis's time, or this machine's before the first measurement, in ms since the epoch. */
  now(): number {
    const now = performance.now()
    if (now - this.#measuredAt > MAX_AGE) void this.measure()
    return this.#offset === undefined ? Date.now() : now + this.#offset
  }

  /**
   * Returns the time on Redis's clock, in whole ms, that is no later than the monotonic time `at`.
   * A deadline must not be later on Redis than here. Otherwise Redis could run a command after its
   * caller received an error.
   */
  noLaterThan(at: number): number {
    if (at - this.#measuredAt > MAX_AGE) void this.measure()
    return Math.floor(at + this.#minOffset)
  }

  /** Records that the connection was lost. */
  disconnected(): void {
    this.#isKnown = false
  }

  /** Measures the offset. Concurrent callers share one measurement; if it fails, the old offset is kept. */
  measure(): Promise<void> {
    return (this.#measuring ??= this.#measure().finally(() => (this.#measuring = undefined)))
  }

  async #measure(): Promise<void> {
    const sentAt = performance.now()
    this.#measuredAt = sentAt
    let reply: readonly (string | number)[]
    try {
      reply = await this.#readTime()
    } catch (error) {
      this.lastError = error
      return
    }
    const receivedAt = performance.now()
    const [seconds, micros] = reply
    const time = Number(seconds) * 1000 + Number(micros) / 1000
    if (!Number.isFinite(time)) return
    // Redis read its clock between sending and receiving.
    this.#offset = time - (sentAt + receivedAt) / 2
    this.#minOffset = time - receivedAt
    this.#isKnown = true
    this.lastError = undefined
  }
}
