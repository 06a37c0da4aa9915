/** What docs/migrate/express-rate-limit.md says: first what stays alike, then what is different on purpose. */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, get as httpGet } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import express, { type Request, type RequestHandler } from 'express'
import { rateLimit, type Options } from 'express-rate-limit'
import { RedisStore, type RedisReply } from 'rate-limit-redis'
import type { Redis } from 'ioredis'
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
import { turnpike, type RateLimitOptions } from '../../src/express.ts'
import { startRedis, testStore, type RedisServer } from '../../src/testing.ts'
import {
  apart,
  ask,
  connect,
  expectPrompt,
  read,
  statuses,
  timed,
  times,
  limitFields,
  within,
  type App,
  type Asked,
} from './support.ts'

let redis: RedisServer
beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.stop())
beforeEach(() => redis.send('FLUSHALL'))

type Stores = 'in memory' | 'over Redis'

/** `x-status` is what the handler answers. */
function serving(limiter: RequestHandler, trustProxy: unknown = false): App {
  const app = express()
  app.set('trust proxy', trustProxy)
  app.use(limiter)
  app.get('/', (req, res) => void res.status(Number(req.get('x-status') ?? 200)).send('hello'))
  // Express prints what no handler of the application takes.
  app.use(((_error, _req, res, _next) => void res.sendStatus(500)) as express.ErrorRequestHandler)
  return app
}

const stored = (client: Redis, prefix = 'rl:'): RedisStore =>
  new RedisStore({
    prefix,
    sendCommand: (command: string, ...args: string[]) =>
      client.call(command, ...args) as Promise<RedisReply>,
  })

async function before(options: Partial<Options>, stores: Stores = 'in memory'): Promise<App> {
  const store = stores === 'over Redis' ? { store: stored(await connect(redis)) } : {}
  return serving(rateLimit({ validate: false, ...store, ...options }))
}

async function after(
  options: RateLimitOptions<Request>,
  stores: Stores = 'in memory',
): Promise<App> {
  const tp = turnpike(
    stores === 'over Redis' ? { redis: redis.url } : { store: testStore({ now: Date.now() }) },
  )
  onTestFinished(() => tp.close())
  if (stores === 'over Redis') await tp.ready()
  return serving(tp.rateLimit({ legacyHeaders: true, ...options }))
}

