/** What trending lists ask of the store. Keys, arguments and replies: see the scripts. */
import { operation, type Operation } from '../../../store/store.ts'
import whole from '../../../store/whole.lua'
import { compareBytes } from '../order.ts'
import hitLua from './hit.lua'
import topLua from './top.lua'

type Scores = Map<string, number>

/** Scores are replied as integers: a floating-point number has no one form as a string. */
export const SCORE_UNIT: number = 2 ** 20

const inOrder = (scores: Scores): [id: string, score: number][] =>
  [...scores].sort(([a, one], [b, other]) => other - one || compareBytes(b, a))

/** Counts a hit that decays exponentially. */
export const hitTrend: Operation<number> = operation({
  name: 'trending.hit',
  lua: `${whole}\n${hitLua}`,
  memory(database, [key], [given, weight, halfLife, ttl, most], now) {
    const scores: Scores = database.get(key!) ?? new Map()
    const id = String(given)
    const hit = now / Number(halfLife) + Math.log(Number(weight)) / Math.LN2
    const known = scores.get(id)
    const sum = (score: number): number =>
      Math.max(score, hit) + Math.log(1 + 2 ** -Math.abs(score - hit)) / Math.LN2
    scores.set(id, known === undefined ? hit : sum(known))
    if (scores.size > Number(most))
      for (const [lowest] of inOrder(scores).slice(Number(most))) scores.delete(lowest)
    database.set(key!, scores, Number(ttl))
    return 1
  },
})

/** Reads the highest. */
export const readTrends: Operation<string[]> = operation({
  name: 'trending.top',
  lua: `${whole}\n${topLua}`,
  memory(database, [key], [count, halfLife], now) {
    const scores: Scores = database.get(key!) ?? new Map()
    return inOrder(scores)
      .slice(0, Number(count))
      .flatMap(([id, score]) => [
        id,
        String(Math.floor((score - now / Number(halfLife)) * SCORE_UNIT + 0.5) + 0),
      ])
  },
})

/** Removes an ID. */
export const removeTrend: Operation<number> = operation({
  name: 'trending.remove',
  lua: `return redis.call('ZREM', KEYS[1], ARGV[1])`,
  memory: (database, [key], [id]) => (database.get<Scores>(key!)?.delete(String(id)) ? 1 : 0),
})
