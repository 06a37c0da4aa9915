/** A generator of random choices that one number determines (mulberry32). */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed | 0
  }

  /** Returns a number from 0 to below 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  /** Returns an integer from 0 to below `limit`. */
  below(limit: number): number {
    return Math.floor(this.next() * limit)
  }

  /** Returns true with a probability. */
  chance(probability: number): boolean {
    return this.next() < probability
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)]!
  }

  /** Returns some of the items, in random order. */
  some<Item>(items: readonly Item[], probability: number): Item[] {
    const left = items.filter(() => this.chance(probability))
    const chosen: Item[] = []
    while (left.length > 0) chosen.push(...left.splice(this.below(left.length), 1))
    return chosen
  }

  /** Returns the results of `create`, `least` to `most` of them. */
  list<Item>(least: number, most: number, create: () => Item): Item[] {
    return Array.from({ length: least + this.below(most - least + 1) }, create)
  }
}
