import { createHash } from 'node:crypto'
import type { StoreUnavailable } from '../errors.ts'
import type { RequestBudget } from '../request-budget.ts'
import prelude from './prelude.lua'
import { nameScript } from './script-names.ts'

/** An argument of an operation: a string, an integer or bytes. */
export type OperationArgument = string | number | Buffer
/** A reply of an operation. Strings are Buffers if the operation says so (`buffers`). */
export type OperationReply = number | string | Buffer | null | OperationReply[]

/** The in-process engine as twins see it: values of any type under keys that expire. */
export interface MemoryDatabase {
  /** Returns the value at `key`, or undefined if there is none or it has expired. */
  get<Value>(key: string): Value | undefined
  /** Sets the value at `key` for `ttl` milliseconds. */
  set(key: string, value: unknown, ttl: number): void
  /** Deletes `key`. Returns true if it existed. */
  delete(key: string): boolean
  /** Sends a message to the subscribers of `channel`. */
  publish(channel: string, message: string): void
}

/** The in-process twin of a script: it takes the same keys, arguments and clock, and returns the same reply. */
export type MemoryTwin<Result extends OperationReply> = (
  database: MemoryDatabase,
  keys: readonly string[],
  args: readonly OperationArgument[],
  now: number,
) => Result

/** Above this length in bytes a value is large: it must not hold up small ones. */
export const LARGE_VALUE = 65_536

/** One atomic step on the store: a Lua script for Redis and its twin for the in-process engine. */
export interface Operation<Result extends OperationReply = OperationReply> {
  /** Name of the operation in errors and events. */
  readonly name: string
  /** A read command, sent as `COMMAND key... argument...`; undefined for a script. */
  readonly command: string | undefined
  /** The script as it is sent: the prelude, then the operation's own file; empty for a command. */
  readonly lua: string
  /** SHA-1 of the script, for EVALSHA. */
  readonly sha: string
  /** The in-process twin. */
  readonly memory: MemoryTwin<Result>
  /** True if strings in the reply are Buffers. */
  readonly buffers: boolean
  /** True if the reply is a value that was found to be large. */
  readonly large: boolean
}

/** What `operation()` needs to know. */
export interface OperationOptions<Result extends OperationReply> {
  /** Name of the operation in errors and events, for example `'locks.acquire'`. */
  name: string
  /** Content of the operation's `.lua` file. Required without `command`. Its ARGV end with one more argument, for the prelude. */
  lua?: string
  /**
   * Read command in place of a script. All keys follow it, then all arguments. It has no clock.
   * @default none
   */
  command?: string
  /** The in-process twin. It must reply as the script does. */
  memory: MemoryTwin<Result>
  /** Returns strings as Buffers. @default false */
  buffers?: boolean
  /**
   * Set it for a read command whose reply is a large value (LARGE_VALUE). It uses another connection
   * than small values. A script must not reply with one: the way through Lua costs Redis more than
   * twenty times as much. It replies with its length, and a read command fetches it.
   * @default false
   */
  large?: boolean
}

/** Declares an operation: a script or read command, and its twin. The contract tests compare both. */
export function operation<Result extends OperationReply>({
  name,
  lua: body,
  command,
  memory,
  buffers = false,
  large = false,
}: OperationOptions<Result>): Operation<Result> {
  const lua = command === undefined ? `${prelude}\n${body}` : ''
  const sha = createHash('sha1').update(lua).digest('hex')
  if (command === undefined) nameScript(sha, name)
  return { name, command, lua, sha, memory, buffers, large }
}

