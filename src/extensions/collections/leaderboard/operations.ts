/** What leaderboards ask of the store. Keys, arguments and replies: see the scripts. */
import { operation, type MemoryDatabase, type Operation } from '../../../store/store.ts'
import whole from '../../../store/whole.lua'
import aroundLua from './around.lua'
import boardLua from './board.lua'
import removeLua from './remove.lua'
import topLua from './top.lua'
import writeLua from './write.lua'

interface Place {
  readonly id: string
  readonly score: number
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

const flat = (places: readonly Place[]): string[] =>
  places.flatMap(({ id, score }) => [id, String(score)])

/** Changes a score. */
export const writeScore: Operation<[score: string, rank: number]> = operation({
  name: 'leaderboard.write',
  lua: script(writeLua),
  memory(database, [key], [mode, given, amount, ttl, most]) {
    const board = boardAt(database, key!)
    const id = String(given)
    let place = board.places.get(id)
    const base = mode === 'add' ? (place?.score ?? 0) : 0
    const largest = Number.MAX_SAFE_INTEGER
    const score = Math.max(-largest, Math.min(largest, base + Number(amount)))
    if (score !== place?.score) {
      place = { id, score, reached: ++board.changes }
      board.places.set(id, place)
      if (board.places.size > Number(most))
        for (const each of inOrder(board).slice(Number(most))) board.places.delete(each.id)
    }
    database.set(key!, board, Number(ttl))
    return [String(score), board.places.has(id) ? indexOf(board, place) + 1 : 0]
  },
})

/** Reads the best. */
export const readTop: Operation<string[]> = operation({
  name: 'leaderboard.top',
  lua: script(topLua),
  memory: (database, [key], [first, count]) =>
    flat(inOrder(boardAt(database, key!)).slice(Number(first), Number(first) + Number(count))),
})

/** Reads an ID and its neighbours. */
export const readAround: Operation<(string | number)[]> = operation({
  name: 'leaderboard.around',
  lua: script(aroundLua),
  memory(database, [key], [id, count]) {
    const board = boardAt(database, key!)
    const place = board.places.get(String(id))
    if (place === undefined) return []
    const index = indexOf(board, place)
    const first = Math.max(0, index - Number(count))
    return [first + 1, ...flat(inOrder(board).slice(first, index + Number(count) + 1))]
  },
})

/** Removes an ID. */
export const removePlace: Operation<number> = operation({
  name: 'leaderboard.remove',
  lua: script(removeLua),
  memory: (database, [key], [id]) => (boardAt(database, key!).places.delete(String(id)) ? 1 : 0),
})
