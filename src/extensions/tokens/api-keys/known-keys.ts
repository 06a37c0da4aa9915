/** What a process knows of API keys, bounded, and for a short time. */

/** A key that exists. */
export interface FoundKey {
  readonly digest: string
  /** The engine that found it. */
  readonly by: object
  /** Frozen: requests share it. */
  readonly record: unknown
}

/** What was found out about a key. */
export interface KnownKey {
  /** Undefined: there is no such key. */
  readonly key: FoundKey | undefined
  /** When it expires by its record, ms since the epoch. */
  readonly expiresAt: number
}

interface Remembered extends KnownKey {
  /** Until when it is used, on the monotonic clock. */
  readonly until: number
}

export class KnownKeys {
  readonly #keys = new Map<string, Remembered>()
  readonly #maxKeys: number
  /** Number of times that something was forgotten. What was read before may be outdated. */
  revision = 0

  constructor(maxKeys: number) {
    this.#maxKeys = maxKeys
  }

  get size(): number {
    return this.#keys.size
  }

  get(tag: string, monotonic: number): KnownKey | undefined {
    const known = this.#keys.get(tag)
    if (known === undefined || known.until > monotonic) return known
    this.#keys.delete(tag)
    return undefined
  }

  set(tag: string, known: KnownKey, until: number): void {
    this.#keys.delete(tag)
    this.#keys.set(tag, { ...known, until })
    if (this.#keys.size > this.#maxKeys) this.#keys.delete(this.#keys.keys().next().value!)
  }

  forget(tag: string): void {
    this.revision++
    this.#keys.delete(tag)
  }

  clear(): void {
    this.revision++
    this.#keys.clear()
  }
}
