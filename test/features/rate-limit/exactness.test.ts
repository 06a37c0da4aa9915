import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { applyPolicies } from '../../../src/features/rate-limit/operations/apply-policies.ts'
import type { PolicyAction } from '../../../src/features/rate-limit/operations/script.ts'
import { startTestRedis, type TestRedis } from '../../support/redis.ts'
import {
  memoryEngine,
  outcome,
  redisEngine,
  argumentsOf,
  type Engine,
  type Outcome,
  type TestPolicy,
} from './support.ts'

const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
const START = Date.UTC(2026, 0, 1)

let redis: TestRedis
beforeAll(async () => {
  console.log(`exactness of rate limiting: SEED=${SEED}`)
  redis = await startTestRedis()
})
afterAll(() => redis?.stop())

/** Numbers from 0 to below 1, the same for the same seed (mulberry32). */
function random(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

function pick<Value>(next: () => number, ...values: readonly Value[]): Value {
  return values[Math.floor(next() * values.length)]!
}

let keys = 0

/** One subject under `policies`: what it is told at a time of the test's choosing. */
function subject(engine: Engine, name: string) {
  const key = `exact:${name}:${keys++}`
  return async (
    action: PolicyAction,
    policies: readonly TestPolicy[],
    now: number,
    at = 0,
  ): Promise<Outcome> =>
    outcome(
      await engine.run(
        applyPolicies,
        policies.map((_, i) => `${key}:${i}`),
        argumentsOf(action, policies, at),
        now,
      ),
    )
}

interface Use {
  time: number
  cost: number
}

/** The whole log: what is counted in the `span` ms that end at `now`. */
function counted(log: readonly Use[], now: number, span: number): number {
  let sum = 0
  for (const { time, cost } of log) if (time > now - span && time <= now) sum += cost
  return sum
}

/** Arrivals in bursts, drizzle and pauses. */
function arrival(next: () => number, window: number, limit: number): number {
  const kind = next()
  if (kind < 0.3) return 0
  if (kind < 0.9) return Math.floor((next() * 2 * window) / Math.min(limit, 200))
  if (kind < 0.99) return Math.floor(next() * (window / 10))
  return Math.floor(next() * window * 1.2)
}

const engines: Engine[] = [memoryEngine(), redisEngine(() => redis)]

describe.each(engines)('in the $name engine', (engine) => {
  const calls = engine.name === 'Redis' ? 600 : 3_000

  describe.each([1, 5, 64, 65, 100, 1_000, 10_000])('a sliding window of limit %i', (limit) => {
    test.each([1_000, 60_000, 86_400_000, 61])(
      'and %i ms never admits too many, and is exact',
      async (window) => {
        const next = random(SEED + limit + window)
        const ask = subject(engine, 'log')
        const log: Use[] = []
        const slack = limit <= 64 ? 0 : Math.floor(window / 64)
        let [now, refused] = [START, 0]
        for (let i = 0; i < calls; i++) {
          now += arrival(next, window, limit)
          const cost = Math.max(1, Math.floor(next() ** 3 * (limit / 10 + 2)))
          const { allowed, policies } = await ask('consume', [{ limit, window, cost }], now)
          if (allowed) {
            log.push({ time: now, cost })
            expect(counted(log, now, window)).toBeLessThanOrEqual(limit)
          } else {
            refused++
            expect(counted(log, now, window + slack) + cost).toBeGreaterThan(limit)
          }
          const { remaining, reset } = policies[0]!
          expect(remaining).toBeLessThanOrEqual(limit - counted(log, now, window))
          expect(remaining).toBeGreaterThanOrEqual(
            Math.max(0, limit - counted(log, now, window + slack)),
          )
          if (slack === 0) {
            const oldest = log.find(({ time }) => time > now - window)
            expect(reset).toBe(oldest ? oldest.time + window - now : window)
          }
          if (log.length > 4_000)
            log.splice(
              0,
              log.findIndex(({ time }) => time > now - 2 * window),
            )
        }
        if (limit < 1_000) expect(refused).toBeGreaterThan(0)
      },
    )
  })

  test('a sliding window is right with refunds and a limit that varies', async () => {
    for (const window of [1_000, 60_000]) {
      const next = random(SEED + window)
      const ask = subject(engine, 'refunds')
      const log: Use[] = []
      const settled = new Set<Use>()
      let now = START
      for (let i = 0; i < calls * 2; i++) {
        const limit = pick(next, 5, 50, 64, 100, 1_000)
        now += arrival(next, window, 500)
        const mine = log[Math.max(0, log.length - 1 - Math.floor(next() * 100))]
        if (next() < 0.3 && mine && !settled.has(mine)) {
          settled.add(mine)
          await ask('refund', [{ limit, window, cost: mine.cost }], now, mine.time)
          mine.cost = 0
        } else {
          const cost = 1 + Math.floor(next() * 4)
          if ((await ask('consume', [{ limit, window, cost }], now)).allowed) {
            log.push({ time: now, cost })
            expect(counted(log, now, window)).toBeLessThanOrEqual(limit)
          }
        }
      }
      expect(settled.size).toBeGreaterThan(50)
    }
  })

  test('a refund whose time is unknown takes the oldest use, and never admits too many', async () => {
    const next = random(SEED)
    const [limit, window] = [100, 1_000]
    const ask = subject(engine, 'oldest')
    const log: Use[] = []
    let now = START
    for (let i = 0; i < calls; i++) {
      now += arrival(next, window, limit)
      const live = log.filter(({ time, cost }) => time > now - window && cost > 0)
      if (next() < 0.3 && live.length > 0) {
        const mine = pick(next, ...live)
        await ask('refund', [{ limit, window, cost: mine.cost }], now)
        mine.cost = 0
      } else if ((await ask('consume', [{ limit, window }], now)).allowed) {
        log.push({ time: now, cost: 1 })
        expect(counted(log, now, window)).toBeLessThanOrEqual(limit)
      }
    }
  })

  test('GCRA, with refunds, never admits more than the bucket of the uses that were kept', async () => {
    for (const [limit, burst, window] of [
      [10, 10, 1_000],
      [100, 20, 60_000],
      [7, 3, 1_000],
    ] as const) {
      const next = random(SEED + burst)
      const ask = subject(engine, 'gcra')
      const log: Use[] = []
      let [now, refunds] = [START, 0]
      for (let i = 0; i < calls; i++) {
        now += arrival(next, window, limit * 2)
        const mine = log[Math.max(0, log.length - 1 - Math.floor(next() ** 2 * 30))]
        if (next() < 0.3 && mine?.cost) {
          await ask(
            'refund',
            [{ algorithm: 'gcra', limit, window, parameter: burst, cost: mine.cost }],
            now,
            mine.time,
          )
          mine.cost = 0
          refunds++
          continue
        }
        const cost = 1 + Math.floor(next() * 2)
        const { allowed } = await ask(
          'consume',
          [{ algorithm: 'gcra', limit, window, parameter: burst, cost }],
          now,
        )
        if (!allowed) continue
        log.push({ time: now, cost })
        let [level, time] = [0, START]
        for (const use of log.slice(-300)) {
          level = Math.max(0, level - (use.time - time) * limit) + use.cost * window
          time = use.time
        }
        expect(level).toBeLessThanOrEqual(burst * window)
      }
      expect(refunds).toBeGreaterThan(10)
    }
  })

  test('a fixed window is exact, with refunds', async () => {
    const next = random(SEED)
    const [limit, window] = [20, 1_000]
    const ask = subject(engine, 'fixed')
    const log: Use[] = []
    const inPeriod = (now: number): number => counted(log, now, (now % window) + 1)
    let now = START
    for (let i = 0; i < calls; i++) {
      now += arrival(next, window, limit)
      const mine = log[Math.max(0, log.length - 1 - Math.floor(next() * 30))]
      const before = inPeriod(now)
      if (next() < 0.3 && mine?.cost) {
        await ask(
          'refund',
          [{ algorithm: 'fixed-window', limit, window, cost: mine.cost }],
          now,
          mine.time,
        )
        mine.cost = 0
      } else {
        const { allowed } = await ask(
          'consume',
          [{ algorithm: 'fixed-window', limit, window }],
          now,
        )
        expect(allowed).toBe(before < limit ? 1 : 0)
        if (allowed) log.push({ time: now, cost: 1 })
      }
    }
  })

  test('the retry time is exact: admitted then, refused 1 ms earlier', async () => {
    const next = random(SEED)
    let refusals = 0
    for (let round = 0; round < (engine.name === 'Redis' ? 20 : 120); round++) {
      const ask = subject(engine, 'retry')
      let limits: TestPolicy[] = Array.from({ length: pick(next, 1, 1, 2, 3) }, () => ({
        algorithm: pick(next, 'sliding-window', 'sliding-window', 'fixed-window', 'gcra'),
        limit: pick(next, 1, 3, 64, 65, 100, 1_000),
        window: pick(next, 100, 1_000, 60_000, 86_400_000),
        blockFor: pick(next, 0, 0, 0, 500, 5_000),
        blockMax: 20_000,
      }))
      const step = limits[0]!.window
      let now = START + Math.floor(next() * step)
      for (let i = 0; i < 60; i++) {
        now += Math.floor(next() ** 4 * step)
        limits = limits.map((policy) => ({
          ...policy,
          cost: next() < 0.3 ? policy.limit : Math.ceil(next() * (policy.limit / 5)),
          // A limit that an override changed on the way.
          limit: next() < 0.03 ? Math.ceil(policy.limit * (0.5 + next())) : policy.limit,
        }))
        const { allowed, policies } = await ask(
          pick(next, 'consume', 'consume', 'consume', 'countDenied', 'charge'),
          limits,
          now,
        )
        if (allowed) continue
        const retries = policies.map(({ retry }) => retry)
        const retry = Math.max(...retries)
        if (retries.includes(-1)) {
          expect(limits.some(({ cost = 1, limit }) => cost > limit)).toBe(true)
          expect((await ask('peek', limits, now + step * 3)).allowed).toBe(0)
          continue
        }
        refusals++
        expect(retry).toBeGreaterThan(0)
        expect((await ask('peek', limits, now + retry - 1)).allowed).toBe(0)
        const then = await ask('peek', limits, now + retry)
        expect(then.allowed, JSON.stringify({ limits, policies, then })).toBe(1)
      }
    }
    expect(refusals).toBeGreaterThan(100)
  })
})

test.each([1, 64, 65, 100, 10_000, 1_000_000])(
  'a sliding window of limit %i takes at most 1024 bytes under saturating load',
  async (limit) => {
    const window = 60_000
    const { client } = redis
    const key = `shop:limit:{${'u'.repeat(36)}}:default-${limit}`
    await client.script('LOAD', applyPolicies.lua)
    let most = 0
    for (const action of ['consume', 'countDenied', 'charge'] as const) {
      const now = START + { consume: 0, countDenied: 100_000, charge: 200_000 }[action]
      for (let ms = 0; ms < 90_000; ms += 9_000) {
        const pipeline = client.pipeline()
        for (let i = 0; i < 9_000; i += 30) {
          const cost = Math.max(1, Math.floor(limit / 1_000))
          const args = argumentsOf(action, [{ limit, window, cost }])
          pipeline.evalsha(applyPolicies.sha, 1, key, ...args, `=${now + ms + i}`)
        }
        for (const [error] of (await pipeline.exec())!) if (error) throw error
        most = Math.max(most, Number(await client.memory('USAGE', key)))
      }
    }
    console.log(`limit ${limit}: ${most} bytes at most`)
    expect(most).toBeLessThanOrEqual(1_024)
  },
)

test('every key has a time to live', async () => {
  const { client } = redis
  const names = await client.keys('*')
  expect(names.length).toBeGreaterThan(0)
  for (const name of names) expect(await client.pttl(name), name).not.toBe(-1)
})
