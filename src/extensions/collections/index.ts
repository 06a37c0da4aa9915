/** Small typed structures over the store: what `turnpike/collections` offers. */
import { extension, type ExtensionContext, type Instance } from '../../extension.ts'
import { createCounters } from './counters/index.ts'
import type { Counters, CountersOptions } from './counters/options.ts'
import { createLeaderboard } from './leaderboard/index.ts'
import type { Leaderboard, LeaderboardOptions, ScoreKind } from './leaderboard/options.ts'
import { createList, type CappedList, type ListOptions } from './list/index.ts'
import { createRecent, type Recent, type RecentOptions } from './recent/index.ts'
import {
  createSuggestions,
  type Suggestions,
  type SuggestionsOptions,
} from './suggestions/index.ts'
import { createTrending, type Trending, type TrendingOptions } from './trending/index.ts'

const contextOf = (tp: Instance): ExtensionContext =>
  extension(tp, 'collections', (context) => context)

/**
 * Creates counters that are summed in the process and written together.
 *
 * @param tp the instance that `turnpike()` returned
 * @param name names the counters in keys
 * @throws TP_OPTION for a name or option that cannot be used
 * @see docs/collections.md
 * @example
 * const stats = counters(tp, 'campaign', { ttl: '30d', flush: '1s' })
 * stats.add(campaign.id, { clicks: 1 })
 * const { clicks } = await stats.get(campaign.id)
 */
export function counters<Field extends string = string, Derived extends string = never>(
  tp: Instance,
  name: string,
  options?: CountersOptions<Field, Derived>,
): Counters<Field, Derived> {
  return createCounters(contextOf(tp), name, options)
}

/**
 * Creates a leaderboard: scores in order, ranks from 1. Of equal scores, the one reached first is above.
 *
 * @param tp the instance that `turnpike()` returned
 * @param name names the board in keys
 * @throws TP_OPTION for a name or option that cannot be used
 * @see docs/collections.md
 * @example
 * const board = leaderboard(tp, 'creators', { period: 'week' })
 * await board.add(user.id, 12)
 * const best = await board.top(10)
 */
export function leaderboard<Kind extends ScoreKind = 'number'>(
  tp: Instance,
  name: string,
  options?: LeaderboardOptions<Kind>,
): Leaderboard<Kind> {
  return createLeaderboard(contextOf(tp), name, options)
}

/**
 * Creates a trending list: IDs by hits that decay exponentially, exact at any time.
 *
 * @param tp the instance that `turnpike()` returned
 * @param name names the list in keys
 * @throws TP_OPTION for a name or option that cannot be used
 * @see docs/collections.md
 * @example
 * const tags = trending(tp, 'hashtags', { halfLife: '1h' })
 * await tags.hit('#coffee')
 * const hot = await tags.top(10)
 */
export function trending(tp: Instance, name: string, options?: TrendingOptions): Trending {
  return createTrending(contextOf(tp), name, options)
}

/**
 * Creates suggestions for what a user types: terms by prefix and popularity. Case and accents do not matter.
 *
 * @param tp the instance that `turnpike()` returned
 * @param name names the suggestions in keys
 * @throws TP_OPTION for a name or option that cannot be used
 * @see docs/collections.md
 * @example
 * const words = suggestions(tp, 'campaign', { max: 10_000 })
 * await words.add('sustainable coffee')
 * const found = await words.complete('sus', 5)
 */
export function suggestions(tp: Instance, name: string, options?: SuggestionsOptions): Suggestions {
  return createSuggestions(contextOf(tp), name, options)
}

/**
 * Creates lists of recent items, one for each owner, for example the last searches of a user.
 *
 * @param tp the instance that `turnpike()` returned
 * @param name names the lists in keys
 * @throws TP_OPTION for a name or option that cannot be used
 * @see docs/collections.md
 * @example
 * const searches = recent(tp, 'searches', { max: 10, ttl: '7d' })
 * await searches.push(user.id, query)
 */
export function recent(tp: Instance, name: string, options?: RecentOptions): Recent {
  return createRecent(contextOf(tp), name, options)
}

/**
 * Creates capped lists of JSON values, for example the last messages of a chat.
 *
 * @param tp the instance that `turnpike()` returned
 * @param name names the lists in keys
 * @template Value of the lists
 * @throws TP_OPTION for a name or option that cannot be used
 * @see docs/collections.md
 * @example
 * const chat = list<Message>(tp, 'chat', { max: 100, ttl: '24h' })
 * await chat.append(room.id, message)
 * const messages = await chat.last(room.id, 20)
 */
export function list<Value = unknown>(
  tp: Instance,
  name: string,
  options?: ListOptions,
): CappedList<Value> {
  return createList<Value>(contextOf(tp), name, options)
}
