/** What docs/migrate/koa-ratelimit.md says: first what stays alike, then what is different on purpose. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import Koa, { type Context, type Middleware } from 'koa'
import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  onTestFinished,
  test,
  vi,
} from 'vitest'
import { turnpike, type RateLimitOptions } from '../../src/koa.ts'
import { startRedis, testStore, type RedisServer } from '../../src/testing.ts'
import {
  apart,
  ask,
  connect,
  expectPrompt,
  statuses,
  timed,
  times,
  limitFields,
  within,
  type App,
  type Asked,
} from './support.ts'

/** It has no types. */
interface OldOptions {
  driver: 'redis' | 'memory'
  db: Redis | Map<string, unknown>
  duration?: number
  max?: number
  id?: (ctx: Context) => string | false
  whitelist?: (ctx: Context) => boolean
  blacklist?: (ctx: Context) => boolean
  throw?: boolean
  status?: number
  errorMessage?: string | object
  disableHeader?: boolean
  onLimited?: (ctx: Context) => void
}
// @ts-expect-error it has no types
const { default: ratelimit } = (await import('koa-ratelimit')) as {
  default: (options: OldOptions) => Middleware
}

let redis: RedisServer
beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.stop())
beforeEach(() => redis.send('FLUSHALL'))

type Stores = 'in memory' | 'over Redis'
type Proxies = { proxy?: boolean; maxIpsCount?: number }

function serving(limiters: Middleware[], proxies: Proxies = {}): App {
  const app = new Koa(proxies)
  app.silent = true
  for (const each of limiters) app.use(each)
  app.use((ctx) => {
    ctx.body = 'hello'
  })
  return app.callback()
}

async function before(
  options: Partial<OldOptions>,
  stores: Stores = 'in memory',
  proxies?: Proxies,
): Promise<App> {
  const where =
    stores === 'over Redis'
      ? { driver: 'redis' as const, db: await connect(redis) }
      : { driver: 'memory' as const, db: new Map() }
  return serving([ratelimit({ ...where, ...options })], proxies)
}

async function after(
  options: RateLimitOptions<Context>,
  stores: Stores = 'in memory',
  proxies?: Proxies,
  first: Middleware[] = [],
): Promise<App> {
  const tp = turnpike(
    stores === 'over Redis' ? { redis: redis.url } : { store: testStore({ now: Date.now() }) },
  )
  onTestFinished(() => tp.close())
  if (stores === 'over Redis') await tp.ready()
  return serving([...first, tp.rateLimit({ legacyHeaders: true, ...options })], proxies)
}

describe.each(['in memory', 'over Redis'] as const)('alike, %s', (stores) => {
  async function alike(
    old: Partial<OldOptions>,
    now: RateLimitOptions<Context>,
    requests: Asked[],
    first: Middleware[] = [],
  ): Promise<number[]> {
    const answers = [
      await ask(await before(old, stores), requests),
      await ask(await after(now, stores, {}, first), requests),
    ] as const
    expect(limitFields(answers[1])).toEqual(limitFields(answers[0]))
    // It rounds the time down, we up.
    expect(apart('x-ratelimit-reset', ...answers)).toBeLessThanOrEqual(2)
    return statuses(answers[1])
  }

  test('max and duration: statuses and X-RateLimit-*', async () => {
    expect(await alike({ max: 3, duration: 60_000 }, { limit: 3, window: '1m' }, times(5))).toEqual(
      [200, 200, 200, 429, 429],
    )
  })

  test('id is key', async () => {
    const key = (ctx: Context): string => ctx.get('x-user')
    const requests = [...times(2, { 'x-user': 'ann' }), ...times(2, { 'x-user': 'bob' })]
    expect(await alike({ max: 1, id: key }, { limit: 1, window: '1h', key }, requests)).toEqual([
      200, 429, 200, 429,
    ])
  })

  test('an id of false, and whitelist, are skip', async () => {
    const isOurs = (ctx: Context): boolean => ctx.get('x-skip') === 'yes'
    const requests = [...times(3, { 'x-skip': 'yes' }), ...times(2)]
    const expected = [200, 200, 200, 200, 429]
    expect(
      await alike(
        { max: 1, id: (ctx) => (isOurs(ctx) ? false : ctx.ip) },
        { limit: 1, window: '1h', skip: isOurs },
        requests,
      ),
    ).toEqual(expected)
    await redis.send('FLUSHALL')
    expect(
      await alike(
        { max: 1, whitelist: isOurs },
        { limit: 1, window: '1h', skip: isOurs },
        requests,
      ),
    ).toEqual(expected)
  })

  test('blacklist is a middleware of two lines', async () => {
    const isBanned = (ctx: Context): boolean => ctx.get('x-user') === 'eve'
    const banned: Middleware = (ctx, next) => (isBanned(ctx) ? ctx.throw(403, 'Forbidden') : next())
    const requests = [...times(2, { 'x-user': 'eve' }), ...times(2)]
    expect(
      await alike({ max: 1, blacklist: isBanned }, { limit: 1, window: '1h' }, requests, [banned]),
    ).toEqual([403, 403, 200, 429])
  })

  test('disableHeader is headers: false', async () => {
    const [old] = await ask(await before({ disableHeader: true }, stores), [{}])
    const [now] = await ask(
      await after({ limit: 1, window: '1h', headers: false, legacyHeaders: false }, stores),
      [{}],
    )
    for (const { headers } of [old!, now!])
      expect(Object.keys(headers).filter((name) => name.includes('ratelimit'))).toEqual([])
  })

  test('status and errorMessage are reply', async () => {
    const [, old] = await ask(
      await before({ max: 1, status: 420, errorMessage: { error: 'Calm down' } }, stores),
      times(2),
    )
    const [, now] = await ask(
      await after(
        { limit: 1, window: '1h', reply: () => ({ status: 420, body: { error: 'Calm down' } }) },
        stores,
      ),
      times(2),
    )
    expect([now!.status, now!.body, now!.headers['content-type']]).toEqual([
      old!.status,
      old!.body,
      old!.headers['content-type'],
    ])
  })
})

