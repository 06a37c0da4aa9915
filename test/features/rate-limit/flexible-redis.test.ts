/** RateLimiterRedis behind our answers, over a Redis that works, dies and freezes. */
import express from 'express'
import { Redis } from 'ioredis'
import Koa from 'koa'
import {
  BurstyRateLimiter,
  RateLimiterMemory,
  RateLimiterRedis,
  RateLimiterUnion,
  RLWrapperBlackAndWhite,
} from 'rate-limiter-flexible'
import { parseList } from 'structured-headers'
import request from 'supertest'
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
import {
  turnpike,
  type EventMap,
  type FailureRule,
  type FlexibleLimiter,
} from '../../../src/express.ts'
import { turnpike as koaTurnpike } from '../../../src/koa.ts'
import { startRedis, testStore, type RedisServer } from '../../../src/testing.ts'

/** What an answer by the failure rule may take: the limiter's 100 ms, and a busy machine. Without it, 10 s. */
const PROMPT = 600

let redis: RedisServer
beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.stop())
beforeEach(() => redis.send('FLUSHALL'))

interface ClientOptions {
  enableOfflineQueue?: boolean
  maxRetriesPerRequest?: number
  lazyConnect?: boolean
  port?: number
}

function connect({ port = redis.port, ...options }: ClientOptions = {}): Redis {
  const client = new Redis(port, redis.host, options)
  client.on('error', () => {})
  onTestFinished(() => client.disconnect())
  return client
}

const over = (
  storeClient: Redis,
  points: number,
  duration: number,
  keyPrefix = 'login',
  more = {},
) => new RateLimiterRedis({ storeClient, points, duration, keyPrefix, ...more })

interface Options {
  limiter: FlexibleLimiter
  fail?: FailureRule
  skipFailed?: boolean
}

function app(options: Options, framework = 'Express 5') {
  const unavailable: EventMap['unavailable'][] = []
  const errors: EventMap['error'][] = []
  if (framework === 'Koa 3') {
    const tp = koaTurnpike({ store: testStore() })
    tp.on('unavailable', (event) => unavailable.push(event))
    const limiter = tp.rateLimit({ key: (ctx) => ctx.get('x-user') || 'ann', ...options })
    const served = new Koa()
    served.silent = true
    served.use(limiter).use((ctx) => {
      ctx.status = Number(ctx.get('x-status') || 200)
      ctx.body = 'hello'
    })
    const server = served.callback()
    return {
      limiter,
      unavailable,
      errors,
      get: (headers = {}) => request(server).get('/').set(headers),
    }
  }
  const tp = turnpike({ store: testStore() })
  tp.on('unavailable', (event) => unavailable.push(event))
  tp.on('error', (event) => errors.push(event))
  const limiter = tp.rateLimit({ key: (req) => req.get('x-user') ?? 'ann', ...options })
  const served = express()
  served.use(
    limiter,
    (req, res) => void res.status(Number(req.get('x-status') ?? 200)).send('hello'),
  )
  return {
    limiter,
    unavailable,
    errors,
    get: (headers = {}) => request(served).get('/').set(headers),
  }
}

const read = (field: string | undefined): unknown[] =>
  parseList(field ?? '').map(([name, parameters]) => ({ name, ...Object.fromEntries(parameters) }))

async function timed<Answer>(work: PromiseLike<Answer>): Promise<{ answer: Answer; ms: number }> {
  const start = performance.now()
  const answer = await work
  return { answer, ms: performance.now() - start }
}

describe.each(['Express 5', 'Koa 3'])('RateLimiterRedis on %s', (framework) => {
  test('counts, refuses, and sends fields', async () => {
    const { get } = app({ limiter: over(connect(), 2, 60) }, framework)
    const first = await get()
    expect(read(first.headers['ratelimit-policy'])).toEqual([{ name: 'login', q: 2, w: 60 }])
    expect(read(first.headers['ratelimit'])).toEqual([{ name: 'login', r: 1, t: 60 }])
    expect((await get()).status).toBe(200)
    const { status, headers, body } = await get()
    expect([status, headers['content-type'], body['violated-policies']]).toEqual([
      429,
      'application/problem+json',
      ['login'],
    ])
    expect(Number(headers['retry-after'])).toBeGreaterThanOrEqual(59)
    expect(await redis.send('GET', 'login:ann')).toContain('3')
  })

  test('peek, settle, refund, block, reset', async () => {
    const client = connect()
    const { limiter, get } = app({ limiter: over(client, 10, 60) }, framework)
    const decision = await limiter.consume('ann', 2)
    await decision.settle(5)
    expect(await client.get('login:ann')).toBe('5')
    expect(await limiter.peek('ann')).toMatchObject({
      allowed: true,
      limit: 10,
      remaining: 5,
      cost: 0,
    })
    await decision.refund()
    expect(await client.get('login:ann')).toBe('0')
    await limiter.block('ann', '90s')
    const { status, headers } = await get()
    expect([status, headers['retry-after']]).toEqual([429, '90'])
    expect(await limiter.reset('ann')).toBe(true)
    expect((await get()).headers['ratelimit']).toContain('r=9')
  })

  test('skipFailed rewards', async () => {
    const client = connect()
    const { get } = app({ limiter: over(client, 2, 60), skipFailed: true }, framework)
    for (let i = 0; i < 4; i++) {
      expect((await get({ 'x-status': '401' })).status).toBe(401)
      await vi.waitFor(async () => expect(await client.get('login:ann')).toBe('0'))
    }
    await get()
    expect(await client.get('login:ann')).toBe('1')
  })
})

