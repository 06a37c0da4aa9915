import {
  counters,
  leaderboard,
  list,
  recent,
  suggestions,
  trending,
} from '../../src/collections.ts'
import type { turnpike } from '../../src/node.ts'

/** Each kind of collection: written, read, trimmed, removed. */
export async function useCollections(
  tp: ReturnType<typeof turnpike>,
  must: (what: string, holds: unknown) => void,
): Promise<void> {
  const stats = counters(tp, 'campaign', { flush: 0 })
  stats.add('a', { clicks: 2 })
  await stats.flush()
  stats.add('a', { clicks: 1 })
  must('counts', (await stats.get('a'))['clicks'] === 3)
  must('counts removed', await stats.reset('a'))

  const board = leaderboard(tp, 'creators', { max: 2 })
  await board.add('ann', 1)
  await board.add('ann', 2)
  await board.add('bob', 5)
  await board.add('cat', 4)
  must('the best', (await board.top(10)).map(({ id }) => id).join() === 'bob,cat')
  must('a rank', (await board.rank('cat'))?.rank === 2)
  must('a place removed', await board.remove('cat'))

  const tags = trending(tp, 'tags', { max: 1 })
  await tags.hit('a', { weight: 2 })
  await tags.hit('b')
  must('trends', (await tags.top(2)).map(({ id }) => id).join() === 'a')
  must('a trend removed', await tags.remove('a'))

  const words = suggestions(tp, 'words', { max: 1 })
  await words.add('tea')
  await words.add('Coffee')
  must('suggested', (await words.complete('co', 2)).join() === 'Coffee')
  must('all suggested', (await words.complete('', 2)).join() === 'Coffee')
  must('a term removed', await words.remove('coffee'))

  const searches = recent(tp, 'searches')
  await searches.push('ann', 'a')
  must('recent', (await searches.list('ann')).join() === 'a')
  must('a search removed', await searches.remove('ann', 'a'))
  const chat = list<string>(tp, 'chat')
  must('appended', (await chat.append('room', 'hello')) === 1)
  must('the last', (await chat.last('room', 1)).join() === 'hello')
  must('cleared', await chat.clear('room'))
}
