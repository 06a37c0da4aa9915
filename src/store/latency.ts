/** The last 256 latencies, for a median and a 99th percentile without keeping them all. */
export class Latency {
  readonly #ring = new Float64Array(256)
  #count = 0
  #last = 0

  /** @param now the answer's time by `performance.now()` */
  add(ms: number, now: number): void {
    this.#ring[this.#count++ & 255] = ms
    this.#last = now
  }

  /** When the last answer came, in ms since the epoch; undefined before the first. */
  get lastAt(): number | undefined {
    return this.#count === 0 ? undefined : Math.round(Date.now() - (performance.now() - this.#last))
  }

  /** Both percentiles in ms, rounded to a hundredth; undefined before the first call. */
  percentiles(): { p50: number; p99: number } | undefined {
    if (this.#count === 0) return undefined
    const sorted = this.#ring.slice(0, Math.min(this.#count, 256)).sort()
    const at = (share: number): number =>
      Math.round(sorted[Math.floor((sorted.length - 1) * share)]! * 100) / 100
    return { p50: at(0.5), p99: at(0.99) }
  }
}
