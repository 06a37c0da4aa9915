/** Bounds how many made-up keys one address can have looked up in a database. */

const WINDOW = 60_000
const MAX_ADDRESSES = 10_000
/** When a lookup that is under way may have ended. */
const SOON = 1000

interface Lookups {
  misses: number
  running: number
  readonly until: number
}

/** Counts in this process: what it bounds are lookups of this process. */
export class MissLimit {
  readonly #addresses = new Map<string, Lookups>()
  readonly #limit: number

  /** @param limit misses of an address within a minute, those counted that may still become one */
  constructor(limit: number) {
    this.#limit = limit
  }

  /** Returns how long an address may have nothing looked up, in ms. */
  waitOf(address: string | undefined, monotonic: number): number {
    const lookups = address === undefined ? undefined : this.#addresses.get(address)
    if (lookups === undefined || lookups.until <= monotonic) return 0
    if (lookups.misses + lookups.running < this.#limit) return 0
    return lookups.misses < this.#limit ? SOON : lookups.until - monotonic
  }

  /** Counts a lookup before it begins. Returns what to call at its end, with whether it found something. */
  begin(address: string | undefined, monotonic: number): (hasFound: boolean) => void {
    if (address === undefined || this.#limit === Infinity) return () => {}
    const lookups = this.#lookupsOf(address, monotonic)
    lookups.running++
    return (hasFound) => {
      lookups.running--
      if (!hasFound) lookups.misses++
    }
  }

  #lookupsOf(address: string, monotonic: number): Lookups {
    const known = this.#addresses.get(address)
    if (known !== undefined && known.until > monotonic) return known
    const lookups: Lookups = { misses: 0, running: 0, until: monotonic + WINDOW }
    this.#addresses.delete(address)
    this.#addresses.set(address, lookups)
    if (this.#addresses.size > MAX_ADDRESSES)
      this.#addresses.delete(this.#addresses.keys().next().value!)
    return lookups
  }
}