describe.each(['in memory', 'over Redis'] as const)('alike, %s', (stores) => {
  /** Both get the same requests and must say the same. */
  async function alike(
    old: Partial<Options>,
    now: RateLimitOptions<Request>,
    requests: Asked[],
    pause = 0,
  ): Promise<number[]> {
    const [a, b] = [await before(old, stores), await after(now, stores)]
    const answers: [Awaited<ReturnType<typeof ask>>, Awaited<ReturnType<typeof ask>>] = [[], []]
    for (const each of requests) {
      answers[0].push(...(await ask(a, [each])))
      answers[1].push(...(await ask(b, [each])))
      await sleep(pause)
    }
    expect(limitFields(answers[1])).toEqual(limitFields(answers[0]))
    expect(apart('x-ratelimit-reset', ...answers)).toBeLessThanOrEqual(1)
    expect(apart('retry-after', ...answers)).toBeLessThanOrEqual(1)
    expect(answers[1].map(({ headers }) => 'retry-after' in headers)).toEqual(
      answers[0].map(({ headers }) => 'retry-after' in headers),
    )
    return statuses(answers[1])
  }

  test('limit and windowMs: statuses, X-RateLimit-* and Retry-After', async () => {
    expect(
      await alike({ limit: 3, windowMs: 60_000 }, { limit: 3, window: '1m' }, times(5)),
    ).toEqual([200, 200, 200, 429, 429])
  })

  test('limit as a function', async () => {
    const key = (req: Request): string => req.get('x-plan') ?? 'free'
    const limit = (req: Request): number => (key(req) === 'pro' ? 4 : 2)
    const later = (req: Request): Promise<number> => Promise.resolve(limit(req))
    const requests = [...times(3), ...times(5, { 'x-plan': 'pro' })]
    const expected = [200, 200, 429, 200, 200, 200, 200, 429]
    expect(
      await alike({ limit, keyGenerator: key }, { limit, window: '1m', key }, requests),
    ).toEqual(expected)
    await redis.send('FLUSHALL')
    expect(
      await alike(
        { limit: later, keyGenerator: key },
        { limit: later, window: '1m', key, name: 'later' },
        requests,
      ),
    ).toEqual(expected)
  })

  test('keyGenerator is key', async () => {
    const key = (req: Request): string => req.get('x-user')!
    const requests = [...times(3, { 'x-user': 'ann' }), ...times(3, { 'x-user': 'bob' })]
    expect(
      await alike({ limit: 2, keyGenerator: key }, { limit: 2, window: '1m', key }, requests),
    ).toEqual([200, 200, 429, 200, 200, 429])
  })

  test('skip', async () => {
    const skip = (req: Request): boolean => req.get('x-skip') === 'yes'
    const requests = [...times(3, { 'x-skip': 'yes' }), ...times(2)]
    expect(await alike({ limit: 1, skip }, { limit: 1, window: '1m', skip }, requests)).toEqual([
      200, 200, 200, 200, 429,
    ])
  })

  test('skipSuccessfulRequests is skipSuccessful', async () => {
    const requests = [...times(3), ...times(3, { 'x-status': '401' })]
    expect(
      await alike(
        { limit: 2, skipSuccessfulRequests: true },
        { limit: 2, window: '1m', skipSuccessful: true },
        requests,
        20,
      ),
    ).toEqual([200, 200, 200, 401, 401, 429])
  })

  test('skipFailedRequests is skipFailed', async () => {
    const requests = [...times(3, { 'x-status': '500' }), ...times(3)]
    expect(
      await alike(
        { limit: 2, skipFailedRequests: true },
        { limit: 2, window: '1m', skipFailed: true },
        requests,
        20,
      ),
    ).toEqual([500, 500, 500, 200, 200, 429])
  })

  test('resetKey is reset, getKey is peek', async () => {
    const key = (): string => 'ann'
    const store = stores === 'over Redis' ? { store: stored(await connect(redis)) } : {}
    const old = rateLimit({ validate: false, limit: 1, keyGenerator: key, ...store })
    const tp = turnpike(stores === 'over Redis' ? { redis: redis.url } : { store: testStore() })
    onTestFinished(() => tp.close())
    if (stores === 'over Redis') await tp.ready()
    const limiter = tp.rateLimit({ limit: 1, window: '1m', key })
    const [a, b] = [serving(old), serving(limiter)]
    expect([statuses(await ask(a, times(2))), statuses(await ask(b, times(2)))]).toEqual([
      [200, 429],
      [200, 429],
    ])
    // The old count goes on beyond the limit; ours does not charge what it refuses.
    expect([(await old.getKey('ann'))!.totalHits, (await limiter.peek('ann')).remaining]).toEqual([
      2, 0,
    ])
    await (old.resetKey('ann') as Promise<void> | void)
    await limiter.reset('ann')
    expect([statuses(await ask(a, times(2))), statuses(await ask(b, times(2)))]).toEqual([
      [200, 429],
      [200, 429],
    ])
  })
})

