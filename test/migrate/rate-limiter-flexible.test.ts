/** What docs/migrate/rate-limiter-flexible.md says: first what stays alike, then what is different on purpose. */
import { setTimeout as sleep } from 'node:timers/promises'
import express, { type Request, type RequestHandler } from 'express'
import type { Redis } from 'ioredis'
import {
  RateLimiterMemory,
  RateLimiterQueue,
  RateLimiterRedis,
  RateLimiterRes,
  RateLimiterUnion,
  type RateLimiterAbstract,
} from 'rate-limiter-flexible'
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
import { signal } from '../frameworks/harness.ts'
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
} from './support.ts'

let redis: RedisServer
beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.stop())
beforeEach(() => redis.send('FLUSHALL'))

type Stores = 'in memory' | 'over Redis'
type Settings = { points: number; duration: number; blockDuration?: number; keyPrefix?: string }

/** `x-status` is what the handler answers, `x-cost` what the request costs. */
function serving(limiter: RequestHandler): App {
  const app = express()
  app.use(limiter)
  app.get('/', (req, res) => void res.status(Number(req.get('x-status') ?? 200)).send('hello'))
  return app
}

const keyOf = (req: Request): string => req.get('x-user') ?? 'ann'
const costOf = (req: Request): number => Number(req.get('x-cost') ?? 1)

/** The middleware that its documentation shows, with the headers that it shows. */
const recipe =
  (limiter: RateLimiterAbstract): RequestHandler =>
  (req, res, next) => {
    const head = ({ remainingPoints, msBeforeNext }: RateLimiterRes): void => {
      res.set('X-RateLimit-Limit', String(limiter.points))
      res.set('X-RateLimit-Remaining', String(remainingPoints))
      res.set('X-RateLimit-Reset', String(Math.ceil((Date.now() + msBeforeNext) / 1000)))
    }
    limiter.consume(keyOf(req), costOf(req)).then(
      (result) => {
        head(result)
        next()
      },
      (refusal: RateLimiterRes | Error) => {
        if (refusal instanceof Error) return next(refusal)
        head(refusal)
        res
          .set('Retry-After', String(Math.ceil(refusal.msBeforeNext / 1000)))
          .status(429)
          .send('Too Many Requests')
      },
    )
  }

async function theirs(
  settings: Settings,
  stores: Stores,
  client?: Redis,
): Promise<RateLimiterMemory | RateLimiterRedis> {
  if (stores === 'in memory') return new RateLimiterMemory(settings)
  return new RateLimiterRedis({ storeClient: client ?? (await connect(redis)), ...settings })
}

async function setup(stores: Stores) {
  const tp = turnpike(
    stores === 'over Redis' ? { redis: redis.url } : { store: testStore({ now: Date.now() }) },
  )
  onTestFinished(() => tp.close())
  if (stores === 'over Redis') await tp.ready()
  return tp
}

async function ours(options: RateLimitOptions<Request>, stores: Stores) {
  const limiter = (await setup(stores)).rateLimit({
    key: keyOf,
    cost: costOf,
    legacyHeaders: true,
    ...options,
  })
  return { app: serving(limiter), limiter }
}

