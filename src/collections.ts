/** Counters, leaderboards, trending and capped lists, suggestions, over an instance of any framework. */
export {
  counters,
  leaderboard,
  list,
  recent,
  suggestions,
  trending,
} from './extensions/collections/index.ts'
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
  LeaderboardPoints,
  LeaderboardScore,
  ScoreKind,
  SeasonOptions,
} from './extensions/collections/leaderboard/options.ts'
export type { CappedList, ListOptions } from './extensions/collections/list/index.ts'
export type { Recent, RecentOptions } from './extensions/collections/recent/index.ts'
export type { Suggestions, SuggestionsOptions } from './extensions/collections/suggestions/index.ts'
export type { Trend, Trending, TrendingOptions } from './extensions/collections/trending/index.ts'
