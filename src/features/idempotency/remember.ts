import { operation, type Operation } from '../../store/store.ts'
import { bytes, PRELUDE, recordAt } from './record.ts'
import lua from './remember.lua'

/** Keeps what a step came to. Keys, arguments and reply: see remember.lua. */
export const remember: Operation<number> = operation({
  name: 'idempotency.remember',
  lua: `${PRELUDE}\n${lua}`,
  memory(database, [key], [claim, name, value], now) {
    const record = recordAt(database, key!, now)
    if (!record) return -1
    if (record.state !== 'p' || record.claim !== claim) return 0
    database.set(
      key!,
      { ...record, steps: new Map(record.steps).set(String(name), bytes(value)) },
      record.ends - now,
    )
    return 1
  },
})