describe.each(['in memory', 'over Redis'] as const)('alike, %s', (stores) => {
  const requests = [
    ...times(4),
    ...times(2, { 'x-user': 'bob' }),
    { 'x-user': 'eve', 'x-cost': '2' },
    { 'x-user': 'eve' },
    { 'x-user': 'eve' },
  ]
  const expected = [200, 200, 200, 429, 200, 200, 200, 200, 429]

  test.each(['step 1: limiter', 'step 2: limit and window'])(
    'points and duration, %s',
    async (step) => {
      const settings = { points: 3, duration: 60 }
      const old = await ask(serving(recipe(await theirs(settings, stores))), requests)
      await redis.send('FLUSHALL')
      const options = step.includes('limiter')
        ? { limiter: await theirs(settings, stores) }
        : { limit: 3, window: '1m' as const }
      const now = await ask((await ours(options, stores)).app, requests)
      expect(statuses(now)).toEqual(expected)
      expect(limitFields(now)).toEqual(limitFields(old))
      expect(apart('x-ratelimit-reset', old, now)).toBeLessThanOrEqual(1)
      expect(apart('retry-after', old, now)).toBeLessThanOrEqual(1)
    },
  )

  test('blockDuration is blockFor', async () => {
    const old = await ask(
      serving(recipe(await theirs({ points: 1, duration: 1, blockDuration: 30 }, stores))),
      times(3),
    )
    const now = await ask(
      (await ours({ limit: 1, window: '1s', blockFor: '30s' }, stores)).app,
      times(3),
    )
    expect(statuses(now)).toEqual(statuses(old))
    expect(now.map(({ headers }) => headers['retry-after'])).toEqual([undefined, '30', '30'])
    expect(apart('retry-after', old, now)).toBeLessThanOrEqual(1)
  })

  test('get, reward, block and delete are peek, refund, block and reset', async () => {
    const old = await theirs({ points: 5, duration: 60 }, stores)
    const { limiter: now } = await ours({ limit: 5, window: '1m' }, stores)
    const left = async (): Promise<unknown[]> => [
      (await old.get('ann'))?.remainingPoints ?? 5,
      (await now.peek('ann')).remaining,
    ]
    expect(await left()).toEqual([5, 5])
    await old.consume('ann', 3)
    await now.consume('ann', 3)
    expect(await left()).toEqual([2, 2])
    await old.reward('ann', 2)
    await now.refund('ann', 2)
    expect(await left()).toEqual([4, 4])
    await old.block('ann', 30)
    await now.block('ann', '30s')
    const refusal = (await old.consume('ann').catch((reason: unknown) => reason)) as RateLimiterRes
    const decision = await now.consume('ann')
    expect(decision.allowed).toBe(false)
    expect(Math.abs(refusal.msBeforeNext - decision.retryAfterMs!)).toBeLessThan(1000)
    expect([await old.delete('ann'), await now.reset('ann')]).toEqual([true, true])
    expect(await left()).toEqual([5, 5])
  })

  test('penalty is settle: charged after the fact, beyond the limit too', async () => {
    const old = await theirs({ points: 5, duration: 60 }, stores)
    const { limiter: now } = await ours({ limit: 5, window: '1m' }, stores)
    await old.consume('ann', 1)
    await old.penalty('ann', 6)
    await (await now.consume('ann', 1)).settle(7)
    expect([(await old.get('ann'))!.remainingPoints, (await now.peek('ann')).remaining]).toEqual([
      0, 0,
    ])
  })

  test('a union is policies', async () => {
    const client = stores === 'over Redis' ? await connect(redis) : undefined
    const union = new RateLimiterUnion(
      await theirs({ points: 2, duration: 60, keyPrefix: 'minute' }, stores, client),
      await theirs({ points: 100, duration: 3600, keyPrefix: 'hour' }, stores, client),
    )
    const { limiter } = await ours(
      {
        policies: [
          { name: 'minute', limit: 2, window: '1m' },
          { name: 'hour', limit: 100, window: '1h' },
        ],
      },
      stores,
    )
    for (let i = 0; i < 2; i++) {
      const old = await union.consume('ann')
      const { policies } = await limiter.consume('ann')
      expect(policies.map(({ name, remaining }) => [name, remaining])).toEqual(
        Object.entries(old).map(([name, { remainingPoints }]) => [name, remainingPoints]),
      )
    }
    const refused = Object.keys(
      (await union.consume('ann').catch((reason: unknown) => reason)) as object,
    )
    expect(
      (await limiter.consume('ann')).policies
        .filter(({ violated }) => violated)
        .map(({ name }) => name),
    ).toEqual(refused)
  })
})

