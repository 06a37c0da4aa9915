import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  acquirePermit,
  countPermits,
  readHolders,
  releasePermit,
  renewPermit,
} from '../../../src/features/semaphore/operations.ts'
import { differential, SEQUENCES, START } from '../../support/differential.ts'

const step = fc.record({
  operation: fc.constantFrom(
    acquirePermit,
    acquirePermit,
    acquirePermit,
    acquirePermit,
    renewPermit,
    releasePermit,
    releasePermit,
    countPermits,
    readHolders,
  ),
  owner: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
  limit: fc.constantFrom(0, 1, 2, 2, 3),
  time: fc.constantFrom(1, 10, 50, 1000, 60_000),
  queueTtl: fc.constantFrom(0, 0, 20, 500),
  turn: fc.constantFrom(0, 0, 0, 1, 9, 10, 11, 49, 50, 1000, 60_001, -5),
})

test(
  `${SEQUENCES} random sequences: the scripts of semaphores and their twins reply and publish alike`,
  async () => {
    const tally = await differential({
      name: 'semaphores',
      operations: [acquirePermit, renewPermit, releasePermit, countPermits, readHolders],
      step,
      channel: (id) => `news:${id}`,
      play(steps, id, run) {
        const of = (sub: string): string => `semaphore:{${id}}:${sub}`
        const [permits, since, queue, alive] = ['permits', 'since', 'queue', 'alive'].map(of) as [
          string,
          string,
          string,
          string,
        ]
        let now = START
        for (const { operation, owner, limit, time, queueTtl, turn } of steps) {
          now += turn
          if (operation === acquirePermit) {
            const [ok, value] = run({
              operation,
              keys: [permits, since, queue, alive],
              args: [owner, limit, time, queueTtl],
              now,
            }) as number[]
            if (ok === 0) expect(value).toBeGreaterThan(0)
          } else if (operation === releasePermit) {
            run({
              operation,
              keys: [permits, since, queue, alive],
              args: [owner, `news:${id}`],
              now,
            })
          } else {
            const args =
              operation === renewPermit ? [owner, time] : operation === readHolders ? [limit] : []
            run({ operation, keys: [permits, since], args, now })
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
      'count 0',
      'count 2',
    ]) {
      expect(tally[`semaphore.${reply}`], reply).toBeGreaterThan(0)
    }
  },
  60_000 + SEQUENCES * 20,
)
