import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { handClock } from '../../../src/clock.ts'
import { getLimits, setLimits } from '../../../src/features/rate-limit/overrides.ts'
import { reset } from '../../../src/features/rate-limit/reset.ts'
import { MemoryStore } from '../../../src/store/memory.ts'
import type { Operation, Reply } from '../../../src/store/store.ts'
import { startTestRedis, type TestRedis } from '../../support/redis.ts'
import { enduring, takeArgs, type TestPolicy, type Verb } from './support.ts'

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
  for (const { lua } of [enduring, reset, setLimits, getLimits])
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

const NAMES = ['minute', 'day', '__proto__']
const LIMITS = [0, 1, 2, 3, 5, 10, 63, 64, 65, 100, 1_000, 1e12]

/** What stays the same for a state: another algorithm or window would be another key. */
const subject = fc.record({
  algorithm: fc.constantFrom('s', 's', 'f', 'g') as fc.Arbitrary<'s' | 'f' | 'g'>,
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
  verb: fc.constantFrom(...'ccccccccddddppffrrrb') as fc.Arbitrary<Verb>,
  policies: fc.array(
    fc.record({
      subject: fc.nat({ max: 2 }),
      name: fc.constantFrom(...NAMES),
      cost,
      limit: fc.option(fc.constantFrom(...LIMITS), { freq: 4 }),
      burst: fc.constantFrom(0, 1, 5, 20, 1_000),
      block: fc.constantFrom(0, 0, 10, 30_000),
      blockMax: fc.constantFrom(0, 25, 100_000),
      own: fc.nat({ max: 2 }),
    }),
    { minLength: 1, maxLength: 3 },
  ),
  at: fc.nat({ max: 8 }),
  repeat: fc.constantFrom(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4, 4, 80),
  wrongPeriod: fc.constantFrom(...Array(40).fill(false), true),
})

const step = fc.record({
  turn: fc.oneof(
    { weight: 4, arbitrary: fc.constant(0) },
    { weight: 6, arbitrary: fc.double({ min: 0, max: 0.6, noNaN: true }) },
    { weight: 2, arbitrary: fc.constantFrom(1, -0.5, 1.02, 2.5, -1.1, -3) },
  ),
  what: fc.oneof(
    { weight: 14, arbitrary: call.map((value) => ({ kind: 'take', value }) as const) },
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
        .map((value) => ({ kind: 'setLimits', value }) as const),
    },
    {
      weight: 1,
      arbitrary: fc.nat({ max: 1 }).map((value) => ({ kind: 'getLimits', value }) as const),
    },
  ),
})

const sequence = fc.record({
  subjects: fc.tuple(subject, subject, subject),
  steps: fc.array(step, { minLength: 3, maxLength: 20, size: 'max' }),
})

const TTL = '400000000'
const DAY = 86_400_000

/** The calls of a random sequence, with keys of its own. */
function callsOf(
  { subjects, steps }: typeof sequence extends fc.Arbitrary<infer T> ? T : never,
  id: string,
): Step[] {
  const calls: Step[] = []
  const states = subjects.map((_, i) => `${id}:${i}`)
  const hashes = [`${id}:own1`, `${id}:own2`]
  const times: number[] = []
  let now = START
  for (const { turn, what } of steps) {
    let first = Math.round(turn * subjects[0].window)
    if (what.kind === 'take') {
      const { verb, at, repeat, wrongPeriod } = what.value
      const chosen = what.value.policies.map((policy) => ({
        ...policy,
        ...{ of: subjects[policy.subject]! },
      }))
      first = Math.round(turn * chosen[0]!.of.window)
      for (let i = 0; i < repeat; i++) {
        const step = i === 0 ? first : Math.floor(chosen[0]!.of.window / 200)
        now += step
        const policies = chosen.map(({ of, ...policy }): TestPolicy => {
          const limit = policy.limit ?? of.limit
          const { name, cost, block, blockMax, own } = policy
          const base = {
            algorithm: of.algorithm,
            name,
            limit,
            window: of.window,
            cost,
            block,
            blockMax,
            own,
          }
          if (of.algorithm === 's') return { ...base, aux: of.runs }
          if (of.algorithm === 'g') return { ...base, aux: policy.burst }
          // Calendar days begin at 01:00 UTC here, so that they differ from the epoch's.
          const calendar = of.calendar && of.window === DAY
          const start = Math.floor((now - 3_600_000) / DAY) * DAY + 3_600_000
          return { ...base, aux: calendar ? start + (wrongPeriod ? DAY : 0) : '' }
        })
        // The same state twice in one call is not what the operation is for.
        const distinct = policies.filter(
          (_, j) => chosen.findIndex((other) => other.subject === chosen[j]!.subject) === j,
        )
        const keys = [...new Set(chosen.map((policy) => states[policy.subject]!))]
        const past = at === 0 ? 0 : (times[times.length - at] ?? 0)
        calls.push({
          operation: enduring,
          keys: [...keys, ...hashes],
          args: takeArgs(verb, distinct, past),
          turn: step,
        })
        if (verb !== 'r') times.push(now)
      }
      continue
    }
    now += first
    if (what.kind === 'reset') {
      const keys = what.value.map((i) => states[i]!)
      calls.push({ operation: reset, keys, args: ['news', 'm'], turn: first })
    } else if (what.kind === 'setLimits') {
      const { limits, renewal, hash } = what.value
      const args = [TTL, renewal, ...limits.flat()]
      calls.push({ operation: setLimits, keys: [hashes[hash]!], args, turn: first })
    } else {
      calls.push({ operation: getLimits, keys: [hashes[what.value]!], args: [], turn: first })
    }
  }
  return calls
}

