import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  announcePosition,
  logFieldsFor,
  appendInvalidation,
  openLog,
  pruneLog,
} from '../../../src/caching/invalidation-operations.ts'
import {
  incrementCounter,
  expireEntry,
  fillEntry,
  lookupEntry,
  writeEntry,
  releaseFillLease,
} from '../../../src/caching/entry-operations.ts'
import { manualClock } from '../../../src/clock.ts'
import { MemoryStore } from '../../../src/store/memory.ts'
import type { OperationArgument, Operation, OperationReply } from '../../../src/store/store.ts'
import { startTestRedis, type TestRedis } from '../../support/redis.ts'

// The scripts of the cache and their twins are driven through the same random calls, and every reply
// is compared. SEED=<number> repeats a run.
const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
const SEQUENCES = Number(process.env.SEQUENCES ?? 2_500)
const BATCH = 100
const START = Date.UTC(2026, 0, 1)

let redis: TestRedis
beforeAll(async () => {
  console.log(`differential test of the cache: SEED=${SEED}`)
  redis = await startTestRedis()
})
afterAll(() => redis?.stop())

interface Step {
  operation: Operation
  keys: string[]
  args: OperationArgument[]
  turn: number
}

const turn = fc.constantFrom(0, 0, 0, 1, 50, 3_000, 10_001)
const token = fc.constantFrom('', 'one', 'two')
const tags = fc.uniqueArray(fc.constantFrom('t:a', 't:b', 'u:c', '*'), {
  minLength: 1,
  maxLength: 3,
})
/** The log's sequence when a fill began, after the first moment. */
const sequenceNo = fc.constantFrom(0, 50, 3_000, 3_050)
const variant = fc.constantFrom(undefined, ':v1', ':v2', ':v3', ':v4')
// Lives are long beside the clock's turns: keys do not expire by the test's clock in Redis.
const life = fc.constantFrom(3_600_000, 7_200_000)

const step = fc.oneof(
  fc.record({ kind: fc.constant('open' as const), turn, life: fc.constantFrom(0, 5_000, 60_000) }),
  fc.record({
    kind: fc.constant('invalidate' as const),
    turn,
    mode: fc.constantFrom('hard', 'soft'),
    names: tags,
    cap: fc.constantFrom(100, 100, 100, 6),
  }),
  fc.record({
    kind: fc.constant('glob' as const),
    turn,
    glob: fc.integer({ min: 0, max: 20 }).map((n) => `/p ${n}*`),
  }),
  fc.record({
    kind: fc.constant('prune' as const),
    turn,
    margin: fc.constantFrom(0, 2_000, 100_000),
  }),
  fc.record({ kind: fc.constant('beat' as const), turn }),
  fc.record({
    kind: fc.constant('look' as const),
    turn,
    token,
    known: sequenceNo,
    sought: tags,
    joint: fc.boolean(),
    variant,
  }),
  fc.record({
    kind: fc.constant('fill' as const),
    turn,
    token,
    guarded: fc.boolean(),
    variant,
    life,
    fresh: fc.integer({ min: -5_000, max: 20_000 }),
    sequence: sequenceNo,
    odd: fc.constantFrom(false, false, false, true),
  }),
  fc.record({
    kind: fc.constant('release' as const),
    turn,
    token: fc.constantFrom('one', 'two'),
    variant,
    pause: fc.constantFrom(0, 2_000),
  }),
  fc.record({ kind: fc.constant('put' as const), turn, remove: fc.boolean(), life, variant }),
  fc.record({ kind: fc.constant('count' as const), turn, amount: fc.integer({ min: -5, max: 5 }) }),
  fc.record({ kind: fc.constant('expire' as const), turn, life, variant, counter: fc.boolean() }),
)
const sequence = fc.array(step, { minLength: 3, maxLength: 25, size: 'max' })
type Steps = typeof sequence extends fc.Arbitrary<infer Value> ? Value : never

