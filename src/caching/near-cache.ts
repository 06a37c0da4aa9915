/** Hot entries in this process: bounded by bytes, and served only while no invalidation can have been missed. */
import type { Store } from '../store/store.ts'
import type { CacheEntry } from './entry.ts'
import type { InvalidationLog } from './invalidation-log.ts'
import { LocalInvalidationLog } from './local-invalidation-log.ts'
import type { LookupResult, EntryKeys } from './entry-keys.ts'

/** An entry at hand. */
export interface NearEntry {
  readonly entry: CacheEntry
  readonly mirror: LocalInvalidationLog
  readonly bytes: number
  /** Until when it is valid, as of the `changes` of its mirror that were looked at. */
  validUntil: number
  looked: number
  /** It was served since it was last passed over. */
  used: boolean
  /** What a feature has made of it to answer with. */
  form: unknown
}

/** What an entry takes besides its body, about. */
const OVERHEAD = 1_024
/** Bodies of up to so many bytes may be kept as text as well: a head and a text are sent in one piece. */
export const MAX_NEAR_STRING_BYTES = 16_384

export class NearCache {
  maxBytes: number
  readonly #store: Store
  readonly #kept = new Map<string, NearEntry>()
  readonly #mirrors = new Map<InvalidationLog, LocalInvalidationLog>()
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
  isArmed(ledger: InvalidationLog): boolean {
    return this.#mirror(ledger).armed
  }

  /** A fresh and valid entry, or undefined. */
  find({ entry: key }: Pick<EntryKeys, 'entry'>, now: number): NearEntry | undefined {
    const kept = this.#kept.get(key)
    if (kept === undefined) return undefined
    const { entry, mirror } = kept
    if (kept.looked !== mirror.changes || mirror.isOwing) {
      kept.looked = mirror.changes
      kept.validUntil = mirror.validUntil(entry) ?? 0
    }
    if (now < kept.validUntil && now < entry.freshUntil) {
      kept.used = true
      return kept
    }
    this.#drop(key, kept)
    return undefined
  }

  /** The same as a lookup finds it. */
  look(place: EntryKeys): LookupResult | undefined {
    const now = this.#store.now()
    const kept = this.find(place, now)
    if (kept === undefined) return undefined
    const { entry, mirror, validUntil } = kept
    const snapshot = mirror.snapshot(entry.tags)
    return { entry, validUntil, lease: 'none', snapshot, now, near: true }
  }

  /** Keep what a lookup has found. */
  keep({ entry: key, ledger }: EntryKeys, { entry, snapshot }: LookupResult): void {
    const mirror = this.#mirror(ledger)
    if (entry === undefined || !mirror.covers(snapshot)) return
    // The body, perhaps once more as text to be sent, and what is said of it.
    const bytes =
      entry.body.length * (entry.body.length <= MAX_NEAR_STRING_BYTES ? 2 : 1) + OVERHEAD
    // One entry is not worth all others.
    if (bytes > this.maxBytes / 8) return
    const known = this.#kept.get(key)
    if (known) this.#drop(key, known)
    // A copy: the store's reply may hang on to more than the body.
    const body =
      entry.body.byteLength === entry.body.buffer.byteLength ? entry.body : Buffer.from(entry.body)
    this.#kept.set(key, {
      entry: { ...entry, body },
      mirror,
      bytes,
      validUntil: 0,
      looked: -1,
      used: true,
      form: undefined,
    })
    this.#bytes += bytes
    this.#shrink()
  }

  /** Make room: the oldest go first, except that whatever was used since it was last passed over stays once more (Corbató's clock, 1968). */
  #shrink(): void {
    for (const [key, kept] of this.#kept) {
      if (this.#bytes <= this.maxBytes) return
      if (kept.used) {
        kept.used = false
        this.#kept.delete(key)
        this.#kept.set(key, kept)
      } else this.#drop(key, kept)
    }
  }

  #drop(key: string, { bytes }: NearEntry): void {
    if (this.#kept.delete(key)) this.#bytes -= bytes
  }

  #mirror(ledger: InvalidationLog): LocalInvalidationLog {
    const known = this.#mirrors.get(ledger)
    if (known) return known
    const mirror = new LocalInvalidationLog(this.#store, ledger, () => this.#flush(ledger))
    this.#mirrors.set(ledger, mirror)
    return mirror
  }

  #flush(ledger: InvalidationLog): void {
    const mirror = this.#mirrors.get(ledger)
    for (const [key, kept] of this.#kept) if (kept.mirror === mirror) this.#drop(key, kept)
  }
}
