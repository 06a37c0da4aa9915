import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { manualClock } from '../../../src/clock.ts'
import {
  algorithmOf,
  ALGORITHMS,
  type RateLimitAlgorithm,
} from '../../../src/features/rate-limit/algorithms/index.ts'
import {
  getOverrides,
  setOverrides,
} from '../../../src/features/rate-limit/operations/overrides.ts'
import { resetPolicies } from '../../../src/features/rate-limit/operations/reset.ts'
import { numbersOf } from '../../../src/features/rate-limit/operations/apply-policies.ts'
import type { PolicyAction } from '../../../src/features/rate-limit/operations/script.ts'
import { MemoryStore } from '../../../src/store/memory.ts'
import type { Operation, OperationReply } from '../../../src/store/store.ts'
import { startTestRedis, type TestRedis } from '../../support/redis.ts'
import { enduring, outcome, argumentsOf, type TestPolicy } from './support.ts'

// The Lua scripts and their twins are driven through the same random calls, and every reply is
// compared. SEED=<number> repeats a run.
const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
const SEQUENCES = Number(process.env.SEQUENCES ?? 2_500)
const BATCH = 50
const START = Date.UTC(2026, 0, 31, 23, 59, 30)

let redis: TestRedis
beforeAll(async () => {
  console.log(`differential test of rate limiting: SEED=${SEED}`)
  redis = await startTestRedis()
  for (const { lua } of [enduring, resetPolicies, setOverrides, getOverrides])
    await redis.client.script('LOAD', lua)
})
afterAll(() => redis?.stop())

interface Step {
  operation: Operation
  keys: string[]
  args: string[]
  /** How far the clock is turned before the step. */
  turn: number
}

const ACTIONS: PolicyAction[] = [
  ...Array<PolicyAction>(8).fill('consume'),
  ...Array<PolicyAction>(4).fill('countDenied'),
  ...(['peek', 'peek', 'charge', 'charge', 'refund', 'refund', 'refund', 'block'] as const),
]
const NAMES = ['minute', 'day', '__proto__']
const LIMITS = [0, 1, 2, 3, 5, 10, 63, 64, 65, 100, 1_000, 1e12]

/** What stays the same for a state: another algorithm or window would be another key. */
const subject = fc.record({
  algorithm: fc.constantFrom<RateLimitAlgorithm>(
    'sliding-window',
    ...ALGORITHMS.map(({ name }) => name),
  ),
  window: fc.constantFrom(1, 7, 63, 64, 1_000, 60_000, 86_400_000, 366 * 86_400_000),
  runs: fc.constantFrom(64, 64, 64, 4, 1),
  calendar: fc.boolean(),
  limit: fc.constantFrom(...LIMITS),
})

const small = fc.constantFrom(0, 1, 1, 1, 1, 2, 3, 5)
const cost = fc.oneof(
  { weight: 8, arbitrary: small },
  { weight: 1, arbitrary: fc.constantFrom(40, 64, 100, 1_000, 999_999_999_999, 1e12) },
)
const limitText = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...LIMITS).map(String) },
  {
    weight: 1,
    arbitrary: fc.constantFrom('', '-1', '1.5', '1e3', ' 5', '0x10', 'x', '007', '9'.repeat(14)),
  },
)

const call = fc.record({
  action: fc.constantFrom(...ACTIONS),
  // The same state twice in one call is not what the operation is for.
  policies: fc.uniqueArray(
    fc.record({
      subject: fc.nat({ max: 2 }),
      name: fc.constantFrom(...NAMES),
      cost,
      limit: fc.option(fc.constantFrom(...LIMITS), { freq: 4 }),
      burst: fc.constantFrom(0, 1, 5, 20, 1_000),
      blockFor: fc.constantFrom(0, 0, 10, 30_000),
      blockMax: fc.constantFrom(0, 25, 100_000),
      override: fc.nat({ max: 2 }),
    }),
    { minLength: 1, maxLength: 3, selector: (policy) => policy.subject },
  ),
  at: fc.nat({ max: 8 }),
  repeat: fc.constantFrom<number>(...Array<number>(26).fill(1), 4, 80),
  wrongPeriod: fc.constantFrom(...Array(12).fill(false), true),
})

