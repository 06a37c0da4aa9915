/** Keys: whatever a client calls itself, it cannot leave its own. */
import clusterSlot from 'cluster-key-slot'
import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { createKeySpace, keyPart, type Subject } from '../../src/store/keys.ts'

const RUNS = { numRuns: 20_000 }

vi.setConfig({ testTimeout: 60_000 })

const MALICE = [
  '',
  '}',
  '{',
  '{}',
  '}{',
  '}x',
  '{x}',
  ':',
  'a',
  'b',
  'a:b',
  'a%3ab',
  '%3a',
  '%3A',
  '%',
  '%%',
  '~',
  '~e',
  '~u',
  '~h',
  '~hXXXX',
  '~t',
  '=',
  'a=b',
  'acme=a',
  '!',
  '\u00e9',
  'e\u0301',
  '\ud800',
  '\ud801',
  '\udc00\ud800',
  '\ufffd',
  '\0',
  '\r\n',
  '\r\nFLUSHALL\r\n',
  ' ',
  'A',
  '__proto__',
  'constructor',
  'undefined',
  'null',
  '0',
  '-0',
  '*',
  '?',
  '[a]',
  '\\',
  '"\\ud800"',
  '\\ud800',
  '~u%22%5cud800%22',
  '~e~e',
  'a'.repeat(64),
  'a'.repeat(65),
  'é'.repeat(64),
  '\0'.repeat(65),
]

const text = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...MALICE) },
  {
    weight: 1,
    arbitrary: fc.array(fc.constantFrom(...MALICE), { maxLength: 4 }).map((all) => all.join('')),
  },
  {
    weight: 1,
    arbitrary: fc.string({
      unit: fc.constantFrom('a', ':', '~', '%', '{', '}', '=', '\ud800', 'é', '\0'),
      maxLength: 6,
    }),
  },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 80 }) },
)
const subject: fc.Arbitrary<Subject> = fc.oneof(
  text,
  fc.array(text, { minLength: 1, maxLength: 4 }),
)
const tenant = fc.option(text, { nil: undefined })

/** One part alone is the same as that part in a list: what is counted by `'a'` is counted by `['a']`. */
const identity = (subject: Subject, tenant?: string): string =>
  JSON.stringify([typeof subject === 'string' ? [subject] : subject, tenant ?? null])

const keys = createKeySpace('shop')
const keyOf = (subject: Subject, tenant?: string): string =>
  keys.key('limit', keys.tag(subject, tenant), 'x')

