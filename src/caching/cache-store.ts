/** Where entries are kept: one lookup in one round trip, leases, fills. For the response cache and `tp.data`. */
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
import type { LogSnapshot } from './validity.ts'
import { BoundedMap } from './bounded-map.ts'
import {
  entryHeadPrefix,
  decodeEntry,
  decodeWithKnownHead,
  encodeEntry,
  entryHeadOf,
  entryTtl,
  type CacheEntry,
  type EntryHead,
} from './entry.ts'
import { SingleFlight } from './single-flight.ts'
import { FillLeases } from './fill-leases.ts'
import { InvalidationLog } from './invalidation-log.ts'
import { NearCache } from './near-cache.ts'
import { logFieldsFor } from './invalidation-operations.ts'
import { fillEntry, lookupEntry } from './entry-operations.ts'
import { LEASE_STATES, type LookupResult, type EntryKeys, type EntryVariant } from './entry-keys.ts'
import { tagsMissingFrom, parseSnapshot } from './validity.ts'

/** A reply to `look`, and what was read of the record. */
type Looked = [entry: Buffer | null, state: number, now: number, snapshot: LogSnapshot]
/** As the engines answer it. */
type Text = Buffer | string | null

/** Variants of one resource. */
const MOST_VARIANTS = 32
const HINTS = 10_000
const HEADS = 1_000

/** Returns the cache store of a context, one for each. */
export const cacheStoreOf = (
  context: Pick<ExtensionContext, 'store' | 'keys' | 'events' | 'once'>,
): CacheStore =>
  context.once('cache-store', () => new CacheStore(context.store, context.keys, context.events))

export class CacheStore {
  readonly store: Store
  readonly events: EventBus
  readonly keys: KeySpace
  readonly flights: SingleFlight = new SingleFlight()
  readonly leases: FillLeases
  readonly #ledgers = new Map<string | undefined, InvalidationLog>()
  /** The tags that an entry bore last: asked for together with the entry. */
  readonly #hints = new BoundedMap<readonly string[]>(HINTS)
  /** What was read last of entries that are read again and again. */
  readonly #heads = new BoundedMap<EntryHead>(HEADS)
  #near: NearCache | undefined

  constructor(store: Store, keys: KeySpace, events: EventBus) {
    this.store = store
    this.keys = keys
    this.events = events
    this.leases = new FillLeases(store, keys.channel('cache', 'fills'))
  }

  /** The record of invalidations of a tenant, or of an application without tenants. */
  invalidationLog(tenant: string | undefined): InvalidationLog {
    const known = this.#ledgers.get(tenant)
    if (known) return known
    const invalidationLog = new InvalidationLog(this.store, this.keys, this.events, tenant)
    // A tenant's ledger holds what it owes to Redis: none is ever forgotten.
    this.#ledgers.set(tenant, invalidationLog)
    return invalidationLog
  }

  /** The cache in this process, made when it is first wanted. The largest wish counts. */
  near(maxBytes: number): NearCache {
    this.#near ??= new NearCache(this.store, maxBytes)
    this.#near.maxBytes = Math.max(this.#near.maxBytes, maxBytes)
    return this.#near
  }

  /**
   * Look an entry up: the entry, the lease and the record of invalidations, in one round trip.
   * @param token of the lease that is wanted if there is no fresh entry; '': none
   * @param tags those that the entry is likely to bear
   * @throws TP_UNAVAILABLE
   */
  async lookup(
    place: EntryKeys,
    { token = '', leaseMs = 0, tags = [], invalid, budget }: LookupOptions = {},
  ): Promise<LookupResult> {
    const hints = this.#hints.get(place.entry) ?? []
    const wanted = tags.every((tag) => hints.includes(tag))
      ? hints
      : [...new Set([...tags, ...hints])]
    const args = [token, leaseMs, invalid ? entryHeadPrefix(invalid) : '']
    const [bytes, state, now, read] = this.store.isSplit
      ? await this.#apart(place, args, wanted, budget)
      : await this.#together(place, args, wanted, budget)
    let snapshot = read
    const entry = bytes ? this.#entryIn(place.entry, bytes) : undefined
    const missing = entry ? tagsMissingFrom(snapshot, entry.tags) : []
    // Read apart, the record may have begun after it was read, and before the entry was.
    const isNewer = entry !== undefined && this.store.isSplit && entry.nonce !== snapshot.nonce
    if (missing.length > 0 || isNewer) {
      this.#hints.set(place.entry, entry!.tags)
      snapshot = await place.ledger.read(entry!.tags, budget)
    }
    const validUntil = entry && place.ledger.validity(entry, snapshot)
    return {
      entry,
      validUntil,
      lease: LEASE_STATES[state]!,
      snapshot,
      now,
      near: false,
      other: entry ? undefined : (bytes ?? undefined),
    }
  }

