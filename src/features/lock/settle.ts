import { operation, type Operation } from '../../store/store.ts'
import line from '../wait-queue.lua'
import whole from '../../store/whole.lua'
import type { Locked } from './record.ts'
import lua from './settle.lua'

/** Keeps a lock shut for a while, with nobody inside. Keys, arguments and reply: see settle.lua. */
export const settle: Operation<number> = operation({
  name: 'lock.settle',
  lua: `${whole}\n${line}\n${lua}`,
  memory(database, [lock], [owner, time], now) {
    const held = database.get<Locked>(lock!)
    if (held?.owner !== owner || held!.until <= now) return 0
    database.set(
      lock!,
      { ...held!, owner: '', until: now + Number(time) } satisfies Locked,
      Number(time),
    )
    return 1
  },
})
