/** What channels ask of the store. Keys, arguments and replies: see the scripts. */
import { randomInt } from 'node:crypto'
import { operation, type Operation } from '../../../store/store.ts'
import whole from '../../../store/whole.lua'
import announceLua from './announce.lua'
import { compareIds, FIRST_RUN, type Message } from './message.ts'
import publishLua from './publish.lua'
import readLua from './read.lua'

/** Appends a message to the history of a topic and publishes it. */
export const publishMessage: Operation<string> = operation({
  name: 'channels.publish',
  lua: `${whole}\n${publishLua}`,
  memory(database, [key], [json, most, ttl, channel, first], now) {
    const entries = database.get<Message[]>(key!) ?? []
    const previous = entries.at(-1)?.id ?? '0-0'
    const [ms, sequence] = previous.split('-').map(Number) as [number, number]
    const id = ms < now ? `${now}-${String(first)}` : `${ms}-${sequence + 1}`
    entries.push({ id, previous, json: String(json) })
    entries.splice(0, entries.length - Number(most))
    database.set(key!, entries, Number(ttl))
    database.publish(String(channel), `${id} ${previous} ${String(json)}`)
    return id
  },
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

/** Reads the history of a topic after a position. */
export const readHistory: Operation<string[]> = operation({
  name: 'channels.read',
  lua: `${whole}\n${readLua}`,
  memory(database, [key], [after, most, bytes], now) {
    const entries = database.get<Message[]>(key!) ?? []
    const head = [entries.at(-1)?.id ?? '', `${now - 1}-${RUN}`]
    if (after === '') return head
    let left = Number(bytes)
    const reply = [...head]
    for (const { id, previous, json } of entries) {
      if (compareIds(id, String(after)) <= 0) continue
      if (left <= 0 || reply.length === head.length + 3 * Number(most)) break
      reply.push(id, previous, json)
      left -= Buffer.byteLength(json)
    }
    return reply
  },
})
