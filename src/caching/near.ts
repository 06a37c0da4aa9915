/** Hot entries in this process: bounded by bytes, and served only while no invalidation can have been missed. */
import type { Store } from '../store/store.ts'
import type { Entry } from './entry.ts'
import type { Ledger } from './ledger.ts'
import { Mirror } from './mirror.ts'
import type { Found, Place } from './shelf.ts'

interface Kept {
  readonly entry: Entry
  readonly ledger: Ledger
  readonly bytes: number
}

/** What an entry takes besides its body, about. */
const OVERHEAD = 1_024

export class NearCache {
  maxBytes: number
  readonly #store: Store
  readonly #kept = new Map<string, Kept>()
  readonly #mirrors = new Map<Ledger, Mirror>()
  #bytes = 0

  /** @param maxBytes what all entries together may take */
  constructor(store: Store, maxBytes: number) {
    this.#store = store
    this.maxBytes = maxBytes
  }

  get size(): number {
    return this.#kept.size
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Is it sure that invalidations are heard? */
  isArmed(ledger: Ledger): boolean {
    return this.#mirror(ledger).armed
  }

  /** A fresh and valid entry, or undefined. */
  look({ entry: key, ledger }: Place): Found | undefined {
    const kept = this.#kept.get(key)
    if (kept === undefined) return undefined
    const now = this.#store.now()
    const mirror = this.#mirror(ledger)
    const validUntil = mirror.validUntil(kept.entry)
    if (validUntil === undefined || now >= Math.min(validUntil, kept.entry.freshUntil)) {
      this.#drop(key, kept)
      return undefined
    }
    // Reinserted, so that the first is the one longest untouched.
    this.#kept.delete(key)
    this.#kept.set(key, kept)
    return {
      entry: kept.entry,
      validUntil,
      lease: 'none',
      snapshot: mirror.snapshot(kept.entry.tags),
      now,
      near: true,
    }
  }

  /** Keep what a lookup has found. */
  keep({ entry: key, ledger }: Place, { entry, snapshot }: Found): void {
    if (entry === undefined || !this.#mirror(ledger).covers(snapshot)) return
    const bytes = entry.body.length + OVERHEAD
    // One entry is not worth all others.
    if (bytes > this.maxBytes / 8) return
    const known = this.#kept.get(key)
    if (known) this.#drop(key, known)
    // A copy: the store's reply may hang on to more than the body.
    const body =
      entry.body.byteLength === entry.body.buffer.byteLength ? entry.body : Buffer.from(entry.body)
    this.#kept.set(key, { entry: { ...entry, body }, ledger, bytes })
    this.#bytes += bytes
    for (const [oldest, each] of this.#kept) {
      if (this.#bytes <= this.maxBytes) break
      this.#drop(oldest, each)
    }
  }

  #drop(key: string, { bytes }: Kept): void {
    if (this.#kept.delete(key)) this.#bytes -= bytes
  }

  #mirror(ledger: Ledger): Mirror {
    const known = this.#mirrors.get(ledger)
    if (known) return known
    const mirror = new Mirror(this.#store, ledger, () => this.#flush(ledger))
    this.#mirrors.set(ledger, mirror)
    return mirror
  }

  #flush(ledger: Ledger): void {
    for (const [key, kept] of this.#kept) if (kept.ledger === ledger) this.#drop(key, kept)
  }
}
