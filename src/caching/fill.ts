/** Filling an entry once: the decision who serves, joins, waits or fills, and the ends of a fill. */
import type { CacheStore } from './cache-store.ts'
import type { CacheEntry } from './entry.ts'
import type { EntryKeys, LeaseState, LookupResult } from './entry-keys.ts'
import type { Flight } from './single-flight.ts'
import type { EntryState } from './validity.ts'

/** What is known when it is decided who fills an entry. */
export interface FillSituation {
  readonly entry: EntryState
  /** `none` also if the store did not reply. */
  readonly lease: LeaseState
  /** True if this process is filling the entry, and the fill may be joined. */
  readonly hasFlight: boolean
  /** True if this request may wait for another one. */
  readonly mayWait: boolean
  /** True if the last refresh failed, and it is too soon for another one. */
  readonly backsOff: boolean
}

/**
 * What to do about an entry: serve it; serve it and have it revalidated; join a fill of this process;
 * wait for another process; fill it.
 */
export type FillDecision = 'serve' | 'refresh' | 'join' | 'wait' | 'fill'

/** Decides who fills an entry. */
export function decideFill(situation: FillSituation): FillDecision {
  const { entry, lease, hasFlight, mayWait, backsOff } = situation
  const isServable = entry === 'stale' || entry === 'error-only'
  if (entry === 'fresh' || (isServable && backsOff)) return 'serve'
  // A flight whose lease has ended may never end: a load can hang.
  if (entry === 'stale')
    return lease === 'ours' || (lease === 'none' && !hasFlight) ? 'refresh' : 'serve'
  if (!mayWait) return 'fill'
  // Replies may arrive in another order than leases were given: the holder of the lease fills.
  if (hasFlight && lease !== 'ours') return 'join'
  return lease === 'theirs' ? 'wait' : 'fill'
}

/** An entry that answers a request. This process or another has filled it. */
export type SharedEntry = Pick<LookupResult, 'validUntil' | 'now'> & { readonly entry: CacheEntry }

/** Whether an entry that another request filled answers this one. `elsewhere`: another variant does. */
export type Acceptance = 'yes' | 'no' | 'elsewhere'

/** A request or call that found no entry to use. */
export interface FillAttempt {
  /** The keys of the entry. A lookup changes them when it learns that the response varies. */
  readonly keys: EntryKeys
  /** The token of the lease, while this attempt holds it or may hold it; else ''. */
  token: string
  /** The flight that was under way when the entry was looked up. It may have ended by now. */
  flight: Flight | undefined
  /** How long to wait for others, in ms. */
  readonly waitMs: number
  /** Returns whether this attempt may wait for others at this moment. */
  mayWait(): boolean
  /** Called when another process could not store its response. */
  onRefused(): void
  /**
   * Looks the entry up again, and asks for the lease. Undefined: the store is unavailable.
   * @param after what the last lookup found
   */
  lookupAgain(after: LookupResult | undefined): Promise<LookupResult | undefined>
  /** Returns whether an entry that another request filled answers this attempt. */
  accepts(entry: CacheEntry, found: LookupResult | undefined): Promise<Acceptance> | Acceptance
}

/** What waiting led to: an entry, or the right to fill it. */
export type Turn =
  | { readonly shared: SharedEntry }
  | { readonly fill: Fill; readonly found: LookupResult | undefined }

/** The right to fill one entry. One of its four ends must be called, or its waiters wait in vain. */
export class Fill {
  readonly keys: EntryKeys
  readonly #store: CacheStore
  readonly #flight: Flight | undefined
  #token: string
  #isOver = false

  /** @param flight undefined: no request waits for this fill */
  constructor(store: CacheStore, keys: EntryKeys, token: string, flight: Flight | undefined) {
    this.#store = store
    this.keys = keys
    this.#token = token
    this.#flight = flight
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** Returns whether this fill is under way, for an entry of a store. */
  isOf(store: object, key: string): boolean {
    return !this.#isOver && this.keys.entry === key && this.#store.store === store
  }

  /** True if this fill holds the lease. */
  get hasLease(): boolean {
    return this.#token !== ''
  }

  /**
   * Passes the entry to the waiters, then stores it.
   * @param save stores it and releases the lease; it does not reject. Undefined: it is not stored.
   */
  complete(entry: CacheEntry, save: ((token: string) => Promise<void>) | undefined): void {
    if (!this.#end()) return
    this.#flight?.settle({ type: 'filled', entry })
    if (save === undefined) {
      this.#release(0)
      this.#leave()
      return
    }
    // Requests join the flight until the entry is stored. Otherwise they would find neither.
    void save(this.#takeToken()).finally(() => this.#leave())
  }

  /** Leaves the fill and the lease to the next waiter. */
  abandon(): void {
    if (!this.#end()) return
    this.#leave()
    const lease = { token: this.#takeToken() }
    this.#flight?.settle({ type: 'abandoned', lease })
    if (lease.token === '') return
    // A waiter takes the lease before this runs. There may be none.
    setImmediate(() => {
      if (lease.token !== '') this.#store.leases.release(this.keys.lease, lease.token)
    })
  }

  /** Lets all waiters run: no response can be shared. @param pauseMs see `FillLeases.release` */
  refuse(pauseMs: number): void {
    if (!this.#end()) return
    this.#leave()
    this.#flight?.settle({ type: 'refused' })
    this.#release(pauseMs)
  }

  /** Rejects the waiters with an error. */
  fail(error: unknown): void {
    if (!this.#end()) return
    this.#leave()
    this.#flight?.fail(error)
    this.#release(0)
  }

  #end(): boolean {
    if (this.#isOver) return false
    this.#isOver = true
    return true
  }

  #leave(): void {
    if (this.#flight) this.#store.singleFlight.end(this.#flight)
  }

  #release(pauseMs: number): void {
    const token = this.#takeToken()
    if (token !== '') this.#store.leases.release(this.keys.lease, token, pauseMs)
  }

  #takeToken(): string {
    const token = this.#token
    this.#token = ''
    return token
  }
}
