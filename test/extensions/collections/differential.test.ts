import fc from 'fast-check'
import { expect, test } from 'vitest'
import { addCounts } from '../../../src/extensions/collections/counters/operations.ts'
import {
  LOWER_DIGITS,
  MAX_LARGE_SCORE,
  partsOf,
} from '../../../src/extensions/collections/leaderboard/large-score.ts'
import {
  readAround,
  readTop,
  removePlace,
  writeScore,
} from '../../../src/extensions/collections/leaderboard/operations.ts'
import { appendValue, readLast } from '../../../src/extensions/collections/list/operations.ts'
import { removeKey } from '../../../src/extensions/collections/operations.ts'
import {
  pushRecent,
  readRecent,
  removeRecent,
} from '../../../src/extensions/collections/recent/operations.ts'
import {
  addTerm,
  completeTerm,
  removeTerm,
} from '../../../src/extensions/collections/suggestions/operations.ts'
import {
  hitTrend,
  readTrends,
  removeTrend,
} from '../../../src/extensions/collections/trending/operations.ts'
import { differential, SEQUENCES, START } from '../../support/differential.ts'

const TIMEOUT = 60_000 + SEQUENCES * 20
const TTL = 86_400_000
const channel = (id: string): string => `news:${id}`
const amount = fc.constantFrom(-9007199254740991, -3, -1, 0, 1, 1, 2, 5, 9007199254740991)

test(
  `${SEQUENCES} random sequences: the scripts of counters and their twins reply alike`,
  async () => {
    const step = fc.record({
      operation: fc.constantFrom(addCounts, addCounts, addCounts, removeKey),
      batch: fc.constantFrom(0, 1, 1, 2, 3),
      most: fc.constantFrom(1, 2, 3),
      increments: fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c', '__proto__'), amount), {
        maxLength: 4,
      }),
    })
    const tally = await differential({
      name: 'counters',
      operations: [addCounts, removeKey],
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
    for (const reply of [
      'counters.add 0',
      'counters.add 1',
      'collections.remove 0',
      'collections.remove 1',
    ])
      expect(tally[reply], reply).toBeGreaterThan(0)
  },
  TIMEOUT,
)

test.each([
  ['leaderboards', 0],
  ['leaderboards with large scores', LOWER_DIGITS],
])(
  `${SEQUENCES} random sequences: the scripts of %s and their twins reply alike`,
  async (name, digits) => {
    const large = fc.constantFrom(0n, 1n, -1n, 10n ** 15n - 1n, 10n ** 15n, -(10n ** 15n))
    const huge = fc.constantFrom(2n ** 53n + 1n, MAX_LARGE_SCORE, -MAX_LARGE_SCORE)
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
      points: digits > 0 ? fc.oneof(large, large, huge).map(partsOf) : amount.map((by) => [by, 0]),
      most: fc.constantFrom(1, 3, 100),
      first: fc.constantFrom(0, 0, 1, 9),
      count: fc.constantFrom(0, 1, 2, 5),
    })
    const tally = await differential({
      name,
      operations: [writeScore, readTop, readAround, removePlace],
      step,
      channel,
      play(steps, sequence, run) {
        const keys = [`board:{${sequence}}`, `board:{${sequence}}:ids`]
        for (const { operation, mode, id, points, most, first, count } of steps) {
          const args = new Map<unknown, (string | number)[]>([
            [writeScore, [digits, mode, id, ...points, TTL, most]],
            [readTop, [digits, first, count + 1]],
            [readAround, [digits, id, count]],
            [removePlace, [id]],
          ]).get(operation)!
          run({ operation, keys, args, now: START })
        }
      },
    })
    const score = digits > 0 ? '1:000000000000000' : '1'
    for (const reply of [`write ${score}`, 'top a', 'around 1', 'around 2', 'remove 0', 'remove 1'])
      expect(tally[`leaderboard.${reply}`], reply).toBeGreaterThan(0)
  },
  TIMEOUT,
)

