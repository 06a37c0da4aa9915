/** Options of `leaderboard()`, and its interface. */
import type { Duration } from '../../../duration.ts'
import type { CollectionCallOptions, ItemId } from '../collection.ts'

/** Options of `leaderboard()`. */
export interface LeaderboardOptions {
  /**
   * How long a board is kept after its last change.
   * @default '30d'; with `period` three of its lengths, so that the former seasons can be read
   */
  ttl?: Duration
  /** Length of a season. Each has a board of its own, by UTC; weeks begin on Monday (ISO 8601). @default one board */
  period?: 'day' | 'week' | 'month'
  /** Most IDs of a board. The lowest ones are removed. @default 10000 */
  max?: number
}

/** Options of a call. */
export interface SeasonOptions extends CollectionCallOptions {
  /** Which season, with `period`: 0 is the current one, -1 the one before. @default 0 */
  season?: number
}

/** A place on a leaderboard. */
export interface LeaderboardEntry {
  /** ID of the item. */
  readonly id: string
  /** The item's score. */
  readonly score: number
  /** From 1. Of equal scores, the one reached first is above. */
  readonly rank: number
}

/** What a change of a score resulted in. */
export interface LeaderboardChange {
  /** The score after the change. */
  readonly score: number
  /** From 1. Undefined if the board is full and the score too low. */
  readonly rank: number | undefined
}

/** Scores in order. Each call costs one round trip, and rejects with TP_UNAVAILABLE while Redis is away. */
export interface Leaderboard {
  /** Adds points, an integer, to a score that is 0 at first. @throws TP_KEY, TP_VALUE, TP_UNAVAILABLE */
  add(id: ItemId, points: number, options?: CollectionCallOptions): Promise<LeaderboardChange>
  /** Sets a score, an integer. @throws TP_KEY, TP_VALUE, TP_UNAVAILABLE */
  set(id: ItemId, score: number, options?: CollectionCallOptions): Promise<LeaderboardChange>
  /** Returns up to `count` of the best, after the first `offset`. @throws TP_VALUE, TP_UNAVAILABLE */
  top(count: number, options?: SeasonOptions & { offset?: number }): Promise<LeaderboardEntry[]>
  /** Returns the place of an ID. @throws TP_KEY, TP_UNAVAILABLE */
  rank(id: ItemId, options?: SeasonOptions): Promise<LeaderboardEntry | undefined>
  /** Returns the place of an ID with up to `count` above and below. @throws TP_KEY, TP_VALUE, TP_UNAVAILABLE */
  around(id: ItemId, count: number, options?: SeasonOptions): Promise<LeaderboardEntry[]>
  /** Removes an ID. Returns true if it had a place. @throws TP_KEY, TP_UNAVAILABLE */
  remove(id: ItemId, options?: SeasonOptions): Promise<boolean>
}
