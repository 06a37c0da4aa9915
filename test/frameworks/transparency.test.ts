/**
 * Random programs for a handler, played with and without turnpike: what the client sees is the same.
 *
 *   SEED=<number> PROGRAMS=1 npx vitest run test/frameworks/transparency.test.ts    repeats one program
 *   npm run test:transparency                                                       plays 100,000
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startRedis, type RedisServer } from '../../src/testing.ts'
import { expectEveryKeyToExpire } from '../support/ttl.ts'
import { Stage } from './transparency/check.ts'
import { createProgram, type Program } from './transparency/program.ts'

/** The same programs in each run: what a longer run finds gets a test of its own. */
const SEED = Number(process.env.SEED ?? 1)
const PROGRAMS = Number(process.env.PROGRAMS ?? 2_000)
/** Programs that are played side by side. */
const BATCH = 40
/** Differences after which the rest is not played. */
const MOST = 12
/** Programs that may count as races of the bare application. A fault of turnpike's would be among them often. */
const MOST_RACES = 4 + PROGRAMS / 250

const stage = new Stage()
let redis: RedisServer

beforeAll(async () => {
  redis = await startRedis()
  await stage.open(redis.url)
})
afterAll(async () => {
  await stage.close()
  await redis.stop()
})

test(
  `${PROGRAMS} random programs are the same with turnpike as without`,
  { timeout: 0 },
  async () => {
    console.log(`transparency: SEED=${SEED}`)
    const found: string[] = []
    const seeds = Array.from({ length: PROGRAMS }, (_, index) => SEED + index)
    let underWay: number[] = []
    const onFailure = (error: unknown): void =>
      void found.push(
        `one of SEED=${String(underWay)}: ${String((error as Error)?.stack ?? error)}`,
      )
    process.on('unhandledRejection', onFailure).on('uncaughtException', onFailure)
    for (let first = 0; first < PROGRAMS && found.length < MOST; first += BATCH) {
      underWay = seeds.slice(first, first + BATCH)
      await Promise.all(
        underWay.map(async (seed) => {
          const program = createProgram(seed)
          const differences = await stage.check(program)
          if (differences.length > 0) found.push(describe(program, differences))
        }),
      )
    }
    found.push(...(await stage.leaks(seeds)))
    process.off('unhandledRejection', onFailure).off('uncaughtException', onFailure)
    expect(found.join('\n\n')).toBe('')
    console.log(`transparency: races of the bare application: ${String(stage.races) || 'none'}`)
    expect(stage.races.length).toBeLessThanOrEqual(MOST_RACES)
    await expectEveryKeyToExpire(redis)
  },
)

const describe = (program: Program, differences: string[]): string =>
  [`SEED=${program.seed} PROGRAMS=1`, ...differences, JSON.stringify(program)].join('\n')
