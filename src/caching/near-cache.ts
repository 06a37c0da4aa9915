/** Hot entries in this process, bounded by bytes. They are served only while no invalidation can be missed. */
import type { Store } from '../store/store.ts'
import type { CacheEntry } from './entry.ts'
import type { InvalidationLog } from './invalidation-log.ts'
import { LocalInvalidationLog } from './local-invalidation-log.ts'
import type { LookupResult, EntryKeys } from './entry-keys.ts'

/** An entry of the near cache. */
export interface NearEntry {
  readonly entry: CacheEntry
  readonly log: LocalInvalidationLog
  readonly bytes: number
  /** Until when it is valid, as of `checkedAt`. */
  validUntil: number
  /** The log's `changes` when `validUntil` was computed. */
  checkedAt: number
  /** True if it was served since the last eviction passed over it. */
  isUsed: boolean
  /** What a feature prepared to reply with. */
  prepared: unknown
}

/** What an entry takes besides its strings and its body, in bytes. */
const OVERHEAD = 1_024
/** Bodies up to this size may be kept as a string, too: node sends a head and a string in one piece. */
export const MAX_NEAR_STRING_BYTES = 16_384
/** Logs that are followed at once. Each costs Redis a script a second. */
const MAX_LOGS = 100

/** The near cache of an instance. */
export class NearCache {
  maxBytes: number
  readonly #store: Store
  readonly #entries = new Map<string, NearEntry>()
  readonly #logs = new Map<InvalidationLog, LocalInvalidationLog>()
  #bytes = 0
  /** Number of entries that were dropped to make room. */
  evictions = 0

  /** @param maxBytes what all entries together may take */
  constructor(store: Store, maxBytes: number) {
    this.#store = store
    this.maxBytes = maxBytes
  }

  /** Number of entries. */
  get size(): number {
    return this.#entries.size
  }

  /** Number of logs that are followed. */
  get logs(): number {
    return this.#logs.size
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Returns a fresh and valid entry, or undefined. */
  find({ entry: key }: Pick<EntryKeys, 'entry'>, now: number): NearEntry | undefined {
    const known = this.#entries.get(key)
    if (known === undefined) return undefined
    const { entry, log } = known
    log.use(now)
    if (known.checkedAt !== log.changes || log.hasPending) {
      known.checkedAt = log.changes
      known.validUntil = log.validUntil(entry) ?? 0
    }
    if (now < known.validUntil && now < entry.freshUntil) {
      known.isUsed = true
      return known
    }
    this.#drop(key, known)
    return undefined
  }

  /** Returns the same as a lookup finds it. */
  lookup(keys: EntryKeys): LookupResult | undefined {
    const now = this.#store.now()
    const known = this.find(keys, now)
    if (known === undefined) return undefined
    const { entry, log, validUntil } = known
    return {
      entry,
      validUntil,
      lease: 'none',
      snapshot: log.snapshot(entry.tags),
      now,
      near: true,
    }
  }

  /** Keeps what a lookup has found. */
  keep({ entry: key, log: source }: EntryKeys, { entry, snapshot }: LookupResult): void {
    const log = this.#localLog(source)
    if (entry === undefined || !log.covers(snapshot)) return
    const bytes = sizeOf(key, entry)
    // One entry must not evict all others.
    if (bytes > this.maxBytes / 8) return
    const known = this.#entries.get(key)
    if (known) this.#drop(key, known)
    // A copy: the store's reply may hold more than the body.
    const isWhole = entry.body.byteLength === entry.body.buffer.byteLength
    this.#entries.set(key, {
      entry: { ...entry, body: isWhole ? entry.body : Buffer.from(entry.body) },
      log,
      bytes,
      validUntil: 0,
      checkedAt: -1,
      isUsed: true,
      prepared: undefined,
    })
    this.#bytes += bytes
    this.#evict()
  }

  /** Drops the oldest entries. One that was used since the last eviction stays once more (Corbató's clock, 1968). */
  #evict(): void {
    for (const [key, known] of this.#entries) {
      if (this.#bytes <= this.maxBytes) return
      if (known.isUsed) {
        known.isUsed = false
        this.#entries.delete(key)
        this.#entries.set(key, known)
      } else {
        this.evictions++
        this.#drop(key, known)
      }
    }
  }

  #drop(key: string, { bytes }: NearEntry): void {
    if (this.#entries.delete(key)) this.#bytes -= bytes
  }

  #localLog(source: InvalidationLog): LocalInvalidationLog {
    const known = this.#logs.get(source)
    if (known) {
      this.#logs.delete(source)
      this.#logs.set(source, known)
      return known
    }
    const log: LocalInvalidationLog = new LocalInvalidationLog(
      this.#store,
      source,
      () => this.#dropAll(log),
      () => this.#logs.delete(source),
    )
    this.#logs.set(source, log)
    // The one that was used longest ago makes room.
    if (this.#logs.size > MAX_LOGS) this.#logs.values().next().value!.close()
    return log
  }

  #dropAll(log: LocalInvalidationLog): void {
    for (const [key, known] of this.#entries) if (known.log === log) this.#drop(key, known)
  }
}

/** Returns what an entry takes, in bytes: its names and fields twice, as they are also prepared to be sent. */
function sizeOf(key: string, { tags, name, extra, body }: CacheEntry): number {
  const strings = key.length + JSON.stringify([tags, name, extra]).length
  const copies = body.length <= MAX_NEAR_STRING_BYTES ? 2 : 1
  return body.length * copies + strings * 4 + OVERHEAD
}
