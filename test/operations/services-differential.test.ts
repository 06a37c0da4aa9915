import fc from 'fast-check'
import { expect, test } from 'vitest'
import { reportService, takeServiceTurn } from '../../src/operations/services/service-operations.ts'
import { differential, SEQUENCES, START } from '../support/differential.ts'

const name = fc.constantFrom('a', 'b', 'c')

test(`${SEQUENCES} random sequences: the scripts of services and their twins reply alike`, async () => {
  const step = fc.record({
    kind: fc.constantFrom('turn', 'check', 'check', 'report'),
    name,
    status: fc.constantFrom('healthy', 'degraded', 'error'),
    most: fc.constantFrom(2, 3),
    remembered: fc.constantFrom(1, 3, 32),
    values: fc.constantFrom([], ['reason', 'failed'], ['queue_size', '3']),
    ms: fc.constantFrom(0, 1, 999, 1000, 5000, -1000),
  })
  const tally = await differential({
    name: 'services',
    operations: [reportService, takeServiceTurn],
    step,
    channel: (id) => `none:${id}`,
    play(steps, id, run) {
      const key = (part: string): string => `${part}:{${id}}`
      let now = START
      const turns = new Map<string, string>()
      for (const { kind, name, status, most, remembered, values, ms } of steps) {
        now += ms
        const own = [key(name), key('services'), key(`turn-${name}`)]
        if (kind === 'turn' || (kind === 'check' && !turns.has(name))) {
          const keys = [own[2]!, own[0]!]
          const reply = run({ operation: takeServiceTurn, keys, args: [1000], now })
          const [turn] = reply as string[]
          // A process that is late keeps its turn.
          if (turn !== '0' && (kind === 'check' || !turns.has(name))) turns.set(name, turn!)
          continue
        }
        const turn = kind === 'check' ? turns.get(name)! : ''
        if (kind === 'check') turns.delete(name)
        const outcome = status === 'error' ? 1 : 0
        const args = [name, turn, status, outcome, 3_000_000, 3_600_000, most, remembered]
        run({ operation: reportService, keys: own, args: [...args, ...values], now })
      }
    },
  })
  for (const reply of [
    'services.report stored',
    'services.report late',
    'services.report full',
    'services.takeTurn 0',
  ])
    expect(tally[reply], reply).toBeGreaterThan(0)
}, 120_000)
