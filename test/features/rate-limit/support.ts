import { createHash } from 'node:crypto'
import type { Redis } from 'ioredis'
import { manualClock, type ManualClock } from '../../../src/clock.ts'
import {
  algorithmOf,
  type RateLimitAlgorithm,
} from '../../../src/features/rate-limit/algorithms/index.ts'
import {
  applyPolicies,
  numbersOf,
  policyArguments,
} from '../../../src/features/rate-limit/operations/apply-policies.ts'
import type {
  KnownPolicy,
  PolicyAction,
} from '../../../src/features/rate-limit/operations/script.ts'
import { MemoryStore } from '../../../src/store/memory.ts'
import type { Operation, OperationReply } from '../../../src/store/store.ts'
import type { TestRedis } from '../../support/redis.ts'

/** Where the scripts say how long a state lives. */
const PX = /'(?:PX'|PEXPIRE', KEYS\[\d+\]), [^)]+/g
if (applyPolicies.lua.match(PX)?.length !== 1) throw new Error('apply.lua: where is PX?')

export interface TestPolicy {
  algorithm?: RateLimitAlgorithm
  name?: string
  limit: number
  window: number
  /** Runs at most of a sliding window, burst of GCRA, start of a fixed window's calendar period. */
  parameter?: number | undefined
  cost?: number
  blockFor?: number
  blockMax?: number
  /** Which hash of overrides applies; 0 = none. */
  override?: number
}

/** A policy as scripts know it. */
export function knownPolicy(policy: TestPolicy): KnownPolicy {
  const { algorithm = 'sliding-window', name = 'default', limit, window, blockFor = 0 } = policy
  const { parameterOf } = algorithmOf(algorithm)
  return {
    algorithm: algorithmOf(algorithm),
    name,
    limit,
    window,
    parameter:
      'parameter' in policy
        ? policy.parameter
        : parameterOf({ limit, burst: undefined, periodStart: undefined }),
    cost: policy.cost ?? 1,
    blockFor,
    blockMax: policy.blockMax ?? blockFor,
    override: policy.override ?? 0,
  }
}

/** The ARGV of `applyPolicies`, without the clock's. */
export const argumentsOf = (
  action: PolicyAction,
  policies: readonly TestPolicy[],
  chargedAt = 0,
): string[] => policyArguments(action, policies.map(knownPolicy), chargedAt).map(String)

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
 * `applyPolicies`, but its keys outlive the test: Redis's clock goes on while the test's stands still, and
 * a reply must not depend on a key having expired.
 */
export function outliving<Result extends OperationReply>(
  original: Operation<Result>,
): Operation<Result> {
  const lua = original.lua.replaceAll(PX, (px) => `${px} + 1e9`)
  return { ...original, lua, sha: createHash('sha1').update(lua).digest('hex') }
}

export const enduring: Operation<Buffer> = outliving(applyPolicies)

/** The scripts in Redis, at a time of the test's choosing. */
export function redisEngine(redis: () => TestRedis): Engine {
  return {
    name: 'Redis',
    run: <Result extends OperationReply>(
      operation: Operation<Result>,
      keys: readonly string[],
      args: readonly string[],
      now: number,
    ) => {
      const script = operation.name === 'applyPolicies' ? outliving(operation) : operation
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