/** A store's status, known without calling Redis. */
export interface StoreStatus {
  /**
   * `degraded`: the breaker is open or the connection is lost, and features apply their failure
   * rules. `down`: there was no connection yet, or the store is closed.
   */
  status: 'ok' | 'degraded' | 'down'
  /** Why the status is not `ok`. */
  reason: string | undefined
  /** State of the circuit breaker. `open`: calls fail at once. */
  breaker: 'closed' | 'open' | 'half-open'
  /** Kind of server behind the store. */
  topology: 'memory' | 'standalone' | 'sentinel' | 'cluster'
  /** Of the last 256 replies, in ms; undefined before the first. */
  latencyMs: { p50: number; p99: number } | undefined
  /** When Redis last replied, in ms since the epoch; undefined before the first reply. */
  lastOkAt: number | undefined
  /** What an operator should fix, each with its remedy. */
  warnings: string[]
}

/**
 * Runs `work`, and once more if Redis refused its first command because the keys have several hash
 * slots: then `store.isSplit` has become true, and `work` must respect it.
 */
export async function retryWhenSplit<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work()
  } catch (error) {
    if (!isCrossSlotError(error)) throw error
    return await work()
  }
}

/** Returns true if Redis refused a command because its keys have several hash slots. It did nothing. */
export const isCrossSlotError = (error: unknown): boolean =>
  / CROSSSLOT\b/.test(String((error as Partial<Error> | null)?.message))

/** What every engine offers to the features. */
export interface Store {
  /** `'redis'`, or `'memory'` for the in-process engine. */
  readonly kind: 'redis' | 'memory'
  /** True for a Redis Cluster. */
  readonly cluster: boolean
  /**
   * True if the keys of one `run` must share a hash slot: on a Cluster, and where one address stands
   * for several servers. The latter is known once such a server has refused keys of two slots.
   */
  readonly isSplit: boolean
  /**
   * Runs one operation. If it is reported as failed, it has either run before that (`uncertain`) or
   * never runs: Redis refuses it when it arrives too late.
   *
   * @param budget what the request may still wait for the store; without one `commandTimeout` alone
   *   limits the call
   * @throws TP_UNAVAILABLE within `commandTimeout` if the store cannot reply; TP_COMMAND if the
   *   command itself is wrong
   */
  run<Result extends OperationReply>(
    operation: Operation<Result>,
    keys: readonly string[],
    args: readonly OperationArgument[],
    budget?: RequestBudget,
  ): Promise<Result>
  /** Returns the error with which `run` would reject at once, for example while the breaker is open. */
  unavailable(): StoreUnavailable | undefined
  /** The engine's clock as far as this process knows it, in ms since the epoch. */
  now(): number
  /** Milliseconds on a clock of this process that never jumps. Use it to measure durations. */
  monotonic(): number
  /**
   * This machine's clock, in ms since the epoch. It may be set, but it goes on while the machine is
   * suspended. `monotonic()` may stand still then.
   */
  wallClock(): number
  /**
   * Resolves after `ms` on the engine's clock. Rejects with the signal's reason when it is aborted.
   * @param idle does not keep the process alive
   */
  sleep(ms: number, signal?: AbortSignal, idle?: boolean): Promise<void>
  /**
   * Subscribes to what operations publish on `channel`. Returns the function that unsubscribes.
   *
   * Anyone with access to Redis can publish: `listener` must expect any string. If it throws, the
   * message is ignored and reported.
   * @param onGap is called when the connection breaks: messages may be missed until the next one
   */
  subscribe(channel: string, listener: (message: string) => void, onGap?: () => void): () => void
  /** Returns the keys that match a Redis pattern, in batches, from every node. A key may come twice. */
  scan(pattern: string): AsyncIterable<string[]>
  /** Resolves when the store can reply. @throws TP_UNAVAILABLE after `timeout` ms */
  ready(timeout?: number): Promise<void>
  /** Returns the status without calling Redis. */
  status(): StoreStatus
  /** Returns the fields of Redis's INFO, none for the in-process engine. @throws TP_UNAVAILABLE */
  info(): Promise<Record<string, string>>
  /** Refuses further calls, lets those in progress finish within `commandTimeout`, then disconnects. */
  close(): Promise<void>
}
