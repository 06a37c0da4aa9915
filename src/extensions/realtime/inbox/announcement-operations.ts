/** What announcements ask of the store. Keys, arguments and replies: see the scripts. */
import { operation, type MemoryDatabase, type Operation } from '../../../store/store.ts'
import whole from '../../../store/whole.lua'
import { APPEND, appendMessage } from '../channels/operations.ts'
import announceLua from './announce.lua'
import announcedLua from './announced.lua'
import announcementsLua from './announcements.lua'
import seeLua from './see.lua'
import withdrawLua from './withdraw.lua'

/** Announcements by ID. `json` has the members of the announcement. */
type Announced = Map<
  string,
  { readonly from: number; readonly until: number; readonly json: string }
>

function openAnnounced(database: MemoryDatabase, key: string, now: number): Announced {
  const announced = database.get<Announced>(key) ?? new Map()
  for (const [id, { until }] of announced) if (until <= now) announced.delete(id)
  return announced
}

/** Compares two IDs as Redis does. */
const compareNames = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

/** Adds an announcement, and publishes it if its time has begun. */
export const addAnnouncement: Operation<number> = operation({
  name: 'inbox.announce',
  lua: `${APPEND}\n${announcedLua}\n${announceLua}`,
  memory(database, [key, , , topic], args, now) {
    const [name, data, begin, end, longest, most, ...append] = args
    const id = String(name)
    const announced = openAnnounced(database, key!, now)
    if (announced.has(id)) return 0
    const from = Number(begin) || now
    const until = Number(end) || from + Number(longest)
    if (until <= now || until <= from || until > Math.max(from, now) + Number(longest)) return -2
    if (announced.size >= Number(most)) return -1
    const json = `"id":"${id}","from":${from},"until":${until},"data":${String(data)}`
    announced.set(id, { from, until, json })
    const last = Math.max(...Array.from(announced.values(), (each) => each.until))
    database.set(key!, announced, last - now)
    const message = `{"type":"announcement","announcement":{${json}}}`
    if (from <= now) appendMessage(database, topic!, message, append, now)
    return 1
  },
})

/** Removes an announcement, and publishes that. */
export const withdrawAnnouncement: Operation<number> = operation({
  name: 'inbox.withdraw',
  lua: `${APPEND}\n${announcedLua}\n${withdrawLua}`,
  memory(database, [key, , , topic], [name, ...append], now) {
    const id = String(name)
    if (!openAnnounced(database, key!, now).delete(id)) return 0
    appendMessage(database, topic!, `{"type":"withdraw","id":"${id}"}`, append, now)
    return 1
  },
})

/** Reads the announcements that are shown now, the latest first. */
export const readAnnouncements: Operation<string[]> = operation({
  name: 'inbox.announcements',
  lua: `${whole}\n${announcedLua}\n${announcementsLua}`,
  memory: (database, [key], _args, now) =>
    [...openAnnounced(database, key!, now)]
      .filter(([, { from }]) => from <= now)
      .toSorted(([a, one], [b, other]) => other.from - one.from || compareNames(b, a))
      .map(([, { json }]) => json),
})

/** Marks announcements as read by a user. */
export const seeAnnouncements: Operation<number> = operation({
  name: 'inbox.see',
  lua: `${whole}\n${seeLua}`,
  memory(database, [key], [most, ...pairs], now) {
    const seen = new Map(database.get<ReadonlyMap<string, number>>(key!))
    for (let i = 0; i + 1 < pairs.length; i += 2) seen.set(String(pairs[i]), Number(pairs[i + 1]))
    const kept = [...seen]
      .filter(([, until]) => until > now)
      .toSorted(([a, one], [b, other]) => one - other || compareNames(a, b))
      .slice(-Number(most))
    const last = kept.at(-1)?.[1]
    if (last === undefined) database.delete(key!)
    else database.set(key!, new Map(kept), last - now)
    return 1
  },
})

/** Reads the IDs of the announcements that a user has read. */
export const readSeen: Operation<string[]> = operation({
  name: 'inbox.seen',
  lua: `${whole}\nreturn redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. whole(now), '+inf')`,
  memory: (database, [key], _args, now) =>
    [...(database.get<ReadonlyMap<string, number>>(key!) ?? [])]
      .filter(([, until]) => until > now)
      .map(([id]) => id),
})
