import { describe, expect, test } from 'vitest'
import type { RateLimitOptions } from '../../../../src/features/rate-limit/options.ts'
import {
  highestLevel,
  levelAt,
  mostInAnyWindow,
  mostInAPeriod,
  simulate,
  type Pace,
  type Use,
} from './simulation.ts'

// Leases are simulated: several processes, one store, clocks that run at different speeds. A seed
// repeats a run.
const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
const STEPS = Number(process.env.STEPS ?? 2_000)
console.log(`model of leased limits: SEED=${SEED}`)

const LIMIT = 640
const WINDOW = 10_000
const LEASE = 500
/** The most that one process holds: a 64th of the limit. */
const SHARE = 10
const PROCESSES = 8
/** What the other processes hold. */
const OTHERS = (PROCESSES - 1) * SHARE

interface Kind {
  name: string
  options: RateLimitOptions<never>
  /** Units in use at once, at most, and how many may be. */
  most(uses: readonly Use[]): number
  limit: number
  /** Units that count at the moment of a refusal. */
  counted(uses: readonly Use[], at: number): number
  /** Units besides that may keep a request from being admitted, because processes hold them or have not said that they used them. */
  held: number
}

const options = { limit: LIMIT, window: WINDOW, lease: { for: LEASE } } as const

/** A use counts for the window, the lease, and a run of the log longer. */
const SLIDING_SPAN = WINDOW + LEASE + (WINDOW + LEASE) / 64

const KINDS: Kind[] = [
  {
    name: 'a sliding window',
    options,
    most: (uses) => mostInAnyWindow(uses, WINDOW),
    limit: LIMIT,
    held: OTHERS,
    counted: (uses, at) => sumOf(uses.filter(({ time }) => time > at - SLIDING_SPAN)),
  },
  {
    name: 'a fixed window',
    options: { ...options, algorithm: 'fixed-window' },
    most: (uses) => mostInAPeriod(uses, WINDOW),
    limit: LIMIT,
    held: OTHERS,
    counted: (uses, at) => sumOf(uses.filter(({ time }) => time >= at - (at % WINDOW))),
  },
  {
    name: 'GCRA',
    options: { ...options, algorithm: 'gcra' },
    most: (uses) => highestLevel(uses, WINDOW, LIMIT),
    limit: LIMIT,
    held: 2 * PROCESSES * SHARE,
    counted: (uses, at) => levelAt(uses, WINDOW, LIMIT, at),
  },
  {
    name: 'GCRA with a burst of its own',
    options: { ...options, algorithm: 'gcra', burst: 128 },
    most: (uses) => highestLevel(uses, WINDOW, LIMIT),
    limit: 128,
    held: 2 * PROCESSES * (128 / 64),
    counted: (uses, at) => levelAt(uses, WINDOW, LIMIT, at),
  },
]

const sumOf = (uses: readonly Use[]): number => uses.reduce((sum, { cost }) => sum + cost, 0)

const PACES: [string, Pace][] = [
  ['in bursts', 'bursts'],
  ['under overload', 3],
  ['around the limit', 25],
  ['at half load', 50],
]

describe.each(KINDS)('$name', ({ name, options, most, limit, held, counted }) => {
  test.each(PACES)(
    'never admits more than the limit, and refuses none below it, %s',
    async (load, pace) => {
      let leased = 0
      for (const maxCost of [5, 7]) {
        const { admitted, refused, calls, decisions } = await simulate({
          options,
          seed: SEED + maxCost,
          processes: PROCESSES,
          steps: STEPS,
          maxCost,
          pace,
          hasFaults: false,
        })
        if (process.env.VERBOSE)
          console.log(
            name,
            load,
            most(admitted),
            limit,
            calls / decisions,
            refused.length,
            admitted.length,
          )
        expect(most(admitted)).toBeLessThanOrEqual(limit)
        leased += admitted.filter(({ isLeased }) => isLeased).length
        for (const { time, cost } of refused) {
          const before = admitted.filter((use) => use.time <= time)
          expect(counted(before, time) + cost + held).toBeGreaterThan(limit)
        }
      }
      expect(leased).toBeGreaterThan(0)
    },
  )

  test.each(PACES)(
    'never admits more than the limit with kills, lost replies, pauses and refunds, %s',
    async (_load, pace) => {
      const { admitted } = await simulate({
        options,
        seed: SEED,
        processes: PROCESSES,
        steps: STEPS,
        maxCost: 7,
        pace,
        hasFaults: true,
      })
      expect(most(admitted)).toBeLessThanOrEqual(limit)
    },
  )
})
