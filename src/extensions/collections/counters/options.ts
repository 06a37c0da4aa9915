/** Options of `counters()`, and its interface. */
import type { Duration } from '../../../duration.ts'
import type { CollectionCallOptions, ItemId } from '../collection.ts'

/** The counts of one item. */
export type Counts<Field extends string = string> = Readonly<Record<Field, number>>

/** Options of `counters()`. */
export interface CountersOptions<Field extends string = string, Derived extends string = never> {
  /** How long the counters of an item are kept after their last change. @default '1d' */
  ttl?: Duration
  /**
   * Interval at which increments are written. A killed process loses at most one interval.
   * `0`: each `add()` is written at once. Those made meanwhile follow together.
   * @default '1s'
   */
  flush?: Duration
  /** Names of the counters. They are 0 at first, and others are refused. @default any names, up to 64 for each item */
  fields?: readonly Field[]
  /**
   * Values computed from the counts when they are read. A value that is not finite is 0.
   * @default none
   * @example
   * const stats = counters(tp, 'campaign', {
   *   fields: ['clicks', 'impressions'],
   *   derived: { rate: ({ clicks, impressions }) => (100 * clicks) / impressions },
   * })
   */
  derived?: Readonly<Record<Derived, (counts: Counts<Field>) => number>>
  /** Items whose increments a process holds while they cannot be written. More are lost, and reported. @default 10000 */
  maxPending?: number
}

/** Counters that are summed in the process and written together. */
export interface Counters<Field extends string = string, Derived extends string = never> {
  /**
   * Adds to counters of an item. Increments that cannot be written yet are kept.
   * @param increments integers by field, up to 10^12 each. A total stops at `Number.MAX_SAFE_INTEGER`.
   * @throws TP_KEY, TP_VALUE
   */
  add(
    id: ItemId,
    increments: Readonly<Partial<Record<Field, number>>>,
    options?: CollectionCallOptions,
  ): void
  /**
   * Returns the counts of an item, with all that this process has added. One round trip.
   * @throws TP_KEY, TP_UNAVAILABLE
   */
  get(id: ItemId, options?: CollectionCallOptions): Promise<Counts<Field | Derived>>
  /** Removes the counters of an item, with what this process has not written. @throws TP_KEY, TP_UNAVAILABLE */
  reset(id: ItemId, options?: CollectionCallOptions): Promise<boolean>
  /** Resolves when all increments are written. `tp.close()` waits for it, too. @throws TP_UNAVAILABLE if some are not written yet */
  flush(): Promise<void>
}