describe('step by step', () => {
  test('the mounted limiter and the old code share their counts, under the same keys', async () => {
    const limiter = await theirs({ points: 4, duration: 60, keyPrefix: 'api' }, 'over Redis')
    const [old, now] = [
      serving(recipe(limiter)),
      serving((await setup('over Redis')).rateLimit({ limiter, key: keyOf, legacyHeaders: true })),
    ]
    const user = { 'x-user': 'ann+1@example.com' }
    const answers = [...(await ask(old, times(2, user))), ...(await ask(now, times(3, user)))]
    expect(limitFields(answers)).toEqual([
      [200, '4', '3'],
      [200, '4', '2'],
      [200, '4', '1'],
      [200, '4', '0'],
      [429, '4', '0'],
    ])
    expect((await limiter.get('ann+1@example.com'))!.consumedPoints).toBe(5)
  })

  test('shadow beside the old one: it decides, reports, and is not seen', async () => {
    const tp = await setup('in memory')
    const would: boolean[] = []
    tp.on('decision', ({ allowed }) => would.push(allowed))
    const app = express()
    app.use(recipe(new RateLimiterMemory({ points: 2, duration: 60 })))
    app.use(tp.rateLimit({ limit: 1, window: '1m', key: keyOf, shadow: true }))
    app.get('/', (_req, res) => void res.send('hello'))
    const answers = await ask(app, times(3))
    expect(limitFields(answers)).toEqual([
      [200, '2', '1'],
      [200, '2', '0'],
      [429, '2', '0'],
    ])
    expect(would).toEqual([true, false])
  })

  test('RateLimiterQueue is tp.limiter().wait()', async () => {
    const queue = new RateLimiterQueue(new RateLimiterMemory({ points: 1, duration: 1 }))
    const outgoing = turnpike({ redis: 'memory' }).limiter('outgoing', { limit: 1, window: '1s' })
    const start = performance.now()
    const took = async (work: Promise<unknown>): Promise<number> => {
      await work
      return performance.now() - start
    }
    const [, old, , now] = await Promise.all([
      took(queue.removeTokens(1)),
      took(queue.removeTokens(1)),
      took(outgoing.wait('api')),
      took(outgoing.wait('api')),
    ])
    for (const ms of [old, now]) expect(ms).toBeGreaterThan(800)
    for (const ms of [old, now]) expect(ms).toBeLessThan(2500)
  })
})

