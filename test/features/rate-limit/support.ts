import { createHash } from 'node:crypto'
import type { Redis } from 'ioredis'
import { manualClock, type ManualClock } from '../../../src/clock.ts'
import { numbersOf, take } from '../../../src/features/rate-limit/take.ts'
import { MemoryStore } from '../../../src/store/memory.ts'
import type { Operation, OperationReply } from '../../../src/store/store.ts'
import type { TestRedis } from '../../support/redis.ts'

/** Where the scripts say how long a state lives. */
const PX = /'(?:PX'|PEXPIRE', KEYS\[\d+\]), [^)]+/g
if (take.lua.match(PX)?.length !== 1) throw new Error('take.lua: where is PX?')

export type Verb = 'c' | 'd' | 'p' | 'f' | 'r' | 'b'

export interface TestPolicy {
  algorithm?: 's' | 'f' | 'g'
  name?: string
  limit: number
  window: number
  aux?: number | ''
  cost?: number
  block?: number
  blockMax?: number
  /** Which hash of own limits counts; 0 = none. */
  own?: number
}

/** The ARGV of `take`, without the clock's. */
export function takeArgs(verb: Verb, policies: readonly TestPolicy[], at = 0): string[] {
  const args: (string | number)[] = [verb, policies.length, at]
  for (const policy of policies) {
    const { algorithm = 's', name = 'default', limit, window, cost = 1, block = 0 } = policy
    const aux = policy.aux ?? (algorithm === 's' ? 64 : algorithm === 'g' ? limit : '')
    args.push(
      algorithm,
      name,
      limit,
      window,
      aux,
      cost,
      block,
      policy.blockMax ?? block,
      policy.own ?? 0,
    )
  }
  return args.map(String)
}

export interface Outcome {
  allowed: number
  now: number
  policies: Part[]
}

export interface Part {
  limit: number
  remaining: number
  reset: number
  retry: number
  violated: number
}

export function outcome(bytes: Buffer): Outcome {
  const reply = numbersOf(bytes)
  const [allowed = NaN, now = NaN] = reply
  const policies: Part[] = []
  for (let i = 2; i < reply.length; i += 5) {
    const [limit = NaN, remaining = NaN, reset = NaN, retry = NaN, violated = NaN] = reply.slice(i)
    policies.push({ limit, remaining, reset, retry, violated })
  }
  return { allowed, now, policies }
}

/** An engine at a time of the test's choosing. */
export interface Engine {
  name: string
  run<Result extends OperationReply>(
    operation: Operation<Result>,
    keys: readonly string[],
    args: readonly string[],
    now: number,
  ): Promise<Result>
}

/** The twins over the in-process engine, whose keys expire by the same clock. */
export function memoryEngine(): Engine & { store: MemoryStore } {
  const clock: ManualClock = manualClock(0)
  const store = new MemoryStore({ clock })
  return {
    name: 'in-process',
    store,
    async run(operation, keys, args, now) {
      await clock.advance(now - clock.now())
      return operation.memory(store, keys, args, now)
    },
  }
}

/**
 * `take`, but its keys outlive the test: Redis's clock goes on while the test's stands still, and
 * a reply must not depend on a key having expired.
 */
function outliving<Result extends OperationReply>(taking: Operation<Result>): Operation<Result> {
  const lua = taking.lua.replaceAll(PX, (px) => `${px} + 1e9`)
  return { ...taking, lua, sha: createHash('sha1').update(lua).digest('hex') }
}

export const enduring: Operation<Buffer> = outliving(take)

/** The scripts in Redis, told the time. */
export function redisEngine(redis: () => TestRedis): Engine {
  return {
    name: 'Redis',
    run: <Result extends OperationReply>(
      operation: Operation<Result>,
      keys: readonly string[],
      args: readonly string[],
      now: number,
    ) => {
      const script = operation.name === 'take' ? outliving(operation) : operation
      return evaluate<Result>(redis().client, script, keys, [...args, `=${now}`])
    },
  }
}

/** EVALSHA, or EVAL where the script is not known yet. */
export async function evaluate<Result extends OperationReply>(
  client: Redis,
  operation: Operation<Result>,
  keys: readonly string[],
  args: readonly string[],
): Promise<Result> {
  const { sha, lua, buffers } = operation
  const rest = [keys.length, ...keys, ...args]
  const send = (command: string, script: string): Promise<unknown> =>
    client[buffers ? 'callBuffer' : 'call'](command, [script, ...rest])
  try {
    return (await send('evalsha', sha)) as Result
  } catch (error) {
    if (!String(error).includes('NOSCRIPT')) throw error
    return (await send('eval', lua)) as Result
  }
}