  /** Entry and record by one script. */
  async #together(
    place: EntryKeys,
    args: readonly OperationArgument[],
    tags: readonly string[],
    budget: RequestBudget | undefined,
  ): Promise<Looked> {
    const { entry, lease, ledger } = place
    let reply: OperationReply[]
    try {
      const keys = [entry, lease, ledger.key]
      reply = await this.store.run(lookupEntry, keys, [...args, ...logFieldsFor(tags)], budget)
    } catch (error) {
      if (!isCrossSlotError(error)) throw error
      return await this.#apart(place, args, tags, budget)
    }
    const [bytes, state, now, fields] = reply as [Buffer | null, number, number, Text[]]
    const texts = fields.map((field) => field && String(field))
    return [bytes, state, now, parseSnapshot(tags, texts)]
  }

  /** Where the record stands elsewhere. Side by side: the record is read after the entry, or an entry may be taken for valid that is not. */
  async #apart(
    { entry, lease, ledger }: EntryKeys,
    args: readonly OperationArgument[],
    tags: readonly string[],
    budget: RequestBudget | undefined,
  ): Promise<Looked> {
    const looking = this.store.run(lookupEntry, [entry, lease], args, budget)
    const reading = ledger.read(tags, budget)
    reading.catch(() => {})
    const [bytes, state, now] = (await looking) as [Buffer | null, number, number]
    return [bytes, state, now, await reading]
  }

  #entryIn(key: string, bytes: Buffer): CacheEntry | undefined {
    const head = this.#heads.get(key)
    const known = head && decodeWithKnownHead(bytes, head)
    if (known) return known
    const entry = decodeEntry(bytes)
    if (entry) this.#heads.set(key, entryHeadOf(bytes, entry))
    return entry
  }

  /** Store an entry and give the lease back. False if the lease was lost, where that matters. @throws TP_UNAVAILABLE */
  async write(
    { entry: key, lease, ledger }: EntryKeys,
    entry: CacheEntry,
    { token = '', guarded = false, variant }: WriteOptions = {},
  ): Promise<boolean> {
    if (ledger.owes(entry)) {
      if (token !== '') this.leases.giveBack(lease, token)
      return false
    }
    const life = entryTtl(entry)
    // In the same tick, and before the entry: no entry may outlive the record.
    const renewed = ledger.isDue(life) ? ledger.open(life) : undefined
    const { channel } = this.leases
    const message = this.leases.message(lease, 'filled')
    const keys = [key, lease]
    const args = [token, guarded ? '1' : '', encodeEntry(entry), life, channel, message]
    if (variant) {
      const { marker, index, id, mark } = variant
      keys.push(marker, index)
      args.push(encodeEntry(mark), id, MOST_VARIANTS)
    }
    this.#hints.set(key, entry.tags)
    const filling = this.store.run(fillEntry, keys, args)
    filling.catch(() => this.leases.leave(lease, token))
    const [stored] = await Promise.all([filling, renewed])
    return stored === 1
  }
}

export interface LookupOptions {
  token?: string
  leaseMs?: number
  tags?: readonly string[]
  /** Take the lease even if this entry, which is still fresh, is there: it is known to be invalid. */
  invalid?: CacheEntry | undefined
  budget?: RequestBudget | undefined
}

export interface WriteOptions {
  token?: string
  /** Store only if the lease is still ours. */
  guarded?: boolean
  variant?: EntryVariant | undefined
}
