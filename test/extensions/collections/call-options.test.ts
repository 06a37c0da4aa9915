/** Options of calls, as a careless caller writes them: nothing is ignored in silence. */
import { expect, test } from 'vitest'
import {
  counters,
  leaderboard,
  list,
  recent,
  suggestions,
  trending,
} from '../../../src/collections.ts'
import { turnpike } from '../../../src/node.ts'

function setUp() {
  const tp = turnpike({ redis: 'memory' })
  return {
    board: leaderboard(tp, 'creators') as any,
    stats: counters(tp, 'campaign') as any,
    tags: trending(tp, 'tags') as any,
    words: suggestions(tp, 'words') as any,
    searches: recent(tp, 'searches') as any,
    chat: list(tp, 'chat') as any,
  }
}
type Collections = ReturnType<typeof setUp>

test.each<[string, (all: Collections, given: unknown) => unknown]>([
  ['board.add()', ({ board }, given) => board.add('ann', 1, given)],
  ['board.top()', ({ board }, given) => board.top(10, given)],
  ['board.rank()', ({ board }, given) => board.rank('ann', given)],
  ['board.around()', ({ board }, given) => board.around('ann', 1, given)],
  ['board.remove()', ({ board }, given) => board.remove('ann', given)],
  ['stats.get()', ({ stats }, given) => stats.get('a', given)],
  ['stats.reset()', ({ stats }, given) => stats.reset('a', given)],
  ['tags.top()', ({ tags }, given) => tags.top(10, given)],
  ['words.complete()', ({ words }, given) => words.complete('a', 10, given)],
  ['searches.push()', ({ searches }, given) => searches.push('ann', 'tea', given)],
  ['searches.list()', ({ searches }, given) => searches.list('ann', given)],
  ['chat.append()', ({ chat }, given) => chat.append('room', 'hello', given)],
  ['chat.last()', ({ chat }, given) => chat.last('room', 1, given)],
])('%s refuses options that it does not have', async (_name, call) => {
  const all = setUp()
  for (const given of [5, null, 'acme', { tennant: 'acme' }, { ttl: '1h' }])
    await expect(call(all, given)).rejects.toMatchObject({ code: 'TP_OPTION' })
})

test('a weight in the place of the options is refused, and so is a season of the past to write to', async () => {
  const { board, stats, tags, words } = setUp()
  const code = 'TP_OPTION'
  await expect(tags.hit('tea', 5)).rejects.toMatchObject({ code })
  await expect(tags.hit('tea', { wieght: 5 })).rejects.toThrow(/Did you mean weight/)
  await expect(words.add('tea', 5)).rejects.toMatchObject({ code })
  await expect(board.add('ann', 1, { season: -1 })).rejects.toMatchObject({ code })
  await expect(board.rank('ann', { offset: 1 })).rejects.toMatchObject({ code })
  expect(() => stats.add('a', { clicks: 1 }, { tennant: 'acme' })).toThrow(/Did you mean tenant/)
  expect(await tags.top(1)).toEqual([])
  expect(await board.top(1)).toEqual([])
})
