/** Where entries are kept: one lookup in one round trip, leases, fills. For the response cache and `tp.data`. */
import type { Budget } from '../store/budget.ts'
import type { KeySpace } from '../store/keys.ts'
import type { Emitter } from '../events.ts'
import { isAcrossSlots, type Arg, type Reply, type Store } from '../store/store.ts'
import type { Snapshot } from './validity.ts'
import { BoundedMap } from './bounded.ts'
import {
  beginningOf,
  decode,
  decodeLike,
  encode,
  headOf,
  lifeOf,
  type Entry,
  type Head,
} from './entry.ts'
import { Flights } from './flights.ts'
import { Leases } from './leases.ts'
import { Ledger } from './ledger.ts'
import { NearCache } from './near.ts'
import { fieldsOf } from './record.ts'
import { fill, look } from './slot.ts'
import { LEASES, type Found, type Place, type Variant } from './place.ts'
import { missingFrom, snapshotOf } from './validity.ts'

/** A reply to `look`, and what was read of the record. */
type Looked = [entry: Buffer | null, state: number, now: number, snapshot: Snapshot]
/** As the engines answer it. */
type Text = Buffer | string | null

/** Variants of one resource. */
const MOST_VARIANTS = 32
const HINTS = 10_000
const HEADS = 1_000

export class Shelf {
  readonly store: Store
  readonly events: Emitter
  readonly keys: KeySpace
  readonly flights: Flights = new Flights()
  readonly leases: Leases
  readonly #ledgers = new Map<string | undefined, Ledger>()
  /** The tags that an entry bore last: asked for together with the entry. */
  readonly #hints = new BoundedMap<readonly string[]>(HINTS)
  /** What was read last of entries that are read again and again. */
  readonly #heads = new BoundedMap<Head>(HEADS)
  #near: NearCache | undefined

  constructor(store: Store, keys: KeySpace, events: Emitter) {
    this.store = store
    this.keys = keys
    this.events = events
    this.leases = new Leases(store, keys.channel('cache', 'fills'))
  }

  /** The record of invalidations of a tenant, or of an application without tenants. */
  ledger(tenant: string | undefined): Ledger {
    const known = this.#ledgers.get(tenant)
    if (known) return known
    const ledger = new Ledger(this.store, this.keys, this.events, tenant)
    // A tenant's ledger holds what it owes to Redis: none is ever forgotten.
    this.#ledgers.set(tenant, ledger)
    return ledger
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
  async look(
    place: Place,
    { token = '', leaseMs = 0, tags = [], invalid, budget }: LookOptions = {},
  ): Promise<Found> {
    const hints = this.#hints.get(place.entry) ?? []
    const wanted = tags.every((tag) => hints.includes(tag))
      ? hints
      : [...new Set([...tags, ...hints])]
    const args = [token, leaseMs, invalid ? beginningOf(invalid) : '']
    const [bytes, state, now, read] = this.store.isSplit
      ? await this.#apart(place, args, wanted, budget)
      : await this.#together(place, args, wanted, budget)
    let snapshot = read
    const entry = bytes ? this.#entryIn(place.entry, bytes) : undefined
    const missing = entry ? missingFrom(snapshot, entry.tags) : []
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
      lease: LEASES[state]!,
      snapshot,
      now,
      near: false,
      other: entry ? undefined : (bytes ?? undefined),
    }
  }

  /** Entry and record by one script. */
  async #together(
    place: Place,
    args: readonly Arg[],
    tags: readonly string[],
    budget: Budget | undefined,
  ): Promise<Looked> {
    const { entry, lease, ledger } = place
    let reply: Reply[]
    try {
      const keys = [entry, lease, ledger.key]
      reply = await this.store.run(look, keys, [...args, ...fieldsOf(tags)], budget)
    } catch (error) {
      if (!isAcrossSlots(error)) throw error
      return await this.#apart(place, args, tags, budget)
    }
    const [bytes, state, now, fields] = reply as [Buffer | null, number, number, Text[]]
    const texts = fields.map((field) => field && String(field))
    return [bytes, state, now, snapshotOf(tags, texts)]
  }

  /** Where the record stands elsewhere. Side by side: the record is read after the entry, or an entry may be taken for valid that is not. */
  async #apart(
    { entry, lease, ledger }: Place,
    args: readonly Arg[],
    tags: readonly string[],
    budget: Budget | undefined,
  ): Promise<Looked> {
    const looking = this.store.run(look, [entry, lease], args, budget)
    const reading = ledger.read(tags, budget)
    reading.catch(() => {})
    const [bytes, state, now] = (await looking) as [Buffer | null, number, number]
    return [bytes, state, now, await reading]
  }

  #entryIn(key: string, bytes: Buffer): Entry | undefined {
    const head = this.#heads.get(key)
    const known = head && decodeLike(bytes, head)
    if (known) return known
    const entry = decode(bytes)
    if (entry) this.#heads.set(key, headOf(bytes, entry))
    return entry
  }

  /** Store an entry and give the lease back. False if the lease was lost, where that matters. @throws TP_UNAVAILABLE */
  async keep(
    { entry: key, lease, ledger }: Place,
    entry: Entry,
    { token = '', guarded = false, variant }: FillOptions = {},
  ): Promise<boolean> {
    if (ledger.owes(entry)) {
      if (token !== '') this.leases.giveBack(lease, token)
      return false
    }
    const life = lifeOf(entry)
    // In the same tick, and before the entry: no entry may outlive the record.
    const renewed = ledger.isDue(life) ? ledger.open(life) : undefined
    const { channel } = this.leases
    const message = this.leases.message(lease, 'filled')
    const keys = [key, lease]
    const args = [token, guarded ? '1' : '', encode(entry), life, channel, message]
    if (variant) {
      const { marker, index, id, mark } = variant
      keys.push(marker, index)
      args.push(encode(mark), id, MOST_VARIANTS)
    }
    this.#hints.set(key, entry.tags)
    const filling = this.store.run(fill, keys, args)
    filling.catch(() => this.leases.leave(lease, token))
    const [stored] = await Promise.all([filling, renewed])
    return stored === 1
  }
}

export interface LookOptions {
  token?: string
  leaseMs?: number
  tags?: readonly string[]
  /** Take the lease even if this entry, which is still fresh, is there: it is known to be invalid. */
  invalid?: Entry | undefined
  budget?: Budget | undefined
}

export interface FillOptions {
  token?: string
  /** Store only if the lease is still ours. */
  guarded?: boolean
  variant?: Variant | undefined
}