describe('alike', () => {
  test(
    'over Redis both are sliding: neither admits twice the limit around a boundary',
    { timeout: 30_000 },
    async () => {
      const [a, b] = [
        await before({ max: 5, duration: 2000 }, 'over Redis'),
        await after({ limit: 5, window: '2s' }, 'over Redis'),
      ]
      const start = performance.now()
      const [old, now]: [number[], number[]] = [[], []]
      for (const [count, until] of [
        [1, 1600],
        [4, 2100],
        [5, 0],
      ] as const) {
        old.push(...statuses(await ask(a, times(count))))
        now.push(...statuses(await ask(b, times(count))))
        await sleep(Math.max(0, start + until - performance.now()))
      }
      expect(performance.now() - start).toBeLessThan(3000)
      expect(old).toEqual([200, 200, 200, 200, 200, 200, 429, 429, 429, 429])
      expect(now).toEqual(old)
    },
  )

  test('onLimited is called for refusals, and ctx.state.rateLimit is set for admitted requests', async () => {
    const reported: unknown[] = []
    const onLimited = (ctx: Context): void => void reported.push(ctx.state.rateLimit)
    const old = serving([
      ratelimit({ driver: 'memory', db: new Map(), max: 1, onLimited }),
      (ctx, next) => (reported.push(ctx.state.rateLimit), next()),
    ])
    await ask(old, times(2))
    expect(reported.splice(0)).toEqual([
      undefined,
      expect.objectContaining({ after: expect.any(Number) }),
    ])
    const tp = turnpike({ store: testStore() })
    const now = serving([
      tp.rateLimit({
        limit: 1,
        window: '1h',
        onLimited: (_ctx, { retryAfterMs }) => void reported.push(retryAfterMs),
      }),
      (ctx, next) => (reported.push(ctx.state.rateLimit), next()),
    ])
    await ask(now, times(2))
    expect(reported).toEqual([expect.objectContaining({ allowed: true, remaining: 0 }), 3_600_000])
  })

  test('shadow beside the old one: it decides, reports, and is not seen', async () => {
    const tp = turnpike({ store: testStore() })
    const would: boolean[] = []
    tp.on('decision', ({ allowed }) => would.push(allowed))
    const app = serving([
      ratelimit({ driver: 'memory', db: new Map(), max: 2 }),
      tp.rateLimit({ limit: 1, window: '1h', shadow: true }),
    ])
    const answers = await ask(app, times(3))
    expect(limitFields(answers)).toEqual([
      [200, '2', '1'],
      [200, '2', '0'],
      [429, '2', '0'],
    ])
    expect(would).toEqual([true, false])
    expect(answers[1]!.headers).not.toHaveProperty('ratelimit')
  })
})

