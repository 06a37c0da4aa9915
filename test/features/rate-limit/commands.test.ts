/** What a decision costs Redis: the commands of its script, counted by Redis. */
import type { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { turnpike } from '../../../src/express.ts'
import type { LimiterOptions, WaitingLimiter } from '../../../src/index.ts'
import { startTestRedis, type TestRedis } from '../../support/redis.ts'

let redis: TestRedis
let client: Redis
beforeAll(async () => {
  redis = await startTestRedis()
  client = redis.client
})
afterAll(() => redis?.stop())

/** Calls of each command since Redis was started. */
async function commands(): Promise<Map<string, number>> {
  const stats = await client.info('commandstats')
  return new Map(
    [...stats.matchAll(/cmdstat_(\w+):calls=(\d+)/g)].map(([, name, calls]) => [
      name!,
      Number(calls),
    ]),
  )
}

/** The commands that `work` costs. */
async function costOf(work: () => Promise<unknown>): Promise<Record<string, number>> {
  const before = await commands()
  await work()
  const after = await commands()
  const costs = [...after].map(([name, calls]) => [name, calls - (before.get(name) ?? 0)] as const)
  return Object.fromEntries(costs.filter(([name, calls]) => calls > 0 && name !== 'info'))
}

const KNOWN = { evalsha: 1, time: 1, pttl: 1 }

describe.each<[string, LimiterOptions, Record<string, number>, Record<string, number>]>([
  [
    'a sliding window',
    { limit: 6, window: '1h' },
    { ...KNOWN, getrange: 1, setrange: 2 },
    { ...KNOWN, pttl: 2, getrange: 1, get: 1 },
  ],
  [
    'GCRA',
    { limit: 3, window: '1h', algorithm: 'gcra' },
    { ...KNOWN, get: 1, set: 1 },
    { ...KNOWN, pttl: 2, get: 2 },
  ],
  [
    'a fixed window',
    { limit: 3, window: '1h', algorithm: 'fixed-window' },
    { ...KNOWN, get: 1, set: 1 },
    { ...KNOWN, pttl: 2, get: 2 },
  ],
  [
    'two policies',
    {
      policies: [
        { name: 'a', limit: 3, window: '1h', algorithm: 'gcra' },
        { name: 'b', limit: 9, window: '1d', algorithm: 'gcra' },
      ],
    },
    { ...KNOWN, get: 2, set: 2 },
    { ...KNOWN, pttl: 2, get: 1, mget: 1 },
  ],
])('%s', (name, options, admitted, refused) => {
  let limiter: WaitingLimiter
  let subject = 0
  beforeAll(async () => {
    const tp = turnpike({ redis: redis.url, prefix: name.replace(/\W/g, ''), commandTimeout: '5s' })
    await tp.ready()
    limiter = tp.limiter('l', options)
    await limiter.consume('first')
  })

  test('costs one script call for what is admitted, and no command twice', async () => {
    const own = `subject${subject++}`
    const { remaining } = await limiter.peek(own)
    for (let i = 1; i < remaining!; i++) {
      await limiter.consume(own)
      // A use of the same millisecond would share its run.
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
    expect(await costOf(() => limiter.consume(own))).toEqual(admitted)
  })

  test('costs a refusal one script call, which writes nothing', async () => {
    const own = `subject${subject++}`
    for (let i = 0; i < 7; i++) await limiter.consume(own)
    expect(await costOf(() => limiter.consume(own))).toEqual(refused)
  })
})

test('a limit that a function returns costs as many', async () => {
  const tp = turnpike({ redis: redis.url, prefix: 'function', commandTimeout: '5s' })
  await tp.ready()
  const limiter = tp.rateLimit({ name: 'l', limit: () => 3, window: '1h', key: () => 'a' })
  const consume = () => limiter.consume('a', { limits: { l: 3 } })
  await consume()
  expect(await costOf(consume)).toEqual({ ...KNOWN, get: 1, set: 1 })
})
