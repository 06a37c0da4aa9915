import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { manualClock } from '../../../src/clock.ts'
import { revokeBefore } from '../../../src/features/session/operations/revoke-before.ts'
import { destroySession } from '../../../src/features/session/operations/destroy.ts'
import { sessionTimeToLive } from '../../../src/features/session/operations/announce.ts'
import { loadSessions } from '../../../src/features/session/operations/load.ts'
import { listSessions } from '../../../src/features/session/operations/list.ts'
import {
  connectRedisDestroy,
  connectRedisLoad,
  connectRedisRemove,
  connectRedisSave,
  connectRedisTouch,
  sha1,
} from '../../../src/features/session/operations/connect-redis.ts'
import { replaceSession } from '../../../src/features/session/operations/replace.ts'
import { saveSession } from '../../../src/features/session/operations/save.ts'
import { sweepRevoked } from '../../../src/features/session/operations/sweep.ts'
import { touchSession } from '../../../src/features/session/operations/touch.ts'
import { MemoryStore } from '../../../src/store/memory.ts'
import {
  operation,
  type OperationArgument,
  type Operation,
  type OperationReply,
} from '../../../src/store/store.ts'
import { startTestRedis, type TestRedis } from '../../support/redis.ts'

// Runs the same random calls on the scripts and on their twins, and compares every reply.
// SEED=<number> repeats a run.
const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
const SEQUENCES = Number(process.env.SEQUENCES ?? 600)
const START = Date.UTC(2026, 0, 31)
const DIGESTS = ['a', 'b', 'c'].map((letter) => letter.repeat(22))

let redis: TestRedis
beforeAll(async () => {
  console.log(`differential test of sessions: SEED=${SEED}`)
  redis = await startTestRedis()
})
afterAll(() => redis?.stop())

/** Shortens the time to live of Redis's keys by as much as the twins' clock advances. Redis's own clock cannot be set. */
const age: Operation<number> = operation({
  name: 'age',
  lua: `
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  local left = redis.call('PTTL', key)
  -- A few real milliseconds pass between the steps: a key that expires within them has expired.
  if left - tonumber(ARGV[2]) <= 0 then redis.call('DEL', key) else redis.call('PEXPIRE', key, left - tonumber(ARGV[2])) end
end
return 1`,
  memory: () => 1,
})

const digest = fc.constantFrom(...DIGESTS)
// Half seconds, while the clock advances by whole seconds. No key expires exactly at a step, where the
// milliseconds that pass for Redis would decide.
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
        digest,
        ttl,
        version: fc.option(version, { nil: '' }),
        absolute: fc.constantFrom(0, 0, 25_500),
        owner: fc.constantFrom('J-', 'Ju', 'Ju', 'Eu'),
        limit: fc.constantFrom(0, 0, 1, 2),
        overflow: fc.constantFrom('evict', 'deny'),
        payload: fc.constantFrom('\n{}', '{"u":"ä"}\n{"a":1}'),
        moved: fc.boolean(),
        replaces: fc.constantFrom('', '', ...DIGESTS),
      }),
    },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('load' as const), digest }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('touch' as const), digest, ttl }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('timeToLive' as const), digest }) },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constant('destroy' as const), digest }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('replace' as const),
        digest,
        version,
        payload: fc.constantFrom('', '{"s":"x"}\n{}'),
        life: fc.constantFrom(0, 5500, 60_500),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('revokeBefore' as const),
        exempt: fc.constantFrom('', ...DIGESTS),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('sweep' as const),
        offset: fc.nat({ max: 2 }),
        count: fc.constantFrom(1, 2, 10),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('list' as const),
        offset: fc.nat({ max: 2 }),
        count: fc.constantFrom(0, 1, 10),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('connectRedisSave' as const),
        base: fc.constantFrom('', 'current', 'other'),
        ttl,
        value: fc.constantFrom('{"a":1}', '{"ä":2}'),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('connectRedisLoad' as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('connectRedisTouch' as const), ttl }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('connectRedisDestroy' as const) }) },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('connectRedisRemove' as const),
        base: fc.constantFrom('current', 'other'),
      }),
    },
  ),
})

type Call =
  typeof step extends fc.Arbitrary<infer Value>
    ? Value extends { call: infer Each }
      ? Each
      : never
    : never

const channelOf = (id: string): string => `changes-${id}`

interface SentOperation {
  operation: Operation
  keys: string[]
  args: OperationArgument[]
}

