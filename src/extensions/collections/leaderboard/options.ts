/** Options of `leaderboard()`, and its interface. */
import type { Duration } from '../../../duration.ts'
import type { CollectionCallOptions, ItemId } from '../collection.ts'

/** How scores are given and returned. */
export type ScoreKind = 'number' | 'string'

/** A score as it is returned. */
export type LeaderboardScore<Kind extends ScoreKind> = Kind extends 'string' ? string : number

/** A score, or points, as a caller gives them. */
export type LeaderboardPoints<Kind extends ScoreKind> = Kind extends 'string'
  ? string | number | bigint
  : number

/** Options of `leaderboard()`. */
export interface LeaderboardOptions<Kind extends ScoreKind = 'number'> {
  /**
   * How long a board is kept after its last change.
   * @default '30d'; with `period` three of its lengths, so that the former seasons can be read
   */
  ttl?: Duration
  /** Length of a season. Each has a board of its own, by UTC; weeks begin on Monday (ISO 8601). @default one board */
  period?: 'day' | 'week' | 'month'
  /** Most IDs of a board. The lowest ones are removed. @default 10000 */
  max?: number
  /**
   * How scores are returned. `'string'`: as strings of up to 29 digits, exact beyond
   * `Number.MAX_SAFE_INTEGER`. Points are strings of digits, bigints or safe integers then.
   * @default 'number'
   */
  scores?: Kind
}

/** Options of a call. */
export interface SeasonOptions extends CollectionCallOptions {
  /** Which season, with `period`: 0 is the current one, -1 the one before. @default 0 */
  season?: number
}

/** A place on a leaderboard. */
export interface LeaderboardEntry<Kind extends ScoreKind = 'number'> {
  /** ID of the item. */
  readonly id: string
  /** The item's score. */
  readonly score: LeaderboardScore<Kind>
  /** From 1. Of equal scores, the one reached first is above. */
  readonly rank: number
}

/** What a change of a score resulted in. */
export interface LeaderboardChange<Kind extends ScoreKind = 'number'> {
  /** The score after the change. */
  readonly score: LeaderboardScore<Kind>
  /** From 1. Undefined if the board is full and the score too low. */
  readonly rank: number | undefined
}

/** Scores in order. Each call costs one round trip, and rejects with TP_UNAVAILABLE while Redis is away. */
export interface Leaderboard<Kind extends ScoreKind = 'number'> {
  /** Adds points, an integer, to a score that is 0 at first. @throws TP_KEY, TP_VALUE, TP_UNAVAILABLE */
  add(
    id: ItemId,
    points: LeaderboardPoints<Kind>,
    options?: CollectionCallOptions,
  ): Promise<LeaderboardChange<Kind>>
  /** Sets a score, an integer. @throws TP_KEY, TP_VALUE, TP_UNAVAILABLE */
  set(
    id: ItemId,
    score: LeaderboardPoints<Kind>,
    options?: CollectionCallOptions,
  ): Promise<LeaderboardChange<Kind>>
  /** Returns up to `count` of the best, after the first `offset`. @throws TP_VALUE, TP_UNAVAILABLE */
  top(
    count: number,
    options?: SeasonOptions & { offset?: number },
  ): Promise<LeaderboardEntry<Kind>[]>
  /** Returns the place of an ID. @throws TP_KEY, TP_UNAVAILABLE */
  rank(id: ItemId, options?: SeasonOptions): Promise<LeaderboardEntry<Kind> | undefined>
  /** Returns the place of an ID with up to `count` above and below. @throws TP_KEY, TP_VALUE, TP_UNAVAILABLE */
  around(id: ItemId, count: number, options?: SeasonOptions): Promise<LeaderboardEntry<Kind>[]>
  /** Removes an ID. Returns true if it had a place. @throws TP_KEY, TP_UNAVAILABLE */
  remove(id: ItemId, options?: SeasonOptions): Promise<boolean>
}
