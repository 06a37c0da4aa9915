/** What rate limiting guarantees, on every framework and both engines. */
import { fork } from 'node:child_process'
import type { Socket } from 'node:net'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import calculateSlot from 'cluster-key-slot'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { turnpike } from '../../../src/express.ts'
import { startRedis } from '../../../src/testing.ts'
import { apps, proxyApps } from '../../support/apps.ts'
import { bothEngines } from '../../support/engines.ts'

const engines = bothEngines()

describe.each(engines)('on the $name engine', ({ open, server }) => {
  describe.each(proxyApps)('$name', ({ start }) => {
    // The proxy appends the address that it saw. The client made up what precedes it.
    test.each([true, 1, false])(
      'attack: with a made-up X-Forwarded-For and trust proxy %s, the limit holds',
      async (trustProxy) => {
        const { store, prefix } = open()
        const app = start({
          options: { store, prefix },
          mount: (tp) => [tp.rateLimit({ limit: 2, window: '1m' })],
          trustProxy,
        })
        const statuses: number[] = []
        for (let i = 0; i < 10; i++) {
          const { status } = await app.get('/', {
            'X-Forwarded-For': `203.0.113.${i}, 198.51.100.7`,
          })
          statuses.push(status)
        }
        expect(statuses).toEqual([200, 200, ...Array(8).fill(429)])
        const spoofable = trustProxy === true
        expect(
          app.warnings.filter((message) => /any client can make up its address/.test(message)),
        ).toHaveLength(spoofable ? 1 : 0)
      },
    )

    test('attack: a client without a proxy in front cannot make up its address', async () => {
      const { store, prefix } = open()
      const app = start({
        options: { store, prefix },
        mount: (tp) => [tp.rateLimit({ limit: 2, window: '1m' })],
        trustProxy: true,
      })
      const statuses: number[] = []
      for (let i = 0; i < 10; i++)
        statuses.push((await app.get('/', { 'X-Forwarded-For': `203.0.113.${i}` })).status)
      expect(statuses.filter((status) => status === 200)).toHaveLength(2)
    })

    test('an IPv6 network is one client, and so are an IPv4 address and its mapped form', async () => {
      const { store, prefix } = open()
      const app = start({
        options: { store, prefix },
        mount: (tp) => [tp.rateLimit({ limit: 100, window: '1m' })],
        handle: (native) => [200, String((native.rateLimit ?? native.state.rateLimit).remaining)],
        trustProxy: 1,
      })
      const left = async (address: string): Promise<number> =>
        Number((await app.get('/', { 'X-Forwarded-For': address })).text)
      for (let i = 0; i < 10; i++) expect(await left(`2001:db8:1:2::${i}`)).toBe(99 - i)
      expect(await left('2001:db8:1:ff::1')).toBe(89)
      expect(await left('2001:db8:1:100::1')).toBe(99)
      expect(await left('::ffff:1.2.3.4')).toBe(99)
      expect(await left('::ffff:102:304')).toBe(98)
      expect(await left('1.2.3.4')).toBe(97)
      expect(await left('::ffff:1.2.3.5')).toBe(99)
    })
  })

  describe.each(apps)('$name', ({ start }) => {
    test('unusual user IDs have their own buckets, in keys of at most 200 bytes', async () => {
      const { store, prefix } = open()
      const odd = [
        'a:b',
        'a',
        'b',
        '{x}',
        '}{',
        '\r\n',
        'x'.repeat(1_000_000),
        `~h${'x'.repeat(43)}`,
        '__proto__',
        'constructor',
        ' a',
        'A',
        '\ud800',
        '\ud801',
        '%3a',
        '~e',
      ]
      const app = start({
        options: { store, prefix },
        mount: (tp) => [
          tp.rateLimit({
            limit: 1,
            window: '1m',
            key: (native: any) => odd[Number(native.headers['x-user'])],
          }),
        ],
      })
      for (const [i] of odd.entries())
        expect((await app.get('/', { 'x-user': String(i) })).status, odd[i]!.slice(0, 20)).toBe(200)
      for (const [i] of odd.entries())
        expect((await app.get('/', { 'x-user': String(i) })).status, odd[i]!.slice(0, 20)).toBe(429)
      // A request without a key is an error. Otherwise clients would share a bucket.
      const nobody = await app.get('/', { 'x-user': '99' })
      expect(nobody.status).toBe(500)
      expect(app.errors[0]).toMatchObject({
        code: 'TP_KEY',
        help: 'turnpike/docs/errors.md#tp_key',
      })
      const redis = server()
      if (!redis) return
      const keys = (await redis.send('KEYS', `${prefix}:*`))
        .split('\r\n')
        .filter((line) => line.startsWith(prefix))
      expect(keys).toHaveLength(odd.length)
      for (const key of keys) expect(Buffer.byteLength(key)).toBeLessThanOrEqual(200)
    })

    test('a request that the minute refuses is charged to neither the hour nor the day', async () => {
      const { store, prefix } = open()
      const app = start({
        options: { store, prefix },
        mount: (tp) => [
          tp.rateLimit({
            policies: [
              { name: 'minute', limit: 2, window: '1m' },
              { name: 'hour', limit: 100, window: '1h' },
              { name: 'day', limit: 1000, window: '1d' },
            ],
          }),
        ],
      })
      const answers = []
      for (let i = 0; i < 10; i++) answers.push(await app.get())
      expect(answers.map(({ status }) => status)).toEqual([200, 200, ...Array(8).fill(429)])
      const last = answers.at(-1)!
      expect(last.headers['ratelimit-policy']).toBe(
        '"minute";q=2;w=60, "hour";q=100;w=3600, "day";q=1000;w=86400',
      )
      expect(last.headers['ratelimit']).toMatch(
        /^"minute";r=0;t=\d+, "hour";r=98;t=\d+, "day";r=998;t=\d+$/,
      )
      expect(last.headers['content-type']).toMatch('application/problem+json')
      expect(JSON.parse(last.text)).toMatchObject({
        type: 'https://iana.org/assignments/http-problem-types#quota-exceeded',
        status: 429,
        'violated-policies': ['minute'],
      })
    })

    test('a cost above what is left is refused uncharged, and a cost above the limit never passes', async () => {
      const { store, prefix } = open()
      const app = start({
        options: { store, prefix },
        mount: (tp) => [
          tp.rateLimit({
            limit: 10,
            window: '1m',
            cost: (native: any) => Number(native.headers['x-cost']),
          }),
        ],
      })
      const statuses = []
      for (const cost of [6, 5, 4, 1, 0])
        statuses.push((await app.get('/', { 'x-cost': String(cost) })).status)
      expect(statuses).toEqual([200, 429, 200, 429, 200])
      // A cost above the limit is never admitted, so no time to retry is sent.
      const never = await app.get('/', { 'x-cost': '11' })
      expect(never.status).toBe(429)
      expect(never.headers['retry-after']).toBeUndefined()
      for (const bad of ['-1', '1.5', 'NaN'])
        expect((await app.get('/', { 'x-cost': bad })).status).toBe(500)
      expect(app.errors.map((error) => error.code)).toEqual(['TP_VALUE', 'TP_VALUE', 'TP_VALUE'])
    })
  })

  describe('clocks', () => {
    afterEach(() => void vi.useRealTimers())

    test('the clock of this process, an hour wrong, changes nothing', async () => {
      const { store, prefix } = open()
      const limiter = turnpike({ store, prefix }).limiter('l', { limit: 2, window: '1m' })
      await limiter.consume('a')
      for (const hours of [1, -1]) {
        vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + hours * 3_600_000 })
        expect((await limiter.peek('a')).remaining).toBe(1)
        vi.useRealTimers()
      }
    })

    test.each(['sliding-window', 'fixed-window', 'gcra'] as const)(
      '%s: with the clock of the store set back 30 s the limit holds, and 10 min lock nobody out',
      async (algorithm) => {
        const { store, prefix, back, advance } = open()
        const limiter = turnpike({ store, prefix }).limiter('l', {
          limit: 3,
          window: '1m',
          algorithm,
        })
        await advance('30m')
        for (let i = 0; i < 3; i++) expect((await limiter.consume('a')).allowed).toBe(true)
        await back('30s')
        expect((await limiter.consume('a')).allowed).toBe(false)
        await back('10m')
        expect((await limiter.consume('a')).allowed).toBe(true)
      },
    )
  })

  describe('refunds', () => {
    test.each(['sliding-window', 'fixed-window', 'gcra'] as const)(
      '%s: a refund never counts below zero, twice, or after the window',
      async (algorithm) => {
        const { store, prefix, advance } = open()
        const limiter = turnpike({ store, prefix }).limiter('l', {
          limit: 5,
          window: '1m',
          algorithm,
        })
        const decision = await limiter.consume('a', 2)
        expect(decision.cost).toBe(2)
        await decision.refund()
        await decision.refund()
        expect((await limiter.peek('a')).remaining).toBe(5)
        await limiter.refund('a', 100)
        expect((await limiter.peek('a')).remaining).toBe(5)
        const late = await limiter.consume('a')
        await advance('2m')
        await limiter.consume('a')
        await late.refund()
        expect((await limiter.peek('a')).remaining).toBe(4)
      },
    )

    test('settle() charges or refunds the difference to the actual cost', async () => {
      const { store, prefix } = open()
      const limiter = turnpike({ store, prefix }).limiter('tokens', { limit: 100, window: '1m' })
      const decision = await limiter.consume('a', 10)
      await decision.settle(4)
      expect((await limiter.peek('a')).remaining).toBe(96)
      await decision.settle(150)
      expect(await limiter.peek('a')).toMatchObject({ remaining: 0, allowed: false })
      await expect(decision.settle(-1)).rejects.toMatchObject({ code: 'TP_VALUE' })
    })

    test.each(apps)(
      '$name: skipFailed refunds a failed request, and no aborted one',
      async ({ start }) => {
        const { store, prefix } = open()
        let left: Promise<unknown> = Promise.resolve()
        const app = start({
          options: { store, prefix },
          mount: (tp) => [
            tp.rateLimit({ name: 'l', limit: 5, window: '1m', skipFailed: true, key: () => 'a' }),
          ],
          handle: (native) => {
            const path = native.url as string
            if (path === '/throw') throw new Error('on purpose')
            if (path !== '/abort') return [path === '/fail' ? 404 : 200, 'x']
            const socket = (native.socket ?? native.req.socket) as Socket
            left = once(socket, 'close')
            socket.destroy()
            return left.then(() => [404, ''] as const)
          },
        })
        const limiter = turnpike({ store, prefix }).limiter('l', { limit: 5, window: '1m' })
        const remaining = async (): Promise<number> => (await limiter.peek('a')).remaining!
        await app.get('/fail')
        await vi.waitFor(async () => expect(await remaining()).toBe(5))
        await app.get('/throw')
        await vi.waitFor(async () => expect(await remaining()).toBe(5))
        await app.get('/abort').catch(() => {})
        await left
        expect(await remaining()).toBe(4)
        await app.get('/fine')
        expect(await remaining()).toBe(3)
      },
    )
  })
})

