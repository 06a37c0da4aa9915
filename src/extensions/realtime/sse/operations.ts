/** What event streams ask of the store. Keys, arguments and replies: see the scripts. */
import { operation, type MemoryDatabase, type Operation } from '../../../store/store.ts'
import whole from '../../../store/whole.lua'
import acquireLua from './acquire.lua'
import renewLua from './renew.lua'

/** Ends of leases by stream, in ms since the epoch. */
type Places = ReadonlyMap<string, number>

function setPlace(database: MemoryDatabase, key: string, id: string, now: number, lease: number) {
  const places = new Map(database.get<Places>(key)).set(id, now + lease)
  database.set(key, places, lease)
}

/** Takes a place for a stream of a user. */
export const acquirePlace: Operation<number> = operation({
  name: 'sse.acquire',
  lua: `${whole}\n${acquireLua}`,
  memory(database, [key], [id, limit, lease], now) {
    const places = new Map(database.get<Places>(key!))
    for (const [known, until] of places) if (until <= now) places.delete(known)
    if (places.size >= Number(limit)) return 0
    database.set(key!, places, Number(lease))
    setPlace(database, key!, String(id), now, Number(lease))
    return 1
  },
})

/** Renews the place of a stream. */
export const renewPlace: Operation<number> = operation({
  name: 'sse.renew',
  lua: `${whole}\n${renewLua}`,
  memory(database, [key], [id, lease], now) {
    setPlace(database, key!, String(id), now, Number(lease))
    return 1
  },
})

/** Gives the place of a stream back. */
export const releasePlace: Operation<number> = operation({
  name: 'sse.release',
  lua: `return redis.call('ZREM', KEYS[1], ARGV[1])`,
  memory(database, [key], [id], now) {
    const places = new Map(database.get<Places>(key!))
    const wasHeld = places.delete(String(id))
    const last = Math.max(0, ...places.values())
    if (places.size === 0) database.delete(key!)
    else database.set(key!, places, Math.max(1, last - now))
    return wasHeld ? 1 : 0
  },
})