const step = fc.record({
  turn: fc.oneof(
    { weight: 4, arbitrary: fc.constant(0) },
    { weight: 6, arbitrary: fc.double({ min: 0, max: 0.6, noNaN: true }) },
    { weight: 2, arbitrary: fc.constantFrom(1, -0.5, 1.02, 2.5, -1.1, -3) },
    // To an edge that the last reply named, or 1 ms off.
    {
      weight: 3,
      arbitrary: fc.record({
        edge: fc.constantFrom('reset', 'retry', 'reset + window', 'reset * 2'),
        off: fc.constantFrom(-1, 0, 0, 1),
      }),
    },
  ),
  what: fc.oneof(
    { weight: 14, arbitrary: call.map((value) => ({ kind: 'apply', value }) as const) },
    {
      weight: 1,
      arbitrary: fc
        .subarray([0, 1, 2], { minLength: 1 })
        .map((value) => ({ kind: 'reset', value }) as const),
    },
    {
      weight: 1,
      arbitrary: fc
        .record({
          limits: fc.uniqueArray(fc.tuple(fc.constantFrom(...NAMES), limitText), {
            selector: ([name]) => name,
          }),
          renewal: fc.constantFrom('0', '400000000'),
          hash: fc.nat({ max: 1 }),
        })
        .map((value) => ({ kind: 'set', value }) as const),
    },
    {
      weight: 1,
      arbitrary: fc.nat({ max: 1 }).map((value) => ({ kind: 'get', value }) as const),
    },
  ),
})

const sequence = fc.record({
  subjects: fc.tuple(subject, subject, subject),
  steps: fc.array(step, { minLength: 3, maxLength: 20, size: 'max' }),
})

const TTL = '400000000'
const HOUR = 3_600_000
const DAY = 24 * HOUR

type Sequence = typeof sequence extends fc.Arbitrary<infer Value> ? Value : never
type Call = typeof call extends fc.Arbitrary<infer Value> ? Value : never

/** Plays a random sequence on the twins, under keys of its own. Returns the calls and their replies. */
function play(
  { subjects, steps }: Sequence,
  id: string,
): { calls: Step[]; replies: OperationReply[] } {
  const store = new MemoryStore({ clock: manualClock(START) })
  const states = subjects.map((_, i) => `${id}:${i}`)
  const hashes = [`${id}:own1`, `${id}:own2`]
  const calls: Step[] = []
  const replies: OperationReply[] = []
  const times: number[] = []
  let lastReply = { reset: 0, retry: 0 }
  let now = START

  function run(operation: Operation, keys: string[], args: string[], turn: number): void {
    const reply = operation.memory(store, keys, args, now)
    calls.push({ operation, keys, args, turn })
    replies.push(reply)
    if (operation === enduring)
      lastReply = { ...lastReply, ...outcome(reply as Buffer).policies[0] }
  }

  /** How far to turn the clock. */
  function distance(turn: Sequence['steps'][number]['turn'], window: number): number {
    if (typeof turn === 'number') return Math.round(turn * window)
    const { reset, retry } = lastReply
    const edges = { reset, retry, 'reset + window': reset + window, 'reset * 2': reset * 2 }
    const edge = edges[turn.edge]
    return edge > 4 * 366 * DAY ? 0 : edge + turn.off
  }

  /** What a call asks for, for one of its policies. */
  function policyOf(policy: Call['policies'][number], wrongPeriod: boolean): TestPolicy {
    const { algorithm, window, runs, calendar, limit } = subjects[policy.subject]!
    const { name, cost, blockFor, blockMax, burst, override } = policy
    const given = { algorithm, name, window, cost, blockFor, blockMax, override }
    const asked = { ...given, limit: policy.limit ?? limit }
    if (algorithm === 'sliding-window') return { ...asked, parameter: runs }
    const { hasBurst, hasCalendar } = algorithmOf(algorithm)
    if (hasBurst) return { ...asked, parameter: burst }
    if (!hasCalendar || !calendar || window !== DAY) return asked
    // Calendar days begin at 01:00 UTC here, so that they differ from the epoch's.
    const start = Math.floor((now - HOUR) / DAY) * DAY + HOUR
    return { ...asked, parameter: wrongPeriod ? start + DAY : start }
  }

  for (const { turn, what } of steps) {
    if (what.kind === 'apply') {
      const { action, at, repeat, wrongPeriod, policies } = what.value
      const { window } = subjects[policies[0]!.subject]!
      for (let i = 0; i < repeat; i++) {
        const far = i === 0 ? distance(turn, window) : Math.floor(window / 200)
        now += far
        const past = at === 0 ? 0 : (times[times.length - at] ?? 0)
        const asked = policies.map((policy) => policyOf(policy, wrongPeriod))
        const keys = policies.map((policy) => states[policy.subject]!)
        run(enduring, [...keys, ...hashes], argumentsOf(action, asked, past), far)
        if (action !== 'refund') times.push(now)
      }
      continue
    }
    const far = distance(turn, subjects[0].window)
    now += far
    if (what.kind === 'reset') {
      const keys = what.value.map((i) => states[i]!)
      run(resetPolicies, keys, ['news', 'm'], far)
    } else if (what.kind === 'set') {
      const { limits, renewal, hash } = what.value
      run(setOverrides, [hashes[hash]!], [TTL, renewal, ...limits.flat()], far)
    } else {
      run(getOverrides, [hashes[what.value]!], [], far)
    }
  }
  return { calls, replies }
}

