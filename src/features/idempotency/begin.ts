import { operation, type Operation, type Reply } from '../../store/store.ts'
import whole from '../whole.lua'
import lua from './begin.lua'
import { recordAt, type Record } from './record.ts'

const NONE = Buffer.alloc(0)

/** Looks a request up by its key, or claims it. One that comes late must not. See begin.lua. */
export const begin: Operation<Reply[]> = operation({
  name: 'idempotency.begin',
  lua: `${whole}\n${lua}`,
  punctual: true,
  buffers: true,
  memory(database, [key], args, now) {
    const [fingerprint = '', owner = '', , , conflict, waiters] = args.map(String)
    const [lease, time] = args.slice(2, 4).map(Number) as [number, number]
    const known = recordAt(database, key!, now)
    if (known) {
      const { state, head, body, leaseEnds } = known
      if (known.fingerprint !== fingerprint) return [4]
      if (state === 'c') return [2, head, body]
      if (state === 'm') return [5, head]
      if (leaseEnds > now) {
        if (waiters) database.set(key!, { ...known, waiters } satisfies Record, known.ends - now)
        return [3, leaseEnds - now]
      }
      if (state === 'p' && conflict === '1') return [6]
    }
    const record: Record = {
      state: 'p',
      fingerprint,
      owner,
      leaseEnds: now + lease,
      token: Math.max((known?.token ?? 0) + 1, now * 1000),
      attempt: (known?.attempt ?? 0) + 1,
      ends: now + time,
      head: NONE,
      body: NONE,
      waiters: known?.waiters ?? '',
      steps: known?.steps ?? new Map(),
    }
    database.set(key!, record, time)
    const steps = [...record.steps].flatMap(([name, value]) => [Buffer.from(name), value])
    return [1, record.token, record.attempt, ...steps]
  },
})
