/** Where entries are stored: lookups in one round trip, leases and writes. The response cache and `tp.data` share it. */
import type { RequestBudget } from '../request-budget.ts'
import type { KeySpace } from '../store/keys.ts'
import type { EventBus } from '../events.ts'
import type { ExtensionContext } from '../extension.ts'
import {
  isCrossSlotError,
  type OperationArgument,
  type OperationReply,
  type Store,
} from '../store/store.ts'
import { BoundedMap } from './bounded-map.ts'
import {
  decodeEntry,
  decodeWithKnownHead,
  encodeEntry,
  entryHeadOf,
  entryTtl,
  metadataPrefix,
  type CacheEntry,
  type EntryHead,
} from './entry.ts'
import { LEASE_STATES, type LookupResult, type EntryKeys, type EntryVariant } from './entry-keys.ts'
import { fillEntry, lookupEntry, readLargeEntry } from './entry-operations.ts'
import { FillLeases } from './fill-leases.ts'
import { InvalidationLog } from './invalidation-log.ts'
import { InvalidationLogs } from './invalidation-logs.ts'
import { logFieldsFor } from './invalidation-operations.ts'
import { NearCache } from './near-cache.ts'
import { SingleFlight } from './single-flight.ts'
import { hasMarksOf, parseSnapshot, type LogSnapshot } from './validity.ts'

/** The entry, or a number if it is large. */
type FoundEntry = Buffer | number | null
/** What one lookup read: the entry, the number of the lease's state, the time, the log. */
type Found = [entry: FoundEntry, lease: number, now: number, snapshot: LogSnapshot]

/** Reads the reply of a lookup that has read the log, too. @param tags that it asked the log for */
function foundIn(reply: OperationReply[], tags: readonly string[]): Found {
  const [entry, lease, now, fields] = reply as [
    FoundEntry,
    number,
    number,
    (Buffer | string | null)[],
  ]
  const strings = fields.map((field) => field && String(field))
  return [entry, lease, now, parseSnapshot(tags, strings)]
}

/** Variants of one resource. */
const MAX_VARIANTS = 32
/** Tags that are remembered, of all entries together. */
const MAX_REMEMBERED_TAGS = 100_000
/** Bytes of heads that are remembered. */
const MAX_REMEMBERED_BYTES = 8 * 1024 * 1024

/** Returns the cache store of a context, one for each. */
export const cacheStoreOf = (
  context: Pick<ExtensionContext, 'store' | 'keys' | 'events' | 'once'>,
): CacheStore =>
  context.once('cache-store', () => new CacheStore(context.store, context.keys, context.events))

/** Options of a lookup. */
export interface LookupOptions {
  /** The token of the lease to take if the entry is not fresh. '': the lease is not wanted. */
  token?: string
  leaseMs?: number
  /** Tags that the entry is likely to have. The log is asked for them in the same round trip. */
  tags?: readonly string[]
  /** A fresh entry that is known to be invalid: the lease is taken although it is there. */
  invalid?: CacheEntry | undefined
  budget?: RequestBudget | undefined
}

/** Options of a write. */
export interface WriteOptions {
  token?: string
  /** Store only if the lease is still held. */
  guarded?: boolean
  variant?: EntryVariant | undefined
}

/** The entries of one instance. */
export class CacheStore {
  readonly store: Store
  readonly singleFlight: SingleFlight = new SingleFlight()
  readonly leases: FillLeases
  readonly #logs: InvalidationLogs
  /** The tags that an entry had when it was last seen. */
  readonly #tags = new BoundedMap<readonly string[]>(MAX_REMEMBERED_TAGS, (tags) => tags.length + 1)
  /** The heads of entries that were read. An equal head need not be parsed again. */
  readonly #heads = new BoundedMap<EntryHead>(MAX_REMEMBERED_BYTES, ({ bytes }) => bytes.length * 4)
  readonly #events: EventBus
  #near: NearCache | undefined

