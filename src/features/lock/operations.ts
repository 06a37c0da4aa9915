/** What locks do in the store. Keys, arguments and replies: see the Lua files. */
import { operation, type MemoryDatabase, type Operation } from '../../store/store.ts'
import prelude from '../../store/whole.lua'
import { dequeue, enqueue, notify, queueOf } from '../wait-queue.ts'
import queueLua from '../wait-queue.lua'
import acquireLua from './acquire.lua'
import cooldownLua from './cooldown.lua'
import holderLua from './holder.lua'
import releaseLua from './release.lua'
import renewLua from './renew.lua'
import revokeLua from './revoke.lua'

/** A lock in the in-process engine. Times are in ms since the epoch. */
interface LockRecord {
  owner: string
  token: number
  since: number
  until: number
}

/** Time for which the last fencing token is kept, in ms. Later, the clock alone makes the next one greater. */
const WEEK = 604_800_000

const setLock = (database: MemoryDatabase, key: string, lock: LockRecord, ttl: number): void =>
  database.set(key, lock, ttl)

/** Returns the lock if `owner` holds it. */
function ownedLock(
  database: MemoryDatabase,
  key: string,
  owner: unknown,
  now: number,
): LockRecord | undefined {
  const lock = database.get<LockRecord>(key)
  return lock && lock.owner === owner && lock.until > now ? lock : undefined
}

/** Acquires a lock, or says how long to wait. */
export const acquireLock: Operation<[1, number] | [0, number, number]> = operation({
  name: 'lock.acquire',
  lua: `${prelude}\n${queueLua}\n${acquireLua}`,
  memory(database, [key, fence, queue], args, now) {
    const [owner, lease, queueTtl] = [String(args[0]), Number(args[1]), Number(args[2])]
    const lock = database.get<LockRecord>(key!)
    const left = (lock?.until ?? 0) - now
    if (lock && left > 0 && lock.owner === owner) {
      setLock(database, key!, { ...lock, until: now + lease }, lease)
      return [1, lock.token]
    }
    if (queueTtl > 0 && enqueue(database, queue!, owner, queueTtl, now) > 0 && left <= 0)
      return [0, Math.max(1, queueOf(database, queue!, now)[0]!.aliveUntil - now), 0]
    if (lock && left > 0) return [0, left, now - lock.since]
    const token = Math.max((database.get<number>(fence!) ?? 0) + 1, now * 1000)
    database.set(fence!, token, WEEK)
    setLock(database, key!, { owner, token, since: now, until: now + lease }, lease)
    if (queueTtl > 0) dequeue(database, queue!, owner, now)
    return [1, token]
  },
})

/** Renews a lock. */
export const renewLock: Operation<number> = operation({
  name: 'lock.renew',
  lua: `${prelude}\n${renewLua}`,
  memory(database, [key], [owner, lease], now) {
    const lock = ownedLock(database, key!, owner, now)
    if (!lock) return 0
    setLock(database, key!, { ...lock, until: now + Number(lease) }, Number(lease))
    return 1
  },
})

/** Releases a lock. */
export const releaseLock: Operation<number> = operation({
  name: 'lock.release',
  lua: `${prelude}\n${queueLua}\n${releaseLua}`,
  memory(database, [key, queue], [owner, channel], now) {
    const lock = database.get<LockRecord>(key!)
    const left = (lock?.until ?? 0) - now
    const isMine = lock?.owner === owner
    dequeue(database, queue!, String(owner), now)
    if (isMine) database.delete(key!)
    if (isMine || left <= 0) notify(database, queue!, String(owner), String(channel), now)
    return isMine && left > 0 ? 1 : 0
  },
})

/** Releases a lock, and lets no owner acquire it for a while. */
export const coolDownLock: Operation<number> = operation({
  name: 'lock.cooldown',
  lua: `${prelude}\n${cooldownLua}`,
  memory(database, [key], [owner, time], now) {
    const lock = ownedLock(database, key!, owner, now)
    if (!lock) return 0
    setLock(database, key!, { ...lock, owner: '', until: now + Number(time) }, Number(time))
    return 1
  },
})

/** Returns the lock if any owner holds it. */
function heldLock(database: MemoryDatabase, key: string, now: number): LockRecord | undefined {
  const lock = database.get<LockRecord>(key)
  return lock && lock.owner !== '' && lock.until > now ? lock : undefined
}

/** Returns the holder of a lock. */
export const readHolder: Operation<[string, number, number, number] | []> = operation({
  name: 'lock.holder',
  lua: holderLua,
  memory(database, [key], _args, now) {
    const lock = heldLock(database, key!, now)
    return lock ? [lock.owner, lock.token, lock.since, lock.until] : []
  },
})

/** Releases a lock in its holder's place. */
export const revokeLock: Operation<number> = operation({
  name: 'lock.revoke',
  lua: `${prelude}\n${queueLua}\n${revokeLua}`,
  memory(database, [key, queue], [token, channel], now) {
    const lock = heldLock(database, key!, now)
    if (!lock || (token !== '' && String(lock.token) !== String(token))) return 0
    database.delete(key!)
    notify(database, queue!, '', String(channel), now)
    return 1
  },
})

/** Waits until replicas have what was written on this connection. Arguments: how many, ms. Replies how many have it. */
export const waitForReplicas: Operation<number> = operation({
  name: 'lock.replicas',
  command: 'WAIT',
  // One process has nothing to fail over to.
  memory: (_database, _keys, [count]) => Number(count),
})
