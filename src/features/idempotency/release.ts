import { operation, type Operation } from '../../store/store.ts'
import { ownAt, PRELUDE, type Record } from './record.ts'
import lua from './release.lua'

/** Gives a key back whose request has failed. Keys, arguments and reply: see release.lua. */
export const release: Operation<number> = operation({
  name: 'idempotency.release',
  lua: `${PRELUDE}\n${lua}`,
  memory(database, [key], [claim, keep], now) {
    const record = ownAt(database, key!, claim, now)
    if (!record) return 0
    if (record.steps.size === 0 && keep === undefined) database.delete(key!)
    else
      database.set(
        key!,
        { ...record, state: 'r', leaseEnds: 0 } satisfies Record,
        record.ends - now,
      )
    if (record.waiters) database.publish(record.waiters, '*')
    return 1
  },
})