describe('different on purpose', () => {
  test(
    'requests around the end of a window: twice the limit less one before, the limit now',
    { timeout: 30_000 },
    async () => {
      const old = serving(recipe(await theirs({ points: 5, duration: 2 }, 'over Redis')))
      const { app } = await ours({ limit: 5, window: '2s' }, 'over Redis')
      const start = performance.now()
      const [before, now]: [number[], number[]] = [[], []]
      for (const [count, until] of [
        [1, 1600],
        [4, 2060],
        [5, 0],
      ] as const) {
        before.push(...statuses(await ask(old, times(count))))
        now.push(...statuses(await ask(app, times(count))))
        await sleep(Math.max(0, start + until - performance.now()))
      }
      expect(performance.now() - start).toBeLessThan(3000)
      expect(before.slice(1)).toEqual(Array.from({ length: 9 }, () => 200))
      expect(now.filter((status) => status === 200)).toHaveLength(6)
    },
  )

  test('a refused request drained the other members of a union; now it drains nothing', async () => {
    const hour = new RateLimiterMemory({ points: 100, duration: 3600, keyPrefix: 'hour' })
    const union = new RateLimiterUnion(
      new RateLimiterMemory({ points: 2, duration: 60, keyPrefix: 'minute' }),
      hour,
    )
    const { limiter } = await ours(
      {
        policies: [
          { name: 'minute', limit: 2, window: '1m' },
          { name: 'hour', limit: 100, window: '1h' },
        ],
      },
      'in memory',
    )
    for (let i = 0; i < 10; i++) {
      await union.consume('ann').catch(() => {})
      await limiter.consume('ann')
    }
    expect((await hour.get('ann'))!.remainingPoints).toBe(90)
    expect((await limiter.peek('ann')).policies[1]!.remaining).toBe(98)
  })

  test('a cost above what is left was charged all the same; now it is refused uncharged', async () => {
    const old = new RateLimiterMemory({ points: 10, duration: 60 })
    const { limiter } = await ours({ limit: 10, window: '1m' }, 'in memory')
    const admitted: boolean[][] = [[], []]
    for (const cost of [6, 5, 4]) {
      admitted[0]!.push(
        await old.consume('ann', cost).then(
          () => true,
          () => false,
        ),
      )
      admitted[1]!.push((await limiter.consume('ann', cost)).allowed)
    }
    expect(admitted).toEqual([
      [true, false, false],
      [true, false, true],
    ])
  })

  test('a reward after the window was a credit in the next one; a refund is none', async () => {
    const old = await theirs({ points: 1, duration: 1 }, 'over Redis')
    const { limiter } = await ours({ limit: 1, window: '1s' }, 'over Redis')
    await old.consume('ann')
    const decision = await limiter.consume('ann')
    await sleep(1100)
    await old.reward('ann')
    await decision.refund()
    const admitted = [0, 0]
    for (let i = 0; i < 2; i++) {
      admitted[0]! += await old.consume('ann').then(
        () => 1,
        () => 0,
      )
      admitted[1]! += Number((await limiter.consume('ann')).allowed)
    }
    expect(admitted).toEqual([2, 1])
  })

  test('get, check, then consume on failure lets 100 guesses at once through; loginGuard lets 5', async () => {
    const limiter = new RateLimiterMemory({ points: 5, duration: 900 })
    const checked = [0, 0]
    const attempt = async (key: string): Promise<number> => {
      const result = await limiter.get(key)
      if (result !== null && result.consumedPoints >= 5) return 429
      checked[0]!++
      await sleep(50)
      await limiter.consume(key).catch(() => {})
      return 401
    }
    const old: RequestHandler = (req, res, next) => {
      attempt(keyOf(req)).then((status) => res.sendStatus(status), next)
    }
    const guard = (await setup('in memory')).loginGuard({ limit: 5, window: '15m', key: keyOf })
    const app = express()
    let arrived = 0
    let all = signal()
    app.use((_req, _res, next) => {
      if (++arrived % 100 === 0) all.resolve()
      void all.promise.then(next)
    })
    app.get('/old', old)
    app.get('/now', guard, (_req, res) => {
      checked[1]!++
      setTimeout(() => res.sendStatus(401), 50)
    })
    const server = app.listen(0)
    onTestFinished(() => void server.close())
    const { port } = server.address() as { port: number }
    for (const path of ['old', 'now']) {
      all = signal()
      await Promise.all(times(100).map(() => fetch(`http://127.0.0.1:${port}/${path}`)))
    }
    expect(checked).toEqual([100, 5])
  })

  describe('Redis away', () => {
    afterEach(async () => {
      redis.thaw()
      await redis.restart()
    })

    test('frozen: no answer within a second before; within 130 ms now, at either step', async () => {
      const client = await connect(redis)
      const insuranceLimiter = new RateLimiterMemory({ points: 5, duration: 60 })
      const insured = new RateLimiterRedis({
        storeClient: client,
        points: 5,
        duration: 60,
        insuranceLimiter,
        keyPrefix: 'insured',
        rejectIfRedisNotReady: true,
      })
      const limiter = await theirs({ points: 5, duration: 60 }, 'over Redis', client)
      const [old, alsoOld] = [serving(recipe(limiter)), serving(recipe(insured))]
      const steps = [
        (await ours({ limiter }, 'over Redis')).app,
        (await ours({ limit: 5, window: '1m' }, 'over Redis')).app,
      ]
      for (const app of [old, alsoOld, ...steps])
        expect(statuses(await ask(app, [{}]))).toEqual([200])
      redis.freeze()
      expect(await Promise.all([within(1000, old), within(1000, alsoOld)])).toEqual([
        'nothing',
        'nothing',
      ])
      for (const app of steps) {
        expectPrompt(await timed(app))
      }
    })

    test('inMemoryBlockOnConsumed is denyCache: who was refused is refused without Redis', async () => {
      const client = await connect(redis)
      const old = new RateLimiterRedis({
        storeClient: client,
        points: 1,
        duration: 60,
        inMemoryBlockOnConsumed: 1,
      })
      const { limiter } = await ours(
        { limit: 1, window: '1m', denyCache: true, fail: 'open' },
        'over Redis',
      )
      for (let i = 0; i < 2; i++) {
        await old.consume('ann').catch(() => {})
        await limiter.consume('ann')
      }
      redis.freeze()
      await expect(old.consume('ann')).rejects.toBeInstanceOf(RateLimiterRes)
      expect(await limiter.consume('ann')).toMatchObject({ allowed: false, source: 'deny-cache' })
    })

    test('dead: an Error to handle before; now the local fallback still limits', async () => {
      const client = await connect(redis, { enableOfflineQueue: false, maxRetriesPerRequest: 0 })
      const limiter = await theirs({ points: 2, duration: 60 }, 'over Redis', client)
      const steps = [
        (await ours({ limiter }, 'over Redis')).app,
        (await ours({ limit: 2, window: '1m' }, 'over Redis')).app,
      ]
      await redis.kill()
      await vi.waitFor(() => expect(client.status).not.toBe('ready'))
      await expect(limiter.consume('ann')).rejects.toBeInstanceOf(Error)
      for (const app of steps)
        expect(statuses(await ask(app, times(4)))).toEqual([200, 200, 429, 429])
    })
  })
})
