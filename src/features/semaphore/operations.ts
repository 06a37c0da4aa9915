/** What semaphores do in the store. Keys, arguments and replies: see the Lua files. */
import { operation, type MemoryDatabase, type Operation } from '../../store/store.ts'
import prelude from '../../store/whole.lua'
import { dequeue, enqueue, notify } from '../wait-queue.ts'
import queueLua from '../wait-queue.lua'
import acquireLua from './acquire.lua'
import countLua from './count.lua'
import releaseLua from './release.lua'
import renewLua from './renew.lua'

/** The permits in the in-process engine: owner -> end of the lease, in ms since the epoch. */
type Permits = ReadonlyMap<string, number>

const permitsOf = (database: MemoryDatabase, key: string): Map<string, number> =>
  new Map(database.get<Permits>(key))

function setPermits(database: MemoryDatabase, key: string, permits: Permits, now: number): void {
  if (permits.size === 0) return void database.delete(key)
  database.set(key, permits, Math.max(1, Math.max(...permits.values()) - now))
}

/** Acquires a permit, or says how long to wait. */
export const acquirePermit: Operation<[number, number]> = operation({
  name: 'semaphore.acquire',
  lua: `${prelude}\n${queueLua}\n${acquireLua}`,
  refuseLate: true,
  memory(database, [key, queue], args, now) {
    const owner = String(args[0])
    const [limit, lease, queueTtl] = args.slice(1).map(Number) as [number, number, number]
    const permits = new Map([...permitsOf(database, key!)].filter(([, until]) => until > now))
    setPermits(database, key!, permits, now)
    if (!permits.has(owner)) {
      const before = queueTtl > 0 ? enqueue(database, queue!, owner, queueTtl, now) : 0
      if (permits.size + before >= limit) {
        const first = Math.min(...permits.values())
        return [0, permits.size > 0 ? first - now : queueTtl > 0 ? queueTtl : lease]
      }
      if (queueTtl > 0) dequeue(database, queue!, owner, now)
    }
    permits.set(owner, now + lease)
    setPermits(database, key!, permits, now)
    return [1, permits.size]
  },
})

/** Renews a permit. */
export const renewPermit: Operation<number> = operation({
  name: 'semaphore.renew',
  lua: `${prelude}\n${renewLua}`,
  refuseLate: true,
  memory(database, [key], [owner, lease], now) {
    const permits = permitsOf(database, key!)
    if ((permits.get(String(owner)) ?? 0) <= now) return 0
    permits.set(String(owner), now + Number(lease))
    setPermits(database, key!, permits, now)
    return 1
  },
})

/** Releases a permit. */
export const releasePermit: Operation<number> = operation({
  name: 'semaphore.release',
  lua: `${prelude}\n${queueLua}\n${releaseLua}`,
  memory(database, [key, queue], [owner, channel], now) {
    const permits = permitsOf(database, key!)
    const wasHeld = (permits.get(String(owner)) ?? 0) > now
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
    [...permitsOf(database, key!).values()].filter((until) => until > now).length,
})
