/** A script with its questions written out answers as the one that reads them from ARGV. */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { setLimits } from '../../../src/features/rate-limit/overrides.ts'
import { take, takeOf, type Constant } from '../../../src/features/rate-limit/take.ts'
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
      fc.array(constant, { minLength: 1, maxLength: 3 }),
      fc.array(fc.constantFrom(0, 1, 500, 5000, 61_000), { minLength: 1, maxLength: 8 }),
      async (verb, policies, steps) => {
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
        await engine.run(
          setLimits,
          [`{${id}}:own`],
          ['3600000', '0', policies[0]!.name, '2'],
          START,
        )
        let now = START
        for (const step of steps) {
          now += step
          const expected = await engine.run(take, keys('a'), args, now)
          expect(await engine.run(written, keys('b'), [], now)).toEqual(expected)
        }
      },
    )
    await fc.assert(property, { seed: SEED, numRuns: 150 })
  })
})