describe('several limiters over one Redis', () => {
  test('a union', async () => {
    const client = connect()
    const { get, limiter } = app({
      limiter: new RateLimiterUnion(over(client, 3, 60, 'minute'), over(client, 100, 3600, 'hour')),
    })
    const { headers } = await get()
    expect(read(headers['ratelimit-policy'])).toEqual([
      { name: 'minute', q: 3, w: 60 },
      { name: 'hour', q: 100, w: 3600 },
    ])
    expect(read(headers['ratelimit'])).toEqual([
      { name: 'minute', r: 2, t: 60 },
      { name: 'hour', r: 99, t: 3600 },
    ])
    await get()
    await get()
    const refused = await get()
    expect([refused.status, refused.body['violated-policies']]).toEqual([429, ['minute']])
    // It charges all its members whoever refuses: that is the union's own way.
    expect(await client.get('hour:ann')).toBe('4')
    expect(
      (await limiter.peek('ann')).policies.map(({ name, remaining }) => [name, remaining]),
    ).toEqual([
      ['minute', 0],
      ['hour', 96],
    ])
  })

  test('a bursty one, and one with lists', async () => {
    const client = connect()
    const bursty = app({
      limiter: new BurstyRateLimiter(over(client, 1, 60, 'rate'), over(client, 1, 60, 'burst')),
    })
    expect([
      (await bursty.get()).status,
      (await bursty.get()).status,
      (await bursty.get()).status,
    ]).toEqual([200, 200, 429])
    const listed = app({
      limiter: new RLWrapperBlackAndWhite({
        limiter: over(client, 1, 60, 'listed'),
        whiteList: ['root'],
        blackList: ['eve'],
      }),
    })
    expect((await listed.get({ 'x-user': 'eve' })).status).toBe(429)
    for (let i = 0; i < 3; i++) expect((await listed.get({ 'x-user': 'root' })).status).toBe(200)
    expect(read((await listed.get()).headers['ratelimit-policy'])).toEqual([
      { name: 'listed', q: 1, w: 60 },
    ])
  })
})

