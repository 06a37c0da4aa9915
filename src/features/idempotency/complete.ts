import { operation, type Operation } from '../../store/store.ts'
import whole from '../whole.lua'
import lua from './complete.lua'
import { bytes, recordAt, type Record } from './record.ts'

/** Stores the answer of a request. Keys, arguments and reply: see complete.lua. */
export const complete: Operation<number> = operation({
  name: 'idempotency.complete',
  lua: `${whole}\n${lua}`,
  memory(database, [key], args, now) {
    const [owner, fingerprint] = args.map(String) as [string, string]
    const [token, attempt, time] = args.slice(2, 5).map(Number) as [number, number, number]
    const known = recordAt(database, key!, now)
    if (known && known.owner !== owner) return 0
    const record: Record = {
      state: args[5] === 'c' ? 'c' : 'm',
      fingerprint,
      owner,
      leaseEnds: 0,
      token,
      attempt,
      ends: now + time,
      status: Number(args[6]),
      headers: bytes(args[7]),
      body: bytes(args[8]),
      steps: new Map(),
    }
    database.set(key!, record, time)
    database.publish(String(args[9]), '*')
    return 1
  },
})
