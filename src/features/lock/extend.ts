import { operation, type Operation } from '../../store/store.ts'
import line from '../wait-queue.lua'
import whole from '../../store/whole.lua'
import lua from './extend.lua'
import type { Locked } from './record.ts'

/** Lengthens a lease. One that comes late must not: nobody holds it any more. See extend.lua. */
export const extend: Operation<number> = operation({
  name: 'lock.extend',
  lua: `${whole}\n${line}\n${lua}`,
  refuseLate: true,
  memory(database, [lock], [owner, lease], now) {
    const held = database.get<Locked>(lock!)
    if (held?.owner !== owner || held!.until <= now) return 0
    database.set(lock!, { ...held!, until: now + Number(lease) } satisfies Locked, Number(lease))
    return 1
  },
})