describe('different on purpose', () => {
  test('in memory it was a fixed window: 9 within half a second, where the limit is 5 in 2 s', async () => {
    const db = new Map()
    const a = await before({ max: 5, duration: 2000, db })
    const store = testStore()
    const b = serving([turnpike({ store }).rateLimit({ limit: 5, window: '2s' })])
    const [old, now]: [number[], number[]] = [[], []]
    for (const [count, pause] of [
      [1, 1600],
      [4, 450],
      [5, 0],
    ] as const) {
      old.push(...statuses(await ask(a, times(count))))
      now.push(...statuses(await ask(b, times(count))))
      // Its clock is not to be turned, so the end of its window is moved.
      for (const entry of db.values()) entry.reset -= pause / 1000
      await store.advance(pause)
    }
    expect(old.slice(1)).toEqual(Array.from({ length: 9 }, () => 200))
    expect(now.slice(1)).toEqual([200, 200, 200, 200, 200, 429, 429, 429, 429])
  })

  test('Retry-After was rounded down: who came back then was refused; now is admitted', async () => {
    const [a, b] = [
      await before({ max: 1, duration: 2000 }, 'over Redis'),
      await after({ limit: 1, window: '2s' }, 'over Redis'),
    ]
    const [old, now] = [(await ask(a, times(2)))[1]!, (await ask(b, times(2)))[1]!]
    expect([Number(old.headers['retry-after']) <= 1, now.headers['retry-after']]).toEqual([
      true,
      '2',
    ])
    await sleep(Number(old.headers['retry-after']) * 1000)
    expect(statuses(await ask(a, times(1)))).toEqual([429])
    await sleep((2 - Number(old.headers['retry-after'])) * 1000)
    expect(statuses(await ask(b, times(1)))).toEqual([200])
  })

  test('the body of a refusal: text before, problem+json now', async () => {
    const [, old] = await ask(await before({ max: 1 }), times(2))
    const [, now] = await ask(await after({ limit: 1, window: '1h' }), times(2))
    expect([old!.headers['content-type'], old!.text]).toEqual([
      'text/plain; charset=utf-8',
      expect.stringMatching(/^Rate limit exceeded, retry in /),
    ])
    expect(now!.headers['content-type']).toBe('application/problem+json')
    expect(now!.body).toMatchObject({ status: 429, 'violated-policies': ['1h'] })
  })

  test('app.proxy without maxIpsCount: any client made up its address before; now it is not believed', async () => {
    const spoofed = Array.from({ length: 10 }, (_, i) => ({ 'x-forwarded-for': `192.0.2.${i}` }))
    const old = statuses(await ask(await before({ max: 2 }, 'in memory', { proxy: true }), spoofed))
    const now = statuses(
      await ask(await after({ limit: 2, window: '1h' }, 'in memory', { proxy: true }), spoofed),
    )
    expect([old, now].map((all) => all.filter((status) => status === 200).length)).toEqual([10, 2])
    // A key of the application's own is believed, as it always was.
    const own = await ask(
      await after({ limit: 2, window: '1h', key: (ctx) => ctx.ip }, 'in memory', { proxy: true }),
      spoofed,
    )
    expect(statuses(own)).not.toContain(429)
  })

  test('IPv6: each address had its own limit before; now a /56 shares one', async () => {
    const one = Array.from({ length: 10 }, (_, i) => ({ 'x-forwarded-for': `2001:db8:1:2::${i}` }))
    const proxies = { proxy: true, maxIpsCount: 1 }
    const old = statuses(await ask(await before({ max: 2 }, 'in memory', proxies), one))
    const now = statuses(
      await ask(await after({ limit: 2, window: '1h' }, 'in memory', proxies), one),
    )
    expect([old, now].map((all) => all.filter((status) => status === 200).length)).toEqual([10, 2])
  })

  test('a sorted set with a member for each request before; one string of bounded length now', async () => {
    const [a, b] = [
      await before({ max: 500 }, 'over Redis'),
      await after({ limit: 500, window: '1h' }, 'over Redis'),
    ]
    const client = await connect(redis)
    await ask(a, times(200))
    const [key] = await client.keys('limit:*')
    expect(await client.zcard(key!)).toBe(200)
    await ask(b, times(200))
    const [ours] = await client.keys('tp:*')
    expect(await client.type(ours!)).toBe('string')
    expect(await client.memory('USAGE', ours!)).toBeLessThan(1200)
    expect(await client.memory('USAGE', key!)).toBeGreaterThan(10_000)
  })

  describe('Redis away', () => {
    afterEach(async () => {
      redis.thaw()
      await redis.restart()
    })

    test('frozen: no answer within a second before; within 130 ms now', async () => {
      const [old, now] = [
        await before({ max: 5 }, 'over Redis'),
        await after({ limit: 5, window: '1h' }, 'over Redis'),
      ]
      expect([statuses(await ask(old, [{}])), statuses(await ask(now, [{}]))]).toEqual([
        [200],
        [200],
      ])
      redis.freeze()
      expect(await within(1000, old)).toBe('nothing')
      expectPrompt(await timed(now))
    })

    test('dead: 500 before; now the local fallback still limits', async () => {
      const db = await connect(redis, { enableOfflineQueue: false, maxRetriesPerRequest: 0 })
      const [old, now] = [
        await before({ max: 2, driver: 'redis', db }),
        await after({ limit: 2, window: '1h' }, 'over Redis'),
      ]
      expect([statuses(await ask(old, [{}])), statuses(await ask(now, [{}]))]).toEqual([
        [200],
        [200],
      ])
      await redis.kill()
      await vi.waitFor(() => expect(db.status).not.toBe('ready'))
      expect(statuses(await ask(old, times(3)))).toEqual([500, 500, 500])
      expect(statuses(await ask(now, times(4)))).toEqual([200, 200, 429, 429])
    })
  })
})
