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
const USERS_PER_MESSAGE = 50

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
  appendMessage(database, topic, `{"type":"${kind}","users":[${users.join(',')}]}`, append, now)
}

/** Returns who is there, without users who have left. */
function openPresent(key: string, ttl: number, publication: Publication): Present {
  const { database, now } = publication
  const present = database.get<Present>(key) ?? new Map<string, number>()
  const left = byTime(present).filter((user) => present.get(user)! <= now - ttl)
  for (const user of left) present.delete(user)
  for (let i = 0; i < left.length; i += USERS_PER_MESSAGE)
    announce(publication, 'left', left.slice(i, i + USERS_PER_MESSAGE))
  return present
}

/** Notes that users are seen, and publishes who has joined and who has left. */
export const noteUsers: Operation<number> = operation({
  name: 'presence.beat',
  lua: `${APPEND}\n${presentLua}\n${beatLua}`,
  memory(database, [key, , topic], [life, most, ...rest], now) {
    const [append, users, ttl] = [rest.slice(0, 4), rest.slice(4).map(String), Number(life)]
    const publication = { database, topic: topic!, append, now }
    const present = openPresent(key!, ttl, publication)
    const joined = users.filter((user) => {
      const isNew = !present.has(user)
      present.set(user, now)
      return isNew
    })
    const excess = Math.max(0, present.size - Number(most))
    for (const user of byTime(present).slice(0, excess)) present.delete(user)
    database.set(key!, present, 3 * ttl)
    if (joined.length > 0) announce(publication, 'joined', joined)
    return joined.length
  },
})

/** Reads users who are online, in the order of their names. */
export const readOnline: Operation<(string | number)[]> = operation({
  name: 'presence.online',
  lua: `${APPEND}\n${presentLua}\n${onlineLua}`,
  memory(database, [key, , topic], [ttl, ...rest], now) {
    const [append, [after, most]] = [rest.slice(0, 4), rest.slice(4)]
    const present = openPresent(key!, Number(ttl), { database, topic: topic!, append, now })
    const users = [...present.keys()]
      .filter((user) => after === '' || compareBytes(user, String(after)) > 0)
      .toSorted(compareBytes)
    return [present.size, ...users.slice(0, Number(most))]
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
