import { createHash } from 'node:crypto'
import type { StoreUnavailable } from '../errors.ts'
import type { RequestBudget } from '../request-budget.ts'
import prelude from './prelude.lua'

/** What a script takes: text, an integer or bytes. */
export type OperationArgument = string | number | Buffer
/** What a script answers. Text comes as a string, or as a Buffer where the operation says so. */
export type OperationReply = number | string | Buffer | null | OperationReply[]

/** The in-process engine, as a twin sees it: values of any shape under keys that expire. */
export interface MemoryDatabase {
  /** The live value under `key`, or undefined. */
  get<Value>(key: string): Value | undefined
  /** Put `value` under `key` for `ttl` milliseconds. */
  set(key: string, value: unknown, ttl: number): void
  /** Forget `key`; true if it was there. */
  delete(key: string): boolean
  /** Tell the subscribers of `channel`. */
  publish(channel: string, message: string): void
}

/** The in-process twin of a script: the same keys, arguments, clock and reply. */
export type MemoryTwin<Result extends OperationReply> = (
  database: MemoryDatabase,
  keys: readonly string[],
  args: readonly OperationArgument[],
  now: number,
) => Result

/** One atomic step on the store: a Lua script for Redis, and its twin for the in-process engine. */
export interface Operation<Result extends OperationReply = OperationReply> {
  readonly name: string
  /** A command of Redis's own, sent as it is: `COMMAND key... argument...`. Undefined for a script. */
  readonly command: string | undefined
  /** The whole script as it is sent: the clock's prelude, then the operation's own file. Empty for a command. */
  readonly lua: string
  /** The script's SHA-1, as EVALSHA wants it. */
  readonly sha: string
  readonly memory: MemoryTwin<Result>
  /** Are texts answered as Buffers? */
  readonly buffers: boolean
  /** Must it never run after its caller gave up? Then Redis itself checks the deadline. */
  readonly refuseLate: boolean
}

export interface OperationOptions<Result extends OperationReply> {
  name: string
  /** The text of the operation's `.lua` file. Its ARGV are followed by one more: the clock's. */
  lua?: string
  /** In place of a script: one command, which is followed by all keys and then all arguments. It knows no clock. */
  command?: string
  memory: MemoryTwin<Result>
  /** Answer texts as Buffers. Default false. */
  buffers?: boolean
  /** Let Redis refuse the command once its deadline has passed. Default false. */
  refuseLate?: boolean
}

/** Declares an operation: one Lua file or command and one twin, which the contract suite holds to each other. */
export function operation<Result extends OperationReply>({
  name,
  lua: body,
  command,
  memory,
  buffers = false,
  refuseLate: punctual = false,
}: OperationOptions<Result>): Operation<Result> {
  const lua = command === undefined ? `${prelude}\n${body}` : ''
  const sha = createHash('sha1').update(lua).digest('hex')
  return { name, command, lua, sha, memory, buffers, refuseLate: punctual }
}

/** What a store can say of itself without asking Redis. */
export interface StoreStatus {
  /** `degraded`: the breaker is open or the connection is down, and features answer by their failure rules. `down`: it was never up, or is closed. */
  status: 'ok' | 'degraded' | 'down'
  /** Why it is not `ok`. */
  reason: string | undefined
  breaker: 'closed' | 'open' | 'half-open'
  topology: 'memory' | 'standalone' | 'sentinel' | 'cluster'
  /** Of the last 256 answered operations, in ms; undefined before the first. */
  latencyMs: { p50: number; p99: number } | undefined
  /** When Redis last answered, in ms since the epoch. */
  lastOkAt: number | undefined
  /** What an operator should mend, each with its remedy. */
  warnings: string[]
}

/**
 * Does `work`, which minds `store.isSplit`, and once more where Redis refused its first command
 * because of the slots of its keys: from then on the store is known to be split.
 */
export async function retryWhenSplit<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work()
  } catch (error) {
    if (!isCrossSlotError(error)) throw error
    return await work()
  }
}

/** Did Redis refuse a command because its keys are in several slots? Then it has done nothing. */
export const isCrossSlotError = (error: unknown): boolean =>
  / CROSSSLOT\b/.test(String((error as Partial<Error> | null)?.message))

/** What every engine offers to the features. */
export interface Store {
  readonly kind: 'redis' | 'memory'
  readonly cluster: boolean
  /**
   * Must the keys of one `run` share a slot? On a Cluster, and where one address stands for several
   * servers: that is known once such a server has refused keys of two slots.
   */
  readonly isSplit: boolean
  /**
   * Carry out one operation. Rejects with `StoreUnavailable` within the deadline when the store
   * cannot answer, and with `TP_COMMAND` when the command itself was wrong.
   * @param budget what the request may still spend on the store
   */
  run<Result extends OperationReply>(
    operation: Operation<Result>,
    keys: readonly string[],
    args: readonly OperationArgument[],
    budget?: RequestBudget,
  ): Promise<Result>
  /** The error that `run` would reject with at once, while the breaker is open. */
  unavailable(): StoreUnavailable | undefined
  /** The engine's clock, as well as this process knows it: ms since the epoch. */
  now(): number
  /** Milliseconds on a clock of this process that never jumps: for measuring, from wherever it began. */
  monotonic(): number
  /** Resolves `ms` later on the engine's clock. @param idle does not keep the process alive */
  sleep(ms: number, signal?: AbortSignal, idle?: boolean): Promise<void>
  /**
   * Hear what operations publish on `channel`. Gives the function that ends it.
   * @param lost is called when the connection breaks: from then until the next message, something may have been missed
   */
  subscribe(channel: string, hear: (message: string) => void, lost?: () => void): () => void
  /** The keys that a pattern of Redis's matches, in batches and on every node; a key may come twice. */
  scan(pattern: string): AsyncIterable<string[]>
  /** Resolves when the store can answer; rejects after `timeout` ms. */
  ready(timeout?: number): Promise<void>
  status(): StoreStatus
  /** Redis's INFO as a flat record; an empty one for the in-process engine. Bounded by the deadline. */
  info(): Promise<Record<string, string>>
  /** Ends the connections, bounded. What is in flight may finish. */
  close(): Promise<void>
}
