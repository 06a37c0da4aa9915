import { operation, type Operation } from '../../store/store.ts'
import { ownAt, PRELUDE } from './record.ts'
import lua from './renew.lua'

/** Lengthens the lease of a running request. One that comes late must not. See renew.lua. */
export const renew: Operation<number> = operation({
  name: 'idempotency.renew',
  lua: `${PRELUDE}\n${lua}`,
  refuseLate: true,
  memory(database, [key], [claim, lease, time], now) {
    const record = ownAt(database, key!, claim, now)
    if (!record) return 0
    database.set(
      key!,
      { ...record, leaseEnds: now + Number(lease), ends: now + Number(time) },
      Number(time),
    )
    return 1
  },
})
