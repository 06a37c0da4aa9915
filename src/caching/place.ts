/** Where an entry stands, and what a lookup there can find. */
import type { Entry } from './entry.ts'
import type { Ledger } from './ledger.ts'
import type { Snapshot } from './validity.ts'

/** Where one entry stands. */
export interface Place {
  readonly entry: string
  readonly lease: string
  readonly ledger: Ledger
}

/** What a lookup found. */
export interface Found {
  readonly entry: Entry | undefined
  /** What stands there, if it is no entry. */
  readonly other?: Buffer | undefined
  /** Until when it is valid (Infinity: no invalidation has hit it); undefined: not at all, or there is none. */
  readonly validUntil: number | undefined
  /** Did we take the lease to make it anew, does somebody else have it, is it known that nothing would be kept, or was none wanted? */
  readonly lease: (typeof LEASES)[number]
  readonly snapshot: Snapshot
  /** The store's clock. */
  readonly now: number
  /** Did the process itself have it? */
  readonly near: boolean
}

/** A variant's place among those of its resource. */
export interface Variant {
  readonly marker: string
  readonly index: string
  readonly id: string
  readonly mark: Entry
}

/** By the numbers with which `look` replies. */
export const LEASES = ['none', 'ours', 'theirs', 'vain'] as const
