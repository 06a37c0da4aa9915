/** Leaderboards: `leaderboard()`. */
import { durationValidator } from '../../../duration.ts'
import type { ExtensionContext } from '../../../extension.ts'
import { integer, oneOf, validateOptions, type Validator } from '../../../validate.ts'
import { Collection, type CollectionCallOptions, type ItemId } from '../collection.ts'
import { readAround, readTop, removePlace, writeScore } from './operations.ts'
import type {
  Leaderboard,
  LeaderboardChange,
  LeaderboardEntry,
  LeaderboardOptions,
  SeasonOptions,
} from './options.ts'
import { SEASON_TTL_DAYS, seasonOf } from './season.ts'

const OPTIONS: Record<string, Validator> = {
  ttl: durationValidator,
  period: oneOf('day', 'week', 'month'),
  max: integer(1, 1_000_000),
}
/** Places that one call returns. */
const MOST = 1000
const MAX_SEASONS = 1000

/** @throws TP_OPTION for an option that cannot be used */
export function createLeaderboard(
  context: ExtensionContext,
  name: string,
  options: LeaderboardOptions = {},
): Leaderboard {
  validateOptions('leaderboard()', options, OPTIONS)
  const { period, max = 10_000 } = options
  const { ttl = period ? `${SEASON_TTL_DAYS[period]}d` : '30d' } = options
  const board = new Collection(context, 'leaderboard', name, { ttl, period, max })
  const life = board.ttl(ttl)
  const { store } = context

  function keysOf(method: string, call: SeasonOptions): string[] {
    const { season = 0 } = call
    const ago = -board.integer(season, -MAX_SEASONS, 0, method, 'season')
    const parts = period ? [seasonOf(period, store.now(), ago)] : []
    return board.keys(method, call, parts, ['ids'])
  }

  async function write(
    mode: 'add' | 'set',
    id: ItemId,
    amount: number,
    { tenant }: CollectionCallOptions,
  ): Promise<LeaderboardChange> {
    const item = board.item(id, mode)
    const { MAX_SAFE_INTEGER: most } = Number
    const points = board.integer(amount, -most, most, mode, 'the score')
    const keys = keysOf(mode, tenant === undefined ? {} : { tenant })
    const [score, rank] = await store.run(writeScore, keys, [mode, item, points, life, max])
    return { score: Number(score), rank: rank > 0 ? rank : undefined }
  }

  async function around(
    method: string,
    id: ItemId,
    count: number,
    call: SeasonOptions,
  ): Promise<LeaderboardEntry[]> {
    const item = board.item(id, method)
    const [first, ...found] = await store.run(readAround, keysOf(method, call), [item, count])
    return entriesOf(found, Number(first))
  }

  return {
    add: (id, points, call = {}) => write('add', id, points, call),
    set: (id, score, call = {}) => write('set', id, score, call),
    async top(count, call = {}) {
      const most = board.integer(count, 1, MOST, 'top', 'the count')
      const offset = board.integer(call.offset ?? 0, 0, 1_000_000, 'top', 'offset')
      const found = await store.run(readTop, keysOf('top', call), [offset, most])
      return entriesOf(found, offset + 1)
    },
    rank: async (id, call = {}) => (await around('rank', id, 0, call))[0],
    around: async (id, count, call = {}) =>
      await around('around', id, board.integer(count, 0, MOST / 2, 'around', 'the count'), call),
    async remove(id, call = {}) {
      const item = board.item(id, 'remove')
      return (await store.run(removePlace, keysOf('remove', call), [item])) === 1
    },
  }
}

function entriesOf(found: readonly (string | number)[], first: number): LeaderboardEntry[] {
  const entries: LeaderboardEntry[] = []
  for (let i = 0; i < found.length; i += 2)
    entries.push({ id: String(found[i]), score: Number(found[i + 1]), rank: first + i / 2 })
  return entries
}
