/** Leaderboards: `leaderboard()`. */
import { durationValidator } from '../../../duration.ts'
import { TurnpikeError } from '../../../errors.ts'
import type { ExtensionContext } from '../../../extension.ts'
import { integer, oneOf, validateOptions, type Validator } from '../../../validate.ts'
import {
  optionsOfCall,
  Collection,
  type CollectionCallOptions,
  type ItemId,
} from '../collection.ts'
import { largeScoreOf, LOWER_DIGITS, partsOf, scoreFrom } from './large-score.ts'
import { readAround, readTop, removePlace, writeScore } from './operations.ts'
import type {
  Leaderboard,
  LeaderboardChange,
  LeaderboardEntry,
  LeaderboardOptions,
  LeaderboardPoints,
  LeaderboardScore,
  ScoreKind,
  SeasonOptions,
} from './options.ts'
import { SEASON_TTL_DAYS, seasonOf } from './season.ts'

const OPTIONS: Record<string, Validator> = {
  ttl: durationValidator,
  period: oneOf('day', 'week', 'month'),
  max: integer(1, 1_000_000),
  scores: oneOf('number', 'string'),
}
/** Places that one call returns. */
const MOST = 1000
const MAX_SEASONS = 1000
const WRITE_OPTIONS = optionsOfCall()
const READ_OPTIONS = optionsOfCall('season')
const TOP_OPTIONS = optionsOfCall('season', 'offset')

/** @throws TP_OPTION for an option that cannot be used */
export function createLeaderboard<Kind extends ScoreKind>(
  context: ExtensionContext,
  name: string,
  options: LeaderboardOptions<Kind> = {},
): Leaderboard<Kind> {
  validateOptions('leaderboard()', options, OPTIONS)
  const { period, max = 10_000, scores = 'number' } = options
  const { ttl = period ? `${SEASON_TTL_DAYS[period]}d` : '30d' } = options
  const board = new Collection(context, 'leaderboard', name, { ttl, period, max, scores })
  const life = board.ttl(ttl)
  const { store } = context
  const form = scoreForm<Kind>(board, scores)
  const { digits } = form

  function keysOf(method: string, call: SeasonOptions, known = READ_OPTIONS): string[] {
    // What is no object is refused with the other options.
    const season = (call as SeasonOptions | null)?.season ?? 0
    const ago = -board.integer(season, -MAX_SEASONS, 0, method, 'season')
    // Large scores have keys of their own: their members have another layout.
    const parts = digits > 0 ? ['large'] : []
    if (period) parts.push(seasonOf(period, store.now(), ago))
    return board.keys(method, call, parts, ['ids'], known)
  }

  async function write(
    mode: 'add' | 'set',
    id: ItemId,
    points: LeaderboardPoints<Kind>,
    call: CollectionCallOptions,
  ): Promise<LeaderboardChange<Kind>> {
    const item = board.item(id, mode)
    const amount = form.amount(points, mode)
    const keys = keysOf(mode, call, WRITE_OPTIONS)
    const args = [digits, mode, item, ...amount, life, max]
    const [score, rank] = await store.run(writeScore, keys, args)
    return { score: form.shown(score), rank: rank > 0 ? rank : undefined }
  }

  async function around(
    method: string,
    id: ItemId,
    count: number,
    call: SeasonOptions,
  ): Promise<LeaderboardEntry<Kind>[]> {
    const args = [digits, board.item(id, method), count]
    const [first, ...found] = await store.run(readAround, keysOf(method, call), args)
    return entriesOf(form, found, Number(first))
  }

  return {
    add: (id, points, call = {}) => write('add', id, points, call),
    set: (id, score, call = {}) => write('set', id, score, call),
    async top(count, call = {}) {
      const most = board.integer(count, 1, MOST, 'top', 'the count')
      const keys = keysOf('top', call, TOP_OPTIONS)
      const offset = board.integer(call.offset ?? 0, 0, 1_000_000, 'top', 'offset')
      const found = await store.run(readTop, keys, [digits, offset, most])
      return entriesOf(form, found, offset + 1)
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

/** How the scores of a board are given, stored and returned. */
interface ScoreForm<Kind extends ScoreKind> {
  /** See board.lua. */
  readonly digits: number
  /** Returns points as scripts take them: high and low. @throws TP_VALUE */
  amount(points: unknown, method: string): (string | number)[]
  /** Returns a score that a script replied. */
  shown(score: string): LeaderboardScore<Kind>
}

function scoreForm<Kind extends ScoreKind>(board: Collection, kind: ScoreKind): ScoreForm<Kind> {
  if (kind === 'number') {
    const { MAX_SAFE_INTEGER: most } = Number
    return {
      digits: 0,
      amount: (points, method) => [board.integer(points, -most, most, method, 'the score'), 0],
      shown: (score) => Number(score) as LeaderboardScore<Kind>,
    }
  }
  return {
    digits: LOWER_DIGITS,
    amount(points, method) {
      const score = largeScoreOf(points)
      if (score !== undefined) return partsOf(score)
      const expected = 'a bigint, a safe integer, or a string of digits, with up to 29 digits'
      const message = `${board.where}.${method}(): the score must be ${expected}.`
      throw new TurnpikeError('TP_VALUE', message)
    },
    shown: (score) => String(scoreFrom(score)) as LeaderboardScore<Kind>,
  }
}

function entriesOf<Kind extends ScoreKind>(
  { shown }: Pick<ScoreForm<Kind>, 'shown'>,
  found: readonly (string | number)[],
  first: number,
): LeaderboardEntry<Kind>[] {
  const entries: LeaderboardEntry<Kind>[] = []
  for (let i = 0; i < found.length; i += 2) {
    const [id, score] = [String(found[i]), shown(String(found[i + 1]))]
    entries.push({ id, score, rank: first + i / 2 })
  }
  return entries
}
