import { operation, type Operation } from '../../store/store.ts'
import lua from './complete.lua'
import { bytes, PRELUDE, recordAt, type Record, type Terms } from './record.ts'

/** Stores the answer of a request. Keys, arguments and reply: see complete.lua. */
export function completeOf({ ttl }: Pick<Terms, 'ttl'>): Operation<number> {
  return operation({
    name: 'idempotency.complete',
    lua: `${PRELUDE}\nlocal KEPT = ${ttl.toFixed(0)}\n${lua}`,
    memory(database, [key], [claim, answer], now) {
      const known = recordAt(database, key!, now)
      if (known && known.claim !== claim) return 0
      const record: Record = {
        state: 'c',
        claim: String(claim),
        leaseEnds: 0,
        token: 0,
        attempt: 0,
        ends: now + ttl,
        answer: bytes(answer),
        waiters: '',
        steps: new Map(),
      }
      database.set(key!, record, ttl)
      if (known?.waiters) database.publish(known.waiters, '*')
      return 1
    },
  })
}
