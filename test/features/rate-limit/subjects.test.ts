/** What an event shows of a subject can be given back, and what is no identity is refused. */
import { describe, expect, test } from 'vitest'
import { turnpike } from '../../../src/express.ts'
import type { Decision, Limiter } from '../../../src/index.ts'
import { testStore } from '../../../src/testing.ts'
import { apps, proxyApps } from '../../support/apps.ts'
import { bothEngines } from '../../support/engines.ts'

const engines = bothEngines()
const LONG = 'x'.repeat(1_000)

describe.each(engines)('a subject, on the $name engine', ({ open }) => {
  describe.each(proxyApps)('of an address: $name', ({ start }) => {
    test.each([
      ['203.0.113.7', '203.0.113.7'],
      ['2001:db8:1:2::7', '2001:db8:1::/56'],
      ['::ffff:203.0.113.7', '203.0.113.7'],
    ])('%s is peeked at, reset and blocked as it is, and as events show it', async (ip, shown) => {
      const { store, prefix } = open()
      let limit!: Limiter
      const app = start({
        options: { store, prefix },
        mount: (tp) => [(limit = tp.rateLimit({ limit: 1, window: '1m' }))],
        trustProxy: 1,
      })
      const seen: unknown[] = []
      app.tp.on('decision', ({ subject }: { subject: unknown }) => seen.push(subject))
      const status = async (): Promise<number> =>
        (await app.get('/', { 'X-Forwarded-For': ip })).status
      expect([await status(), await status()]).toEqual([200, 429])
      expect(seen).toEqual([shown, shown])
      for (const subject of [ip, shown]) {
        expect((await limit.peek(subject)).allowed).toBe(false)
        expect(await limit.reset(subject)).toBe(true)
        expect(await status()).toBe(200)
        expect(await status()).toBe(429)
      }
      await limit.reset(ip)
      await limit.block(shown, '1h')
      expect(await status()).toBe(429)
    })
  })

  test.each([
    ['plain', 'ann', 'ann'],
    ['escaped', 'a:b', 'a:b'],
    ['with signs', 'ann+x@example.com', 'ann+x@example.com'],
    ['a list', ['GET', '/a/:b'], ['GET', '/a/:b']],
    ['a list with a long part', ['t', LONG], ['t', expect.stringMatching(/^~h[\w-]{43}$/)]],
    ['a number', 42, '42'],
    ['long', LONG, expect.stringMatching(/^~h[\w-]{43}$/)],
    ['not well-formed', '\ud800', '\ud800'],
    ['as a digest looks', `~h${'a'.repeat(43)}`, expect.stringMatching(/^~h(?!aaa)/)],
  ])('%s: what a decision shows of it means the same', async (_kind, subject, shown) => {
    const { store, prefix } = open()
    const limiter = turnpike({ store, prefix }).limiter('l', { limit: 1, window: '1m' })
    const decision = await limiter.consume(subject)
    expect(decision.subject).toEqual(shown)
    expect(decision.policies[0]!.subject).toEqual(shown)
    expect((await limiter.peek(decision.subject)).allowed).toBe(false)
    expect(await limiter.reset(JSON.parse(JSON.stringify(decision.subject)))).toBe(true)
    expect((await limiter.peek(subject)).allowed).toBe(true)
    await limiter.block(decision.subject, '1h')
    expect((await limiter.consume(subject)).allowed).toBe(false)
  })

  test('of a tenant comes with the tenant, and both can be given back', async () => {
    const { store, prefix } = open()
    const tp = turnpike({ store, prefix, tenant: () => 'a' })
    const limiter = tp.limiter('l', { limit: 1, window: '1m' })
    const decision = await limiter.consume(LONG, { tenant: 'acme' })
    expect(decision).toMatchObject({ tenant: 'acme', subject: expect.stringMatching(/^~h/) })
    const { subject, tenant } = decision
    expect(await limiter.reset(subject, { tenant: 'other' })).toBe(false)
    expect(await limiter.reset(subject, { tenant: tenant! })).toBe(true)
  })

  test('overrides take what a decision shows', async () => {
    const { store, prefix } = open()
    const tp = turnpike({ store, prefix })
    const limiter = tp.limiter('l', { limit: 1, window: '1m' })
    const { subject } = await limiter.consume(LONG)
    await tp.overrides.set(subject, { l: 5 })
    expect(await tp.overrides.get(LONG)).toEqual({ l: 5 })
    expect((await limiter.consume(LONG)).remaining).toBe(3)
  })
})

test('attack: a client that is named as the digest of another does not use up its limit', async () => {
  const limiter = turnpike({ store: testStore() }).limiter('l', { limit: 1, window: '1m' })
  const { subject: victim } = await limiter.consume(LONG)
  await limiter.reset(LONG)
  for (let i = 0; i < 3; i++) await limiter.consume(victim)
  expect((await limiter.consume(LONG)).allowed).toBe(true)
})

