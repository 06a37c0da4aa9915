/** What leaderboards ask of the store. Keys, arguments and replies: see the scripts. */
import { operation, type MemoryDatabase, type Operation } from '../../../store/store.ts'
import whole from '../../../store/whole.lua'
import aroundLua from './around.lua'
import boardLua from './board.lua'
import removeLua from './remove.lua'
import { MAX_LARGE_SCORE, partsOf, scoreFrom } from './large-score.ts'
import topLua from './top.lua'
import writeLua from './write.lua'

interface Place {
  readonly id: string
  readonly score: bigint
  /** Number of the change that reached the score. */
  readonly reached: number
}

interface Board {
  readonly places: Map<string, Place>
  changes: number
}

const script = (lua: string): string => `${whole}\n${boardLua}\n${lua}`

const boardAt = (database: MemoryDatabase, key: string): Board =>
  database.get<Board>(key) ?? { places: new Map(), changes: 0 }

const isAbove = (a: Place, b: Place): boolean =>
  a.score > b.score || (a.score === b.score && a.reached < b.reached)

const inOrder = ({ places }: Board): Place[] =>
  [...places.values()].sort((a, b) => (isAbove(a, b) ? -1 : 1))

/** From 0. */
const indexOf = ({ places }: Board, place: Place): number =>
  [...places.values()].filter((each) => isAbove(each, place)).length

/** Returns a score as it is replied. */
const replied = (digits: unknown, score: bigint): string =>
  Number(digits) > 0 ? partsOf(score).join(':') : String(score)

const flat = (digits: unknown, places: readonly Place[]): string[] =>
  places.flatMap(({ id, score }) => [id, replied(digits, score)])

function clamp(digits: unknown, score: bigint): bigint {
  const largest = Number(digits) > 0 ? MAX_LARGE_SCORE : BigInt(Number.MAX_SAFE_INTEGER)
  return score > largest ? largest : score < -largest ? -largest : score
}

/** Changes a score. */
export const writeScore: Operation<[score: string, rank: number]> = operation({
  name: 'leaderboard.write',
  lua: script(writeLua),
  memory(database, [key], [digits, mode, given, high, low, ttl, most]) {
    const board = boardAt(database, key!)
    const id = String(given)
    let place = board.places.get(id)
    const base = mode === 'add' ? (place?.score ?? 0n) : 0n
    const amount = Number(digits) > 0 ? scoreFrom([high, low].join(':')) : BigInt(Number(high))
    const score = clamp(digits, base + amount)
    if (score !== place?.score) {
      place = { id, score, reached: ++board.changes }
      board.places.set(id, place)
      if (board.places.size > Number(most))
        for (const each of inOrder(board).slice(Number(most))) board.places.delete(each.id)
    }
    database.set(key!, board, Number(ttl))
    return [replied(digits, score), board.places.has(id) ? indexOf(board, place) + 1 : 0]
  },
})

/** Reads the best. */
export const readTop: Operation<string[]> = operation({
  name: 'leaderboard.top',
  lua: script(topLua),
  memory(database, [key], [digits, first, count]) {
    const [start, end] = [Number(first), Number(first) + Number(count)]
    return flat(digits, inOrder(boardAt(database, key!)).slice(start, end))
  },
})

/** Reads an ID and its neighbours. */
export const readAround: Operation<(string | number)[]> = operation({
  name: 'leaderboard.around',
  lua: script(aroundLua),
  memory(database, [key], [digits, id, count]) {
    const board = boardAt(database, key!)
    const place = board.places.get(String(id))
    if (place === undefined) return []
    const index = indexOf(board, place)
    const first = Math.max(0, index - Number(count))
    return [first + 1, ...flat(digits, inOrder(board).slice(first, index + Number(count) + 1))]
  },
})

/** Removes an ID. */
export const removePlace: Operation<number> = operation({
  name: 'leaderboard.remove',
  lua: removeLua,
  memory: (database, [key], [id]) => (boardAt(database, key!).places.delete(String(id)) ? 1 : 0),
})