  constructor(store: Store, keys: KeySpace, events: EventBus) {
    this.store = store
    this.#events = events
    this.leases = new FillLeases(store, keys.channel('cache', 'fills'))
    this.#logs = new InvalidationLogs(
      (tenant, retries) => new InvalidationLog(store, keys, events, tenant, retries),
    )
  }

  /** Returns the invalidation log of a tenant, or of an application without tenants. */
  invalidationLog(tenant: string | undefined): InvalidationLog {
    return this.#logs.of(tenant)
  }

  /** Number of logs that are kept. */
  get logs(): number {
    return this.#logs.size
  }

  /** Returns the near cache. The largest size that is asked for counts. */
  near(maxBytes: number): NearCache {
    this.#near ??= this.#createNear(maxBytes)
    this.#near.maxBytes = Math.max(this.#near.maxBytes, maxBytes)
    return this.#near
  }

  #createNear(maxBytes: number): NearCache {
    const near = new NearCache(this.store, maxBytes)
    const { counts } = this.#events
    counts.readFrom('nearBytes', 'near', () => near.bytes)
    counts.readFrom('nearEntries', 'near', () => near.size)
    counts.readFrom('nearEvictions', 'near', () => near.evictions)
    return near
  }

  /**
   * Looks an entry up: the entry, the lease and the invalidation log in one round trip.
   * @throws TP_UNAVAILABLE
   */
  lookup(keys: EntryKeys, options: LookupOptions = {}): Promise<LookupResult> {
    const { token = '', leaseMs = 0, tags = [], invalid, budget } = options
    const remembered = this.#tags.get(keys.entry) ?? []
    const wanted = tags.every((tag) => remembered.includes(tag))
      ? remembered
      : [...new Set([...tags, ...remembered])]
    const args = [token, leaseMs, invalid ? metadataPrefix(invalid) : '']
    const lookupSplit = (): Promise<LookupResult> =>
      this.#lookupSplit(keys, args, wanted, budget).then((found) =>
        this.#complete(keys, options, found),
      )
    if (this.store.isSplit) return lookupSplit()
    return this.store
      .run(
        lookupEntry,
        [keys.entry, keys.lease, keys.log.key],
        [...args, ...logFieldsFor(wanted)],
        budget,
      )
      .then(
        (reply) => this.#complete(keys, options, foundIn(reply, wanted)),
        (error: unknown) => {
          if (!isCrossSlotError(error)) throw error
          return lookupSplit()
        },
      )
  }

  /** Completes a lookup: at once, unless more has to be read. */
  #complete(
    keys: EntryKeys,
    options: LookupOptions,
    found: Found,
  ): LookupResult | Promise<LookupResult> {
    const [entry, lease] = found
    const { token = '', budget } = options
    if (typeof entry !== 'number')
      return this.#resultOf(keys, found, entry, this.store.isSplit, budget)
    return this.store.run(readLargeEntry, [keys.entry], [], budget).then((bytes) => {
      // It was fresh and has been removed since. A caller that wants the lease must look again.
      if (bytes === null && LEASE_STATES[lease] === 'none' && token !== '')
        return this.lookup(keys, options)
      return this.#resultOf(keys, found, bytes, true, budget)
    })
  }

  /** @param isApart true if the entry and the log were read by two commands */
  #resultOf(
    keys: EntryKeys,
    [, lease, now, read]: Found,
    bytes: Buffer | null,
    isApart: boolean,
    budget: RequestBudget | undefined,
  ): LookupResult | Promise<LookupResult> {
    const entry = bytes ? this.#decode(keys.entry, bytes) : undefined
    const resultWith = (snapshot: LogSnapshot): LookupResult => ({
      entry,
      validUntil: entry && keys.log.validity(entry, snapshot),
      lease: LEASE_STATES[lease]!,
      snapshot,
      now,
      near: false,
      other: entry ? undefined : (bytes ?? undefined),
    })
    if (entry === undefined) return resultWith(read)
    // The entry may be newer than what was read of the log.
    const isNewer = isApart && (entry.nonce !== read.nonce || entry.sequence > read.sequence)
    if (!isNewer && hasMarksOf(read, entry.tags)) return resultWith(read)
    this.#tags.set(keys.entry, entry.tags)
    return keys.log.read(entry.tags, budget).then(resultWith)
  }

  /**
   * Reads the entry and the log by two commands in one round trip, because they are in two slots. The
   * log is read second. Otherwise an invalid entry can look valid.
   */
  async #lookupSplit(
    { entry, lease, log }: EntryKeys,
    args: readonly OperationArgument[],
    tags: readonly string[],
    budget: RequestBudget | undefined,
  ): Promise<Found> {
    const lookup = this.store.run(lookupEntry, [entry, lease], args, budget)
    const reading = log.read(tags, budget)
    reading.catch(() => {})
    const [bytes, state, now] = (await lookup) as [FoundEntry, number, number]
    return [bytes, state, now, await reading]
  }

  #decode(key: string, bytes: Buffer): CacheEntry | undefined {
    const head = this.#heads.get(key)
    const known = head && decodeWithKnownHead(bytes, head)
    if (known) return known
    const entry = decodeEntry(bytes)
    if (entry) this.#heads.set(key, entryHeadOf(bytes, entry))
    return entry
  }

  /**
   * Stores an entry and releases the lease. Resolves with false if it was not stored, because the
   * lease was lost or the entry is invalid already.
   * @throws TP_UNAVAILABLE
   */
  async write(
    { entry: key, lease, log }: EntryKeys,
    entry: CacheEntry,
    { token = '', guarded = false, variant }: WriteOptions = {},
  ): Promise<boolean> {
    if (log.isPending(entry)) {
      if (token !== '') this.leases.release(lease, token)
      return false
    }
    const ttl = entryTtl(entry)
    // In the same tick and before the entry: no entry may outlive the log.
    const renewal = log.needsRenewal(ttl) ? log.open(ttl) : undefined
    const { channel } = this.leases
    const message = this.leases.message(lease, 'filled')
    const keys = [key, lease]
    const args = [token, guarded ? '1' : '', encodeEntry(entry), ttl, channel, message]
    if (variant) {
      const { markerKey, indexKey, suffix, marker } = variant
      keys.push(markerKey, indexKey)
      args.push(encodeEntry(marker), suffix, MAX_VARIANTS)
    }
    this.#tags.set(key, entry.tags)
    const filling = this.store.run(fillEntry, keys, args)
    filling.catch(() => this.leases.abandon(lease, token))
    const [stored] = await Promise.all([filling, renewal])
    return stored === 1
  }
}