describe('alike', () => {
  test('the fields of draft 8 are those of draft 11, and can be read by the same client', async () => {
    const a = await before({
      limit: 3,
      windowMs: 60_000,
      standardHeaders: 'draft-8',
      identifier: 'api',
    })
    const b = await after({ limit: 3, window: '1m', name: 'api', partitionKey: 'a secret' })
    for (const [i, { headers }] of (await ask(a, times(4))).entries()) {
      const ours = (await ask(b, [{}]))[0]!.headers
      const [policies, limits] = [read(headers['ratelimit-policy']), read(headers['ratelimit'])]
      const [ourPolicies, ourLimits] = [read(ours['ratelimit-policy']), read(ours['ratelimit'])]
      expect(policies).toMatchObject([{ name: 'api', q: 3, w: 60 }])
      expect(ourPolicies).toMatchObject([{ name: 'api', q: 3, w: 60 }])
      expect([limits[0]!.r, ourLimits[0]!.r]).toEqual(i < 3 ? [2 - i, 2 - i] : [0, 0])
      expect(Math.abs(Number(limits[0]!.t) - Number(ourLimits[0]!.t))).toBeLessThanOrEqual(1)
      expect([policies[0]!.pk, ourPolicies[0]!.pk]).toEqual([
        expect.any(ArrayBuffer),
        expect.any(ArrayBuffer),
      ])
    }
  })

  test('message, statusCode and handler are reply', async () => {
    const a = await before({ limit: 1, statusCode: 420, message: { error: 'Calm down' } })
    const b = await after({
      limit: 1,
      window: '1m',
      reply: () => ({ status: 420, body: { error: 'Calm down' } }),
    })
    const [, old] = await ask(a, times(2))
    const [, now] = await ask(b, times(2))
    expect([
      now!.status,
      now!.body,
      now!.headers['content-type'],
      now!.headers['retry-after'],
    ]).toEqual([old!.status, old!.body, old!.headers['content-type'], old!.headers['retry-after']])
  })

  test('what the notes give to change nothing for clients changes nothing', async () => {
    const a = await before({ limit: 1 })
    const b = await after({
      limit: 1,
      window: '1m',
      headers: false,
      reply: () => ({
        headers: { 'Content-Type': 'text/html; charset=utf-8' },
        body: 'Too many requests, please try again later.',
      }),
    })
    const [old, now] = [await ask(a, times(2)), await ask(b, times(2))]
    for (const [i, { status, text, headers }] of now.entries()) {
      expect([status, text, headers['content-type']]).toEqual([
        old[i]!.status,
        old[i]!.text,
        old[i]!.headers['content-type'],
      ])
      const limits = (of: object): string[] =>
        Object.keys(of)
          .filter((name) => /ratelimit|retry/.test(name))
          .toSorted()
      expect(limits(headers)).toEqual(limits(old[i]!.headers))
    }
    expect(limitFields(now)).toEqual(limitFields(old))
  })

  test('retryAfter is a header of reply', async () => {
    const [, old] = await ask(await before({ limit: 1, retryAfter: () => 7 }), times(2))
    const [, now] = await ask(
      await after({ limit: 1, window: '1m', reply: () => ({ headers: { 'Retry-After': '7' } }) }),
      times(2),
    )
    expect([old!.headers['retry-after'], now!.headers['retry-after']]).toEqual(['7', '7'])
  })

  test('requestWasSuccessful is a refund in the handler', async () => {
    const a = await before({
      limit: 1,
      skipSuccessfulRequests: true,
      requestWasSuccessful: (_req, res) => res.statusCode === 404,
    })
    const tp = turnpike({ store: testStore() })
    const app = express().get('/', tp.rateLimit({ limit: 1, window: '1m' }), (req, res, next) => {
      const status = Number(req.get('x-status') ?? 200)
      const refunded = status === 404 ? req.rateLimit?.refund() : undefined
      Promise.resolve(refunded).then(() => res.status(status).end(), next)
    })
    const requests = [...times(2, { 'x-status': '404' }), ...times(2)]
    const old: number[] = []
    for (const each of requests) {
      old.push(...statuses(await ask(a, [each])))
      await sleep(20)
    }
    expect([old, statuses(await ask(app, requests))]).toEqual([
      [404, 404, 200, 429],
      [404, 404, 200, 429],
    ])
  })

  test('ipv6Subnet is grouped by /56 in both', async () => {
    const requests = [
      '2001:db8:1:200::1',
      '2001:db8:1:2ff::2',
      '2001:db8:1:300::1',
      '::ffff:192.0.2.1',
      '192.0.2.1',
    ].map((ip) => ({ 'x-forwarded-for': ip }))
    const a = serving(rateLimit({ validate: false, limit: 1 }), 1)
    const b = serving(turnpike({ store: testStore() }).rateLimit({ limit: 1, window: '1m' }), 1)
    expect([statuses(await ask(a, requests)), statuses(await ask(b, requests))]).toEqual([
      [200, 429, 200, 200, 429],
      [200, 429, 200, 200, 429],
    ])
  })

  test('shadow beside the old one: it decides, reports, and is not seen', async () => {
    const tp = turnpike({ store: testStore() })
    const would: boolean[] = []
    tp.on('decision', ({ allowed }) => would.push(allowed))
    const app = express()
    app.use(rateLimit({ validate: false, limit: 2, standardHeaders: 'draft-8', identifier: 'old' }))
    app.use(tp.rateLimit({ limit: 1, window: '1m', shadow: true }))
    app.get('/', (_req, res) => void res.send('hello'))
    const answers = await ask(app, times(3))
    expect(statuses(answers)).toEqual([200, 200, 429])
    expect(would).toEqual([true, false])
    expect(read(answers[1]!.headers['ratelimit'])).toMatchObject([{ name: 'old', r: 0 }])
  })
})

