/** The rules as a process looks them up: which one wins, in every spelling of an address. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { RuleEffect } from '../../src/control/active-rules.ts'
import {
  addressRuleId,
  MAX_RULES,
  parseRuleId,
  RuleTable,
  subjectRuleId,
  type RuleTarget,
} from '../../src/control/rule-table.ts'
import { ipv4Bits, parseAddressPrefix } from '../../src/http/address-prefix.ts'

let now = 1_000_000
const rule = (effect: RuleEffect, until = Infinity) => ({ effect, until })
const prefixOf = (text: string) => parseAddressPrefix(text)!
const on = (text: string): RuleTarget => ({ kind: 'address', prefix: prefixOf(text) })
const subject = (tag: string): RuleTarget => ({ kind: 'subject', tag })

function tableOf(rules: Readonly<Record<string, RuleEffect>>): RuleTable {
  const table = new RuleTable(() => now)
  for (const [text, effect] of Object.entries(rules)) table.set(on(text), rule(effect))
  return table
}

describe('the written form of a network', () => {
  it.each([
    ['203.0.113.7', '203.0.113.7'],
    ['203.0.113.7/32', '203.0.113.7'],
    ['203.0.113.7/24', '203.0.113.0/24'],
    ['255.255.255.255/1', '128.0.0.0/1'],
    ['10.1.2.3/0', '0.0.0.0/0'],
    ['2001:DB8::1', '2001:db8::1'],
    ['2001:db8:0:0:0:0:0:1/128', '2001:db8::1'],
    ['2001:db8:ffff::/33', '2001:db8:8000::/33'],
    ['2001:db8::1/32', '2001:db8::/32'],
    ['::/0', '::/0'],
    ['::ffff:203.0.113.7', '203.0.113.7'],
    ['::ffff:cb00:7107', '203.0.113.7'],
    ['::ffff:203.0.113.7/120', '203.0.113.0/24'],
    ['::ffff:0:0/96', '0.0.0.0/0'],
  ])('of %s is %s', (given, text) => {
    expect(prefixOf(given).text).toBe(text)
    expect(prefixOf(text)).toEqual(prefixOf(given))
  })

  it.each([
    '',
    '203.0.113',
    '203.0.113.7.1',
    '203.0.113.256',
    '203.0.113.07',
    '203.0.113.7:80',
    '203.0.113.7/33',
    '203.0.113.7/024',
    '203.0.113.7/',
    '203.0.113.7/-1',
    '203.0.113.7/24/8',
    ' 203.0.113.7',
    '203.0.113.7\n',
    '3405803783',
    '0x7f.1',
    '2001:db8::/129',
    '2001:db8:::1',
    'fe80::1%eth0',
    '[2001:db8::1]',
    '[::1]:80',
    'localhost',
    'user-42',
    '...',
    '1...2',
  ])('is no network: %j', (text) => expect(parseAddressPrefix(text)).toBeUndefined())

  it('is none for strings at random, and never throws', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.ipV4(), fc.ipV6(), fc.ipV4Extended()), (text) => {
        const prefix = parseAddressPrefix(text)
        if (prefix !== undefined) expect(prefixOf(prefix.text)).toEqual(prefix)
      }),
    )
  })
})

describe('which rule wins', () => {
  it('is the one with the longest prefix', () => {
    const table = tableOf({
      '10.0.0.0/8': 'deny',
      '10.1.0.0/16': 'allow',
      '10.1.2.3': 'deny',
      '0.0.0.0/0': 'allow',
    })
    expect(table.effectOn('10.1.2.3')).toBe('deny')
    expect(table.effectOn('10.1.2.4')).toBe('allow')
    expect(table.effectOn('10.2.0.1')).toBe('deny')
    expect(table.effectOn('192.0.2.1')).toBe('allow')
    expect(table.effectOn('2001:db8::1')).toBeUndefined()
  })

  it('is the same in every spelling of the address', () => {
    const table = tableOf({ '203.0.113.0/24': 'deny', '2001:db8::/33': 'deny' })
    for (const address of [
      '203.0.113.7',
      '::ffff:203.0.113.7',
      '::FFFF:203.0.113.7',
      '::ffff:cb00:7107',
      '0:0:0:0:0:ffff:203.0.113.7',
      '203.0.113.7:1234',
      '[::ffff:203.0.113.7]:1234',
      '2001:db8::1',
      '2001:DB8:0:0::1',
      '2001:db8:7fff::%eth0',
      '[2001:db8::1]:80',
    ])
      expect(table.effectOn(address), address).toBe('deny')
    for (const address of [
      '203.0.112.7',
      '2001:db8:8000::1',
      '',
      'invalid',
      'x:y',
      '203.0.113.300',
    ])
      expect(table.effectOn(address), address).toBeUndefined()
  })

  it('is that of the subject, unless a single address is refused', () => {
    const table = tableOf({ '10.0.0.0/8': 'deny', '10.0.0.1': 'deny', '192.0.2.1': 'allow' })
    table.set(subject('ann'), rule('allow'))
    table.set(subject('bob'), rule('deny'))
    expect(table.effectOn('10.0.0.2', 'ann')).toBe('allow')
    expect(table.effectOn('10.0.0.1', 'ann')).toBe('deny')
    expect(table.effectOn('192.0.2.1', 'bob')).toBe('deny')
    expect(table.effectOn('192.0.2.1', 'eve')).toBe('allow')
    expect(table.effectOn('', 'bob')).toBe('deny')
    expect(table.effectOn('192.0.2.2', 'constructor')).toBeUndefined()
  })

  it('is the shorter one as soon as the longer one has ended', () => {
    const table = tableOf({ '10.0.0.0/8': 'deny' })
    table.set(on('10.0.0.1'), rule('allow', now + 1))
    table.set(subject('ann'), rule('deny', now + 1))
    expect(table.effectOn('10.0.0.1')).toBe('allow')
    now += 1
    expect(table.effectOn('10.0.0.1')).toBe('deny')
    expect(table.effectOn('', 'ann')).toBeUndefined()
    table.prune()
    expect(table.size).toBe(1)
  })

  it('is what a search through all rules finds, for random rules and addresses', () => {
    const address = fc.oneof(
      fc.tuple(fc.constantFrom('10.0', '10.1', '192.0'), fc.nat(3), fc.nat(255)),
    )
    const written = address.map((parts) => parts.join('.'))
    const network = fc.tuple(written, fc.integer({ min: 0, max: 32 }))
    const change = fc.record({
      network,
      effect: fc.constantFrom<RuleEffect | undefined>('deny', 'allow', undefined),
    })
    fc.assert(
      fc.property(fc.array(change, { maxLength: 30 }), fc.array(written), (changes, asked) => {
        const table = new RuleTable(() => now)
        const plain = new Map<string, RuleEffect>()
        for (const { network, effect } of changes) {
          const { text } = prefixOf(network.join('/'))
          if (effect === undefined) {
            table.delete(on(text))
            plain.delete(text)
          } else {
            table.set(on(text), rule(effect))
            plain.set(text, effect)
          }
        }
        expect(table.size).toBe(plain.size)
        for (const each of asked) expect(table.effectOn(each)).toBe(searched(plain, each))
      }),
    )
  })
})

function searched(rules: ReadonlyMap<string, RuleEffect>, address: string): RuleEffect | undefined {
  const binary = (text: string): string => ipv4Bits(text).toString(2).padStart(32, '0')
  let [longest, found]: [number, RuleEffect | undefined] = [-1, undefined]
  for (const [text, effect] of rules) {
    const [network, length = '32'] = text.split('/') as [string, string?]
    const bits = Number(length)
    const isIn = binary(network).slice(0, bits) === binary(address).slice(0, bits)
    if (isIn && bits > longest) [longest, found] = [bits, effect]
  }
  return found
}

describe('the table', () => {
  it('takes no more than its rules, and replaces those it has', () => {
    const table = new RuleTable(() => now)
    const nth = (i: number): string => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`
    for (let i = 0; i < MAX_RULES + 10; i++) table.set(on(nth(i)), rule('deny'))
    expect(table.size).toBe(MAX_RULES)
    table.set(subject('ann'), rule('deny'))
    table.set(on('2001:db8::/32'), rule('deny'))
    expect(table.size).toBe(MAX_RULES)
    table.set(on(nth(5)), rule('allow'))
    expect(table.effectOn(nth(5))).toBe('allow')
    table.clear()
    expect([table.size, table.effectOn(nth(5))]).toEqual([0, undefined])
  })

  it('makes room by removing what has ended', () => {
    const table = new RuleTable(() => now)
    for (let i = 0; i < MAX_RULES; i++) table.set(subject(`t${i}`), rule('deny', now + 1))
    now += 1
    table.set(subject('ann'), rule('deny'))
    expect([table.size, table.effectOn('', 'ann')]).toEqual([1, 'deny'])
  })

  it('knows the mode of a limit until it ends', () => {
    const table = new RuleTable(() => now)
    expect(table.modeOf('api')).toBeUndefined()
    table.set({ kind: 'limit', limit: 'api' }, { effect: 'shadow', until: now + 1 })
    expect([table.modeOf('api'), table.modeOf('other'), table.size]).toEqual([
      'shadow',
      undefined,
      0,
    ])
    now += 1
    expect(table.modeOf('api')).toBeUndefined()
    table.prune()
    expect(table.total).toBe(0)
  })

  it('has one ID for a network and reads no other', () => {
    const id = addressRuleId(prefixOf('10.1.2.3/8'))
    expect(id).toBe('a:10.0.0.0/8')
    expect(parseRuleId(id)).toEqual({ kind: 'address', prefix: prefixOf('10.0.0.0/8') })
    expect(parseRuleId(subjectRuleId('acme=user%2042'))).toEqual({
      kind: 'subject',
      tag: 'acme=user%2042',
    })
    for (const other of [
      '',
      '!',
      'a:',
      's:',
      'a:10.1.2.3/8',
      'a:10.0.0.0/08',
      'a:2001:DB8::',
      'a:ann',
      'x:10.0.0.0/8',
      'm:',
      'm:a b',
      `m:${'x'.repeat(41)}`,
      's:{}',
      's:a b',
      `s:${'x'.repeat(201)}`,
    ])
      expect(parseRuleId(other), other).toBeUndefined()
  })
})
