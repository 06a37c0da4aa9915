import { operation, type Operation, type OperationReply } from '../../store/store.ts'
import lua from './begin.lua'
import { PRELUDE, PRINT, recordAt, type Record, type Terms } from './record.ts'

const NONE = Buffer.alloc(0)

/** Looks a request up by its key, or claims it. One that comes late must not. See begin.lua. */
export function beginOf({ lease, ttl, onCrash }: Terms): Operation<number | OperationReply[]> {
  const isConflict = onCrash === 'conflict'
  const terms = `local LEASE, KEPT, CONFLICT = ${lease.toFixed(0)}, ${ttl.toFixed(0)}, ${isConflict}`
  return operation({
    name: 'idempotency.begin',
    lua: `${PRELUDE}\n${terms}\n${lua}`,
    refuseLate: true,
    buffers: true,
    memory(database, [key], [claim, channel], now) {
      const known = recordAt(database, key!, now)
      if (known) {
        const { state, answer, leaseEnds, ends } = known
        if (known.claim.slice(0, PRINT) !== String(claim).slice(0, PRINT)) return [4]
        if (state === 'c') return [2, answer]
        if (leaseEnds > now) {
          const waiters = channel === undefined ? known.waiters : String(channel)
          database.set(key!, { ...known, waiters } satisfies Record, ends - now)
          return [3, leaseEnds - now]
        }
        if (state === 'p' && isConflict) return [6]
      }
      const record: Record = {
        state: 'p',
        claim: String(claim),
        leaseEnds: now + lease,
        token: Math.max((known?.token ?? 0) + 1, now * 1000),
        attempt: (known?.attempt ?? 0) + 1,
        ends: now + ttl,
        answer: NONE,
        waiters: known?.waiters ?? '',
        steps: known?.steps ?? new Map(),
      }
      database.set(key!, record, ttl)
      if (record.attempt === 1) return record.token
      const steps = [...record.steps].flatMap(([name, value]) => [Buffer.from(name), value])
      return [1, record.token, record.attempt, ...steps]
    },
  })
}
