import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test, vi } from 'vitest'
import { turnpike } from '../../../src/express.ts'
import type { Charge } from '../../../src/features/rate-limit/charge.ts'
import { DenyCache } from '../../../src/features/rate-limit/deny-cache.ts'
import { testStore } from '../../../src/testing.ts'
import type { LimitDecision } from '../../../src/features/rate-limit/limit-decision.ts'

const NOW = 1_000_000

const POLICIES = new Map<string, Charge['policy']>()

/** A charge of one policy of a mount. */
function charge(tag: string, name = 'one'): Charge {
  const policy = POLICIES.get(name) ?? ({ name } as Charge['policy'])
  POLICIES.set(name, policy)
  return { policy, tag, subject: tag, tenant: undefined, limit: 1, window: 60_000, cost: 1 }
}

const refusal = { source: 'store', policies: [], retryAfterMs: 60_000 } as unknown as LimitDecision

describe('the deny cache', () => {
  test('holds no more than it may', () => {
    const cache = new DenyCache(100)
    for (let i = 0; i < 1_000; i++) {
      cache.remember([charge(`user${i}`)], refusal, NOW)
      expect(cache.size).toBeLessThanOrEqual(100)
    }
    expect(cache.find([charge('user999')], NOW)).toBeDefined()
  })

  test('forgets a subject wherever it takes part, and nothing else', () => {
    const cache = new DenyCache(100)
    const pair = (user: string): Charge[] => [charge(user), charge('everyone', 'all')]
    cache.remember([charge('ann')], refusal, NOW)
    cache.remember(pair('ann'), refusal, NOW)
    cache.remember(pair('bob'), refusal, NOW)
    cache.forget('ann')
    expect(cache.find([charge('ann')], NOW)).toBeUndefined()
    expect(cache.find(pair('ann'), NOW)).toBeUndefined()
    expect(cache.find(pair('bob'), NOW)).toBeDefined()
    cache.forget('nobody')
    cache.forget('everyone')
    expect(cache.size).toBe(0)
  })

  test('does not search for the subject that it forgets', () => {
    const cache = new DenyCache(20_000)
    for (let i = 0; i < 10_000; i++) cache.remember([charge(`user${i}`)], refusal, NOW)
    const walks = (['keys', 'values', 'entries', 'forEach'] as const).map((method) =>
      vi.spyOn(Map.prototype, method),
    )
    cache.forget('user5000')
    for (const walk of walks) {
      expect(walk).not.toHaveBeenCalled()
      walk.mockRestore()
    }
    expect(cache.size).toBe(9_999)
  })

  test('forgets a refusal whose time is over, and one that is replaced', () => {
    const cache = new DenyCache(100)
    for (let i = 0; i < 3; i++) cache.remember([charge('ann')], refusal, NOW + i)
    expect(cache.size).toBe(1)
    expect(cache.find([charge('ann')], NOW + 60_002)).toBeUndefined()
    expect(cache.size).toBe(0)
  })
  test('repeats a refusal for the same policies, limits and windows only', () => {
    const cache = new DenyCache(100)
    const both = [charge('ann'), charge('ann', 'two')]
    const find = (charges: Charge[]) => cache.find(charges, NOW)
    cache.remember(both, refusal, NOW)
    expect(find([charge('ann'), charge('ann', 'two')])).toBeDefined()
    expect(find([charge('ann')])).toBeUndefined()
    expect(find([charge('ann', 'two')])).toBeUndefined()
    expect(find([charge('ann'), { ...charge('ann', 'two'), limit: 2 }])).toBeUndefined()
    expect(find([{ ...charge('ann'), window: 1 }, charge('ann', 'two')])).toBeUndefined()
    cache.remember([charge('ann')], refusal, NOW)
    expect(find([charge('ann', 'two')])).toBeUndefined()
  })
})

test('limiters that are made for a single call leave no subscription behind', async () => {
  setFlagsFromString('--expose-gc')
  const collectGarbage = runInNewContext('gc') as () => void
  const store = testStore()
  const subscribe = store.subscribe.bind(store)
  let subscriptions = 0
  store.subscribe = (...args) => {
    subscriptions++
    const unsubscribe = subscribe(...args)
    return () => {
      subscriptions--
      unsubscribe()
    }
  }
  const tp = turnpike({ store, tenant: () => 'a' })
  const options = { limit: 1, window: '1m', denyCache: true } as const
  const kept = tp.forTenant('a').limiter('l', options)
  for (let i = 0; i < 50; i++) await tp.forTenant(`t${i}`).limiter('l', options).consume('ann')
  expect(subscriptions).toBe(51)
  await vi.waitFor(
    () => {
      collectGarbage()
      expect(subscriptions).toBeLessThanOrEqual(3)
    },
    { timeout: 15_000 },
  )
  for (let i = 0; i < 3; i++) await kept.consume('ann')
  expect((await kept.consume('ann')).source).toBe('deny-cache')
  await tp.limiter('l', options).reset('ann', { tenant: 'a' })
  await vi.waitFor(async () => expect((await kept.consume('ann')).source).toBe('store'))
})
