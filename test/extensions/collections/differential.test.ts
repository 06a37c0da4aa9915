import fc from 'fast-check'
import { expect, test } from 'vitest'
import { addCounts, removeCounts } from '../../../src/extensions/collections/counters/operations.ts'
import {
  readAround,
  readTop,
  removePlace,
  writeScore,
} from '../../../src/extensions/collections/leaderboard/operations.ts'
import { differential, SEQUENCES, START } from '../../support/differential.ts'

const TIMEOUT = 60_000 + SEQUENCES * 20
const TTL = 86_400_000
const channel = (id: string): string => `news:${id}`
const amount = fc.constantFrom(-9007199254740991, -3, -1, 0, 1, 1, 2, 5, 9007199254740991)

test(
  `${SEQUENCES} random sequences: the scripts of counters and their twins reply alike`,
  async () => {
    const step = fc.record({
      operation: fc.constantFrom(addCounts, addCounts, addCounts, removeCounts),
      batch: fc.constantFrom(0, 1, 1, 2, 3),
      most: fc.constantFrom(1, 2, 3),
      increments: fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c', '__proto__'), amount), {
        maxLength: 4,
      }),
    })
    const tally = await differential({
      name: 'counters',
      operations: [addCounts, removeCounts],
      step,
      channel,
      play(steps, id, run) {
        const keys = [`counts:{${id}}`, `counts:{${id}}:batch`]
        for (const { operation, batch, most, increments } of steps) {
          const args = operation === addCounts ? [batch, TTL, TTL, most, ...increments.flat()] : []
          run({ operation, keys: operation === addCounts ? keys : [keys[0]!], args, now: START })
        }
      },
    })
    for (const reply of ['add 0', 'add 1', 'remove 0', 'remove 1'])
      expect(tally[`counters.${reply}`], reply).toBeGreaterThan(0)
  },
  TIMEOUT,
)

test(
  `${SEQUENCES} random sequences: the scripts of leaderboards and their twins reply alike`,
  async () => {
    const step = fc.record({
      operation: fc.constantFrom(
        writeScore,
        writeScore,
        writeScore,
        readTop,
        readAround,
        removePlace,
      ),
      mode: fc.constantFrom('add', 'add', 'set'),
      id: fc.constantFrom('a', 'b', 'c', 'dé', '0000000000000001', ':{}*'),
      amount,
      most: fc.constantFrom(1, 3, 100),
      first: fc.constantFrom(0, 0, 1, 9),
      count: fc.constantFrom(0, 1, 2, 5),
    })
    const tally = await differential({
      name: 'leaderboards',
      operations: [writeScore, readTop, readAround, removePlace],
      step,
      channel,
      play(steps, sequence, run) {
        const keys = [`board:{${sequence}}`, `board:{${sequence}}:ids`]
        for (const { operation, mode, id, amount, most, first, count } of steps) {
          const args = new Map<unknown, (string | number)[]>([
            [writeScore, [mode, id, amount, TTL, most]],
            [readTop, [first, count + 1]],
            [readAround, [id, count]],
            [removePlace, [id]],
          ]).get(operation)!
          run({ operation, keys, args, now: START })
        }
      },
    })
    for (const reply of ['write 1', 'top a', 'around 1', 'around 2', 'remove 0', 'remove 1'])
      expect(tally[`leaderboard.${reply}`], reply).toBeGreaterThan(0)
  },
  TIMEOUT,
)
