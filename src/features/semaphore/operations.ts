/** What semaphores do in the store. Keys, arguments and replies: see the Lua files. */
import { operation, type MemoryDatabase, type Operation } from '../../store/store.ts'
import prelude from '../../store/whole.lua'
import { dequeue, enqueue, notify } from '../wait-queue.ts'
import queueLua from '../wait-queue.lua'
import acquireLua from './acquire.lua'
import countLua from './count.lua'
import holdersLua from './holders.lua'
import permitsLua from './permits.lua'
import releaseLua from './release.lua'
import renewLua from './renew.lua'

/** A permit in the in-process engine. Times are in ms since the epoch. */
interface PermitRecord {
  since: number
  until: number
}
/** By owner. */
type Permits = ReadonlyMap<string, PermitRecord>

const permitsOf = (database: MemoryDatabase, key: string): Map<string, PermitRecord> =>
  new Map(database.get<Permits>(key))

function setPermits(database: MemoryDatabase, key: string, permits: Permits, now: number): void {
  if (permits.size === 0) return void database.delete(key)
  const last = Math.max(...Array.from(permits.values(), ({ until }) => until))
  database.set(key, permits, Math.max(1, last - now))
}

/** Acquires a permit, or says how long to wait. */
export const acquirePermit: Operation<[number, number]> = operation({
  name: 'semaphore.acquire',
  lua: `${prelude}\n${queueLua}\n${permitsLua}\n${acquireLua}`,
  memory(database, [key, , queue], args, now) {
    const owner = String(args[0])
    const [limit, lease, queueTtl] = args.slice(1).map(Number) as [number, number, number]
    const live = [...permitsOf(database, key!)].filter(([, { until }]) => until > now)
    const permits = new Map(live)
    setPermits(database, key!, permits, now)
    const known = permits.get(owner)
    if (!known) {
      const before = queueTtl > 0 ? enqueue(database, queue!, owner, queueTtl, now) : 0
      if (permits.size + before >= limit) {
        const first = Math.min(...live.map(([, { until }]) => until))
        return [0, live.length > 0 ? first - now : queueTtl > 0 ? queueTtl : lease]
      }
      if (queueTtl > 0) dequeue(database, queue!, owner, now)
    }
    permits.set(owner, { since: known?.since ?? now, until: now + lease })
    setPermits(database, key!, permits, now)
    return [1, permits.size]
  },
})

/** Renews a permit. */
export const renewPermit: Operation<number> = operation({
  name: 'semaphore.renew',
  lua: `${prelude}\n${permitsLua}\n${renewLua}`,
  memory(database, [key], [owner, lease], now) {
    const permits = permitsOf(database, key!)
    const permit = permits.get(String(owner))
    if (!permit || permit.until <= now) return 0
    permits.set(String(owner), { ...permit, until: now + Number(lease) })
    setPermits(database, key!, permits, now)
    return 1
  },
})

/** Releases a permit. */
export const releasePermit: Operation<number> = operation({
  name: 'semaphore.release',
  lua: `${prelude}\n${queueLua}\n${releaseLua}`,
  memory(database, [key, , queue], [owner, channel], now) {
    const permits = permitsOf(database, key!)
    const wasHeld = (permits.get(String(owner))?.until ?? 0) > now
    permits.delete(String(owner))
    setPermits(database, key!, permits, now)
    dequeue(database, queue!, String(owner), now)
    notify(database, queue!, String(owner), String(channel), now)
    return wasHeld ? 1 : 0
  },
})

/** Counts the permits that are held. */
export const countPermits: Operation<number> = operation({
  name: 'semaphore.count',
  lua: countLua,
  memory: (database, [key], _args, now) =>
    [...permitsOf(database, key!).values()].filter(({ until }) => until > now).length,
})

/** Returns the holders of permits. */
export const readHolders: Operation<(string | number)[]> = operation({
  name: 'semaphore.holders',
  lua: holdersLua,
  memory: (database, [key], [most], now) =>
    [...permitsOf(database, key!)]
      .filter(([, { until }]) => until > now)
      .sort(([a, x], [b, y]) => x.until - y.until || (a < b ? -1 : 1))
      .slice(0, Number(most))
      .flatMap(([owner, { since, until }]) => [owner, since, until]),
})
