/** Small typed structures over the store: what `turnpike/collections` offers. */
import { extension, type ExtensionContext, type Instance } from '../../extension.ts'
import { createCounters } from './counters/index.ts'
import type { Counters, CountersOptions } from './counters/options.ts'
import { createLeaderboard } from './leaderboard/index.ts'
import type { Leaderboard, LeaderboardOptions } from './leaderboard/options.ts'

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
export function leaderboard(tp: Instance, name: string, options?: LeaderboardOptions): Leaderboard {
  return createLeaderboard(contextOf(tp), name, options)
}
