/** What a process writes of itself, and how it is read. Keys, arguments and replies: see the Lua files. */
import {
  operation,
  type MemoryDatabase,
  type Operation,
  type OperationArgument,
} from '../store/store.ts'
import prelude from '../store/whole.lua'
import beatLua from './beat.lua'
import leaveLua from './leave.lua'

/** How long a process counts as live after it wrote last, in ms. */
export const LIVE_MS = 25_000
/** How long its description of itself is kept, in ms. Afterwards the process is lost. */
export const LATE_MS = 35_000
/** How long lost processes and refused subjects are remembered, in ms. */
export const HOUR_MS = 3_600_000
const DAY_MS = 86_400_000
const MAX_PROCESSES = 2000
const MAX_FIELDS = 4000
/** Number of refused subjects that are kept. */
export const MAX_REFUSED = 500

type Scores = ReadonlyMap<string, number>
type Fields = Readonly<Record<string, string>>

/** Returns the members of a sorted set by score, as Redis sorts them. */
const sorted = (scores: Scores): [string, number][] =>
  [...scores].toSorted(([a, x], [b, y]) => x - y || (a < b ? -1 : 1))

const pairsOf = (list: readonly OperationArgument[]): [string, string][] =>
  Array.from({ length: list.length / 2 }, (_, i) => [String(list[2 * i]), String(list[2 * i + 1])])

/** Returns the lists of pairs at the end of the arguments. */
function pairListsOf(args: readonly OperationArgument[]): [string, string][][] {
  const lists: [string, string][][] = []
  for (let at = 2; at < args.length;) {
    const end = at + 1 + 2 * Number(args[at])
    lists.push(pairsOf(args.slice(at + 1, end)))
    at = end
  }
  return lists
}

function addCounts(
  database: MemoryDatabase,
  key: string,
  added: readonly (readonly [string, string])[],
): void {
  const counts: Record<string, string> = { ...database.get<Fields>(key) }
  for (const [field, count] of added) {
    const isFull = !(field in counts) && Object.keys(counts).length >= MAX_FIELDS
    const target = isFull ? 'other' : field
    counts[target] = String(Number(counts[target] ?? 0) + Number(count))
  }
  database.set(key, counts, 2 * HOUR_MS)
}

function addRefused(
  database: MemoryDatabase,
  key: string,
  added: readonly (readonly [string, string])[],
): void {
  const scores = new Map(database.get<Scores>(key))
  for (const [member, count] of added) scores.set(member, (scores.get(member) ?? 0) + Number(count))
  database.set(key, new Map(sorted(scores).slice(-MAX_REFUSED)), HOUR_MS)
}

/** Writes what a process says of itself. */
export const writeBeat: Operation<[known: number, live: number, now: number]> = operation({
  name: 'operations.beat',
  lua: `${prelude}\n${beatLua}`,
  memory(database, keys, args, now) {
    const [processes, own, description, minute, refused] = keys as [
      string,
      string,
      string,
      string,
      string,
    ]
    const [id, text] = args.map(String) as [string, string]
    const [fields = [], counts = [], refusals = []] = pairListsOf(args)
    const seen = new Map(database.get<Scores>(processes)).set(id, now)
    const kept = sorted(seen)
      .filter(([, at]) => at > now - HOUR_MS)
      .slice(-MAX_PROCESSES)
    database.set(processes, new Map(kept), HOUR_MS)
    database.set(own, { ...database.get<Fields>(own), ...Object.fromEntries(fields) }, LATE_MS)
    const stored = text === '' ? database.get<string>(description) : text
    if (stored !== undefined) database.set(description, stored, DAY_MS)
    if (counts.length > 0) addCounts(database, minute, counts)
    if (refusals.length > 0) addRefused(database, refused, refusals)
    const live = kept.filter(([, at]) => at >= now - LIVE_MS)
    return [stored === undefined ? 0 : 1, live.length, now]
  },
})

/** Removes a process that ends. */
export const leaveProcesses: Operation<number> = operation({
  name: 'operations.leave',
  lua: leaveLua,
  memory(database, [processes, own], [id]) {
    const seen = new Map(database.get<Scores>(processes!))
    const wasThere = seen.delete(String(id))
    database.delete(own!)
    if (wasThere) database.set(processes!, seen, HOUR_MS)
    return wasThere ? 1 : 0
  },
})

/** Reads a sorted set from the lowest score: members and scores in turn, by RESP3 as nested pairs. */
export const readScores: Operation<string[]> = operation({
  name: 'operations.scores',
  command: 'ZRANGE',
  memory: (database, [key]) =>
    sorted(database.get<Scores>(key!) ?? new Map<string, number>()).flatMap(([member, score]) => [
      member,
      String(score),
    ]),
})

/** Arguments of `readScores`. */
export const ALL_SCORES: readonly string[] = ['0', '-1', 'WITHSCORES']

/** Reads a hash: fields and values in turn. */
export const readFields: Operation<string[]> = operation({
  name: 'operations.fields',
  command: 'HGETALL',
  memory: (database, [key]) => Object.entries(database.get<Fields>(key!) ?? {}).flat(),
})

/** Reads a description. */
export const readDescription: Operation<string | null> = operation({
  name: 'operations.description',
  command: 'GET',
  memory: (database, [key]) => database.get<string>(key!) ?? null,
})

/** Commands of Redis that these scripts call. */
export const BEAT_COMMANDS: readonly string[] =
  'get set unlink pexpire hexists hget hgetall hincrby hlen hset zadd zcount zincrby zrange zrem zremrangebyrank zremrangebyscore'.split(
    ' ',
  )
