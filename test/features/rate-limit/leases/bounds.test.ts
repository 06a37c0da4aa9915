import { describe, expect, onTestFinished, test } from 'vitest'
import { manualClock } from '../../../../src/clock.ts'
import { EventBus } from '../../../../src/events.ts'
import { turnpike } from '../../../../src/express.ts'
import type { Charge } from '../../../../src/features/rate-limit/charge.ts'
import { withLease } from '../../../../src/features/rate-limit/lease-options.ts'
import { Leases } from '../../../../src/features/rate-limit/leases.ts'
import { policiesOf } from '../../../../src/features/rate-limit/policy.ts'
import { RedisStore } from '../../../../src/store/redis-store.ts'
import type { Store } from '../../../../src/store/store.ts'
import { startRedis, type RedisServer } from '../../../../src/testing.ts'
import { startFaultProxy, type FaultProxy } from '../../../support/fault-proxy.ts'

interface Away {
  redis: RedisServer
  proxy: FaultProxy
}

const KIND = { store: { kind: 'redis' } as Store }
const OPTIONS = { limit: 6_400, window: '1m', lease: true } as const

describe('what a process keeps of leases', () => {
  const clock = manualClock()
  const given: Charge[] = []
  const active = new Set<Leases>()
  const leases = new Leases(
    {
      store: { ...clock, wallClock: () => clock.now() },
      active,
      adjust: () => Promise.reject(new Error('nothing is refunded')),
      giveBack: async (charges, { back }) =>
        void given.push(...charges.map((each, i) => ({ ...each, cost: back[i]! }))),
    },
    1_000,
  )
  const [policy] = withLease('test', true, policiesOf<never>('test', OPTIONS, 'api').policies, KIND)
  const charge = (tag: string): Charge => ({
    policy: policy!,
    tag,
    subject: tag,
    tenant: undefined,
    limit: 6_400,
    window: 60_000,
    cost: 1,
  })
  const state = { name: 'api', subject: 'a', limit: 6_400, windowMs: 60_000, remaining: 6_000 }
  const policies = [{ ...state, resetMs: 1, retryAfterMs: 0, violated: false, blocked: false }]

  test('is bounded, whatever addresses a client makes up', () => {
    let [most, asked] = [0, 0]
    for (let i = 0; i < 25_000; i++) {
      if (leases.ask([charge(`once${i}`)])) asked++
      most = Math.max(most, leases.size)
    }
    expect(asked).toBe(0)
    for (let i = 0; i < 25_000; i++) {
      const charges = [charge(`twice${i}`)]
      if (leases.ask(charges)) asked++
      const ask = leases.ask(charges)!
      // While it is asked for, no other call asks.
      if (leases.ask(charges) || ask.request.want[0] !== 4) asked++
      leases.grant(ask, charges, { policies, at: 5 }, [4])
      most = Math.max(most, leases.size)
    }
    expect(asked).toBe(0)
    expect(most).toBe(20_000)
    // The oldest went, and gave their units back.
    expect(given.length).toBe(15_000)
    expect(given[0]).toMatchObject({ tag: 'twice0', cost: 4 })
    expect(leases.take([charge('twice0')])).toBeUndefined()
    expect(leases.take([charge('twice24999')])).toMatchObject({ source: 'lease', allowed: true })
  })

  test('is dropped when it has ended, and its units are given back', async () => {
    await clock.advance(1_000)
    await clock.advance(1_000)
    expect(given.length).toBe(25_000)
    expect(given.at(-1)).toMatchObject({ tag: 'twice24999', cost: 3 })
    expect(active.size).toBe(0)
  })

  test('a process that is stopped while it takes units finds that the lease has ended', () => {
    const charges = [charge('stopped')]
    leases.ask(charges)
    leases.grant(leases.ask(charges)!, charges, { policies, at: 5 }, [4])
    expect(leases.take(charges)).toBeDefined()
    const stopped = {
      ...charges[0]!,
      get cost() {
        void clock.advance(1_000)
        return 1
      },
    }
    expect(leases.take([stopped])).toBeUndefined()
  })

  test('a subject that calls less than once in a lease asks for none', async () => {
    for (let i = 0; i < 5; i++) {
      await clock.advance(1_500)
      expect(leases.ask([charge('slow')])).toBeUndefined()
    }
  })

  test('a lease asks for half as much again as the last one used', async () => {
    const charges = [charge('steady')]
    leases.ask(charges)
    let ask = leases.ask(charges)!
    leases.grant(ask, charges, { policies, at: 5 }, [40])
    for (let i = 0; i < 19; i++) leases.take(charges)
    await clock.advance(1_000)
    ask = leases.ask(charges)!
    // 19, and the one that asks.
    expect(ask.request).toMatchObject({ want: [30], back: [21], grantedAt: 5, band: [400] })
    leases.fail(ask)
    expect(leases.take(charges)).toBeUndefined()
  })
})

