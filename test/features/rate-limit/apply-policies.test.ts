import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  getOverrides,
  setOverrides,
} from '../../../src/features/rate-limit/operations/overrides.ts'
import { resetPolicies } from '../../../src/features/rate-limit/operations/reset.ts'
import {
  applyKnownPolicies,
  applyPolicies,
  numbersOf,
} from '../../../src/features/rate-limit/operations/apply-policies.ts'
import type { PolicyAction } from '../../../src/features/rate-limit/operations/script.ts'
import { startTestRedis, type TestRedis } from '../../support/redis.ts'
import {
  evaluate,
  knownPolicy,
  memoryEngine,
  outcome,
  redisEngine,
  argumentsOf,
  type Engine,
  type Outcome,
  type Part,
  type TestPolicy,
} from './support.ts'

const START = Date.UTC(2026, 0, 1)
const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
/** The last argument of a script: it goes by Redis's own clock, and is never late. */
const NO_TIMEOUT = String(Number.MAX_SAFE_INTEGER)

let redis: TestRedis
beforeAll(async () => {
  redis = await startTestRedis()
})
afterAll(() => redis?.stop())

const inProcess = memoryEngine()
const engines: Engine[] = [inProcess, redisEngine(() => redis)]
let subjects = 0

describe.each(engines)('policies in the $name engine', (engine) => {
  /** A subject of its own for each test, on a clock that starts at `START`. */
  function subject(overrides: string[] = []) {
    const id = `policies:${subjects++}`
    const keyOf = (i: number): string => `${id}:${i}`
    const state = {
      now: START,
      keyOf,
      apply: async (
        action: PolicyAction,
        policies: TestPolicy | TestPolicy[],
        at = 0,
      ): Promise<Outcome> => {
        const all = [policies].flat()
        const keys = [...all.map((_, i) => keyOf(i)), ...overrides]
        return outcome(
          await engine.run(applyPolicies, keys, argumentsOf(action, all, at), state.now),
        )
      },
      one: async (
        action: PolicyAction,
        policy: TestPolicy,
        at = 0,
      ): Promise<Part & { allowed: number }> => {
        const { allowed, policies } = await state.apply(action, policy, at)
        return { allowed, ...policies[0]! }
      },
      exists: (i = 0): Promise<boolean> => exists(keyOf(i)),
    }
    return state
  }

  async function exists(key: string): Promise<boolean> {
    if (engine !== inProcess) return (await redis.client.exists(key)) === 1
    return inProcess.store.get(key) !== undefined
  }

  test('admits up to the limit, then refuses until the oldest use leaves', async () => {
    const s = subject()
    const policy = { limit: 2, window: MINUTE }
    expect(await s.one('consume', policy)).toEqual({
      allowed: 1,
      limit: 2,
      remaining: 1,
      reset: MINUTE,
      retry: 0,
      violated: 0,
    })
    s.now += 10 * SECOND
    expect(await s.one('consume', policy)).toEqual({
      allowed: 1,
      limit: 2,
      remaining: 0,
      reset: 50 * SECOND,
      retry: 0,
      violated: 0,
    })
    s.now += 10 * SECOND
    expect(await s.one('consume', policy)).toEqual({
      allowed: 0,
      limit: 2,
      remaining: 0,
      reset: 40 * SECOND,
      retry: 40 * SECOND,
      violated: 1,
    })
    s.now = START + MINUTE - 1
    expect(await s.one('consume', policy)).toMatchObject({ allowed: 0, retry: 1 })
    s.now = START + MINUTE
    expect(await s.one('consume', policy)).toMatchObject({
      allowed: 1,
      remaining: 0,
      reset: 10 * SECOND,
    })
  })

  test('cost 6 passes, cost 5 is refused uncharged, cost 4 passes', async () => {
    const s = subject()
    const policy = { limit: 10, window: MINUTE }
    expect(await s.one('consume', { ...policy, cost: 6 })).toMatchObject({
      allowed: 1,
      remaining: 4,
    })
    expect(await s.one('consume', { ...policy, cost: 5 })).toMatchObject({
      allowed: 0,
      remaining: 4,
      retry: MINUTE,
    })
    expect(await s.one('consume', { ...policy, cost: 4 })).toMatchObject({
      allowed: 1,
      remaining: 0,
    })
    expect(await s.one('consume', { ...policy, cost: 11 })).toMatchObject({ allowed: 0, retry: -1 })
  })

  test('a refusal by one policy charges none', async () => {
    const s = subject()
    const policies: TestPolicy[] = [
      { limit: 2, window: MINUTE },
      { limit: 100, window: HOUR },
      { limit: 1000, window: DAY, algorithm: 'fixed-window' },
      { limit: 50, window: HOUR, algorithm: 'gcra' },
    ]
    let last: Outcome | undefined
    for (let i = 0; i < 10; i++) last = await s.apply('consume', policies)
    expect(last!.allowed).toBe(0)
    expect(last!.policies.map(({ remaining }) => remaining)).toEqual([0, 98, 998, 48])
    expect(last!.policies.map(({ violated }) => violated)).toEqual([1, 0, 0, 0])
    expect(last!.policies.map(({ retry }) => retry)).toEqual([MINUTE, 0, 0, 0])
  })

  test.each(['sliding-window', 'fixed-window', 'gcra'] as const)(
    '%s: a peek and cost 0 write nothing',
    async (algorithm) => {
      const s = subject()
      const policy = { algorithm, limit: 2, window: MINUTE }
      expect(await s.one('peek', policy)).toMatchObject({ allowed: 1, remaining: 2, retry: 0 })
      expect(await s.one('consume', { ...policy, cost: 0 })).toMatchObject({
        allowed: 1,
        remaining: 2,
      })
      expect(await s.one('refund', policy)).toMatchObject({ allowed: 1, remaining: 2 })
      expect(await s.one('block', { ...policy, cost: 0 })).toMatchObject({
        allowed: 1,
        remaining: 2,
      })
      expect(await s.exists()).toBe(false)
      await s.one('consume', { ...policy, cost: 2 })
      expect(await s.one('peek', { ...policy, blockFor: MINUTE })).toMatchObject({
        allowed: 0,
        violated: 1,
      })
      expect(await s.one('consume', { ...policy, cost: 0 })).toMatchObject({ allowed: 1, retry: 0 })
    },
  )

  test.each(['sliding-window', 'fixed-window', 'gcra'] as const)(
    '%s: limit 0 admits nothing, ever',
    async (algorithm) => {
      const s = subject()
      const policy = { algorithm, limit: 0, window: MINUTE }
      expect(await s.one('consume', policy)).toMatchObject({
        allowed: 0,
        remaining: 0,
        retry: -1,
        violated: 1,
      })
      expect(await s.one('consume', { ...policy, cost: 0 })).toMatchObject({
        allowed: 1,
        retry: 0,
        violated: 0,
      })
      expect(await s.exists()).toBe(false)
    },
  )

  test.each(['sliding-window', 'fixed-window', 'gcra'] as const)(
    '%s: force charges beyond the limit',
    async (algorithm) => {
      const s = subject()
      const policy = { algorithm, limit: 10, window: MINUTE }
      expect(await s.one('charge', { ...policy, cost: 25 })).toMatchObject({
        allowed: 1,
        remaining: 0,
        retry: 0,
        violated: 0,
      })
      expect(await s.one('consume', policy)).toMatchObject({ allowed: 0, violated: 1 })
      await s.one('charge', { ...policy, cost: 1e12 })
      await s.one('charge', { ...policy, cost: 1e12 })
      expect(await s.one('peek', policy)).toMatchObject({ allowed: 0 })
      s.now += algorithm === 'gcra' ? 20 * 366 * DAY * 1_000 : MINUTE
      expect(await s.one('consume', policy)).toMatchObject({ allowed: 1, remaining: 9 })
    },
  )

  test.each(['sliding-window', 'fixed-window', 'gcra'] as const)(
    '%s: a refund gives back, never below 0',
    async (algorithm) => {
      const s = subject()
      const policy = { algorithm, limit: 3, window: MINUTE }
      await s.one('consume', { ...policy, cost: 3 })
      expect(await s.one('refund', policy, s.now)).toMatchObject({ allowed: 1, remaining: 1 })
      expect(await s.one('consume', policy)).toMatchObject({ allowed: 1, remaining: 0 })
      expect(await s.one('refund', { ...policy, cost: 10 }, s.now)).toMatchObject({ remaining: 3 })
      expect(await s.exists()).toBe(false)
      expect(await s.one('refund', { ...policy, cost: 10 }, s.now)).toMatchObject({ remaining: 3 })
      expect(await s.exists()).toBe(false)
    },
  )

  test.each(['sliding-window', 'fixed-window', 'gcra'] as const)(
    '%s: a refund after expiry does nothing',
    async (algorithm) => {
      const s = subject()
      const policy = { algorithm, limit: 3, window: MINUTE }
      await s.one('consume', policy)
      const { now } = s
      s.now += MINUTE
      await s.one('consume', { ...policy, cost: 2 })
      expect(await s.one('refund', policy, now)).toMatchObject({ remaining: 1 })
    },
  )

  test('a refund takes its own use, and later ones stay as long as before', async () => {
    const s = subject()
    const policy = { limit: 2, window: MINUTE }
    await s.one('consume', policy)
    s.now += 10 * SECOND
    await s.one('consume', policy)
    expect(await s.one('refund', policy, START)).toMatchObject({ remaining: 1, reset: MINUTE })
    expect(await s.one('refund', policy, START)).toMatchObject({ remaining: 1 })
    await s.one('consume', policy)
    // The time is unknoverride: the oldest goes.
    s.now += 10 * SECOND
    await s.one('refund', policy)
    expect(await s.one('peek', { ...policy, cost: 2 })).toMatchObject({
      allowed: 0,
      retry: 50 * SECOND,
    })
  })

  test('GCRA: a refund gives back what has not drained, or was held throughout', async () => {
    const s = subject()
    const policy = { algorithm: 'gcra', limit: 60, window: MINUTE, parameter: 10 } as const
    await s.one('consume', policy)
    s.now += 400
    expect(await s.one('refund', policy, START)).toMatchObject({ remaining: 10, reset: 0 })
    await s.one('charge', { ...policy, cost: 5 })
    const { now } = s
    await s.one('consume', policy)
    s.now += 3 * SECOND
    // The unit of `now` has drained by itself.
    expect(await s.one('refund', policy, now)).toMatchObject({ remaining: 7 })
  })

  test('countDenied charges refused uses, too', async () => {
    const s = subject()
    const policies = [
      { limit: 2, window: MINUTE },
      { limit: 3, window: HOUR },
    ]
    await s.apply('countDenied', policies)
    await s.apply('countDenied', policies)
    s.now += 10 * SECOND
    const {
      allowed,
      policies: [minute, hour],
    } = await s.apply('countDenied', policies)
    expect(allowed).toBe(0)
    expect(minute).toMatchObject({ remaining: 0, retry: 50 * SECOND, violated: 1 })
    // It did not refuse, but is full now. The call is admitted only when both policies admit it.
    expect(hour).toMatchObject({ remaining: 0, retry: HOUR - 10 * SECOND, violated: 0 })
    expect(
      (
        await s.apply(
          'countDenied',
          policies.map((policy) => ({ ...policy, cost: 5 })),
        )
      ).policies[0],
    ).toMatchObject({ retry: -1 })
  })

  test('GCRA: hammering fills the bucket, but the wait does not grow', async () => {
    const s = subject()
    const policy = { algorithm: 'gcra', limit: 6, window: MINUTE, parameter: 2 } as const
    for (let i = 0; i < 100; i++) await s.one('countDenied', policy)
    expect(await s.one('countDenied', policy)).toMatchObject({ allowed: 0, retry: 10 * SECOND })
    s.now += 10 * SECOND
    expect(await s.one('countDenied', policy)).toMatchObject({ allowed: 1 })
  })

  describe.each(['sliding-window', 'fixed-window', 'gcra'] as const)('%s: a block', (algorithm) => {
    const policy = { algorithm, limit: 1, window: MINUTE }

    test('refuses everything, also cost 0, and is never shortened', async () => {
      const s = subject()
      expect(await s.one('block', { ...policy, cost: 10 * MINUTE })).toEqual({
        allowed: 1,
        limit: 1,
        remaining: 0,
        reset: 10 * MINUTE,
        retry: 10 * MINUTE,
        violated: 2,
      })
      s.now += MINUTE
      expect(await s.one('block', { ...policy, cost: MINUTE })).toMatchObject({ reset: 9 * MINUTE })
      expect(await s.one('consume', { ...policy, cost: 0 })).toMatchObject({
        allowed: 0,
        violated: 2,
        retry: 9 * MINUTE,
      })
      s.now += 9 * MINUTE - 1
      expect(await s.one('consume', policy)).toMatchObject({ allowed: 0, retry: 1, violated: 2 })
      s.now += 1
      expect(await s.one('consume', policy)).toMatchObject({ allowed: 1 })
    })

    test('follows a refusal, grows with repetition, and is forgotten', async () => {
      const s = subject()
      const blocking = { ...policy, blockFor: 10 * MINUTE, blockMax: 30 * MINUTE }
      await s.one('consume', blocking)
      for (const length of [10, 20, 30, 30].map((minutes) => minutes * MINUTE)) {
        await s.one('charge', policy)
        expect(await s.one('consume', blocking)).toMatchObject({
          allowed: 0,
          reset: length,
          retry: length,
          violated: 1,
        })
        // Attempts do not extend it.
        s.now += MINUTE
        expect(await s.one('consume', blocking)).toMatchObject({
          retry: length - MINUTE,
          violated: 2,
        })
        s.now += length - MINUTE
      }
      s.now += 30 * MINUTE
      await s.one('charge', policy)
      expect(await s.one('consume', blocking)).toMatchObject({ reset: 30 * MINUTE })
      s.now += 60 * MINUTE + 1
      await s.one('charge', policy)
      expect(await s.one('consume', blocking)).toMatchObject({ reset: 10 * MINUTE })
    })

    test('that was made by a clock far ahead is dropped', async () => {
      const s = subject()
      await s.one('block', { ...policy, cost: MINUTE })
      s.now -= 30 * SECOND
      expect(await s.one('consume', policy)).toMatchObject({ allowed: 0 })
      s.now -= 10 * MINUTE
      expect(await s.one('consume', policy)).toMatchObject({ allowed: 1 })
    })
  })

  test.each(['sliding-window', 'fixed-window', 'gcra'] as const)(
    '%s: the clock goes back',
    async (algorithm) => {
      const s = subject()
      const policy = { algorithm, limit: 2, window: MINUTE }
      await s.one('consume', { ...policy, cost: 2 })
      s.now -= 30 * SECOND
      const { allowed, retry } = await s.one('consume', policy)
      expect(allowed).toBe(0)
      s.now += retry - 1
      expect(await s.one('peek', policy)).toMatchObject({ allowed: 0 })
      s.now += 1
      expect(await s.one('peek', policy)).toMatchObject({ allowed: 1 })
      s.now = START - 10 * MINUTE
      expect(await s.one('consume', policy)).toMatchObject({ allowed: 1 })
    },
  )

  test('a calendar period that does not contain the present changes nothing', async () => {
    const s = subject()
    const day = {
      algorithm: 'fixed-window',
      limit: 2,
      window: 23 * HOUR,
      parameter: START - HOUR,
    } as const
    s.now = START + 22 * HOUR - 1
    expect((await s.apply('consume', [{ limit: 5, window: MINUTE }, day])).allowed).toBe(1)
    s.now += 1
    expect(await s.apply('consume', [{ limit: 5, window: MINUTE }, day])).toEqual({
      allowed: -1,
      now: s.now,
      policies: [],
    })
    const next = { ...day, window: DAY, parameter: START + 22 * HOUR }
    const { policies } = await s.apply('consume', [{ limit: 5, window: MINUTE }, next])
    expect(policies[0]).toMatchObject({ remaining: 3 })
    expect(policies[1]).toMatchObject({ remaining: 1, reset: DAY })
  })

  test('a changed limit keeps the counted uses', async () => {
    const s = subject()
    for (let i = 0; i < 100; i++) {
      s.now += 10
      await s.one('consume', { limit: 100, window: MINUTE })
    }
    expect(await s.one('consume', { limit: 60, window: MINUTE })).toMatchObject({
      allowed: 0,
      remaining: 0,
    })
    expect(await s.one('consume', { limit: 105, window: MINUTE })).toMatchObject({
      allowed: 1,
      remaining: 4,
    })
    expect(await s.one('countDenied', { limit: 5, window: MINUTE })).toMatchObject({
      allowed: 0,
      remaining: 0,
      limit: 5,
    })
    expect(await s.one('peek', { limit: 105, window: MINUTE })).toMatchObject({ remaining: 3 })
  })

  test('overrides replace the limit of the policy', async () => {
    const [mine, ours] = [`own:${subjects++}`, `own:${subjects++}`]
    const s = subject([mine, ours])
    const set = (key: string, ...pairs: string[]): Promise<number> =>
      engine.run(setOverrides, [key], [`${HOUR}`, '0', ...pairs], s.now)
    const limits = async (): Promise<number[]> => {
      const base = { limit: 10, window: MINUTE, cost: 0 }
      const { policies } = await s.apply('consume', [
        { ...base, name: 'a', override: 1 },
        { ...base, name: 'b', override: 1, algorithm: 'fixed-window' },
        { ...base, name: 'a', override: 2, algorithm: 'gcra' },
        { ...base, name: 'a', override: 0 },
      ])
      return policies.map(({ limit }) => limit)
    }
    expect(await limits()).toEqual([10, 10, 10, 10])
    expect(await set(mine, 'a', '600', 'b', '0')).toBe(2)
    expect(await limits()).toEqual([600, 0, 10, 10])
    expect(await set(ours, 'a', '7')).toBe(1)
    expect(await limits()).toEqual([600, 0, 7, 10])
    for (const bad of ['-1', '1.5', '1e3', ' 5', '', '0x10', '9'.repeat(13)]) {
      await set(mine, 'a', bad)
      expect(await limits()).toEqual([10, 10, 7, 10])
    }
    expect(await set(mine)).toBe(0)
    expect(await engine.run(getOverrides, [mine], [], s.now)).toEqual(['-2'])
    expect(await exists(mine)).toBe(false)
  })

  test('overrides are read without their renewal', async () => {
    const key = `own:${subjects++}`
    expect(
      await engine.run(
        setOverrides,
        [key],
        [`${HOUR}`, `${HOUR}`, 'minute', '600', '__proto__', '1'],
        START,
      ),
    ).toBe(2)
    const [left, ...fields] = await engine.run(getOverrides, [key], [], START)
    expect(Number(left)).toBeGreaterThan(HOUR - MINUTE)
    expect(Number(left)).toBeLessThanOrEqual(HOUR)
    expect(fields).toEqual(['minute', '600', '__proto__', '1'])
  })

  test('a reset deletes the states, replies how many, and is published', async () => {
    const s = subject()
    const policies = [
      { limit: 1, window: MINUTE, blockFor: HOUR },
      { limit: 5, window: HOUR },
    ]
    await s.apply('consume', policies)
    await s.apply('consume', policies)
    const messages: string[] = []
    const listener = redis.client.duplicate()
    inProcess.store.subscribe('resets', (message) => messages.push(message))
    listener.on('message', (_channel, message) => messages.push(message))
    await listener.subscribe('resets')
    const forget = (channel: string): Promise<number> =>
      engine.run(resetPolicies, [s.keyOf(0), s.keyOf(1), s.keyOf(2)], [channel, 'alice'], s.now)
    expect(await forget('resets')).toBe(2)
    expect(await s.apply('consume', policies)).toMatchObject({
      allowed: 1,
      policies: [{ remaining: 0 }, { remaining: 4 }],
    })
    expect(await forget('')).toBe(2)
    expect(await forget('')).toBe(0)
    await expect.poll(() => messages).toEqual(['alice'])
    listener.disconnect()
  })
})