describe('keys', () => {
  it('never make one of two different subjects, tenants included', () => {
    fc.assert(
      fc.property(subject, tenant, subject, tenant, (a, ta, b, tb) => {
        expect(keyOf(a, ta) === keyOf(b, tb)).toBe(identity(a, ta) === identity(b, tb))
      }),
      RUNS,
    )
  })

  it('tell all hostile names apart, alone, in twos and with a tenant', () => {
    const names = [...MALICE, 'x'.repeat(2 ** 20), `${'x'.repeat(2 ** 20)}y`]
    const short = MALICE.filter((name) => name.length < 9)
    const all = [
      ...names.map((name) => keyOf(name)),
      ...names.map((name) => keyOf('user', name)),
      ...names.map((name) => keyOf(['user', name])),
      ...names.map((name) => keyOf([name, 'user'])),
      ...short.flatMap((a) => short.map((b) => keyOf([a, b]))),
      ...short.flatMap((a) => short.map((b) => keyOf(a, b))),
    ]
    expect(new Set(all).size).toBe(all.length)
  })

  it('keep all keys of a subject in one slot of a Cluster', () => {
    fc.assert(
      fc.property(subject, tenant, text, (subject, tenant, sub) => {
        const tag = keys.tag(subject, tenant)
        const slots = [
          keys.key('limit', tag),
          keys.key('limit', tag, keyPart(sub)),
          keys.key('limits', tag),
          keys.key('limit', tag, `${keyPart(sub)}:${keyPart(`${sub}2`)}`),
        ].map((key) => clusterSlot(key))
        expect(new Set(slots)).toEqual(new Set([clusterSlot(tag)]))
      }),
      RUNS,
    )
  })

  it('consist of printable ASCII, without a space, and have one hash tag', () => {
    fc.assert(
      fc.property(subject, tenant, text, (subject, tenant, sub) => {
        const key = keys.key('limit', keys.tag(subject, tenant), keyPart(sub))
        expect(key).toMatch(/^shop:limit:\{[!-z|~]+\}:[!-z|~]+$/)
        expect(key.match(/[{}]/g)).toEqual(['{', '}'])
      }),
      RUNS,
    )
  })

  it('have at most 200 bytes, with the longest prefix, version, tenant and sub part', () => {
    const long = fc.oneof(text, fc.string({ unit: 'binary', minLength: 30, maxLength: 300 }))
    const subjects = fc.oneof(long, fc.array(long, { minLength: 1, maxLength: 4 }))
    const sub = 's'.repeat(66)
    fc.assert(
      fc.property(
        subjects,
        fc.option(long, { nil: undefined }),
        fc.option(long, { nil: undefined }),
        (subject, tenant, version) => {
          const longest = createKeySpace('p'.repeat(32), version)
          expect(
            Buffer.byteLength(longest.key('limits', longest.tag(subject, tenant), sub)),
          ).toBeLessThanOrEqual(200)
        },
      ),
      RUNS,
    )
    const mega = 'é}'.repeat(2 ** 19)
    expect(keyOf(mega, mega).length).toBeLessThanOrEqual(200)
    expect(keyOf([mega, mega, mega], mega).length).toBeLessThanOrEqual(200)
  })

  it('leave ordinary names readable', () => {
    expect(keyOf('user-42')).toBe('shop:limit:{user-42}:x')
    expect(keyOf(['ann@example.org', '10.0.0.1'], 'acme')).toBe(
      'shop:limit:{acme=ann@example.org:10.0.0.1}:x',
    )
    expect(keyOf('')).toBe('shop:limit:{~e}:x')
  })

  it('never take a tenant for the first of several parts, nor the other way round', () => {
    fc.assert(
      fc.property(text, text, text, (a, b, c) => {
        const mine = keyOf(b, a)
        const others: Subject[] = [[a, b], [`${a}=${b}`], [a, '=', b], [`${a}:${b}`], [a, b, c]]
        expect(others.flatMap((other) => [keyOf(other), keyOf(other, c)])).not.toContain(mine)
        // Moving a part between tenant and subject makes another key.
        expect(keyOf([b, c], a)).not.toBe(keyOf(c, `${a}:${b}`))
        expect(keyOf([b, c], a)).not.toBe(keyOf(c, `${a}=${b}`))
      }),
      RUNS,
    )
  })

  it('all change with the version and with the prefix', () => {
    const version = fc.option(fc.oneof(fc.nat(30), text), { nil: undefined })
    const prefix = fc.constantFrom('a', 'b', 'ab', 'a:b', 'a-1', 'a.1', 'a_1', 'tp')
    fc.assert(
      fc.property(prefix, version, prefix, version, subject, text, (p, v, q, w, subject, name) => {
        const [one, two] = [createKeySpace(p, v), createKeySpace(q, w)]
        const same = p === q && String(v) === String(w) && (v === undefined) === (w === undefined)
        expect(one.key('limit', one.tag(subject)) === two.key('limit', two.tag(subject))).toBe(same)
        expect(one.channel('limit', name) === two.channel('limit', name)).toBe(same)
      }),
      RUNS,
    )
  })

  it('differ from feature to feature, and channels from keys', () => {
    fc.assert(
      fc.property(subject, text, (subject, name) => {
        const tag = keys.tag(subject)
        const all = [
          keys.key('limit', tag),
          keys.key('limits', tag),
          keys.key('login', tag),
          keys.key('limit', tag, keyPart(name)),
        ]
        expect(
          new Set([...all, keys.channel('limit', name), keys.channel('login', name)]).size,
        ).toBe(6)
      }),
      { numRuns: 5000 },
    )
  })
})
