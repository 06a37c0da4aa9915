/** Drives scripts and their twins through the same random calls, by the same clock, and compares what they reply and publish. */
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { expect } from 'vitest'
import { manualClock } from '../../src/clock.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import {
  operation,
  type OperationArgument,
  type Operation,
  type OperationReply,
} from '../../src/store/store.ts'
import { startTestRedis } from './redis.ts'

export interface Call {
  operation: Operation
  keys: string[]
  args: OperationArgument[]
  /** The clock, in ms since the epoch. */
  now: number
}

/** Turns the steps of a sequence into calls under keys of its own; `reply` asks the twin what the last call came to. */
export type Play<Step> = (
  steps: readonly Step[],
  id: string,
  run: (call: Call) => OperationReply,
) => void

export interface DifferentialOptions<Step> {
  name: string
  operations: readonly Operation[]
  step: fc.Arbitrary<Step>
  play: Play<Step>
  /** The channel of a sequence. */
  channel(id: string): string
}

export const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
export const SEQUENCES = Number(process.env.SEQUENCES ?? 2_500)
export const START: number = Date.UTC(2026, 0, 31, 23, 59, 30)
const BATCH = 100
const TTL = 'whole(ms))'

/** The script, with keys that outlive the test: Redis's clock goes on while the test's stands still. */
function enduring(original: Operation): Operation {
  const { name, lua, memory, buffers } = original
  return operation({ name, memory, buffers, lua: lua.replace(TTL, 'whole(ms + 1e9))') })
}

const plain = (reply: OperationReply): unknown =>
  Buffer.isBuffer(reply)
    ? reply.toString('latin1')
    : Array.isArray(reply)
      ? reply.map(plain)
      : reply

/** Fails at the first call whose reply differs. Gives how often each operation replied what. */
export async function differential<Step>(
  options: DifferentialOptions<Step>,
): Promise<Record<string, number>> {
  const { name, operations, step, play, channel } = options
  console.log(`differential test of ${name}: SEED=${SEED}`)
  const redis = await startTestRedis()
  const received = new Map<string, string[]>()
  const ear = redis.client.duplicate()
  const scripts = new Map(operations.map((each) => [each, enduring(each)]))
  const tally: Record<string, number> = {}
  try {
    for (const { lua } of scripts.values()) await redis.client.script('LOAD', lua)
    await ear.psubscribe('*')
    ear.on('pmessage', (_pattern, where: string, message: string) =>
      received.set(where, [...(received.get(where) ?? []), message]),
    )
    const sequences = fc.sample(fc.array(step, { minLength: 3, maxLength: 20, size: 'max' }), {
      seed: SEED,
      numRuns: SEQUENCES,
    })
    for (let first = 0; first < sequences.length; first += BATCH) {
      const batch = sequences.slice(first, first + BATCH).map((steps, i) => {
        const id = `d${first + i}`
        const store = new MemoryStore({ clock: manualClock(START) })
        const said: string[] = []
        store.subscribe(channel(id), (message) => said.push(message))
        const calls: Call[] = []
        const replies: OperationReply[] = []
        play(steps, id, (call) => {
          const reply = call.operation.memory(store, call.keys, call.args, call.now)
          calls.push(call)
          replies.push(reply)
          return reply
        })
        return { id, calls, replies, said }
      })
      const pipeline = redis.client.pipeline() as any
      for (const { operation, keys, args, now } of batch.flatMap(({ calls }) => calls)) {
        const { sha, buffers } = scripts.get(operation)!
        pipeline[buffers ? 'evalshaBuffer' : 'evalsha'](
          sha,
          keys.length,
          ...keys,
          ...args,
          `=${now}`,
        )
      }
      const results = (await pipeline.exec()) as [Error | null, OperationReply][]
      await ear.ping()
      let next = 0
      for (const { id, calls, replies, said } of batch) {
        for (const [i, { operation }] of calls.entries()) {
          const [error, reply] = results[next++]!
          if (error) throw error
          const [actual, expected] = [plain(reply), plain(replies[i]!)]
          const first = Buffer.isBuffer(reply)
            ? 'bytes'
            : String(Array.isArray(actual) ? actual[0] : actual)
          const label = `${operation.name} ${Number.parseInt(first, 10) >= START - 86_400_000 ? 'a time' : first}`
          tally[label] = (tally[label] ?? 0) + 1
          if (!isDeepStrictEqual(actual, expected))
            expect(actual, `SEED=${SEED}, after ${story(calls, i)}`).toEqual(expected)
        }
        expect(
          received.get(channel(id)) ?? [],
          `SEED=${SEED}, what is published in ${story(calls, calls.length)}`,
        ).toEqual(said)
      }
      received.clear()
    }
  } finally {
    ear.disconnect()
    await redis.stop()
  }
  console.log(`${name}: ${SEQUENCES} sequences, ${JSON.stringify(tally)}`)
  return tally
}

/** The calls before the one that differs and itself, one a line. */
const story = (calls: readonly Call[], end: number): string =>
  calls
    .slice(0, end + 1)
    .map(
      ({ operation, keys, args, now }) =>
        `${now} ${operation.name} ${keys.join(' ')} | ${args.map(String).join(' ')}`,
    )
    .join('\n')
