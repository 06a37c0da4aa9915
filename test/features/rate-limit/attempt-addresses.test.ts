/** From which addresses an identity was tried: the scripts and their twins remember the same. */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  recordAddress,
  takeAddresses,
} from '../../../src/features/rate-limit/operations/attempt-addresses.ts'
import { startTestRedis, type TestRedis } from '../../support/redis.ts'
import { memoryEngine, redisEngine } from './support.ts'

let redis: TestRedis
beforeAll(async () => {
  redis = await startTestRedis()
})
afterAll(() => redis?.stop())

const SEED = Number(process.env['SEED'] ?? Date.now() % 2 ** 31)
const START = Date.UTC(2026, 0, 1)
const MINUTE = 60_000
const inProcess = memoryEngine()
const inRedis = redisEngine(() => redis)

describe.each([inProcess, inRedis])('in the $name engine', (engine) => {
  const record = (key: string, address: string, now: number): Promise<number> =>
    engine.run(recordAddress, [key], [address, String(MINUTE)], now)
  const take = (key: string, now: number): Promise<string[]> =>
    engine.run(takeAddresses, [key], [], now)

  test('the oldest comes first, an address counts once, and what is taken is gone', async () => {
    const key = 'addresses:order'
    for (const [i, address] of ['b', 'a', 'c', 'b'].entries()) await record(key, address, START + i)
    expect(await take(key, START + 4)).toEqual(['a', 'c', 'b'])
    expect(await take(key, START + 4)).toEqual([])
  })

  test('an address is forgotten after its time, while the others stay', async () => {
    const key = 'addresses:time'
    await record(key, 'a', START)
    await record(key, 'b', START + MINUTE - 1)
    await record(key, 'c', START + MINUTE)
    expect(await take(key, START + MINUTE)).toEqual(['b', 'c'])
  })

  test('the last 1,000 are remembered', async () => {
    const key = 'addresses:many'
    for (let i = 0; i < 1_010; i++) await record(key, `10.0.${i >> 8}.${i & 255}`, START + i)
    const found = await take(key, START + 1_010)
    expect(found).toHaveLength(1_000)
    expect(found[0]).toBe('10.0.0.10')
  })
})

test(`random attempts, seed ${SEED}`, async () => {
  const step = fc.record({
    address: fc.constantFrom('192.0.2.1', '192.0.2.2', '2001:db8::/56', 'invalid', ''),
    // Within a minute, so that the key itself does not expire.
    turn: fc.constantFrom(0, 0, 1, 20_000, 59_999),
    take: fc.constantFrom(false, false, false, true),
  })
  let sequence = 0
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 20 }), async (steps) => {
      const key = `addresses:random:${sequence++}`
      let now = START
      for (const { address, turn, take } of steps) {
        now += turn
        const record = [recordAddress, [key], [address, String(MINUTE)], now] as const
        expect(await inRedis.run(...record)).toEqual(await inProcess.run(...record))
        if (!take) continue
        const taken = [takeAddresses, [key], [], now] as const
        expect(await inRedis.run(...taken)).toEqual(await inProcess.run(...taken))
      }
    }),
    { seed: SEED, numRuns: 200 },
  )
})

test('every key has a time to live', async () => {
  for (const key of await redis.client.keys('*'))
    expect(await redis.client.pttl(key), key).not.toBe(-1)
})
