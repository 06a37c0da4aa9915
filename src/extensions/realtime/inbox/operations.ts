/** What an inbox asks of the store. Keys, arguments and replies: see the scripts. */
import { operation, type MemoryDatabase, type Operation } from '../../../store/store.ts'
import { APPEND, appendMessage, LATEST, latestPositions } from '../channels/operations.ts'
import boxLua from './box.lua'
import countLua from './count.lua'
import deleteLua from './delete.lua'
import pageLua from './page.lua'
import pushLua from './push.lua'
import readLua from './read.lua'

/** The messages of one user. */
interface Box {
  /** By ID, the oldest first. `json` has the members of the message. */
  readonly messages: Map<string, { readonly at: number; readonly json: string }>
  readonly unread: Set<string>
  /** Times at which messages were removed. */
  readonly removed: Map<string, number>
}

function remove({ messages, unread }: Box, id: string): void {
  messages.delete(id)
  unread.delete(id)
}

/** Returns a box without messages that are too old. */
function openBox(database: MemoryDatabase, key: string, ttl: number, now: number): Box {
  const box = database.get<Box>(key) ?? {
    messages: new Map(),
    unread: new Set(),
    removed: new Map(),
  }
  for (const [id, { at }] of box.messages) if (at <= now - ttl) remove(box, id)
  for (const [id, at] of box.removed) if (at <= now - ttl) box.removed.delete(id)
  return box
}

/** Removes a message, and remembers its ID. */
function discard(box: Box, id: string, max: number, now: number): void {
  remove(box, id)
  box.removed.set(id, now)
  const oldest = [...box.removed].toSorted(
    ([a, at], [b, other]) => at - other || (a < b ? -1 : a > b ? 1 : 0),
  )
  for (const [each] of oldest.slice(0, Math.max(0, oldest.length - max))) box.removed.delete(each)
}

/** Pushes a message and publishes it. */
export const pushMessage: Operation<number[]> = operation({
  name: 'inbox.push',
  lua: `${APPEND}\n${boxLua}\n${pushLua}`,
  memory(database, [key, , , , topic], [name, data, most, life, ...append], now) {
    const [id, max, ttl] = [String(name), Number(most), Number(life)]
    const box = openBox(database, key!, ttl, now)
    const { messages, removed, unread } = box
    if (messages.has(id) || removed.has(id)) return [0, unread.size]
    const last = [...messages.values()].at(-1)?.at ?? 0
    const at = Math.max(now, last + 1)
    const json = `"id":"${id}","at":${at},"data":${String(data)}`
    messages.set(id, { at, json })
    unread.add(id)
    for (const oldest of [...messages.keys()].slice(0, Math.max(0, messages.size - max)))
      discard(box, oldest, max, now)
    database.set(key!, box, ttl)
    const message = `{"type":"push","message":{${json}},"unread":${unread.size}}`
    appendMessage(database, topic!, message, append, now)
    return [1, unread.size]
  },
})

/** Reads messages, the latest first. */
export const readPage: Operation<(string | number)[]> = operation({
  name: 'inbox.page',
  lua: `${APPEND}\n${boxLua}\n${pageLua}`,
  memory(database, [key], [cursor, limit, bytes, ttl], now) {
    const { messages, unread } = openBox(database, key!, Number(ttl), now)
    const reply: (string | number)[] = [unread.size, '']
    let [left, count, position] = [Number(bytes), 0, '']
    for (const [id, { at, json }] of [...messages].toReversed()) {
      if (cursor !== '' && at >= Number(cursor)) continue
      if (count === Number(limit) || left <= 0) {
        reply[1] = position
        break
      }
      reply.push(json, unread.has(id) ? 1 : 0)
      left -= Buffer.byteLength(json)
      count++
      position = String(at)
    }
    return reply
  },
})

/** Marks messages as read. */
export const markRead: Operation<number> = operation({
  name: 'inbox.read',
  lua: `${APPEND}\n${boxLua}\n${readLua}`,
  memory(database, [key, , , , topic], [how, ttl, ...rest], now) {
    const [append, ids] = [rest.slice(0, 4), rest.slice(4).map(String)]
    const { messages, unread } = openBox(database, key!, Number(ttl), now)
    const before = unread.size
    let what = '"all":true'
    if (how === 'all') {
      unread.clear()
    } else if (how === 'upTo') {
      const upTo = messages.get(ids[0]!)?.at ?? 0
      for (const id of unread) if (messages.get(id)!.at <= upTo) unread.delete(id)
      what = `"upTo":"${ids[0]}"`
    } else {
      const read = ids.filter((id) => unread.delete(id)).map((id) => `"${id}"`)
      what = `"ids":[${read.join(',')}]`
    }
    if (unread.size < before) {
      const message = `{"type":"read",${what},"unread":${unread.size}}`
      appendMessage(database, topic!, message, append, now)
    }
    return unread.size
  },
})

/** Deletes messages. */
export const deleteMessages: Operation<number[]> = operation({
  name: 'inbox.delete',
  lua: `${APPEND}\n${boxLua}\n${deleteLua}`,
  memory(database, [key, , , , topic], [most, ttl, ...rest], now) {
    const [append, ids] = [rest.slice(0, 4), rest.slice(4).map(String)]
    const box = openBox(database, key!, Number(ttl), now)
    const deleted: string[] = []
    for (const id of ids) {
      if (!box.messages.has(id)) continue
      discard(box, id, Number(most), now)
      deleted.push(`"${id}"`)
    }
    const unread = box.unread.size
    if (deleted.length > 0) {
      database.set(key!, box, Number(ttl))
      const message = `{"type":"delete","ids":[${deleted.join(',')}],"unread":${unread}}`
      appendMessage(database, topic!, message, append, now)
    }
    return [deleted.length, unread]
  },
})

/** Counts unread messages, and reads the position in the topic at which the count is so. */
export const countUnread: Operation<(string | number)[]> = operation({
  name: 'inbox.count',
  lua: `${LATEST}\n${boxLua}\n${countLua}`,
  memory: (database, [key, , , , topic], [ttl], now) => [
    openBox(database, key!, Number(ttl), now).unread.size,
    ...latestPositions(database, topic!, now),
  ],
})
