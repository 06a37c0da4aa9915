import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  acquireLock,
  coolDownLock,
  readHolder,
  releaseLock,
  renewLock,
  revokeLock,
} from '../../../src/features/lock/operations.ts'
import { differential, SEQUENCES, START } from '../../support/differential.ts'

const step = fc.record({
  operation: fc.constantFrom(
    acquireLock,
    acquireLock,
    acquireLock,
    renewLock,
    releaseLock,
    releaseLock,
    coolDownLock,
    readHolder,
    revokeLock,
  ),
  owner: fc.constantFrom('a', 'b', 'c', 'd'),
  time: fc.constantFrom(1, 10, 50, 1000, 60_000),
  queueTtl: fc.constantFrom(0, 0, 20, 500),
  turn: fc.constantFrom(0, 0, 0, 1, 9, 10, 11, 49, 50, 1000, 60_001, -5),
})

test(
  `${SEQUENCES} random sequences: the scripts of locks and their twins reply and publish alike`,
  async () => {
    const tally = await differential({
      name: 'locks',
      operations: [acquireLock, renewLock, releaseLock, coolDownLock, readHolder, revokeLock],
      step,
      channel: (id) => `news:${id}`,
      play(steps, id, run) {
        const of = (sub: string): string => `lock:{${id}}:${sub}`
        const [lock, token, queue, alive] = [of('lock'), of('token'), of('queue'), of('alive')]
        let now = START
        let last = 0
        for (const { operation, owner, time, queueTtl, turn } of steps) {
          now += turn
          if (operation === acquireLock) {
            const [ok, value] = run({
              operation,
              keys: [lock, token, queue, alive],
              args: [owner, time, queueTtl],
              now,
            }) as number[]
            if (ok !== 1) continue
            expect(value).toBeGreaterThanOrEqual(last)
            last = value!
          } else if (operation === releaseLock) {
            run({ operation, keys: [lock, queue, alive], args: [owner, `news:${id}`], now })
          } else if (operation === revokeLock) {
            const token = owner === 'a' ? '' : owner === 'b' ? last : last - 1
            run({ operation, keys: [lock, queue, alive], args: [token, `news:${id}`], now })
          } else if (operation === readHolder) {
            run({ operation, keys: [lock], args: [], now })
          } else {
            run({ operation, keys: [lock], args: [owner, time], now })
          }
        }
      },
    })
    for (const reply of [
      'acquire 0',
      'acquire 1',
      'renew 0',
      'renew 1',
      'release 0',
      'release 1',
      'cooldown 1',
      'revoke 0',
      'revoke 1',
    ]) {
      expect(tally[`lock.${reply}`], reply).toBeGreaterThan(0)
    }
  },
  60_000 + SEQUENCES * 20,
)
