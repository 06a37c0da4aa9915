/** What presence asks of the store. Keys, arguments and replies: see the scripts. */
import {
  operation,
  type MemoryDatabase,
  type Operation,
  type OperationArgument,
} from '../../../store/store.ts'
import { APPEND, appendMessage } from '../channels/operations.ts'
import beatLua from './beat.lua'
import onlineLua from './online.lua'
import presentLua from './present.lua'

/** Times when users were last seen. */
type Present = Map<string, number>
/** Users of one message. */
const MESSAGE = 50
/** Most users that one call removes. */
export const MAX_SWEPT = 1000

/** Compares two strings as Redis does: by their bytes. */
const compareBytes = (a: string, b: string): number =>
  Buffer.compare(Buffer.from(a), Buffer.from(b))

/** Returns users by the time when they were last seen, the earliest first. */
const byTime = (present: Present): string[] =>
  [...present]
    .toSorted(([a, at], [b, other]) => at - other || compareBytes(a, b))
    .map(([user]) => user)

/** What is needed to publish. */
interface Publication {
  readonly database: MemoryDatabase
  readonly topic: string
  readonly append: readonly OperationArgument[]
  readonly now: number
}

function announce(
  { append, database, now, topic }: Publication,
  kind: 'joined' | 'left',
  users: readonly string[],
): void {
  for (let i = 0; i < users.length; i += MESSAGE) {
    const message = `{"type":"${kind}","users":[${users.slice(i, i + MESSAGE).join(',')}]}`
    appendMessage(database, topic, message, append, now)
  }
}

/** Removes users, and publishes that they have left. */
function leave(present: Present, users: readonly string[], publication: Publication): void {
  for (const user of users) present.delete(user)
  announce(publication, 'left', users)
}

/** Returns who is there. Users who have left are removed, and counted. */
function openPresent(
  key: string,
  ttl: number,
  publication: Publication,
): { present: Present; swept: number } {
  const { database, now } = publication
  const present = database.get<Present>(key) ?? new Map<string, number>()
  const left = byTime(present)
    .filter((user) => present.get(user)! <= now - ttl)
    .slice(0, MAX_SWEPT)
  leave(present, left, publication)
  return { present, swept: left.length }
}

/** Notes that users are seen, and publishes who has joined and who has left. */
export const noteUsers: Operation<number> = operation({
  name: 'presence.beat',
  lua: `${APPEND}\n${presentLua}\n${beatLua}`,
  memory(database, [key, , topic], [life, most, ...rest], now) {
    const [append, users, ttl] = [rest.slice(0, 4), rest.slice(4).map(String), Number(life)]
    const publication = { database, topic: topic!, append, now }
    const { present } = openPresent(key!, ttl, publication)
    const joined = users.filter((user) => {
      const isNew = !present.has(user)
      present.set(user, now)
      return isNew
    })
    announce(publication, 'joined', joined)
    const excess = Math.max(0, Math.min(present.size - Number(most), MAX_SWEPT))
    leave(present, byTime(present).slice(0, excess), publication)
    database.set(key!, present, 3 * ttl)
    return joined.length
  },
})

/** Reads users who are online, in the order of their names. */
export const readOnline: Operation<(string | number)[]> = operation({
  name: 'presence.online',
  lua: `${APPEND}\n${presentLua}\n${onlineLua}`,
  memory(database, [key, , topic], [ttl, ...rest], now) {
    const [append, [after, most]] = [rest.slice(0, 4), rest.slice(4)]
    const publication = { database, topic: topic!, append, now }
    const { present, swept } = openPresent(key!, Number(ttl), publication)
    const users = [...present.keys()]
      .filter((user) => after === '' || compareBytes(user, String(after)) > 0)
      .toSorted(compareBytes)
    return [swept === MAX_SWEPT ? 1 : 0, present.size, ...users.slice(0, Number(most))]
  },
})

/** Reads when a user was last seen. */
export const readLastSeen: Operation<string | null> = operation({
  name: 'presence.seen',
  command: 'ZSCORE',
  memory(database, [key], [user]) {
    const at = database.get<Present>(key!)?.get(String(user))
    return at === undefined ? null : String(at)
  },
})
