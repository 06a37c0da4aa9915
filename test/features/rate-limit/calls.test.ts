/** What the calls of a limiter take, and what they refuse, on both engines. */
import { RateLimiterMemory } from 'rate-limiter-flexible'
import { describe, expect, test } from 'vitest'
import { turnpike } from '../../../src/express.ts'
import type { Limiter } from '../../../src/index.ts'
import { testStore } from '../../../src/testing.ts'
import { bothEngines } from '../../support/engines.ts'

const DAY = 86_400_000
const TIMES = [Number.MAX_SAFE_INTEGER, 1e15, '999999999w', 100_000 * DAY + 1, 0, -1, Number.NaN]

describe.each(bothEngines())('on the $name engine', ({ open }) => {
  function setup() {
    const { store, prefix, advance } = open()
    const tp = turnpike({ store, prefix })
    return { tp, advance, limiter: tp.limiter('l', { limit: 2, window: '1m' }) }
  }

  describe('a block', () => {
    test.each([60_000.5, '100000d', 100_000 * DAY])('of %s holds until then', async (time) => {
      const { limiter } = setup()
      await limiter.block('ann', time as number)
      const { allowed, retryAfterMs } = await limiter.consume('ann')
      expect({ allowed, retryAfterMs }).toEqual({
        allowed: false,
        retryAfterMs: time === 60_000.5 ? 60_001 : 100_000 * DAY,
      })
    })

    test.each(TIMES)('of %s is refused, and changes nothing', async (time) => {
      const { tp, limiter } = setup()
      await expect(limiter.block('ann', time as number)).rejects.toMatchObject({
        code: 'TP_OPTION',
        option: 'time',
      })
      expect((await limiter.consume('ann')).allowed).toBe(true)
      for (const option of ['blockFor', 'blockMax'])
        expect(() => tp.limiter('b', { limit: 1, window: '1m', [option]: time })).toThrow(
          expect.objectContaining({ code: 'TP_OPTION', option }),
        )
    })

    test('after a refusal may have any length up to that', async () => {
      const { tp, advance } = setup()
      for (const [i, blockFor] of [1500.5, '100000d'].entries()) {
        const options = { limit: 1, window: '1s', blockFor: blockFor as number } as const
        const limiter = tp.limiter(`b${i}`, options)
        await limiter.consume('ann')
        const { retryAfterMs } = await limiter.consume('ann')
        expect(retryAfterMs).toBe(i === 0 ? 1501 : 100_000 * DAY)
        await advance('2s')
        expect((await limiter.consume('ann')).allowed).toBe(i === 0)
      }
    })
  })

  test.each(['sliding-window', 'gcra', 'fixed-window'] as const)(
    'a %s of a fraction of a millisecond is rounded',
    async (algorithm) => {
      const { tp } = setup()
      const limiter = tp.limiter('f', { limit: 3, window: 1e9 / 7, algorithm })
      for (let i = 0; i < 3; i++) await limiter.consume('ann')
      const { policies, retryAfterMs } = await limiter.consume('ann')
      expect(policies[0]!.windowMs).toBe(142_857_143)
      expect(Number.isInteger(retryAfterMs)).toBe(true)
    },
  )

  describe('limits of single subjects', () => {
    test('apply for as long as they were set, fractions rounded', async () => {
      const { tp, limiter } = setup()
      await tp.overrides.set('ann', { l: 7 }, { ttl: 60_000.4 })
      expect((await limiter.consume('ann')).limit).toBe(7)
      await tp.overrides.set('ann', { l: 8 }, { ttl: Number.MAX_SAFE_INTEGER })
      expect((await limiter.consume('ann')).limit).toBe(8)
    })

    test.each<[string, object, object]>([
      ['a time beyond any clock', { l: 5 }, { ttl: '99999999999999w' }],
      ['a name that no policy has', { 'per minute': 5 }, {}],
      ['the name of a field of the script', { '~': 5 }, {}],
      ['a name that is empty', { '': 5 }, {}],
      ['too many', Object.fromEntries(Array.from({ length: 101 }, (_, i) => [`p${i}`, i])), {}],
      ['an option that there is not', { l: 5 }, { tenent: 'a' }],
      ['no limits', {}, {}],
    ])('%s is refused', async (_kind, limits, options) => {
      const { tp } = setup()
      await expect(tp.overrides.set('ann', limits as never, options)).rejects.toMatchObject({
        code: 'TP_OPTION',
      })
      expect(await tp.overrides.get('ann')).toEqual({})
    })
  })
})

const own = turnpike({ store: testStore() })
const limiters: [string, Limiter][] = [
  ['tp.limiter()', own.limiter('l', { limit: 9, window: '1h' })],
  ['tp.rateLimit()', own.rateLimit({ name: 'r', limit: 9, window: '1h', key: () => 'all' })],
  [
    'a limiter of rate-limiter-flexible',
    own.rateLimit({ name: 'f', limiter: new RateLimiterMemory({ points: 9, duration: 3600 }) }),
  ],
]

describe.each(limiters)('%s refuses', (_kind, limiter) => {
  const calls: [string, (options: never) => Promise<unknown>][] = [
    ['consume', (options) => limiter.consume('ann', options)],
    ['peek', (options) => limiter.peek('ann', options)],
    ['refund', (options) => limiter.refund('ann', options)],
    ['reset', (options) => limiter.reset('ann', options)],
    ['block', (options) => limiter.block('ann', '1s', options)],
  ]
  const wrong = [null, 'x', true, [], { tenent: 'acme' }, { tenant: 5 }, 1.5, -1, Number.NaN]

  test.each(calls)('options of %s() that it does not know', async (_call, call) => {
    for (const options of [...wrong, { cost: 0.5 }, { cost: '5' }, { cost: 2e12 }])
      await expect(call(options as never), JSON.stringify(options)).rejects.toMatchObject({
        code: 'TP_OPTION',
      })
    expect((await limiter.peek('ann')).remaining).toBe(9)
  })

  test.each([
    ['a list with a hole', Object.assign(Array(2), { 1: 'a' })],
    ['a list of holes', Array(2)],
    ['a symbol', Symbol('ann')],
    ['a string as an object', Object('ann')],
    ['a map', new Map([['l', 'ann']])],
    ['bytes', Buffer.from('ann')],
  ])('%s as a subject', async (_what, subject) => {
    await expect(limiter.consume(subject as never)).rejects.toMatchObject({ code: 'TP_KEY' })
  })
})

test('a login guard refuses a misspelled address, which would clear all of them', async () => {
  const guard = own.loginGuard({ key: () => 'ann' })
  for (const options of [{ adress: '203.0.113.7' }, { address: '' }, { tenant: 5 }, null])
    await expect(guard.reset('ann', options as never)).rejects.toMatchObject({ code: 'TP_OPTION' })
})
