import fc from 'fast-check'
import { expect, test } from 'vitest'
import { readRulesVersion, writeRule } from '../../src/operations/control/rule-operations.ts'
import { differential, SEQUENCES, START } from '../support/differential.ts'

const TTL = 86_400_000

test(
  `${SEQUENCES} random sequences: the scripts of rules and their twins reply and publish alike`,
  async () => {
    const step = fc.record({
      isRead: fc.constantFrom(true, false, false, false, false),
      rule: fc.constantFrom('a:10.0.0.0/8', 'a:2001:db8::/32', 's:ann', 's:__proto__'),
      details: fc.constantFrom('{"effect":"deny"}', '{"by":"é😀 \\n"}', '%d 1 2', ''),
      ends: fc.constantFrom(0, 0, 1, 1000),
      ms: fc.constantFrom(0, 1, 999, 1000),
      most: fc.constantFrom(1, 2, 3),
    })
    const tally = await differential({
      name: 'rules',
      operations: [readRulesVersion, writeRule],
      step,
      channel: (id) => `news:${id}`,
      play(steps, id, run) {
        const [key, audit] = [`rules:{${id}}`, `audit:{${id}}`]
        let now = START
        for (const { isRead, rule, details, ends, ms, most } of steps) {
          now += ms
          if (isRead) run({ operation: readRulesVersion, keys: [key], args: [TTL], now })
          else {
            const args = [rule, details, ends, most, TTL, 'n', `news:${id}`, '["a"]', 2, TTL]
            run({ operation: writeRule, keys: [key, audit], args, now })
          }
        }
      },
    })
    for (const reply of ['rulesVersion ', 'rule -1', 'rule 0', 'rule 1'])
      expect(
        Object.keys(tally).some((label) => label.startsWith(`operations.${reply}`)),
        reply,
      ).toBe(true)
  },
  60_000 + SEQUENCES * 20,
)
