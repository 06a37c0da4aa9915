/** Facts that README.md and docs/ state about this package and others, measured. */
import { setTimeout as sleep } from 'node:timers/promises'
import express from 'express'
import { rateLimit } from 'express-rate-limit'
import { Redis } from 'ioredis'
import { RedisStore } from 'rate-limit-redis'
import { RateLimiterRedis, RateLimiterUnion } from 'rate-limiter-flexible'
import request from 'supertest'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { turnpike, type Turnpike } from '../../src/express.ts'
import { startRedis, testStore, type RedisServer } from '../../src/testing.ts'

type Decide = () => Promise<boolean>
interface Window {
  name: string
  limit: number
  seconds: number
}
const WINDOWS: Window[] = [
  { name: 'minute', limit: 100, seconds: 60 },
  { name: 'hour', limit: 1000, seconds: 3600 },
  { name: 'day', limit: 10_000, seconds: 86_400 },
]

let redis: RedisServer
let client: Redis
let tp: Turnpike<any, any>
beforeAll(async () => {
  redis = await startRedis()
  client = new Redis(redis.url)
  tp = turnpike({ redis: redis.url, commandTimeout: '5s', requestBudget: '5s' })
  await tp.ready()
})
afterAll(async () => {
  client.disconnect()
  await tp.close()
  await redis.stop()
})

let count = 0
/** How each package decides for one caller under some windows. */
const packages: {
  name: string
  decider(windows: Window[], on?: Redis): Decide
  scripts: [one: number, three: number]
  edge: number
  hourLeft: number
}[] = [
  {
    name: 'turnpike',
    decider(windows) {
      const policies = windows.map(({ name, limit, seconds }) => ({
        name,
        limit,
        window: seconds * 1000,
      }))
      const limiter = tp.limiter(`facts${count++}`, { policies })
      return async () => (await limiter.consume('caller')).allowed
    },
    scripts: [1, 1],
    edge: 100,
    hourLeft: 998,
  },
  {
    name: 'express-rate-limit with rate-limit-redis',
    decider(windows, on = client) {
      const app = express()
      for (const { name, limit, seconds } of windows.toReversed()) {
        const sendCommand = (command: string, ...args: string[]): Promise<any> =>
          on.call(command, ...args)
        const store = new RedisStore({ prefix: `erl${count++}:${name}:`, sendCommand })
        app.use(rateLimit({ windowMs: seconds * 1000, limit, store }))
      }
      app.get('/', (_req, res) => void res.end())
      app.use(
        (_error: unknown, _req: unknown, res: express.Response, _next: unknown) =>
          void res.status(500).end(),
      )
      const server = app.listen(0)
      closers.push(() => server.close())
      return async () => (await request(server).get('/')).status === 200
    },
    scripts: [1, 3],
    edge: 199,
    hourLeft: 990,
  },
  {
    name: 'rate-limiter-flexible',
    decider(windows, on = client) {
      const limiters = windows.map(
        ({ name, limit, seconds }) =>
          new RateLimiterRedis({
            storeClient: on,
            keyPrefix: `rlf${count++}:${name}`,
            points: limit,
            duration: seconds,
          }),
      )
      const limiter = limiters.length > 1 ? new RateLimiterUnion(...limiters) : limiters[0]!
      return () =>
        limiter.consume('caller').then(
          () => true,
          () => false,
        )
    },
    scripts: [1, 3],
    edge: 199,
    hourLeft: 990,
  },
]
const closers: (() => void)[] = []
afterAll(() => closers.forEach((close) => close()))

async function scripts(decide: Decide): Promise<number> {
  await decide()
  await redis.send('CONFIG', 'RESETSTAT')
  for (let i = 0; i < 10; i++) await decide()
  const stats = await redis.send('INFO', 'commandstats')
  const calls = [...stats.matchAll(/cmdstat_evalsha?:calls=(\d+)/g)].map(([, calls]) =>
    Number(calls),
  )
  return calls.reduce((sum, each) => sum + each, 0) / 10
}