describe('the time to live of keys in Redis', () => {
  const DEFAULT = { window: MINUTE } as const

  async function life(
    action: PolicyAction,
    policy: TestPolicy,
    key = `life:${subjects++}`,
  ): Promise<[key: string, ms: number]> {
    await evaluate(
      redis.client,
      applyPolicies,
      [key],
      [...argumentsOf(action, [policy]), NO_TIMEOUT],
    )
    return [key, await redis.client.pttl(key)]
  }

  function near(ms: number, expected: number): void {
    expect(ms).toBeLessThanOrEqual(expected)
    expect(ms).toBeGreaterThan(expected - 2 * SECOND)
  }

  /** What is counted may be kept for an eighth longer. */
  const spared = (ms: number): number => ms + ms / 8

  test('charges', async () => {
    near((await life('consume', { ...DEFAULT, limit: 100 }))[1], spared(MINUTE))
    near(
      (await life('consume', { ...DEFAULT, limit: 6, algorithm: 'gcra' }))[1],
      spared(10 * SECOND),
    )
    const week = 7 * DAY - (Date.now() % (7 * DAY))
    near((await life('consume', { limit: 6, window: 7 * DAY, algorithm: 'fixed-window' }))[1], week)
  })

  test.each(['sliding-window', 'fixed-window', 'gcra'] as const)(
    '%s: blocks, and the memory of them',
    async (algorithm) => {
      const policy = {
        ...DEFAULT,
        limit: 0,
        algorithm,
        blockFor: HOUR,
        parameter: algorithm === 'fixed-window' ? undefined : 64,
      } as const
      near((await life('consume', policy))[1], 2 * HOUR + 1)
      near((await life('block', { ...policy, cost: HOUR }))[1], HOUR)
    },
  )

  test.each([
    ['sliding-window', 'as arguments'],
    ['gcra', 'as arguments'],
    ['sliding-window', 'in the script'],
    ['gcra', 'in the script'],
  ] as const)(
    '%s, policies %s: a charge soon after leaves it, a later one renews it',
    async (algorithm, kind) => {
      const policy = { name: 'soon', algorithm, limit: 1000, window: 4 * SECOND }
      const key = `life:${subjects++}`
      const charged = async (cost: number): Promise<number> => {
        if (kind === 'as arguments') return (await life('consume', { ...policy, cost }, key))[1]
        const script = applyKnownPolicies('consume', [knownPolicy({ ...policy, cost })])
        await evaluate(redis.client, script, [key], [NO_TIMEOUT])
        return await redis.client.pttl(key)
      }
      const first = await charged(500)
      let second = first
      for (let i = 0; i < 4; i++) {
        await sleep(algorithm === 'sliding-window' ? 70 : 10)
        second = await charged(1)
      }
      expect(second).toBeLessThan(first - 20)
      await sleep(400)
      expect(await charged(algorithm === 'sliding-window' ? 1 : 400)).toBeGreaterThan(second)
    },
  )

  test('a refund shortens it, and ends it', async () => {
    const [key] = await life('consume', { ...DEFAULT, limit: 6, cost: 2, algorithm: 'gcra' })
    near(
      (await life('refund', { ...DEFAULT, limit: 6, algorithm: 'gcra' }, key))[1],
      spared(10 * SECOND),
    )
    expect((await life('refund', { ...DEFAULT, limit: 6, algorithm: 'gcra' }, key))[1]).toBe(-2)
  })

  test('after expiry the window is free again', async () => {
    const policy = { limit: 1, window: 60 }
    const [key] = await life('consume', policy)
    await sleep(80)
    expect(await redis.client.exists(key)).toBe(0)
    expect((await life('consume', policy, key))[1]).toBeGreaterThan(0)
  })

  test('overrides are renewed by use after half of their time', async () => {
    const own = `life:${subjects++}`
    const use = async (): Promise<number[]> =>
      numbersOf(
        await evaluate(
          redis.client,
          applyPolicies,
          ['life:x', own],
          [...argumentsOf('peek', [{ ...DEFAULT, limit: 1, override: 1 }]), NO_TIMEOUT],
        ),
      )
    await evaluate(redis.client, setOverrides, [own], ['600', '600', 'default', '5', NO_TIMEOUT])
    await use()
    expect(await redis.client.pttl(own)).toBeLessThanOrEqual(600)
    await sleep(350)
    expect(await redis.client.pttl(own)).toBeLessThan(300)
    expect((await use())[2]).toBe(5)
    expect(await redis.client.pttl(own)).toBeGreaterThan(500)
    await evaluate(redis.client, setOverrides, [own], ['60000', '0', 'default', '5', NO_TIMEOUT])
    await use()
    near(await redis.client.pttl(own), MINUTE)
  })

  test('every key has one', async () => {
    const names = (await redis.client.keys('*')).filter((name) => !name.startsWith('policies:'))
    for (const name of names) expect(await redis.client.pttl(name), name).not.toBe(-1)
  })
})
