/** Counters and leaderboards, over an instance of any framework. */
export { counters, leaderboard } from './extensions/collections/index.ts'
export type { CollectionCallOptions, ItemId } from './extensions/collections/collection.ts'
export type {
  Counters,
  CountersOptions,
  Counts,
} from './extensions/collections/counters/options.ts'
export type {
  Leaderboard,
  LeaderboardChange,
  LeaderboardEntry,
  LeaderboardOptions,
  SeasonOptions,
} from './extensions/collections/leaderboard/options.ts'
