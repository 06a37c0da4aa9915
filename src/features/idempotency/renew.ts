import { operation, type Operation } from '../../store/store.ts'
import whole from '../whole.lua'
import { ownAt } from './record.ts'
import lua from './renew.lua'

/** Lengthens the lease of a running request. One that comes late must not. See renew.lua. */
export const renew: Operation<number> = operation({
  name: 'idempotency.renew',
  lua: `${whole}\n${lua}`,
  punctual: true,
  memory(database, [key], [owner, lease, time], now) {
    const record = ownAt(database, key!, owner, now)
    if (!record) return 0
    database.set(
      key!,
      { ...record, leaseEnds: now + Number(lease), ends: now + Number(time) },
      Number(time),
    )
    return 1
  },
})
