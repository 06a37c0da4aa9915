/** What channels ask of the store. Keys, arguments and replies: see the scripts. */
import { randomInt } from 'node:crypto'
import {
  operation,
  type MemoryDatabase,
  type Operation,
  type OperationArgument,
} from '../../../store/store.ts'
import whole from '../../../store/whole.lua'
import announceLua from './announce.lua'
import appendLua from './append.lua'
import latestLua from './latest.lua'
import { compareIds, FIRST_RUN, type Message } from './message.ts'
import publishLua from './publish.lua'
import readLua from './read.lua'

/** Precedes scripts that call `append`. */
export const APPEND: string = `${whole}\n${appendLua}`
/** Precedes scripts that call `latest`. */
export const LATEST: string = `${whole}\n${latestLua}`

/** Appends a message to the history of a topic and publishes it. Returns its ID. */
export function appendMessage(
  database: MemoryDatabase,
  key: string,
  json: string,
  [most, ttl, channel, first]: readonly OperationArgument[],
  now: number,
): string {
  const entries = database.get<Message[]>(key) ?? []
  const previous = entries.at(-1)?.id ?? '0-0'
  const [ms, sequence] = previous.split('-').map(Number) as [number, number]
  const id = ms < now ? `${now}-${String(first)}` : `${ms}-${sequence + 1}`
  entries.push({ id, previous, json })
  entries.splice(0, entries.length - Number(most))
  database.set(key, entries, Number(ttl))
  database.publish(String(channel), `${id} ${previous} ${json}`)
  return id
}

/** Appends a message to the history of a topic and publishes it. */
export const publishMessage: Operation<string> = operation({
  name: 'channels.publish',
  lua: `${APPEND}\n${publishLua}`,
  memory: (database, [key], [json, ...topic], now) =>
    appendMessage(database, key!, String(json), topic, now),
})

/** Publishes a message that is not stored. */
export const announceMessage: Operation<number> = operation({
  name: 'channels.announce',
  lua: announceLua,
  memory(database, _keys, [json, channel]) {
    database.publish(String(channel), `  ${String(json)}`)
    return 1
  },
})

/** Stands for the run of the server: with this process, all of its data ends. */
const RUN = FIRST_RUN + randomInt(0x1000000)

/** Returns the ID of the latest message of a topic or '', and a position before any message from now on. */
export const latestPositions = (
  database: MemoryDatabase,
  key: string,
  now: number,
): [last: string, now: string] => [
  database.get<Message[]>(key)?.at(-1)?.id ?? '',
  `${now - 1}-${RUN}`,
]

/** Reads the history of a topic after a position. */
export const readHistory: Operation<string[]> = operation({
  name: 'channels.read',
  lua: `${LATEST}\n${readLua}`,
  memory(database, [key], [after, most, bytes], now) {
    const entries = database.get<Message[]>(key!) ?? []
    const head = latestPositions(database, key!, now)
    if (after === '') return head
    let left = Number(bytes)
    const reply: string[] = [...head]
    for (const { id, previous, json } of entries) {
      if (compareIds(id, String(after)) <= 0) continue
      if (left <= 0 || reply.length === head.length + 3 * Number(most)) break
      reply.push(id, previous, json)
      left -= Buffer.byteLength(json)
    }
    return reply
  },
})