/** Plays a sequence on the twins, under keys of its own. */
function play(steps: Steps, id: string): { calls: Step[]; replies: OperationReply[] } {
  let now = START
  const store = new MemoryStore({ clock: { ...manualClock(START), now: () => now } })
  const [inv, base] = [`{${id}}inv`, `{${id}}e`]
  const calls: Step[] = []
  const replies: OperationReply[] = []
  const run = (
    operation: Operation<any>,
    keys: string[],
    args: OperationArgument[],
    turn: number,
  ): void => {
    now += turn
    calls.push({ operation, keys, args, turn })
    replies.push(operation.memory(store, keys, args, now))
  }
  let nonce = 0
  for (const each of steps) {
    const key = 'variant' in each && each.variant ? base + each.variant : base
    const lease = `${key}:lease`
    const at = now + each.turn
    switch (each.kind) {
      case 'open':
        run(openLog, [inv], [`n${nonce++}`, each.life, 100_000], each.turn)
        break
      case 'invalidate':
        run(
          appendInvalidation,
          [inv],
          [`n${nonce++}`, 100_000, each.cap, each.mode, 'c', ...each.names],
          each.turn,
        )
        break
      case 'glob':
        run(
          appendInvalidation,
          [inv],
          [`n${nonce++}`, 100_000, 100, 'glob', 'c', each.glob],
          each.turn,
        )
        break
      case 'prune':
        run(pruneLog, [inv], ['0', 1000, each.margin], each.turn)
        break
      case 'beat':
        run(announcePosition, [inv], ['c', 'id'], each.turn)
        break
      case 'look':
        run(
          lookupEntry,
          each.joint ? [key, lease, inv] : [key, lease],
          [
            each.token,
            10_000,
            each.known ? `["n0",${START + each.known},` : '',
            ...(each.joint ? logFieldsFor(each.sought) : []),
          ],
          each.turn,
        )
        break
      case 'fill': {
        const body = each.odd
          ? 'not an entry'
          : `TPC1${String(at + each.fresh).padStart(13, '0')}size["n0",${START + each.sequence},body`
        const keys = each.variant ? [key, lease, base, `${base}:ages`] : [key, lease]
        const more = each.variant ? ['marker', each.variant, 2] : []
        run(
          fillEntry,
          keys,
          [each.token, each.guarded ? '1' : '', body, each.life, 'c', 'm', ...more],
          each.turn,
        )
        break
      }
      case 'release':
        run(releaseFillLease, [lease], [each.token, 'c', 'm', each.pause], each.turn)
        break
      case 'put':
        run(
          writeEntry,
          [key, lease],
          [each.remove ? '' : `TPC1${at + 5_000}put`, each.life, 'c', 'm'],
          each.turn,
        )
        break
      case 'count':
        run(incrementCounter, [`${base}:n`, `${base}:n:lease`], [each.amount, 3_600_000], each.turn)
        break
      case 'expire':
        run(expireEntry, [each.counter ? `${base}:n` : key], [each.life], each.turn)
        run(lookupEntry, [each.counter ? `${base}:n` : key, lease], ['', 0, ''], 0)
    }
  }
  return { calls, replies }
}

async function scripts(sequences: readonly (readonly Step[])[]): Promise<OperationReply[][]> {
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
      return reply as OperationReply
    }),
  )
}

/** Bytes as text, so that both engines' replies look alike. */
const plain = (reply: OperationReply): unknown => {
  if (Buffer.isBuffer(reply)) return reply.toString()
  return Array.isArray(reply) ? reply.map(plain) : reply
}

test(`${SEQUENCES} random sequences: the scripts in Redis and their twins reply alike`, async () => {
  for (const { lua } of [
    announcePosition,
    appendInvalidation,
    openLog,
    pruneLog,
    incrementCounter,
    expireEntry,
    fillEntry,
    lookupEntry,
    writeEntry,
    releaseFillLease,
  ])
    await redis.client.script('LOAD', lua)
  const sequences = fc.sample(sequence, { seed: SEED, numRuns: SEQUENCES })
  let steps = 0
  const used = new Map<string, number>()
  for (let first = 0; first < sequences.length; first += BATCH) {
    const batch = sequences
      .slice(first, first + BATCH)
      .map((each, i) => play(each, `d${first + i}`))
    const inRedis = await scripts(batch.map(({ calls }) => calls))
    for (const [i, { calls, replies }] of batch.entries()) {
      steps += calls.length
      for (const [j, { operation }] of calls.entries()) {
        used.set(operation.name, (used.get(operation.name) ?? 0) + 1)
        const [actual, expected] = [plain(inRedis[i]![j]!), plain(replies[j]!)]
        if (!isDeepStrictEqual(actual, expected)) {
          const story = calls
            .slice(0, j + 1)
            .map(
              ({ operation, keys, args, turn }) =>
                `+${turn} ${operation.name} ${keys.join(' ')} | ${args.join(' ')}`,
            )
          expect(actual, `SEED=${SEED}, after\n${story.join('\n')}`).toEqual(expected)
        }
      }
    }
  }
  console.log(`${SEQUENCES} sequences, ${steps} steps, ${JSON.stringify(Object.fromEntries(used))}`)
  expect(used.size).toBe(10)
}, 120_000)
