/** A script in which the policies are written down replies as the one that reads them from ARGV. */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { setOverrides } from '../../../src/features/rate-limit/operations/overrides.ts'
import { ALGORITHMS } from '../../../src/features/rate-limit/algorithms/index.ts'
import {
  applyKnownPolicies,
  applyPolicies,
  numbersOf,
} from '../../../src/features/rate-limit/operations/apply-policies.ts'
import { startTestRedis, type TestRedis } from '../../support/redis.ts'
import { argumentsOf, knownPolicy, memoryEngine, redisEngine, type TestPolicy } from './support.ts'

let redis: TestRedis
beforeAll(async () => {
  redis = await startTestRedis()
})
afterAll(() => redis?.stop())

const SEED = Number(process.env['SEED'] ?? Date.now() % 2 ** 31)
const START = Date.UTC(2026, 0, 1)

const policy: fc.Arbitrary<TestPolicy> = fc
  .record({
    algorithm: fc.constantFrom(...ALGORITHMS.map(({ name }) => name)),
    limit: fc.constantFrom(0, 1, 3, 64, 65, 1000, 1e12),
    window: fc.constantFrom(1000, 60_000, 366 * 86_400_000),
    cost: fc.constantFrom(0, 1, 2, 1e12),
    blockFor: fc.constantFrom(0, 0, 5000),
  })
  .map(({ algorithm, limit, blockFor, ...rest }) => ({
    algorithm,
    limit,
    name: `policy.${algorithm}-${limit}`,
    blockFor,
    blockMax: blockFor * 4,
    override: 1,
    ...rest,
  }))

describe.each([memoryEngine(), redisEngine(() => redis)])('in the $name engine', (engine) => {
  test(`random policies, seed ${SEED}`, async () => {
    let subject = 0
    const property = fc.asyncProperty(
      fc.constantFrom('consume' as const, 'countDenied' as const),
      fc.boolean(),
      fc.array(policy, { minLength: 1, maxLength: 3 }),
      fc.array(fc.constantFrom(0, 1, 500, 5000, 61_000), { minLength: 1, maxLength: 8 }),
      async (action, hasOverrides, policies, steps) => {
        const id = `known:${subject++}`
        const written = applyKnownPolicies(action, policies.map(knownPolicy))
        const args = argumentsOf(action, policies)
        const keys = (kind: string): string[] => [
          ...policies.map((_, i) => `{${id}}:${kind}:${i}`),
          `{${id}}:own`,
        ]
        const overrides = ['3600000', '0', policies[0]!.name!, '2']
        if (hasOverrides) await engine.run(setOverrides, [`{${id}}:own`], overrides, START)
        let now = START
        for (const step of steps) {
          now += step
          const expected = await engine.run(applyPolicies, keys('a'), args, now)
          expect(await engine.run(written, keys('b'), [], now)).toEqual(expected)
        }
      },
    )
    await fc.assert(property, { seed: SEED, numRuns: 300 })
  })

  const LENGTH = 500
  /** Logs that grow, go round and thin out; refunds and blunt charges in between come from elsewhere. */
  test.each([
    { limit: 40, window: 300, far: 20 },
    { limit: 64, window: 200, far: 5 },
    { limit: 300, window: 1000, far: 40 },
    { limit: 1000, window: 7000, far: 25 },
    { limit: 1000, window: 1000, far: 400 },
  ])(`a long history of limit $limit in $window ms, seed ${SEED}`, async (given) => {
    const { limit, window, far } = given
    const name = `${limit}.${window}.${far}`
    const policies: TestPolicy[] = [
      { algorithm: 'sliding-window', name: 'sliding', limit, window },
      { algorithm: 'sliding-window', name: 'twice', limit: 2 * limit, window: 2 * window },
      { algorithm: 'gcra', name: 'gcra', limit, window },
      { algorithm: 'fixed-window', name: 'fixed', limit, window },
    ]
    const written = applyKnownPolicies('consume', policies.map(knownPolicy))
    const keys = (kind: string): string[] => policies.map((_, i) => `long:{${name}}:${kind}:${i}`)
    const both = async (
      action: 'consume' | 'charge' | 'refund',
      now: number,
      at: number,
    ): Promise<Buffer[]> => {
      const args = argumentsOf(action, policies, at)
      const [one, other] =
        action === 'consume' ? ([written, []] as const) : ([applyPolicies, args] as const)
      return [
        await engine.run(applyPolicies, keys('a'), args, now),
        await engine.run(one, keys('b'), other, now),
      ]
    }
    const random = fc.sample(
      fc.tuple(
        fc.constantFrom(
          ...Array<'consume'>(40).fill('consume'),
          'charge' as const,
          'refund' as const,
        ),
        fc.oneof(
          { weight: 30, arbitrary: fc.nat({ max: far }) },
          { weight: 10, arbitrary: fc.constant(0) },
          { weight: 1, arbitrary: fc.constantFrom(window, window - 1, 3 * window, -5) },
        ),
        fc.nat({ max: 3 }),
      ),
      { seed: SEED, numRuns: LENGTH },
    )
    let now = START
    const times = [START]
    for (const [i, [action, turn, back]] of random.entries()) {
      now += turn
      const [expected, actual] = await both(action, now, times.at(-1 - back) ?? 0)
      expect(numbersOf(actual!), `step ${i}, ${action}`).toEqual(numbersOf(expected!))
      times.push(now)
    }
  })
})

test('every state has a time to live', async () => {
  const keys = await redis.client.keys('*')
  expect(keys.length).toBeGreaterThan(100)
  const lives = await Promise.all(keys.map((key) => redis.client.pttl(key)))
  expect(keys.filter((_, i) => lives[i]! < 0)).toEqual([])
})
