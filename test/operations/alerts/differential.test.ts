import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  countIncrease,
  reportAlert,
  silenceAlert,
  takeAlertTurn,
} from '../../../src/operations/alerts/alert-operations.ts'
import { differential, SEQUENCES, START } from '../../support/differential.ts'

test(`${SEQUENCES} random sequences: the scripts of alerts and their twins reply alike`, async () => {
  const step = fc.record({
    kind: fc.constantFrom('report', 'report', 'report', 'turn', 'silence', 'count'),
    verdict: fc.constantFrom('bad', 'bad', 'between', 'good'),
    forMs: fc.constantFrom(0, 10_000),
    remindMs: fc.constantFrom(0, 20_000),
    counter: fc.constantFrom(0, 1, 5, 100, 2 ** 40),
    ms: fc.constantFrom(0, 1, 5000, 10_000, 30_000, -1000),
  })
  const tally = await differential({
    name: 'alerts',
    operations: [countIncrease, reportAlert, silenceAlert, takeAlertTurn],
    step,
    channel: (id) => `none:${id}`,
    play(steps, id, run) {
      const key = (part: string): string => `${part}:{${id}}`
      let now = START
      for (const { counter, kind, verdict, forMs, remindMs, ms } of steps) {
        now += ms
        if (kind === 'turn')
          run({ operation: takeAlertTurn, keys: [key('turn')], args: [8500], now })
        else if (kind === 'count')
          run({
            operation: countIncrease,
            keys: [key('counter')],
            args: [counter, 10_000, 60_000],
            now,
          })
        else if (kind === 'silence')
          run({ operation: silenceAlert, keys: [key('silence')], args: [Math.max(0, ms)], now })
        else
          run({
            operation: reportAlert,
            keys: [key('alert'), key('silence')],
            args: [verdict, forMs, remindMs, 86_400_000],
            now,
          })
      }
    },
  })
  for (const reply of [
    'alerts.report none',
    'alerts.report firing',
    'alerts.report resolved',
    'alerts.report reminder',
    'alerts.takeTurn 0',
    'alerts.takeTurn 1',
    'alerts.increase 0',
    'alerts.increase 5',
  ])
    expect(tally[reply], reply).toBeGreaterThan(0)
}, 120_000)