/** The twins' replies when keys expire as the clock is turned, as they do in production. */
function expiring(calls: readonly Step[]): OperationReply[] {
  let now = START
  const store = new MemoryStore({ clock: { ...manualClock(), now: () => now } })
  return calls.map(({ operation, keys, args, turn }) => {
    now += turn
    return operation.memory(store, keys, args, now)
  })
}

/** In Redis, keys do not expire as the clock is turned: a reply must not depend on it. */
async function scripts(sequences: readonly (readonly Step[])[]): Promise<OperationReply[][]> {
  const pipeline = redis.client.pipeline()
  for (const calls of sequences) {
    let now = START
    for (const { operation, keys, args, turn } of calls) {
      now += turn
      const send = operation.buffers ? 'callBuffer' : 'call'
      pipeline[send]('evalsha', [operation.sha, keys.length, ...keys, ...args, `=${now}`])
    }
  }
  const results = (await pipeline.exec())!
  let next = 0
  return sequences.map((calls) =>
    calls.map(() => {
      const [error, reply] = results[next++]!
      if (error) throw error
      return reply as OperationReply
    }),
  )
}

/** The time left runs by Redis's clock, not by the test's: compare only whether there is any. */
function comparable(calls: readonly Step[], replies: readonly OperationReply[]): OperationReply[] {
  return replies.map((reply, i) => {
    if (calls[i]!.operation !== getOverrides) return reply
    const [left, ...fields] = reply as string[]
    return [left === '-2' ? 'none' : 'some', ...fields]
  })
}

test(
  `${SEQUENCES} random sequences: the scripts in Redis and their twins reply alike`,
  async () => {
    const sequences = fc.sample(sequence, { seed: SEED, numRuns: SEQUENCES })
    const verdicts = { '-1': 0, 0: 0, 1: 0 }
    let steps = 0
    for (let first = 0; first < sequences.length; first += BATCH) {
      const batch = sequences
        .slice(first, first + BATCH)
        .map((each, i) => play(each, `d${first + i}`))
      const inRedis = await scripts(batch.map(({ calls }) => calls))
      for (const [i, { calls, replies }] of batch.entries()) {
        steps += calls.length
        const expected = comparable(calls, replies)
        const actual = comparable(calls, inRedis[i]!)
        for (const [j, { operation }] of calls.entries()) {
          const reply = actual[j]
          if (!isDeepStrictEqual(reply, expected[j])) {
            expect(reply, `SEED=${SEED}, after ${story(calls, j)}`).toEqual(expected[j])
          }
          if (operation !== enduring) continue
          const numbers = numbersOf(reply as Buffer)
          verdicts[numbers[0] as -1 | 0 | 1]++
          if (!numbers.every(Number.isSafeInteger)) throw new Error(`not whole: ${String(reply)}`)
        }
        // With keys that expire on time nothing changes, as long as the clock is not set back and
        // no call asks whether a key is there.
        const end = calls.findIndex(({ operation, turn }) => turn < 0 || operation !== enduring)
        const plain = end < 0 ? calls : calls.slice(0, end)
        expect(expiring(plain)).toEqual(expected.slice(0, plain.length))
      }
    }
    console.log(`${SEQUENCES} sequences, ${steps} steps, verdicts ${JSON.stringify(verdicts)}`)
    expect(Math.min(verdicts[0], verdicts[1], verdicts[-1])).toBeGreaterThan(0)
  },
  60_000 + SEQUENCES * 20,
)

/** The calls before the one that differs and itself, one a line. */
function story(calls: readonly Step[], end: number): string {
  let now = START
  const lines = calls.map(({ operation, keys, args, turn }) => {
    now += turn
    return `${now} ${operation.name} ${keys.join(' ')} | ${args.join(' ')}`
  })
  return lines.slice(0, end + 1).join('\n')
}