test.each<[string, (away: Away) => unknown]>([
  ['stopped', ({ redis }) => redis.stop()],
  ['frozen', ({ redis }) => redis.freeze()],
  ['slow', ({ proxy }) => proxy.set({ latency: 600 })],
  ['behind a broken network', ({ proxy }) => proxy.set({ mode: 'stall' })],
])('while Redis is %s the lease is used up, then the failure rule decides', async (_how, leave) => {
  const redis = await startRedis()
  onTestFinished(async () => {
    redis.thaw()
    await redis.stop()
  })
  const proxy = await startFaultProxy(redis.port)
  onTestFinished(() => proxy.close())
  const clock = manualClock()
  const store = new RedisStore({
    source: `redis://127.0.0.1:${proxy.port}`,
    name: 'test',
    commandTimeout: 500,
    maxInFlight: 5000,
    events: new EventBus(''),
    clock,
  })
  onTestFinished(() => store.close())
  const tp = turnpike({ store })
  const limiter = tp.limiter('api', { ...OPTIONS, fail: 'closed' })
  await store.ready()
  for (let i = 0; i < 3; i++) await limiter.consume('ann')
  await leave({ redis, proxy })
  for (let i = 0; i < 3; i++)
    expect(await limiter.consume('ann')).toMatchObject({ source: 'lease', allowed: true })
  expect(await limiter.consume('ann')).toMatchObject({ source: 'closed', allowed: false })
  const other = tp.limiter('other', OPTIONS)
  expect(await other.consume('bob')).toMatchObject({ source: 'local', allowed: true })
})

describe('the option lease', () => {
  const thrown = (options: object): any => {
    try {
      turnpike({ redis: 'redis://localhost:1' }).rateLimit({ limit: 64, window: '1m', ...options })
    } catch (error) {
      return error
    }
    return undefined
  }

  test.each([
    [{ lease: 5 }, '{ for } with a duration'],
    [{ lease: { for: 'soon' } }, '{ for } with a duration'],
    [{ lease: { four: '1s' } }, '{ for } with a duration'],
    [{ lease: { for: 9 } }, '10 ms or more'],
    [{ lease: { for: '8s' } }, 'at most an eighth of the shortest window'],
    [{ lease: true, limit: 63 }, 'a limit of 64 or more'],
    [{ lease: true, algorithm: 'gcra', limit: 63 }, 'a limit and a burst of 64 or more'],
    [{ lease: true, algorithm: 'gcra', burst: 63 }, 'a limit and a burst of 64 or more'],
    [{ lease: true, window: 100 }, '10 ms or more'],
    [
      {
        lease: true,
        limit: undefined,
        window: undefined,
        policies: [{ limit: 64, window: '1m', key: () => 'a' }],
      },
      'has its own `key`',
    ],
    [{ lease: true, limiter: { consume() {} }, limit: undefined, window: undefined }, '`limiter`'],
  ])('%j is refused', (options, message) => {
    const error = thrown(options)
    expect(error).toMatchObject({ code: 'TP_OPTION', option: 'lease' })
    expect(error.message).toContain(message)
  })

  test('is part of what limits of one name agree on', () => {
    const tp = turnpike({ redis: 'redis://localhost:1' })
    tp.rateLimit({ name: 'api', limit: 64, window: '1m', lease: true })
    expect(() => tp.limiter('api', { limit: 64, window: '1m' })).toThrow(/lease/)
  })
})