describe.each(packages)(
  'the comparison in README.md: $name',
  ({ decider, scripts: [one, three], edge, hourLeft }) => {
    test(`script calls for one decision: ${one} with one window, ${three} with three`, async () => {
      expect(await scripts(decider(WINDOWS.slice(0, 1)))).toBe(one)
      expect(await scripts(decider(WINDOWS))).toBe(three)
    })

    test(`limit 100: within less than a window around an edge it admits ${edge}`, async () => {
      // The windows of the other packages begin with the first request.
      const admittedAround = async (seconds: number): Promise<number | 'too slow'> => {
        const decide = decider([{ name: `edge-${seconds}`, limit: 100, seconds }])
        const burst = async (): Promise<number> =>
          (await Promise.all(Array.from({ length: 105 }, decide))).filter(Boolean).length
        const start = Date.now()
        await decide()
        await sleep(start + seconds * 500 - Date.now())
        const first = Date.now()
        const before = await burst()
        await sleep(Math.max(0, start + seconds * 1000 + 250 - Date.now()))
        const admitted = before + (await burst())
        return Date.now() - first < seconds * 1000 ? admitted : 'too slow'
      }
      let seconds = 4
      let admitted = await admittedAround(seconds)
      while (admitted === 'too slow') admitted = await admittedAround((seconds *= 2))
      // turnpike admits the 99 that were left, and 1 after the first use has left the window.
      expect(admitted).toBe(edge)
    }, 60_000)

    test(`2 a minute and 1000 an hour: after 10 requests ${hourLeft} of the hour are left`, async () => {
      const windows = [
        { name: 'minute', limit: 2, seconds: 60 },
        { name: 'hour', limit: 1000, seconds: 3600 },
      ]
      const before = new Set(await client.keys('*'))
      const decide = decider(windows)
      for (let i = 0; i < 10; i++) await decide()
      const key = (await client.keys('*')).find(
        (name) => !before.has(name) && name.includes('hour'),
      )!
      const used =
        (await client.type(key)) === 'string' && !key.startsWith('tp:')
          ? Number(await client.get(key))
          : undefined
      if (used !== undefined) return expect(1000 - used).toBe(hourLeft)
      const limiter = tp.limiter(`facts${count - 1}`, {
        policies: [
          { name: 'minute', limit: 2, window: '1m' },
          { name: 'hour', limit: 1000, window: '1h' },
        ],
      })
      expect((await limiter.peek('caller')).policies[1]!.remaining).toBe(hourLeft)
    })

    test(`a frozen Redis: ${one === three ? 'a decision within the timeout' : 'no answer within 3 s, with the default options of ioredis'}`, async () => {
      await using frozen = await startRedis()
      const on = new Redis(frozen.url)
      await on.ping()
      await using own = turnpike({ redis: frozen.url })
      await own.ready()
      const limiter = own.limiter('facts', { limit: 100, window: '1m' })
      const decide =
        one === three
          ? async () => (await limiter.consume('caller')).allowed
          : decider(WINDOWS.slice(0, 1), on)
      expect(await decide()).toBe(true)
      frozen.freeze()
      const began = performance.now()
      const outcome = await Promise.race([decide(), sleep(3000, 'waiting')])
      if (one === three) {
        expect(outcome).toBe(true)
        expect(performance.now() - began).toBeLessThan(1000)
      } else {
        expect(outcome).toBe('waiting')
      }
      frozen.thaw()
      on.disconnect()
    })
  },
)

describe('the algorithms in docs/rate-limits.md, limit 100 in 60 s: the most admitted within 60 s', () => {
  /** Sums a full burst and everything that is admitted until just before `ms` have passed. */
  async function admitted(options: object, ms = 60_000, step = 100, from = 0): Promise<number> {
    const store = testStore()
    const limiter = turnpike({ store }).limiter('l', { limit: 100, window: '1m', ...options })
    await store.advance(from)
    let sum = 0
    for (let at = 0; at < ms; at += step) {
      while ((await limiter.consume('a')).allowed) sum++
      await store.advance(Math.min(step, ms - 1 - at))
    }
    while ((await limiter.consume('a')).allowed) sum++
    return sum
  }

  test('sliding window: 100, wherever the window lies', async () => {
    expect(await admitted({})).toBe(100)
    expect(await admitted({}, 60_000, 100, 59_000)).toBe(100)
  })
  test('fixed window: 200 around a boundary', async () => {
    expect(await admitted({ algorithm: 'fixed-window' }, 2_000, 100, 59_000)).toBe(200)
  })
  test('GCRA: limit + burst - 1', async () => {
    expect(await admitted({ algorithm: 'gcra' })).toBe(199)
    expect(await admitted({ algorithm: 'gcra', burst: 20 })).toBe(119)
    expect(await admitted({ algorithm: 'gcra', burst: 1 })).toBe(100)
  })
})

test('memory: the state of an algorithm takes at most 1 KB', async () => {
  const kinds = ['sliding-window', 'gcra', 'fixed-window'] as const
  const sizes = await Promise.all(
    kinds.map(async (algorithm) => {
      const limiter = tp.limiter(`memory-${algorithm}`, { limit: 10_000, window: '1m', algorithm })
      for (let i = 0; i < 200; i++) await limiter.consume('203.0.113.7')
      const [key] = await client.keys(`*memory-${algorithm}*`)
      return Number(await client.memory('USAGE', key!))
    }),
  )
  console.log('bytes', Object.fromEntries(kinds.map((kind, i) => [kind, sizes[i]])))
  for (const size of sizes) expect(size).toBeLessThanOrEqual(1024)
})
