/** Where an entry stands, and what a lookup there can find. */
import type { CacheEntry } from './entry.ts'
import type { InvalidationLog } from './invalidation-log.ts'
import type { LogSnapshot } from './validity.ts'

/** Where one entry stands. */
export interface EntryKeys {
  readonly entry: string
  readonly lease: string
  readonly ledger: InvalidationLog
}

/** What a lookup found. */
export interface LookupResult {
  readonly entry: CacheEntry | undefined
  /** What stands there, if it is no entry. */
  readonly other?: Buffer | undefined
  /** Until when it is valid (Infinity: no invalidation has hit it); undefined: not at all, or there is none. */
  readonly validUntil: number | undefined
  /** Did we take the lease to make it anew, does somebody else have it, is it known that nothing would be kept, or was none wanted? */
  readonly lease: (typeof LEASE_STATES)[number]
  readonly snapshot: LogSnapshot
  /** The store's clock. */
  readonly now: number
  /** Did the process itself have it? */
  readonly near: boolean
}

/** A variant's place among those of its resource. */
export interface EntryVariant {
  readonly marker: string
  readonly index: string
  readonly id: string
  readonly mark: CacheEntry
}

/** By the numbers with which `look` replies. */
export const LEASE_STATES = ['none', 'ours', 'theirs', 'vain'] as const
