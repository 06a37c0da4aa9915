import fc from 'fast-check'
import { expect, test } from 'vitest'
import { acquire } from '../../../src/features/lock/acquire.ts'
import { extend } from '../../../src/features/lock/extend.ts'
import { release } from '../../../src/features/lock/release.ts'
import { settle } from '../../../src/features/lock/settle.ts'
import { differential, SEQUENCES, START } from '../../support/differential.ts'

const step = fc.record({
  operation: fc.constantFrom(acquire, acquire, acquire, extend, release, release, settle),
  owner: fc.constantFrom('a', 'b', 'c', 'd'),
  time: fc.constantFrom(1, 10, 50, 1000, 60_000),
  patience: fc.constantFrom(0, 0, 20, 500),
  turn: fc.constantFrom(0, 0, 0, 1, 9, 10, 11, 49, 50, 1000, 60_001, -5),
})

test(
  `${SEQUENCES} random sequences: the scripts of locks and their twins reply and publish alike`,
  async () => {
    const tally = await differential({
      name: 'locks',
      operations: [acquire, extend, release, settle],
      step,
      channel: (id) => `news:${id}`,
      play(steps, id, run) {
        const of = (sub: string): string => `lock:{${id}}:${sub}`
        const [lock, token, line, signs] = [of('lock'), of('token'), of('line'), of('signs')]
        let now = START
        let last = 0
        for (const { operation, owner, time, patience, turn } of steps) {
          now += turn
          if (operation === acquire) {
            const [ok, value] = run({
              operation,
              keys: [lock, token, line, signs],
              args: [owner, time, patience],
              now,
            }) as number[]
            if (ok !== 1) continue
            expect(value).toBeGreaterThanOrEqual(last)
            last = value!
          } else if (operation === release) {
            run({ operation, keys: [lock, line, signs], args: [owner, `news:${id}`], now })
          } else {
            run({ operation, keys: [lock], args: [owner, time], now })
          }
        }
      },
    })
    for (const reply of [
      'acquire 0',
      'acquire 1',
      'extend 0',
      'extend 1',
      'release 0',
      'release 1',
      'settle 1',
    ]) {
      expect(tally[`lock.${reply}`], reply).toBeGreaterThan(0)
    }
  },
  60_000 + SEQUENCES * 20,
)
