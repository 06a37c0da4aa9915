/** How long an offset is good for, in ms: clocks drift by some 50 ms a day. */
const GOOD_FOR = 60_000

/** Redis's clock by this process's steady one, so that nobody's wall clock matters. */
export class ServerClock {
  readonly #ask: () => Promise<readonly (string | number)[]>
  #offset: number | undefined
  #asked = -Infinity
  #asking: Promise<void> | undefined

  /** @param ask gives what TIME answers: seconds and microseconds */
  constructor(ask: () => Promise<readonly (string | number)[]>) {
    this.#ask = ask
  }

  /** Was it ever learned? */
  get known(): boolean {
    return this.#offset !== undefined
  }

  /** Milliseconds since the epoch: this machine's, until the server's are known. */
  now(): number {
    const now = performance.now()
    if (now - this.#asked > GOOD_FOR) void this.learn()
    return this.#offset === undefined ? Date.now() : now + this.#offset
  }

  /** Ask the server; several callers share one question. */
  learn(): Promise<void> {
    return (this.#asking ??= this.#learn().finally(() => (this.#asking = undefined)))
  }

  async #learn(): Promise<void> {
    const sent = performance.now()
    this.#asked = sent
    try {
      const [seconds, micros] = await this.#ask()
      const middle = (sent + performance.now()) / 2
      this.#offset = Number(seconds) * 1000 + Number(micros) / 1000 - middle
    } catch {
      // Redis is away: what was learned before still holds, and the next connection asks again.
    }
  }
}
