import { operation, type Operation } from '../../store/store.ts'
import { notifyNext, leaveQueue } from '../wait-queue.ts'
import line from '../wait-queue.lua'
import whole from '../../store/whole.lua'
import type { Locked } from './record.ts'
import lua from './release.lua'

/** Gives a lock back. Keys, arguments and reply: see release.lua. */
export const release: Operation<number> = operation({
  name: 'lock.release',
  lua: `${whole}\n${line}\n${lua}`,
  memory(database, [lock, places], [owner, channel], now) {
    const held = database.get<Locked>(lock!)
    const left = (held?.until ?? 0) - now
    const isMine = held?.owner === owner
    leaveQueue(database, places!, String(owner), now)
    if (isMine) database.delete(lock!)
    if (isMine || left <= 0) notifyNext(database, places!, String(owner), String(channel), now)
    return isMine && left > 0 ? 1 : 0
  },
})