describe('the keys of tp.key', () => {
  const tp = turnpike({ store: testStore() })

  test('address() is the form in which requests are counted, or undefined', () => {
    expect(tp.key.address('203.0.113.7')).toBe('203.0.113.7')
    expect(tp.key.address('::ffff:203.0.113.7')).toBe('203.0.113.7')
    expect(tp.key.address('2001:db8:1:2::7')).toBe('2001:db8:1::/56')
    expect(tp.key.address('2001:db8:1:2::7', { ipv6Subnet: 64 })).toBe('2001:db8:1:2::/64')
    for (const text of [undefined, '', 'unknown', '1.2.3', '1.2.3.4/24', '2001:db8::1/64', '::g'])
      expect(tp.key.address(text), String(text)).toBeUndefined()
    expect(() => tp.key.address('::1', { ipv6Subnet: 0 })).toThrow(
      expect.objectContaining({ code: 'TP_OPTION' }),
    )
  })

  test.each([
    ['ip()', () => tp.key.ip(), '::ffff:203.0.113.7', '203.0.113.7'],
    ['ip() of /64', () => tp.key.ip({ ipv6Subnet: 64 }), '2001:db8::1', '2001:db8::/64'],
    ['user()', () => tp.key.user(), ['anonymous', '2001:db8::1'], ['anonymous', '2001:db8::/56']],
    ['user() of a user', () => tp.key.user(), 'ann', 'ann'],
    [
      'all()',
      () => tp.key.all(tp.key.route(), tp.key.ip(), tp.key.header('x')),
      ['GET', '/a', '2001:db8::1', 'h'],
      ['GET', '/a', '2001:db8::/56', 'h'],
    ],
    ['all() with a user', () => tp.key.all(tp.key.user(), tp.key.ip()), ['a', '::1'], ['a', '::1']],
    ['a function', () => () => '::1', '2001:db8::1', '2001:db8::1'],
  ])(
    '%s: a subject that is passed is normalised as its own are',
    async (_name, key, given, own) => {
      const limit = tp.rateLimit({
        name: _name.replace(/\W/g, ''),
        limit: 5,
        window: '1m',
        key: key(),
      })
      expect((await limit.consume(given)).subject).toEqual(own)
    },
  )

  test('a policy with a key of its own goes by that', async () => {
    const limit = tp.rateLimit({
      name: 'policies',
      policies: [
        { name: 'ip', limit: 5, window: '1m' },
        { name: 'all', limit: 9, window: '1m', key: () => 'everyone' },
      ],
    })
    const { policies } = await limit.consume({ ip: '2001:db8::1', all: '2001:db8::1' })
    expect(policies.map(({ subject }) => subject)).toEqual(['2001:db8::/56', '2001:db8::1'])
  })
})

describe.each(apps)('what is no identity: $name', ({ start }) => {
  test.each([
    [Number.NaN, 'NaN'],
    [Infinity, 'Infinity'],
    [undefined, 'undefined'],
    [null, 'null'],
    ['', 'an empty string'],
    [[], 'an empty list'],
    [['a', ''], 'a list'],
    [['a', 5], 'a list'],
    [{ id: 5 }, 'an object'],
    [new Date(0), 'an object'],
    [true, 'true (boolean)'],
    [5n, '5 (bigint)'],
    [() => 5, 'a function'],
  ])('%o is refused, with what to write', async (value, shown) => {
    const app = start({
      options: { store: testStore() },
      mount: (tp) => [tp.rateLimit({ limit: 5, window: '1m', key: () => value as never })],
    })
    expect((await app.get()).status).toBe(500)
    const [error] = app.errors
    expect(error).toMatchObject({ code: 'TP_KEY' })
    expect(error.message).toContain(`\`key\` returned ${shown}`)
    expect(error.message).toContain('Return a string, a number, or a list of strings')
    const limiter: Limiter = app.tp.limiter('l', { limit: 5, window: '1m' })
    const call: Promise<Decision> = limiter.consume(value as never)
    await expect(call).rejects.toMatchObject({ code: 'TP_KEY' })
  })

  test('attack: a key that throws beside one that rejects ends no process', async () => {
    const app = start({
      options: { store: testStore() },
      mount: (tp) => [
        tp.rateLimit({
          policies: [
            { name: 'a', limit: 5, window: '1m', key: () => Promise.reject(new Error('late')) },
            {
              name: 'b',
              limit: 5,
              window: '1m',
              key: () => {
                throw new Error('at once')
              },
            },
          ],
        }),
      ],
    })
    expect((await app.get()).status).toBe(500)
    const all = start({
      options: { store: testStore() },
      mount: (tp) => [
        tp.rateLimit({
          limit: 5,
          window: '1m',
          key: tp.key.all(
            () => Promise.reject(new Error('late')),
            () => {
              throw new Error('at once')
            },
          ),
        }),
      ],
    })
    expect((await all.get()).status).toBe(500)
    // vitest fails this file if a rejection stays unobserved.
    await new Promise((resolve) => setImmediate(resolve))
  })

  test('a key may return a promise of any kind', async () => {
    const thenable = { then: (resolve: (value: string) => void) => resolve('ann') }
    const app = start({
      options: { store: testStore() },
      mount: (tp) => [tp.rateLimit({ limit: 5, window: '1m', key: () => thenable as never })],
    })
    expect((await app.get()).status).toBe(200)
  })
})
