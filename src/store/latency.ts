const SAMPLES = 256

/** Keeps the last 256 latencies and computes their percentiles. */
export class Latency {
  readonly #samples = new Float64Array(SAMPLES)
  #count = 0
  #lastReplyAt = 0

  /** @param now when the reply arrived, by `performance.now()` */
  add(ms: number, now: number): void {
    this.#samples[this.#count++ % SAMPLES] = ms
    this.#lastReplyAt = now
  }

  /** When the last reply arrived, in ms since the epoch; undefined before the first. */
  get lastAt(): number | undefined {
    if (this.#count === 0) return undefined
    return Math.round(Date.now() - (performance.now() - this.#lastReplyAt))
  }

  /** Returns the median and the 99th percentile in ms, rounded to hundredths; undefined before the first reply. */
  percentiles(): { p50: number; p99: number } | undefined {
    if (this.#count === 0) return undefined
    const sorted = this.#samples.slice(0, Math.min(this.#count, SAMPLES)).sort()
    const at = (share: number): number =>
      Math.round(sorted[Math.floor((sorted.length - 1) * share)]! * 100) / 100
    return { p50: at(0.5), p99: at(0.99) }
  }
}