test('200 parallel calls from 4 processes across the boundary of a window: exactly 50 of limit 50 pass', async () => {
  await using redis = await startRedis()
  const worker = fileURLToPath(new URL('./hammer.mjs', import.meta.url))
  const window = 4000
  const workers = Array.from({ length: 4 }, () => fork(worker, [redis.url, String(window)]))
  await Promise.all(workers.map((child) => once(child, 'message')))
  // The window's epoch-aligned boundary, at which fixed windows admit twice the limit.
  const boundary = Math.ceil((Date.now() + 1100) / window) * window
  const admitted = await Promise.all(
    workers.map(async (child) => {
      child.send(boundary)
      const [message] = (await once(child, 'message')) as [{ at: number[]; refused: number }]
      return message
    }),
  )
  const at = admitted.flatMap((each) => each.at).toSorted((a, b) => a - b)
  expect(at.length + admitted.reduce((sum, { refused }) => sum + refused, 0)).toBe(200)
  expect(at[0]!).toBeLessThan(boundary)
  for (const [i, first] of at.entries())
    expect(at.slice(i).filter((each) => each < first + window).length).toBeLessThanOrEqual(50)
  expect(at).toHaveLength(50)
})

test('all keys of a subject share a hash slot', async () => {
  await using redis = await startRedis()
  await using tp = turnpike({ redis: redis.url, prefix: 'p' })
  await tp.ready()
  const limiter = tp.limiter('l', {
    policies: [
      { limit: 9, window: '1m' },
      { limit: 9, window: '1h', algorithm: 'gcra' },
      { limit: 9, window: 'month' },
    ],
  })
  for (const id of ['}', ' ', '}x', '{', 'a:b']) {
    await limiter.consume(id)
    await tp.overrides.set(id, { '1m': 3 })
    const keys = (await redis.send('KEYS', 'p:*'))
      .split('\r\n')
      .filter((line) => line.startsWith('p:'))
    expect(keys).toHaveLength(4)
    expect(new Set(keys.map((key) => calculateSlot(key))).size).toBe(1)
    await redis.send('FLUSHALL')
  }
})
