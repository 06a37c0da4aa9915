/** A script with its questions written out answers as the one that reads them from ARGV. */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { setOverrides } from '../../../src/features/rate-limit/overrides.ts'
import type { Constant } from '../../../src/features/rate-limit/admit.ts'
import { numbersOf, take, takeOf } from '../../../src/features/rate-limit/take.ts'
import { startTestRedis, type TestRedis } from '../../support/redis.ts'
import { memoryEngine, redisEngine, takeArgs } from './support.ts'

let redis: TestRedis
beforeAll(async () => {
  redis = await startTestRedis()
})
afterAll(() => redis?.stop())

const SEED = Number(process.env['SEED'] ?? Date.now() % 2 ** 31)
const START = Date.UTC(2026, 0, 1)

const constant: fc.Arbitrary<Constant> = fc
  .record({
    algorithm: fc.constantFrom('s' as const, 'f' as const, 'g' as const),
    limit: fc.constantFrom(0, 1, 3, 64, 65, 1000, 1e12),
    window: fc.constantFrom(1000, 60_000, 366 * 86_400_000),
    cost: fc.constantFrom(0, 1, 2, 1e12),
    block: fc.constantFrom(0, 0, 5000),
  })
  .map(({ algorithm, limit, block, ...rest }) => ({
    algorithm,
    limit,
    name: `policy.${algorithm}-${limit}`,
    aux: algorithm === 's' ? 64 : algorithm === 'g' ? Math.max(1, limit) : undefined,
    block,
    blockMax: block * 4,
    own: 1,
    ...rest,
  }))

describe.each([memoryEngine(), redisEngine(() => redis)])('in the $name engine', (engine) => {
  test(`random policies, seed ${SEED}`, async () => {
    let subject = 0
    const property = fc.asyncProperty(
      fc.constantFrom('c' as const, 'd' as const),
      fc.boolean(),
      fc.array(constant, { minLength: 1, maxLength: 3 }),
      fc.array(fc.constantFrom(0, 1, 500, 5000, 61_000), { minLength: 1, maxLength: 8 }),
      async (verb, hasOwn, policies, steps) => {
        const id = `constants:${subject++}`
        const written = takeOf(verb, policies)
        const args = takeArgs(
          verb,
          policies.map(({ aux, ...policy }) => ({ ...policy, aux: aux ?? '' })),
        )
        const keys = (kind: string): string[] => [
          ...policies.map((_, i) => `{${id}}:${kind}:${i}`),
          `{${id}}:own`,
        ]
        const own = ['3600000', '0', policies[0]!.name, '2']
        if (hasOwn) await engine.run(setOverrides, [`{${id}}:own`], own, START)
        let now = START
        for (const step of steps) {
          now += step
          const expected = await engine.run(take, keys('a'), args, now)
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
    const rest = { limit, window, cost: 1, block: 0, blockMax: 0, own: 0 }
    const policies: Constant[] = [
      { ...rest, algorithm: 's', name: 'sliding', aux: 64 },
      { ...rest, algorithm: 's', name: 'twice', aux: 64, limit: 2 * limit, window: 2 * window },
      { ...rest, algorithm: 'g', name: 'gcra', aux: limit },
      { ...rest, algorithm: 'f', name: 'fixed', aux: undefined },
    ]
    const asked = policies.map(({ aux, ...policy }) => ({ ...policy, aux: aux ?? ('' as const) }))
    const written = takeOf('c', policies)
    const keys = (kind: string): string[] => policies.map((_, i) => `long:{${name}}:${kind}:${i}`)
    const both = async (verb: 'c' | 'f' | 'r', now: number, at: number): Promise<Buffer[]> => {
      const args = takeArgs(verb, asked, at)
      const [one, other] = verb === 'c' ? ([written, []] as const) : ([take, args] as const)
      return [
        await engine.run(take, keys('a'), args, now),
        await engine.run(one, keys('b'), other, now),
      ]
    }
    const random = fc.sample(
      fc.tuple(
        fc.constantFrom(...Array<'c'>(40).fill('c'), 'f' as const, 'r' as const),
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
    for (const [i, [verb, turn, back]] of random.entries()) {
      now += turn
      const [expected, told] = await both(verb, now, times.at(-1 - back) ?? 0)
      expect(numbersOf(told!), `step ${i}, ${verb}`).toEqual(numbersOf(expected!))
      times.push(now)
    }
  })
})

test('no state is without a time to live', async () => {
  const keys = await redis.client.keys('*')
  expect(keys.length).toBeGreaterThan(100)
  const lives = await Promise.all(keys.map((key) => redis.client.pttl(key)))
  expect(keys.filter((_, i) => lives[i]! < 0)).toEqual([])
})
