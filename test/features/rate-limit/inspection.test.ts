/** What another process reads of limits equals what the middleware would reply. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { RateLimitAlgorithm } from '../../../src/features/rate-limit/algorithms/index.ts'
import {
  policyAt,
  policyState,
  reportedPolicy,
} from '../../../src/features/rate-limit/inspection.ts'
import { policyArguments } from '../../../src/features/rate-limit/operations/apply-policies.ts'
import {
  leaseArguments,
  leasePolicies,
} from '../../../src/features/rate-limit/operations/lease-policies.ts'
import type { KnownPolicy } from '../../../src/features/rate-limit/operations/script.ts'
import { startTestRedis, type TestRedis } from '../../support/redis.ts'
import { enduring, knownPolicy, outcome, outliving } from './support.ts'

const leasing = outliving(leasePolicies)
const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
const STATES = Number(process.env.STATES ?? 3_000)
const BATCH = 500
const START = Date.UTC(2026, 0, 31, 23, 59, 30)
const DAY = 86_400_000

let redis: TestRedis
beforeAll(async () => {
  redis = await startTestRedis()
  await redis.client.script('LOAD', enduring.lua)
  await redis.client.script('LOAD', leasing.lua)
})
afterAll(() => redis?.stop())

/** Returns random integers below a bound, the same for a seed (mulberry32). */
function randomBy(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below)
  }
}

const ALGORITHMS: RateLimitAlgorithm[] = ['sliding-window', 'fixed-window', 'gcra']
const LIMITS = [0, 1, 2, 5, 10, 63, 64, 65, 100, 1000, 1e12]
const WINDOWS = [1, 7, 1000, 60_000, DAY]

interface Case {
  readonly key: string
  readonly policy: KnownPolicy
  readonly overrides: string[]
  readonly now: number
}

/** Brings random states about, and returns how each was asked for last. */
function plan(
  random: (below: number) => number,
  from: number,
): { commands: unknown[][]; cases: Case[] } {
  const pick = <Value>(values: readonly Value[]): Value => values[random(values.length)]!
  const commands: unknown[][] = []
  const cases = Array.from({ length: BATCH }, (_, i): Case => {
    const [key, hash] = [`s:${from + i}`, `o:${from + i}`]
    const algorithm = pick(ALGORITHMS)
    const window = pick(WINDOWS)
    const burst = algorithm === 'gcra' ? { parameter: pick([1, 5, 20, 1000]) } : {}
    const blockFor = pick([0, 0, 0, 50, 30_000])
    const policyOf = (cost: number): KnownPolicy =>
      knownPolicy({
        algorithm,
        name: 'p',
        limit: pick(LIMITS),
        window,
        ...burst,
        cost,
        blockFor,
        override: 1,
      })
    const overrides =
      random(5) === 0 ? ['p', pick(['3', '0', '50', 'x', '1e3']), '~', '400000000'] : []
    if (overrides.length > 0) commands.push(['hset', hash, ...overrides], ['pexpire', hash, 9e8])
    let now = START
    const call = (
      action: 'consume' | 'countDenied' | 'charge' | 'refund' | 'block' | 'peek',
      cost: number,
      policy = policyOf(cost),
    ): KnownPolicy => {
      const args = policyArguments(action, [policy], 0)
      commands.push(['evalsha', enduring.sha, 2, key, hash, ...args, `=${now}`])
      return policy
    }
    const lease = (): void => {
      const request = {
        back: [0],
        granted: [0],
        grantedAt: 0,
        lease: Math.ceil(window / 8),
        want: [7],
        band: [0],
      }
      const args = leaseArguments('consume', [policyOf(1)], request)
      commands.push(['evalsha', leasing.sha, 2, key, hash, ...args, `=${now}`])
    }
    for (let step = random(9); step > 0; step--) {
      if (random(3) === 0) lease()
      for (let times = random(25) === 0 ? 80 : 1; times > 0; times--) {
        call(
          pick(['consume', 'consume', 'consume', 'countDenied', 'charge', 'refund', 'block']),
          pick([1, 1, 2, 5, 40]),
        )
        now += Math.floor((random(1000) / 1000) * window * pick([0.01, 0.1, 0.6]))
      }
    }
    now += pick([0, 0, 1, window, -1, -window])
    const policy = call('peek', 1)
    commands.push(['get', key])
    return { key, policy, overrides, now }
  })
  return { commands, cases }
}

it(`equals the reply of the script in ${STATES} random states of all algorithms (SEED=${SEED})`, async () => {
  const random = randomBy(SEED)
  let limited = 0
  let stored = 0
  for (let from = 0; from < STATES; from += BATCH) {
    const { commands, cases } = plan(random, from)
    const pipeline = redis.client.pipeline()
    for (const [name, ...args] of commands)
      pipeline.callBuffer(name as string, ...(args as string[]))
    const replies = (await pipeline.exec())!.map(([error, reply]) => {
      if (error) throw error
      return reply
    })
    let at = -1
    for (const { policy, overrides, now } of cases) {
      do at++
      while (commands[at]![0] !== 'get')
      const { policies, allowed } = outcome(replies[at - 1] as Buffer)
      const { limit, remaining, reset, retry, violated } = policies[0]!
      const value = replies[at] as Buffer | null
      expect(policyState(policy, value, overrides, now)).toEqual({
        limit,
        remaining,
        reset,
        retryAfter: retry,
        isLimited: violated > 0,
        isBlocked: violated === 2,
      })
      if (allowed === 0) limited++
      if (value !== null) stored++
    }
  }
  // The states are not all alike.
  expect(limited).toBeGreaterThan(STATES / 10)
  expect(stored).toBeGreaterThan(STATES / 2)
}, 120_000)

it('reads nothing from a value that turnpike has not written', () => {
  for (const algorithm of ALGORITHMS) {
    const policy = knownPolicy({ algorithm, limit: 5, window: 1000 })
    for (const bytes of ['', 'x', 'text', '\u0000'.repeat(7)])
      expect(policyState(policy, Buffer.from(bytes), [], START)).toBeUndefined()
    for (let length = 0; length < 300; length += 7)
      expect(() => policyState(policy, Buffer.alloc(length, 255), [], START)).not.toThrow()
  }
})

it('takes a policy that a process reports, and nothing else', () => {
  const reported = {
    name: 'minute',
    limit: 10,
    windowMs: 60_000,
    algorithm: 'gcra',
    burst: 20,
    isMonth: false,
    blockForMs: 0,
    blockMaxMs: 0,
    keySuffix: 'api.minute.g',
  }
  expect(policyAt(reportedPolicy(reported)!, START)).toMatchObject({
    limit: 10,
    window: 60_000,
    parameter: 20,
    cost: 1,
    algorithm: { name: 'gcra' },
  })
  const month = {
    ...reported,
    algorithm: 'fixed-window',
    burst: undefined,
    windowMs: 0,
    isMonth: true,
  }
  expect(policyAt(reportedPolicy(month)!, START)).toMatchObject({
    window: 31 * DAY,
    parameter: Date.UTC(2026, 0, 1),
  })
  for (const limit of [null, 'unlimited', -1, '10'])
    expect(policyAt(reportedPolicy({ ...reported, limit })!, START)).toBeUndefined()
  for (const wrong of [
    null,
    7,
    [],
    {},
    { ...reported, algorithm: 'toString' },
    { ...reported, name: 1 },
  ])
    expect(reportedPolicy(wrong)).toBeUndefined()
})
