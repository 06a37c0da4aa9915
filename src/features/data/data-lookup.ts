/** One call's lookup of a value: in this process, in the store, and again while it waits for others. */
import type { CacheEntry } from '../../caching/entry.ts'
import type { LookupResult, EntryKeys } from '../../caching/entry-keys.ts'
import type { Acceptance, FillAttempt } from '../../caching/fill.ts'
import { isValidSince } from '../../caching/fill-turn.ts'
import type { CacheStore } from '../../caching/cache-store.ts'
import type { Flight } from '../../caching/single-flight.ts'
import { entryState } from '../../caching/validity.ts'

/** What a lookup is made for. Times in ms, sizes in bytes. */
export interface DataLookupOptions {
  readonly cacheStore: CacheStore
  readonly keys: EntryKeys
  /** The log's fields that invalidate the value in near caches. */
  readonly tags: readonly string[]
  readonly nearBytes: number
  readonly waitMs: number
  /** 0: the lease is not wanted. */
  readonly leaseMs: number
  /** Called when the store was unavailable. @throws any other error */
  onUnavailable(error: unknown): void
}

/** One call's lookup. */
export class DataLookup implements FillAttempt {
  readonly keys: EntryKeys
  readonly waitMs: number
  token = ''
  flight: Flight | undefined
  readonly #options: DataLookupOptions

  constructor(options: DataLookupOptions) {
    this.#options = options
    this.keys = options.keys
    this.waitMs = options.waitMs
  }

  mayWait(): boolean {
    return this.waitMs > 0
  }

  onRefused(): void {}

  /** Looks the value up. @throws TP_UNAVAILABLE */
  async lookup(): Promise<LookupResult> {
    const { cacheStore, nearBytes, leaseMs, tags } = this.#options
    const { keys } = this
    const near = nearBytes > 0 ? cacheStore.near(nearBytes) : undefined
    const known = near?.lookup(keys)
    if (known) return known
    this.flight = cacheStore.singleFlight.get(keys.entry)
    // Also while it is loaded here: after a delete the lease is free, and the load is outdated.
    const token = leaseMs > 0 ? this.token || cacheStore.leases.token(keys.lease) : ''
    // Set before the lookup: if its reply is lost, it may have taken the lease.
    this.token = token
    let found = await cacheStore.lookup(keys, { token, leaseMs, tags })
    const isInvalid = found.entry !== undefined && entryState(found) !== 'fresh'
    // A pattern or an unknown tag has hit the entry. The script did not see that, and gave no lease.
    if (token !== '' && isInvalid && found.lease === 'none')
      found = await cacheStore.lookup(keys, { token, leaseMs, tags, invalid: found.entry })
    this.token = found.lease === 'ours' ? token : ''
    if (near && entryState(found) === 'fresh') near.keep(keys, found)
    return found
  }

  async lookupAgain(): Promise<LookupResult | undefined> {
    try {
      return await this.lookup()
    } catch (error) {
      this.#options.onUnavailable(error)
      return undefined
    }
  }

  async accepts(entry: CacheEntry, found: LookupResult | undefined): Promise<Acceptance> {
    const { cacheStore } = this.#options
    try {
      const now = cacheStore.store.now()
      return (await isValidSince(this.keys.log, entry, found, now)) ? 'yes' : 'no'
    } catch (error) {
      this.#options.onUnavailable(error)
      return 'no'
    }
  }
}