test(
  `${SEQUENCES} random sequences: the scripts of trending lists and their twins reply alike`,
  async () => {
    const step = fc.record({
      operation: fc.constantFrom(hitTrend, hitTrend, hitTrend, readTrends, removeTrend),
      id: fc.constantFrom('a', 'b', 'é', '😀', ':{}*'),
      weight: fc.constantFrom(1, 1, 2, 3, 1_000_000),
      most: fc.constantFrom(1, 2, 100),
      count: fc.constantFrom(1, 2, 9),
      turn: fc.constantFrom(0, 0, 1, 333, 1000, 60_001, 86_400_001, -5),
    })
    const tally = await differential({
      name: 'trending lists',
      operations: [hitTrend, readTrends, removeTrend],
      step,
      channel,
      play(steps, sequence, run) {
        let now = START
        for (const { operation, id, weight, most, count, turn } of steps) {
          now += turn
          const args = new Map<unknown, (string | number)[]>([
            [hitTrend, [id, weight, 10_000, TTL, most]],
            [readTrends, [count, 10_000]],
            [removeTrend, [id]],
          ]).get(operation)!
          run({ operation, keys: [`trends:{${sequence}}`], args, now })
        }
      },
    })
    for (const reply of ['hit 1', 'top a', 'top 😀', 'remove 0', 'remove 1'])
      expect(tally[`trending.${reply}`], reply).toBeGreaterThan(0)
  },
  TIMEOUT,
)

test(
  `${SEQUENCES} random sequences: the scripts of suggestions and their twins reply alike`,
  async () => {
    const step = fc.record({
      operation: fc.constantFrom(addTerm, addTerm, addTerm, completeTerm, completeTerm, removeTerm),
      term: fc.constantFrom('a', 'ab', 'abc', 'abd', 'b', 'é', '😀', '[a', '(a', '-', '+'),
      prefix: fc.constantFrom('', 'a', 'ab', 'abc', 'x', '😀', '[', '(', '-'),
      weight: fc.constantFrom(1, 1, 2, 9007199254740991),
      most: fc.constantFrom(1, 2, 3, 100),
      count: fc.constantFrom(1, 2, 9),
    })
    const tally = await differential({
      name: 'suggestions',
      operations: [addTerm, completeTerm, removeTerm],
      step,
      channel,
      play(steps, sequence, run) {
        const keys = ['', ':terms', ':written'].map((sub) => `words:{${sequence}}${sub}`)
        for (const [i, { operation, term, prefix, weight, most, count }] of steps.entries()) {
          const args = new Map<unknown, (string | number)[]>([
            [addTerm, [term, `${term} ${i % 2}`, weight, TTL, most]],
            [completeTerm, [prefix, count]],
            [removeTerm, [term]],
          ]).get(operation)!
          run({ operation, keys, args, now: START })
        }
      },
    })
    for (const reply of [
      'add 1',
      'add 2',
      'complete a 0',
      'complete abc 1',
      'remove 0',
      'remove 1',
    ])
      expect(tally[`suggestions.${reply}`], reply).toBeGreaterThan(0)
  },
  TIMEOUT,
)

test(
  `${SEQUENCES} random sequences: the scripts of lists and their twins reply alike`,
  async () => {
    const item = fc.constantFrom('a', 'b', 'c', '', '{"a":1}')
    const step = fc.record({
      operation: fc.constantFrom(
        pushRecent,
        pushRecent,
        readRecent,
        removeRecent,
        appendValue,
        appendValue,
        readLast,
        removeKey,
      ),
      item,
      most: fc.constantFrom(1, 2, 3, 100),
      count: fc.constantFrom(1, 2, 9),
    })
    const tally = await differential({
      name: 'lists',
      operations: [pushRecent, readRecent, removeRecent, appendValue, readLast, removeKey],
      step,
      channel,
      play(steps, sequence, run) {
        const isOfList = new Set<unknown>([appendValue, readLast])
        for (const { operation, item, most, count } of steps) {
          const args = new Map<unknown, (string | number)[]>([
            [pushRecent, [item, most, TTL]],
            [readRecent, [count]],
            [removeRecent, [item]],
            [appendValue, [item, most, TTL]],
            [readLast, [count]],
            [removeKey, []],
          ]).get(operation)!
          const key = isOfList.has(operation) ? `list:{${sequence}}` : `recent:{${sequence}}`
          run({ operation, keys: [key], args, now: START })
        }
      },
    })
    for (const reply of ['recent.push 2', 'recent.list a', 'recent.remove 1', 'list.append 3'])
      expect(tally[reply], reply).toBeGreaterThan(0)
    for (const reply of ['list.last b', 'collections.remove 0', 'collections.remove 1'])
      expect(tally[reply], reply).toBeGreaterThan(0)
  },
  TIMEOUT,
)
