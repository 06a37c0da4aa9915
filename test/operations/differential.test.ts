import fc from 'fast-check'
import { expect, test } from 'vitest'
import { leaveProcesses, writeBeat } from '../../src/operations/beat-operations.ts'
import { writeSystem } from '../../src/operations/system-metrics.ts'
import { differential, SEQUENCES, START } from '../support/differential.ts'

const id = fc.constantFrom('a/1/x', 'b/2/y', 'c/3/z')
const name = fc.constantFrom('one', 'two', 'limit:a:refused', '__proto__')
const pairList = fc.array(fc.tuple(name, fc.integer({ min: 1, max: 5 })), { maxLength: 3 })

test(
  `${SEQUENCES} random sequences: the scripts of reports and their twins reply alike`,
  async () => {
    const step = fc.record({
      isReport: fc.constantFrom(true, true, true, false),
      id,
      description: fc.constantFrom('', '', '{}'),
      counts: pairList,
      refused: pairList,
      ms: fc.constantFrom(0, 1, 9999, 25_000, 35_000, 3_600_000),
    })
    const tally = await differential({
      name: 'operations',
      operations: [writeBeat, leaveProcesses, writeSystem],
      step,
      channel: (id) => `none:${id}`,
      play(steps, id, run) {
        const key = (part: string): string => `${part}:{${id}}`
        let now = START
        for (const { isReport, id: process, description, counts, refused, ms } of steps) {
          now += ms
          const [processes, own] = [key('processes'), key(process)]
          const sample = [120_000, 'load', counts.length]
          run({ operation: writeSystem, keys: [key('system')], args: sample, now })
          if (!isReport) {
            run({ operation: leaveProcesses, keys: [processes, own], args: [process], now })
            continue
          }
          const lists = [[['host', 'h']], counts, refused]
          run({
            operation: writeBeat,
            keys: [processes, own, key('description'), key('minute'), key('refused')],
            args: [process, description, ...lists.flatMap((list) => [list.length, ...list.flat()])],
            now,
          })
        }
      },
    })
    for (const reply of [
      'operations.beat 0',
      'operations.beat 1',
      'operations.leave 0',
      'operations.leave 1',
    ])
      expect(tally[reply]).toBeGreaterThan(0)
  },
  60_000 + SEQUENCES * 20,
)
