import fc from 'fast-check'
import { expect, test } from 'vitest'
import { count } from '../../../src/features/semaphore/count.ts'
import { enter } from '../../../src/features/semaphore/enter.ts'
import { extend } from '../../../src/features/semaphore/extend.ts'
import { leave } from '../../../src/features/semaphore/leave.ts'
import { differential, SEQUENCES, START } from '../../support/differential.ts'

const step = fc.record({
  operation: fc.constantFrom(enter, enter, enter, enter, extend, leave, leave, count),
  owner: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
  limit: fc.constantFrom(0, 1, 2, 2, 3),
  time: fc.constantFrom(1, 10, 50, 1000, 60_000),
  patience: fc.constantFrom(0, 0, 20, 500),
  turn: fc.constantFrom(0, 0, 0, 1, 9, 10, 11, 49, 50, 1000, 60_001, -5),
})

test(
  `${SEQUENCES} random sequences: the scripts of semaphores and their twins reply and publish alike`,
  async () => {
    const tally = await differential({
      name: 'semaphores',
      operations: [enter, extend, leave, count],
      step,
      channel: (id) => `news:${id}`,
      play(steps, id, run) {
        const of = (sub: string): string => `semaphore:{${id}}:${sub}`
        const [places, line, signs] = [of('places'), of('line'), of('signs')]
        let now = START
        for (const { operation, owner, limit, time, patience, turn } of steps) {
          now += turn
          if (operation === enter) {
            const [ok, value] = run({
              operation,
              keys: [places, line, signs],
              args: [owner, limit, time, patience],
              now,
            }) as number[]
            if (ok === 0) expect(value).toBeGreaterThan(0)
          } else if (operation === leave) {
            run({ operation, keys: [places, line, signs], args: [owner, `news:${id}`], now })
          } else {
            run({ operation, keys: [places], args: operation === count ? [] : [owner, time], now })
          }
        }
      },
    })
    for (const reply of [
      'enter 0',
      'enter 1',
      'extend 0',
      'extend 1',
      'leave 0',
      'leave 1',
      'count 0',
      'count 2',
    ]) {
      expect(tally[`semaphore.${reply}`], reply).toBeGreaterThan(0)
    }
  },
  60_000 + SEQUENCES * 20,
)