/** Returns the operation of a call, with versions as the twins store them now. */
function operationOf(call: Call, id: string, memory: MemoryStore): SentOperation {
  const key = (of: string): string => `${id}:s:${of}`
  const [index, revoked, connectRedis] = [
    `${id}:index`,
    `${id}:revoke-before`,
    `${id}:connect-redis`,
  ]
  const channel = channelOf(id)
  switch (call.kind) {
    case 'save': {
      const now = (memory.get<{ text: string }>(key(call.digest))?.text ?? '').slice(2, 8)
      const base = call.version === 'current' ? now : (call.version ?? '')
      const times =
        base === '' && call.moved ? String(START + 1000).padStart(13, '0') + '0'.repeat(13) : ''
      return {
        operation: saveSession,
        keys: [key(call.digest), index, revoked],
        args: [
          base,
          call.ttl,
          call.absolute,
          call.owner,
          call.payload,
          call.digest,
          call.limit,
          call.overflow,
          times,
          call.replaces,
          channel,
        ],
      }
    }
    case 'load':
      return { operation: loadSessions, keys: [key(call.digest), revoked, key('none')], args: [] }
    case 'touch':
      return {
        operation: touchSession,
        keys: [key(call.digest), index],
        args: [call.ttl, call.digest, channel],
      }
    case 'destroy':
      return {
        operation: destroySession,
        keys: [key(call.digest), index],
        args: [call.digest, channel],
      }
    case 'replace': {
      const now = (memory.get<{ text: string }>(key(call.digest))?.text ?? '').slice(2, 8)
      return {
        operation: replaceSession,
        keys: [key(call.digest), index],
        args: [
          call.version === 'current' ? now : call.version,
          call.digest,
          'Jr',
          call.payload,
          call.life,
          channel,
        ],
      }
    }
    case 'timeToLive':
      return { operation: sessionTimeToLive, keys: [key(call.digest)], args: [] }
    case 'connectRedisRemove': {
      const value = memory.get<{ text: string }>(connectRedis)?.text ?? ''
      return {
        operation: connectRedisRemove,
        keys: [connectRedis],
        args: [sha1(call.base === 'current' ? value : 'other')],
      }
    }
    case 'revokeBefore':
      return {
        operation: revokeBefore,
        keys: [revoked, index],
        args: [call.exempt, 7_200_500, channel],
      }
    case 'sweep':
      return {
        operation: sweepRevoked,
        keys: [index, revoked, key('')],
        args: [call.offset, call.count],
      }
    case 'list':
      return { operation: listSessions, keys: [index], args: [call.offset, call.count] }
    case 'connectRedisSave': {
      const value = memory.get<{ text: string }>(connectRedis)?.text ?? ''
      return {
        operation: connectRedisSave,
        keys: [connectRedis],
        args: [
          call.base === '' ? '' : sha1(call.base === 'current' ? value : 'other'),
          call.ttl,
          call.value,
        ],
      }
    }
    case 'connectRedisLoad':
      return { operation: connectRedisLoad, keys: [connectRedis], args: [] }
    case 'connectRedisTouch':
      return { operation: connectRedisTouch, keys: [connectRedis], args: [call.ttl] }
    default:
      return { operation: connectRedisDestroy, keys: [connectRedis], args: [] }
  }
}

async function onRedis(
  { operation, keys, args }: SentOperation,
  now: number,
): Promise<OperationReply> {
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

/** Redis's times to live are a few real ms shorter: compares whole seconds. */
const rounded = ({ operation }: SentOperation, reply: OperationReply): OperationReply =>
  operation === (sessionTimeToLive as Operation)
    ? Math.floor(Number(reply) / 1000)
    : roundedList(operation, reply)

const roundedList = (operation: Operation, reply: OperationReply): OperationReply =>
  operation === (connectRedisLoad as Operation) && Array.isArray(reply) && reply.length > 1
    ? [reply[0]!, Math.floor(Number(reply[1]) / 1000)]
    : reply

test(
  `${SEQUENCES} random sequences: scripts and twins reply alike`,
  { timeout: 120_000 },
  async () => {
    let id = 0
    const seen = new Set<string>()
    const ear = redis.client.duplicate()
    const received = new Map<string, string[]>()
    await ear.psubscribe('changes-*')
    ear.on('pmessage', (_pattern, channel: string, message: string) =>
      received.set(channel, [...(received.get(channel) ?? []), message]),
    )
    onTestFinished(() => ear.disconnect())
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 5, maxLength: 25, size: 'max' }),
        async (steps) => {
          const prefix = `{${++id}}`
          const clock = manualClock(START)
          const memory = new MemoryStore({ clock })
          const trace: unknown[] = []
          const published: string[] = []
          memory.subscribe(channelOf(prefix), (message) => published.push(message))
          for (const { turn, call } of steps) {
            if (turn > 0) {
              await clock.advance(turn)
              await onRedis({ operation: age, keys: [], args: [prefix, turn] }, clock.now())
            }
            const each = operationOf(call, prefix, memory)
            const twin = rounded(
              each,
              each.operation.memory(memory, each.keys, each.args, clock.now()),
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
          // What is published arrives before the reply to a later command of the subscriber.
          await ear.ping()
          expect(received.get(channelOf(prefix)) ?? [], JSON.stringify(trace, null, 1)).toEqual(
            published,
          )
          if (published.length > 0) seen.add('published')
          received.clear()
        },
      ),
      { seed: SEED, numRuns: SEQUENCES },
    )
    expect(seen).toContain('published')
    for (const outcome of ['saved', 'gone', 'conflict', 'full'])
      expect(seen).toContain(`session.save ${outcome}`)
    for (const outcome of ['saved', 'gone', 'conflict'])
      expect(seen).toContain(`session.connectRedisSave ${outcome}`)
    for (const outcome of ['replaced', 'gone', 'conflict'])
      expect(seen).toContain(`session.replace ${outcome}`)
  },
)
