import { operation, type Operation } from '../../store/store.ts'
import { queueOf, enqueue, leaveQueue } from '../wait-queue.ts'
import line from '../wait-queue.lua'
import whole from '../../store/whole.lua'
import lua from './acquire.lua'
import type { Locked } from './record.ts'

/** For how long the last fencing token is remembered: time itself makes the next one greater. */
const WEEK = 604_800_000

/** Takes a lock, or says how long to wait. Keys, arguments and reply: see acquire.lua. */
export const acquire: Operation<[number, number]> = operation({
  name: 'lock.acquire',
  lua: `${whole}\n${line}\n${lua}`,
  refuseLate: true,
  memory(database, [lock, fence, places], args, now) {
    const [owner, lease, patience] = [String(args[0]), Number(args[1]), Number(args[2])]
    const held = database.get<Locked>(lock!)
    const left = (held?.until ?? 0) - now
    if (held && left > 0 && held.owner === owner) {
      database.set(lock!, { ...held, until: now + lease } satisfies Locked, lease)
      return [1, held.token]
    }
    if (patience > 0 && enqueue(database, places!, owner, patience, now) > 0 && left <= 0) {
      return [0, Math.max(1, queueOf(database, places!, now)[0]!.sign - now)]
    }
    if (left > 0) return [0, left]
    const token = Math.max((database.get<number>(fence!) ?? 0) + 1, now * 1000)
    database.set(fence!, token, WEEK)
    database.set(lock!, { owner, token, until: now + lease } satisfies Locked, lease)
    if (patience > 0) leaveQueue(database, places!, owner, now)
    return [1, token]
  },
})
