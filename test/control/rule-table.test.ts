/** The rules as a process looks them up: which one wins, in every spelling of an address. */
import fc from 'fast-check'
import ipaddr from 'ipaddr.js'
import { describe, expect, it } from 'vitest'
import type { RuleEffect } from '../../src/control/active-rules.ts'
import { RecentLookups } from '../../src/control/recent-lookups.ts'
import {
  addressRuleId,
  MAX_RULES,
  parseRuleId,
  RuleTable,
  subjectRuleId,
  type RuleTarget,
} from '../../src/control/rule-table.ts'
import { addressBits } from '../../src/http/address-bits.ts'
import { parseAddressPrefix } from '../../src/http/address-prefix.ts'

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

  it('is what a search through all rules finds, for rules at random that end, change and overlap', () => {
    const address = fc.tuple(
      fc.constantFrom(
        '10.0.0.',
        '10.0.128.',
        '::ffff:10.0.0.',
        '::ffff:a00:',
        '2001:db8::',
        'fe80::1:',
      ),
      fc.nat(3),
    )
    const written = address.map((parts) => parts.join(''))
    const change = fc.record({
      address: written,
      bits: fc.nat(128),
      effect: fc.constantFrom<RuleEffect | undefined>('deny', 'allow', undefined),
      lasts: fc.constantFrom(1, 2, 5, Infinity),
      ban: fc.constantFrom(undefined, 'flood'),
    })
    const step = fc.oneof(
      change.map((set) => ({ set })),
      fc.constantFrom(1, 2).map((wait) => ({ wait })),
      // Often enough that the table knows what it found.
      fc.array(written, { minLength: 1, maxLength: 3 }).map((ask) => ({ ask })),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
        const table = new RuleTable(() => now)
        const plain: PlainRules = new Map()
        for (const each of steps) {
          if ('set' in each) applyChange(table, plain, each.set)
          else if ('wait' in each) now += each.wait
          else
            for (const asked of each.ask)
              for (let time = 0; time < 40; time++)
                if (table.effectOn(asked) !== searched(plain, asked))
                  expect(table.effectOn(asked), asked).toBe(searched(plain, asked))
        }
      }),
      { numRuns: 150 },
    )
  })
})

interface PlainRule {
  readonly effect: RuleEffect
  readonly until: number
  readonly ban: string | undefined
}
type PlainRules = Map<string, PlainRule>

function applyChange(
  table: RuleTable,
  plain: PlainRules,
  {
    address,
    bits,
    effect,
    lasts,
    ban,
  }: {
    address: string
    bits: number
    effect: RuleEffect | undefined
    lasts: number
    ban: string | undefined
  },
): void {
  const prefix = prefixOf(address)
  const length = Math.min(bits, prefix.family === 4 ? 32 : 128)
  const { text } = prefixOf(`${prefix.text}/${length}`)
  if (effect === undefined) {
    table.delete(on(text))
    plain.delete(text)
    return
  }
  // A ban only refuses.
  const set = { effect: ban === undefined ? effect : 'deny', until: now + lasts, ban } as const
  table.set(on(text), set)
  plain.set(text, set)
}

/** Returns what the longest prefix says that holds an address. A ban is weaker than any other rule. */
function searched(rules: PlainRules, address: string): RuleEffect | undefined {
  const asked = parsedAs(address)
  let [longest, found]: [number, PlainRule | undefined] = [-1, undefined]
  for (const [text, rule] of rules) {
    const network = parsedAs(text.split('/')[0]!)
    const length = Number(text.split('/')[1] ?? network.toByteArray().length * 8)
    if (rule.until <= now || network.kind() !== asked.kind()) continue
    if (!(asked as ipaddr.IPv4).match(network, length)) continue
    const rank = rule.ban === undefined ? length + 1000 : length
    if (rank > longest) [longest, found] = [rank, rule]
  }
  return found?.effect
}
const parsedAs = (address: string): ipaddr.IPv4 | ipaddr.IPv6 => ipaddr.process(address)

describe('the bits of an address', () => {
  const hextet = fc.oneof(
    fc.constantFrom('0', '', 'ffff', '0000'),
    fc.nat(0xffff).map((group) => group.toString(16)),
  )
  const groups = fc.array(hextet, { minLength: 2, maxLength: 10 }).map((parts) => parts.join(':'))

  it('are those that a parser of all forms reads', () => {
    const strings = fc.oneof(
      fc.ipV6(),
      groups,
      groups.map((text) => text.toUpperCase()),
      fc.ipV4().map((text) => `::ffff:${text}`),
      fc.ipV4().map((text) => `::FFFF:${text}`),
      fc.ipV4(),
    )
    fc.assert(
      fc.property(strings, (text) => {
        expect(addressBits(text), text).toEqual(bitsByParser(text))
      }),
      { numRuns: 2000 },
    )
  })

  it.each([
    ':',
    ':::',
    '::',
    '::1',
    '1::',
    ':1::',
    '1::2:',
    '1:2:3:4:5:6:7:8',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7::',
    '::2:3:4:5:6:7:8',
    '1::2:3:4:5:6:7:8',
    '1:2:3:4:5:6:7',
    '1::2::3',
    '12345::',
    '::g',
    '::ffff:1.2.3',
    '::ffff:1.2.3.4.5',
    '::ffff:01.2.3.4',
    '::fffe:1.2.3.4',
    '1::ffff:1.2.3.4',
    '::ffff:',
    '::ffff:::1',
    'FFFF::',
    '::ffff:ffff:ffff',
  ])('of %s, too', (text) => expect(addressBits(text)).toEqual(bitsByParser(text)))
})

/** Returns what `addressBits()` returns, by a parser of all forms. Undefined for a string that is no address. */
function bitsByParser(text: string): number | string | undefined {
  if (!ipaddr.IPv6.isValid(text)) {
    const isDotted = ipaddr.IPv4.isValidFourPartDecimal(text)
    return isDotted
      ? Number(`0x${Buffer.from(ipaddr.IPv4.parse(text).toByteArray()).toString('hex')}`)
      : undefined
  }
  const address = ipaddr.IPv6.parse(text)
  if (!address.isIPv4MappedAddress()) return String.fromCharCode(...address.parts)
  return Number(`0x${Buffer.from(address.toIPv4Address().toByteArray()).toString('hex')}`)
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

  it('keeps what it found for a bounded number of addresses, however long a flood makes them', () => {
    const recent = new RecentLookups(() => now)
    let most = 0
    for (let i = 0; i < 200_000; i++) {
      recent.add(`2001:db8::${i.toString(16)}%${'x'.repeat(i % 3 === 0 ? 60 : 0)}`, undefined)
      most = Math.max(most, recent.size)
    }
    expect([most > 1000, most <= 2048]).toEqual([true, true])
    recent.clear()
    expect(recent.size).toBe(0)
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
