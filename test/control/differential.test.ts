import fc from 'fast-check'
import { expect, test } from 'vitest'
import { askHolders, confirmRules } from '../../src/operations/control/confirmations.ts'
import { countBan, countMatch } from '../../src/operations/control/ban-operations.ts'
import {
  clearRules,
  readRulesVersion,
  writeRule,
} from '../../src/operations/control/rule-operations.ts'
import { differential, SEQUENCES, START } from '../support/differential.ts'

const TTL = 86_400_000

test(
  `${SEQUENCES} random sequences: the scripts of rules and their twins reply and publish alike`,
  async () => {
    const step = fc.record({
      isRead: fc.constantFrom(true, false, false, false, false),
      rule: fc.constantFrom('a:10.0.0.0/8', 'a:2001:db8::/32', 's:ann', 's:__proto__'),
      details: fc.constantFrom(
        '{"effect":"deny"}',
        '{"effect":"deny","ban":"a.b-c_1"}',
        '{"by":"é😀 \\n"}',
        '%d 1 2',
        '',
      ),
      clears: fc.constantFrom('all', 'bans', '', '', '', '', '', ''),
      ends: fc.constantFrom(0, 0, 1, 1000),
      ms: fc.constantFrom(0, 1, 999, 1000),
      most: fc.constantFrom(1, 2, 3),
      isBan: fc.boolean(),
    })
    const tally = await differential({
      name: 'rules',
      operations: [clearRules, readRulesVersion, writeRule],
      step,
      channel: (id) => `news:${id}`,
      play(steps, id, run) {
        const [key, audit] = [`rules:{${id}}`, `audit:{${id}}`]
        let now = START
        for (const { isRead, rule, details, ends, ms, most, isBan, clears } of steps) {
          now += ms
          if (clears !== '') {
            const args = [clears, TTL, 'n', `news:${id}`, '["c"]', 2, TTL]
            run({ operation: clearRules, keys: [key, audit], args, now })
          } else if (isRead) run({ operation: readRulesVersion, keys: [key], args: [TTL], now })
          else {
            const args = [rule, details, ends, most, TTL, 'n', `news:${id}`, '["a"]', 2, TTL]
            // What a ban sets is never empty.
            if (isBan && details !== '')
              run({
                operation: writeRule,
                keys: [key, audit, `bans:{${id}}`],
                args: [...args, 2],
                now,
              })
            else run({ operation: writeRule, keys: [key, audit], args, now })
          }
        }
      },
    })
    for (const reply of [
      'clearRules 0',
      'clearRules 1',
      'rulesVersion ',
      'rule -1',
      'rule -2',
      'rule -3',
      'rule 0',
      'rule 1',
    ])
      expect(
        Object.keys(tally).some((label) => label.startsWith(`operations.${reply}`)),
        reply,
      ).toBe(true)
  },
  60_000 + SEQUENCES * 20,
)

test(
  `${SEQUENCES} random sequences: the scripts of confirmations and their twins reply and publish alike`,
  async () => {
    const step = fc.record({
      process: fc.constantFrom('a/1', 'b/2', '__proto__', ''),
      version: fc.constantFrom('1.x', '12.é \n', ''),
      question: fc.constantFrom('?', ''),
      asks: fc.boolean(),
      ms: fc.constantFrom(0, 1, 999, 1000),
      most: fc.constantFrom(1, 2, 3),
    })
    const tally = await differential({
      name: 'confirmations',
      operations: [askHolders, confirmRules],
      step,
      channel: (id) => `news:${id}`,
      play(steps, id, run) {
        const keys = [`rules-held:{${id}}`]
        let now = START
        for (const { process, version, question, asks, ms, most } of steps) {
          now += ms
          if (asks) run({ operation: askHolders, keys, args: [`news:${id}`, question], now })
          else run({ operation: confirmRules, keys, args: [process, version, most, 1000], now })
        }
      },
    })
    for (const reply of ['askHolders', 'confirmRules'])
      expect(
        Object.keys(tally).some((label) => label.startsWith(`operations.${reply}`)),
        reply,
      ).toBe(true)
  },
  60_000 + SEQUENCES * 20,
)

test(
  `${SEQUENCES} random sequences: the scripts of bans and their twins reply alike`,
  async () => {
    const step = fc.record({
      bans: fc.constantFrom(true, false, false, false),
      limit: fc.constantFrom(1, 2, 3),
      window: fc.constantFrom(1, 1000, 2000),
      ms: fc.constantFrom(0, 1, 999, 1000),
    })
    const tally = await differential({
      name: 'bans',
      operations: [countMatch, countBan],
      step,
      channel: (id) => `news:${id}`,
      play(steps, id, run) {
        const [matches, count] = [`matches:{${id}}`, `bans:{${id}}`]
        let now = START
        for (const { bans, limit, window, ms } of steps) {
          now += ms
          if (bans) run({ operation: countBan, keys: [count], args: [60_000], now })
          else run({ operation: countMatch, keys: [matches, count], args: [limit, window], now })
        }
      },
    })
    for (const reply of ['countMatch 0', 'countMatch 1', 'countBan'])
      expect(
        Object.keys(tally).some((label) => label.startsWith(`operations.${reply}`)),
        reply,
      ).toBe(true)
  },
  60_000 + SEQUENCES * 20,
)
