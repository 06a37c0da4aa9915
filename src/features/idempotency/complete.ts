import { operation, type Operation } from '../../store/store.ts'
import whole from '../whole.lua'
import lua from './complete.lua'
import { bytes, recordAt, type Record } from './record.ts'

/** Stores the answer of a request. Keys, arguments and reply: see complete.lua. */
export const complete: Operation<number> = operation({
  name: 'idempotency.complete',
  lua: `${whole}\n${lua}`,
  memory(database, [key], args, now) {
    const [owner = '', fingerprint = ''] = args.map(String)
    const time = Number(args[2])
    const known = recordAt(database, key!, now)
    if (known && known.owner !== owner) return 0
    const record: Record = {
      state: args[3] === 'c' ? 'c' : 'm',
      fingerprint,
      owner,
      leaseEnds: 0,
      token: 0,
      attempt: 0,
      ends: now + time,
      head: bytes(args[4]),
      body: bytes(args[5]),
      waiters: '',
      steps: new Map(),
    }
    database.set(key!, record, time)
    if (known?.waiters) database.publish(known.waiters, '*')
    return 1
  },
})
