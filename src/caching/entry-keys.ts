/** Where an entry is stored, and what a lookup found there. */
import type { CacheEntry } from './entry.ts'
import type { InvalidationLog } from './invalidation-log.ts'
import type { LogSnapshot } from './validity.ts'

/** The keys of one entry. */
export interface EntryKeys {
  readonly entry: string
  /** Held by the process that fills the entry. */
  readonly lease: string
  /** The log whose invalidations reach the entry. */
  readonly log: InvalidationLog
}

/**
 * What a lookup learned of the lease: it was not asked for; this caller has it; another caller has
 * it; or filling is paused, because the last response could not be stored.
 */
export type LeaseState = (typeof LEASE_STATES)[number]

/** In the order of the numbers that the lookup script replies. */
export const LEASE_STATES = ['none', 'ours', 'theirs', 'paused'] as const

/** What a lookup found. */
export interface LookupResult {
  readonly entry: CacheEntry | undefined
  /** What is stored there, if it is no entry. */
  readonly other?: Buffer | undefined
  /**
   * Until when the invalidations leave the entry valid: Infinity if none has hit it. Undefined if it
   * must not be used, and if there is none.
   */
  readonly validUntil: number | undefined
  readonly lease: LeaseState
  readonly snapshot: LogSnapshot
  /** The store's clock, in ms since the epoch. */
  readonly now: number
  /** True if the entry came from this process's near cache. */
  readonly near: boolean
}

/** One variant of a resource whose responses have a Vary field. */
export interface EntryVariant {
  /** The key of the resource's marker, which names the fields of Vary. */
  readonly markerKey: string
  /** The key of the list of the resource's variants. */
  readonly indexKey: string
  /** What the variant's key adds to that of the marker. */
  readonly suffix: string
  readonly marker: CacheEntry
}