describe('different on purpose', () => {
  test('the body of a refusal: text before, problem+json now', async () => {
    const [, old] = await ask(await before({ limit: 1 }), times(2))
    const [, now] = await ask(await after({ limit: 1, window: '1m' }), times(2))
    expect([old!.headers['content-type'], old!.text]).toEqual([
      'text/html; charset=utf-8',
      'Too many requests, please try again later.',
    ])
    expect(now!.headers['content-type']).toBe('application/problem+json')
    expect(now!.body).toMatchObject({ status: 429, 'violated-policies': ['1m'] })
  })

  test('refused requests were counted before; now they are only with countDenied', async () => {
    const limit = (req: Request): number => Number(req.get('x-limit') ?? 2)
    const requests = [...times(4), { 'x-limit': '4' }]
    expect(statuses(await ask(await before({ limit }), requests))).toEqual([
      200, 200, 429, 429, 429,
    ])
    expect(statuses(await ask(await after({ limit, window: '1m' }), requests))).toEqual([
      200, 200, 429, 429, 200,
    ])
    expect(
      statuses(await ask(await after({ limit, window: '1m', countDenied: true }), requests)),
    ).toEqual([200, 200, 429, 429, 429])
  })

  test('limit and window have no defaults: 5 a minute before', async () => {
    expect(statuses(await ask(await before({}), times(6)))).toEqual([200, 200, 200, 200, 200, 429])
    expect(() => turnpike({ store: testStore() }).rateLimit({})).toThrow(/limit must be/)
  })

  test(
    'requests around the end of a window: twice the limit less one before, the limit now',
    { timeout: 30_000 },
    async () => {
      const [a, b] = [
        await before({ limit: 5, windowMs: 2000 }, 'over Redis'),
        await after({ limit: 5, window: '2s' }, 'over Redis'),
      ]
      const start = performance.now()
      const until = (ms: number): Promise<void> =>
        sleep(Math.max(0, start + ms - performance.now()))
      const [old, now]: [number[], number[]] = [[], []]
      const both = async (count: number): Promise<void> => {
        old.push(...statuses(await ask(a, times(count))))
        now.push(...statuses(await ask(b, times(count))))
      }
      await both(1)
      await until(1600)
      await both(4)
      await until(2060)
      await both(5)
      expect(performance.now() - start).toBeLessThan(3000)
      expect(old).toEqual(Array.from({ length: 10 }, () => 200))
      expect(now.filter((status) => status === 200)).toHaveLength(6)
    },
  )

  test("the same with the old one's memory: 9 within a second, where the limit is 5 in 2 s", async () => {
    vi.useFakeTimers({ toFake: ['Date', 'setInterval'] })
    onTestFinished(() => void vi.useRealTimers())
    const a = await before({ limit: 5, windowMs: 2000 })
    const store = testStore()
    const b = serving(turnpike({ store }).rateLimit({ limit: 5, window: '2s' }))
    const steps = [
      [1, 1600],
      [4, 450],
      [5, 0],
    ] as const
    const [old, now]: [number[], number[]] = [[], []]
    for (const [count, pause] of steps) {
      old.push(...statuses(await ask(a, times(count))))
      now.push(...statuses(await ask(b, times(count))))
      vi.setSystemTime(Date.now() + pause)
      await store.advance(pause)
    }
    expect(old.slice(1)).toEqual(Array.from({ length: 9 }, () => 200))
    expect(now.slice(1)).toEqual([200, 200, 200, 200, 200, 429, 429, 429, 429])
  })

  test("'trust proxy': true: any client made up its address before; now it is not believed", async () => {
    const spoofed = Array.from({ length: 10 }, (_, i) => ({ 'x-forwarded-for': `192.0.2.${i}` }))
    const a = serving(rateLimit({ validate: false, limit: 2 }), true)
    const tp = turnpike({ store: testStore() })
    const warnings: string[] = []
    tp.on('warning', ({ message }) => warnings.push(message))
    const b = serving(tp.rateLimit({ limit: 2, window: '1m' }), true)
    expect(statuses(await ask(a, spoofed)).filter((status) => status === 200)).toHaveLength(10)
    expect(statuses(await ask(b, spoofed)).filter((status) => status === 200)).toHaveLength(2)
    expect(warnings).toEqual([expect.stringContaining("app.set('trust proxy', 1)")])
  })

  test("draft 8's partition key was a bare hash of the address, cut to 48 bits; ours is an HMAC, if asked for", async () => {
    const [old] = await ask(await before({ standardHeaders: 'draft-8' }), [{}])
    const pk = Buffer.from(read(old!.headers['ratelimit-policy'])[0]!.pk as ArrayBuffer).toString()
    const guesses = ['192.0.2.7', '127.0.0.1'].filter((ip) =>
      createHash('sha256').update(ip).digest('hex').startsWith(pk),
    )
    expect(guesses).toEqual(['127.0.0.1'])
    const [now] = await ask(await after({ limit: 5, window: '1m' }), [{}])
    expect(read(now!.headers['ratelimit-policy'])[0]).not.toHaveProperty('pk')
  })

  test('skipFailed: who hangs up was given the charge back before; now it stays counted', async () => {
    const store = testStore()
    const limiters = [
      rateLimit({ validate: false, limit: 5, skipFailedRequests: true }),
      turnpike({ store }).rateLimit({
        limit: 5,
        window: '1m',
        skipFailed: true,
        legacyHeaders: true,
      }),
    ]
    const left: number[] = []
    for (const limiter of limiters) {
      const app = express()
      app.get('/slow', limiter, () => {})
      app.get('/', limiter, (_req, res) => void res.send('hello'))
      const server = createServer(app).listen(0, '127.0.0.1')
      await once(server, 'listening')
      onTestFinished(() => void server.close())
      const req = httpGet({
        port: (server.address() as AddressInfo).port,
        path: '/slow',
        agent: false,
      })
      req.on('error', () => {})
      await sleep(100)
      req.destroy()
      await sleep(100)
      left.push(
        Number(
          (await ask(server.listeners('request')[0] as App, [{}]))[0]!.headers[
            'x-ratelimit-remaining'
          ],
        ),
      )
    }
    expect(left).toEqual([4, 3])
  })

  describe('Redis away', () => {
    afterEach(async () => {
      redis.thaw()
      await redis.restart()
    })

    test('frozen: no answer within a second before, whatever passOnStoreError says; within 130 ms now', async () => {
      const old = [
        await before({ limit: 5 }, 'over Redis'),
        await before({ limit: 5, passOnStoreError: true }, 'over Redis'),
      ]
      const now = await after({ limit: 5, window: '1m' }, 'over Redis')
      await ask(old[0]!, [{}])
      await ask(old[1]!, [{}])
      expect(statuses(await ask(now, [{}]))).toEqual([200])
      redis.freeze()
      const answers = await Promise.all(old.map((app) => within(1000, app)))
      expect(answers).toEqual(['nothing', 'nothing'])
      expectPrompt(await timed(now))
    })

    test('dead: no answer, or with a client that fails fast 500 before, or no limit with passOnStoreError; now the local fallback still limits', async () => {
      const client = await connect(redis, { enableOfflineQueue: false, maxRetriesPerRequest: 0 })
      const app = (options: Partial<Options>, prefix: string): App =>
        serving(
          rateLimit({
            validate: false,
            limit: 2,
            store: stored(client, prefix),
            logger: { error() {}, warn() {} },
            ...options,
          }),
        )
      const [strict, lax] = [app({}, 'a:'), app({ passOnStoreError: true }, 'b:')]
      const queueing = await before({ limit: 2 }, 'over Redis')
      const now = await after({ limit: 2, window: '1m' }, 'over Redis')
      for (const each of [strict, lax, now, queueing])
        expect(statuses(await ask(each, [{}]))).toEqual([200])
      await redis.kill()
      await vi.waitFor(() => expect(client.status).not.toBe('ready'))
      expect(statuses(await ask(strict, times(2)))).toEqual([500, 500])
      expect(statuses(await ask(lax, times(5)))).toEqual([200, 200, 200, 200, 200])
      expect(await within(1000, queueing)).toBe('nothing')
      expect(statuses(await ask(now, times(5)))).toEqual([200, 200, 429, 429, 429])
    })

    test('absent when the application starts: broken until it is restarted before; healed now', async () => {
      await redis.kill()
      const client = await connect(redis, {
        lazyConnect: true,
        enableOfflineQueue: false,
        maxRetriesPerRequest: 0,
        retryStrategy: () => 50,
      })
      client.connect().catch(() => {})
      const old = serving(
        rateLimit({
          validate: false,
          limit: 5,
          store: stored(client),
          logger: { error() {}, warn() {} },
        }),
      )
      const tp = turnpike({ redis: redis.url })
      onTestFinished(() => tp.close())
      const now = serving(tp.rateLimit({ limit: 5, window: '1m' }))
      expect([statuses(await ask(old, [{}])), statuses(await ask(now, [{}]))]).toEqual([
        [500],
        [200],
      ])
      await redis.restart()
      await vi.waitFor(() => expect(client.status).toBe('ready'), 5000)
      await tp.ready()
      const sources: string[] = []
      tp.on('decision', ({ source }) => sources.push(source))
      expect([statuses(await ask(old, [{}])), statuses(await ask(now, [{}]))]).toEqual([
        [500],
        [200],
      ])
      expect(sources).toEqual(['store'])
    })
  })
})
