import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { manualClock } from '../../../src/clock.ts'
import { bar } from '../../../src/features/session/bar.ts'
import { destroy } from '../../../src/features/session/destroy.ts'
import { load } from '../../../src/features/session/load.ts'
import { page } from '../../../src/features/session/page.ts'
import { plainDestroy, plainLoad, plainTouch } from '../../../src/features/session/plain-load.ts'
import { plainSave, sha1 } from '../../../src/features/session/plain-save.ts'
import { save } from '../../../src/features/session/save.ts'
import { sweep } from '../../../src/features/session/sweep.ts'
import { touch } from '../../../src/features/session/touch.ts'
import { MemoryStore } from '../../../src/store/memory.ts'
import {
  operation,
  type OperationArgument,
  type Operation,
  type OperationReply,
} from '../../../src/store/store.ts'
import { startTestRedis, type TestRedis } from '../../support/redis.ts'

// The scripts and their twins are driven through the same random calls, and every reply is compared.
// SEED=<number> repeats a run.
const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
const SEQUENCES = Number(process.env.SEQUENCES ?? 600)
const START = Date.UTC(2026, 0, 31)
const MEMBERS = ['a', 'b', 'c'].map((letter) => letter.repeat(22))

/**
 * Redis expires keys by its own clock, which no test can turn: a key whose time has come by the hand-driven
 * clock is removed in front of each script, by what the script itself was told. Times are kept in a hash.
 */
let redis: TestRedis
beforeAll(async () => {
  console.log(`differential test of sessions: SEED=${SEED}`)
  redis = await startTestRedis()
})
afterAll(() => redis?.stop())

/** Turns Redis's keys older by `ms`, as the twins' clock turns. */
const age: Operation<number> = operation({
  name: 'age',
  lua: `
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  local left = redis.call('PTTL', key)
  -- A real millisecond or two pass between the steps of the test: what is due within them is due.
  if left - tonumber(ARGV[2]) <= 0 then redis.call('DEL', key) else redis.call('PEXPIRE', key, left - tonumber(ARGV[2])) end
end
return 1`,
  memory: () => 1,
})

const member = fc.constantFrom(...MEMBERS)
// Half seconds, where the clock turns by whole ones: no sum of turns ends at the edge of a time to live, where
// the twins and Redis, whose own milliseconds pass too, must part.
const ttl = fc.constantFrom(10_500, 60_500, 3_600_500)
const version = fc.oneof(
  { weight: 5, arbitrary: fc.constant('current') },
  { weight: 1, arbitrary: fc.constantFrom('000001', '000002', '999999') },
)

const step = fc.record({
  turn: fc.constantFrom(0, 0, 0, 1000, 3000, 8000, 31_000, 3_599_000),
  call: fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({
        kind: fc.constant('save' as const),
        member,
        ttl,
        version: fc.option(version, { nil: '' }),
        absolute: fc.constantFrom(0, 0, 25_500),
        owner: fc.constantFrom('J-', 'Ju', 'Ju', 'Eu'),
        most: fc.constantFrom(0, 0, 1, 2),
        overflow: fc.constantFrom('evict', 'deny'),
        payload: fc.constantFrom('\n{}', '{"u":"ä"}\n{"a":1}'),
        moved: fc.boolean(),
      }),
    },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('load' as const), member }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('touch' as const), member, ttl }) },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('destroy' as const),
        member,
        grace: fc.constantFrom(0, 5500),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('bar' as const),
        exempt: fc.constantFrom('', ...MEMBERS),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('sweep' as const),
        first: fc.nat({ max: 2 }),
        count: fc.constantFrom(1, 2, 10),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('page' as const),
        first: fc.nat({ max: 2 }),
        count: fc.constantFrom(0, 1, 10),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('plainSave' as const),
        base: fc.constantFrom('', 'current', 'other'),
        ttl,
        value: fc.constantFrom('{"a":1}', '{"ä":2}'),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('plainLoad' as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('plainTouch' as const), ttl }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('plainDestroy' as const) }) },
  ),
})

type Call =
  typeof step extends fc.Arbitrary<infer Value>
    ? Value extends { call: infer Each }
      ? Each
      : never
    : never

interface Sent {
  operation: Operation
  keys: string[]
  args: OperationArgument[]
}