/** The replies of the twins; `expiring`: keys expire as the clock is turned, as they do in production. */
async function twin(calls: readonly Step[], expiring: boolean): Promise<Reply[]> {
  const clock = handClock(START)
  const store = new MemoryStore({ clock })
  let now = START
  const replies: Reply[] = []
  for (const { operation, keys, args, turn } of calls) {
    now += turn
    if (expiring && turn !== 0) await clock.turn(turn)
    replies.push(operation.memory(store, keys, args, now))
  }
  return replies
}

/** In Redis, keys do not expire as the clock is turned: a reply must not depend on it. */
async function scripts(sequences: readonly (readonly Step[])[]): Promise<Reply[][]> {
  const pipeline = redis.client.pipeline()
  for (const calls of sequences) {
    let now = START
    for (const { operation, keys, args, turn } of calls) {
      now += turn
      pipeline.evalsha(operation.sha, keys.length, ...keys, ...args, `=${now}`)
    }
  }
  const results = (await pipeline.exec())!
  let next = 0
  return sequences.map((calls) =>
    calls.map(() => {
      const [error, reply] = results[next++]!
      if (error) throw error
      return reply as Reply
    }),
  )
}

/** The time left runs by Redis's clock, not by the test's: compare only whether there is any. */
function comparable(calls: readonly Step[], replies: readonly Reply[]): Reply[] {
  return replies.map((reply, i) => {
    if (calls[i]!.operation !== getLimits) return reply
    const [left, ...fields] = reply as string[]
    return [left === '-2' ? 'none' : 'some', ...fields]
  })
}

test(`${SEQUENCES} random sequences: the scripts in Redis and their twins reply alike`, async () => {
  const sequences = fc.sample(sequence, { seed: SEED, numRuns: SEQUENCES })
  const verdicts = { '-1': 0, 0: 0, 1: 0 }
  let steps = 0
  for (let first = 0; first < sequences.length; first += BATCH) {
    const batch = sequences
      .slice(first, first + BATCH)
      .map((each, i) => callsOf(each, `d${first + i}`))
    const inRedis = await scripts(batch)
    for (const [i, calls] of batch.entries()) {
      steps += calls.length
      const expected = comparable(calls, await twin(calls, false))
      const actual = comparable(calls, inRedis[i]!)
      for (const [j, { operation }] of calls.entries()) {
        const reply = actual[j] as number[]
        if (!isDeepStrictEqual(reply, expected[j])) {
          expect(reply, `SEED=${SEED}, after ${story(calls, j)}`).toEqual(expected[j])
        }
        if (operation !== enduring) continue
        verdicts[reply[0] as -1 | 0 | 1]++
        if (!reply.every(Number.isSafeInteger)) throw new Error(`not whole: ${reply}`)
      }
      // With keys that expire on time nothing changes, as long as the clock is not set back and
      // nobody asks whether a key is there.
      const end = calls.findIndex(({ operation, turn }) => turn < 0 || operation !== enduring)
      const plain = end < 0 ? calls : calls.slice(0, end)
      expect(await twin(plain, true)).toEqual(expected.slice(0, plain.length))
    }
  }
  console.log(`${SEQUENCES} sequences, ${steps} steps, verdicts ${JSON.stringify(verdicts)}`)
  expect(Math.min(verdicts[0], verdicts[1], verdicts[-1])).toBeGreaterThan(0)
}, 60_000)

/** The calls before the one that differs and itself, one a line. */
function story(calls: readonly Step[], end: number): string {
  let now = START
  const lines = calls.map(({ operation, keys, args, turn }) => {
    now += turn
    return `${now} ${operation.name} ${keys.join(' ')} | ${args.join(' ')}`
  })
  return lines.slice(0, end + 1).join('\n')
}