describe('its store is unavailable', () => {
  const stores: [string, () => void | Promise<void>, ClientOptions, object][] = [
    ['dead, commands queued', () => redis.kill(), {}, {}],
    [
      'dead, commands failing',
      () => redis.kill(),
      { enableOfflineQueue: false, maxRetriesPerRequest: 0 },
      {},
    ],
    ['dead, rejectIfRedisNotReady', () => redis.kill(), {}, { rejectIfRedisNotReady: true }],
    ['frozen', () => redis.freeze(), {}, {}],
  ]
  afterEach(async () => {
    redis.thaw()
    await redis.restart()
  })

  const limiters: [string, (client: Redis, more: object) => FlexibleLimiter][] = [
    ['RateLimiterRedis', (client, more) => over(client, 2, 60, 'login', more)],
    [
      'RateLimiterUnion',
      (client, more) =>
        new RateLimiterUnion(
          over(client, 2, 60, 'minute', more),
          over(client, 9, 3600, 'hour', more),
        ),
    ],
    [
      'BurstyRateLimiter',
      (client, more) =>
        new BurstyRateLimiter(
          over(client, 2, 60, 'rate', more),
          over(client, 9, 60, 'burst', more),
        ),
    ],
    [
      'RLWrapperBlackAndWhite',
      (client, more) =>
        new RLWrapperBlackAndWhite({ limiter: over(client, 2, 60, 'listed', more) }),
    ],
  ]
  const cases = stores.flatMap(([what, strike, options, more]) =>
    limiters.map(([name, make]) => ({ what, strike, options, more, name, make })),
  )

  test.each(cases)(
    '$name, $what: each rule answers in time',
    async ({ strike, options, more, make }) => {
      const client = connect(options)
      await new Promise((resolve) => client.once('ready', resolve))
      const limiter = make(client, more)
      const apps = {
        open: app({ limiter, fail: 'open' }),
        closed: app({ limiter, fail: 'closed' }, 'Koa 3'),
        local: app({ limiter }),
      }
      expect((await apps.open.get()).status).toBe(200)
      await strike()

      const open = await timed(apps.open.get())
      expect(open.answer.status).toBe(200)
      expect(open.answer.headers).not.toHaveProperty('ratelimit')
      const closed = await timed(apps.closed.get())
      expect([closed.answer.status, closed.answer.headers['retry-after']]).toEqual([503, '2'])
      expect(closed.answer.headers['content-type']).toBe('application/problem+json')
      const local = [
        await timed(apps.local.get()),
        await timed(apps.local.get()),
        await timed(apps.local.get()),
      ]
      expect(local.map(({ answer }) => answer.status)).toEqual([200, 200, 429])
      expect(local[2]!.answer.body['violated-policies']).toHaveLength(1)
      expect(read(local[0]!.answer.headers['ratelimit-policy'])[0]).toMatchObject({ q: 2, w: 60 })
      for (const { ms } of [open, closed, ...local]) expect(ms).toBeLessThan(PROMPT)
      expect(apps.closed.unavailable).toMatchObject([{ feature: 'rateLimit', rule: 'closed' }])
    },
  )

  test('calls follow the rule, too, and writes reject', async () => {
    const client = connect({ enableOfflineQueue: false, maxRetriesPerRequest: 0 })
    await new Promise((resolve) => client.once('ready', resolve))
    const { limiter } = app({ limiter: over(client, 2, 60) })
    await redis.kill()
    expect(await limiter.consume('ann')).toMatchObject({
      allowed: true,
      source: 'local',
      remaining: 1,
    })
    for (const failing of [
      limiter.peek('ann'),
      limiter.refund('ann'),
      limiter.reset('ann'),
      limiter.block('ann', '1m'),
    ]) {
      await expect(failing).rejects.toMatchObject({ code: 'TP_UNAVAILABLE' })
    }
  })

  test('its own insuranceLimiter comes first', async () => {
    const client = connect({ enableOfflineQueue: false, maxRetriesPerRequest: 0 })
    await new Promise((resolve) => client.once('ready', resolve))
    const insuranceLimiter = new RateLimiterMemory({ points: 1, duration: 60 })
    const { get, unavailable } = app({
      limiter: over(client, 5, 60, 'login', { insuranceLimiter }),
      fail: 'closed',
    })
    await redis.kill()
    expect([(await get()).status, (await get()).status]).toEqual([200, 429])
    expect(unavailable).toEqual([])
  })

  test('a reward that fails is reported after the response', async () => {
    const client = connect({ enableOfflineQueue: false, maxRetriesPerRequest: 0 })
    await new Promise((resolve) => client.once('ready', resolve))
    const failing = over(client, 2, 60)
    vi.spyOn(failing, 'reward').mockRejectedValue(new Error('gone'))
    const { get, errors } = app({ limiter: failing, skipFailed: true })
    expect((await get({ 'x-status': '500' })).status).toBe(500)
    await vi.waitFor(() =>
      expect(errors).toMatchObject([
        { feature: 'rateLimit', name: 'login', error: { code: 'TP_UNAVAILABLE' } },
      ]),
    )
  })
})

test.each([null, undefined, 'no', 42, {}, new Error('its store is away')])(
  'whatever else it rejects with (%s) is a failure, not a refusal and not a 500',
  async (reason) => {
    const broken: FlexibleLimiter = {
      points: 5,
      duration: 60,
      keyPrefix: 'broken',
      consume: () => Promise.reject(reason),
    }
    expect((await app({ limiter: broken, fail: 'closed' }).get()).status).toBe(503)
    expect((await app({ limiter: broken }).get()).status).toBe(200)
  },
)

test('one member of a union that refuses outweighs another whose store is unavailable', async () => {
  const away = over(
    connect({ port: 1, lazyConnect: true, enableOfflineQueue: false }),
    5,
    60,
    'away',
  )
  const union = new RateLimiterUnion(
    new RateLimiterMemory({ points: 0, duration: 60, keyPrefix: 'here' }),
    away,
  )
  const { status, body } = await app({ limiter: union }).get()
  expect([status, body['violated-policies']]).toEqual([429, ['here']])
})