/** The call as it is sent, by what the twins hold now. */
function sent(call: Call, id: string, held: MemoryStore): Sent {
  const key = (of: string): string => `${id}:s:${of}`
  const [index, notBefore, plain] = [`${id}:index`, `${id}:bar`, `${id}:plain`]
  switch (call.kind) {
    case 'save': {
      const now = (held.get<{ blob: string }>(key(call.member))?.blob ?? '').slice(2, 8)
      const base = call.version === 'current' ? now : (call.version ?? '')
      const times =
        base === '' && call.moved ? String(START + 1000).padStart(13, '0') + '0'.repeat(13) : ''
      return {
        operation: save,
        keys: [key(call.member), index, notBefore],
        args: [
          base,
          call.ttl,
          call.absolute,
          call.owner,
          call.payload,
          call.member,
          call.most,
          call.overflow,
          times,
        ],
      }
    }
    case 'load':
      return { operation: load, keys: [key(call.member), notBefore, key('none')], args: [] }
    case 'touch':
      return { operation: touch, keys: [key(call.member), index], args: [call.ttl, call.member] }
    case 'destroy':
      return {
        operation: destroy,
        keys: [key(call.member), index],
        args: [call.member, call.grace],
      }
    case 'bar':
      return { operation: bar, keys: [notBefore, index], args: [call.exempt, 7_200_500] }
    case 'sweep':
      return { operation: sweep, keys: [index, notBefore, key('')], args: [call.first, call.count] }
    case 'page':
      return { operation: page, keys: [index], args: [call.first, call.count] }
    case 'plainSave': {
      const value = held.get<{ blob: string }>(plain)?.blob ?? ''
      return {
        operation: plainSave,
        keys: [plain],
        args: [
          call.base === '' ? '' : sha1(call.base === 'current' ? value : 'other'),
          call.ttl,
          call.value,
        ],
      }
    }
    case 'plainLoad':
      return { operation: plainLoad, keys: [plain], args: [] }
    case 'plainTouch':
      return { operation: plainTouch, keys: [plain], args: [call.ttl] }
    default:
      return { operation: plainDestroy, keys: [plain], args: [] }
  }
}

async function onRedis({ operation, keys, args }: Sent, now: number): Promise<OperationReply> {
  const { client } = redis
  if (operation.command !== undefined)
    return (await client.call(operation.command, ...keys, ...args.map(String))) as OperationReply
  return (await client.eval(
    operation.lua,
    keys.length,
    ...keys,
    ...args.map(String),
    `=${now}`,
  )) as OperationReply
}

/** Times to live that Redis tells are a few real ms shorter: half seconds leave room. */
const rounded = ({ operation }: Sent, reply: OperationReply): OperationReply =>
  operation === (plainLoad as Operation) && Array.isArray(reply) && reply.length > 1
    ? [reply[0]!, Math.floor(Number(reply[1]) / 1000)]
    : reply

test(
  `${SEQUENCES} random sequences: scripts and twins give the same replies`,
  { timeout: 120_000 },
  async () => {
    let id = 0
    const seen = new Set<string>()
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 5, maxLength: 25, size: 'max' }),
        async (steps) => {
          const prefix = `{${++id}}`
          const clock = manualClock(START)
          const held = new MemoryStore({ clock })
          const trace: unknown[] = []
          for (const { turn, call } of steps) {
            if (turn > 0) {
              await clock.advance(turn)
              await onRedis({ operation: age, keys: [], args: [prefix, turn] }, clock.now())
            }
            const each = sent(call, prefix, held)
            const twin = rounded(
              each,
              each.operation.memory(held, each.keys, each.args, clock.now()),
            )
            const script = rounded(each, await onRedis(each, clock.now()))
            trace.push({
              turn,
              name: each.operation.name,
              keys: each.keys,
              args: each.args,
              twin,
              script,
            })
            seen.add(
              `${each.operation.name} ${Array.isArray(twin) ? String(twin[0]).slice(0, 8) : twin === 0}`,
            )
            if (!isDeepStrictEqual(twin, script)) throw new Error(JSON.stringify(trace, null, 1))
          }
        },
      ),
      { seed: SEED, numRuns: SEQUENCES },
    )
    for (const outcome of ['saved', 'gone', 'conflict', 'full'])
      expect(seen).toContain(`session.save ${outcome}`)
    for (const outcome of ['saved', 'gone', 'conflict'])
      expect(seen).toContain(`session.plainSave ${outcome}`)
  },
)
