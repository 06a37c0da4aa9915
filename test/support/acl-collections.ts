import { counters, leaderboard } from '../../src/collections.ts'
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
}
