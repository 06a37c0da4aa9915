/**
 * A map with a maximum weight. When it is full, a new key replaces the keys that were set longest
 * ago. By default each value weighs 1, so that the weight is the number of keys.
 */
export class BoundedMap<Value> {
  readonly #map = new Map<string, Value>()
  readonly #maxWeight: number
  readonly #weightOf: ((value: Value) => number) | undefined
  #weight = 0

  /** @param weightOf must return the same for the same value each time */
  constructor(maxWeight: number, weightOf?: (value: Value) => number) {
    this.#maxWeight = maxWeight
    this.#weightOf = weightOf
  }

  /** Number of keys. */
  get size(): number {
    return this.#map.size
  }

  get(key: string): Value | undefined {
    return this.#map.get(key)
  }

  has(key: string): boolean {
    return this.#map.has(key)
  }

  set(key: string, value: Value): void {
    this.delete(key)
    this.#map.set(key, value)
    this.#weight += this.#weightOf?.(value) ?? 1
    if (this.#weight <= this.#maxWeight) return
    for (const oldest of this.#map.keys()) {
      this.delete(oldest)
      if (this.#weight <= this.#maxWeight) return
    }
  }

  delete(key: string): void {
    const value = this.#map.get(key)
    if (value === undefined) return
    this.#map.delete(key)
    this.#weight -= this.#weightOf?.(value) ?? 1
  }
}
