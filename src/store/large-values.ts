import type { RequestBudget } from '../request-budget.ts'
import { within } from './readiness.ts'
import type { RedisConnection } from './redis-connection.ts'
import { LARGE_VALUE, type Operation, type OperationArgument } from './store.ts'

/** Returns true if the arguments of an operation are large, or its reply. */
export function isLarge({ large }: Operation, args: readonly OperationArgument[]): boolean {
  if (large) return true
  let size = 0
  for (const arg of args) if (typeof arg !== 'number') size += arg.length
  return size > LARGE_VALUE
}

/**
 * Carries large values over a connection of their own. On the other one they would delay the
 * replies to small commands beyond their timeouts, although Redis is well.
 */
export class LargeValues {
  readonly #open: () => RedisConnection
  readonly #commandTimeout: number
  #connection: RedisConnection | undefined
  /** By command and keys: the read on its way, and the one that follows it. */
  readonly #reads = new Map<string, Promise<unknown>>()
  readonly #nextReads = new Map<string, Promise<unknown>>()

  /** @param open opens the connection, at the first large value */
  constructor(open: () => RedisConnection, commandTimeout: number) {
    this.#open = open
    this.#commandTimeout = commandTimeout
  }

  /** The connection, if it was opened. */
  get connection(): RedisConnection | undefined {
    return this.#connection
  }

  run(
    operation: Operation,
    keys: readonly string[],
    args: readonly OperationArgument[],
    budget: RequestBudget | undefined,
    startedAt: number,
  ): Promise<unknown> {
    if (!operation.large) return this.#send(operation, keys, args, budget, startedAt)
    const now = performance.now()
    const ms = Math.min(this.#commandTimeout - (now - startedAt), budget?.left(now) ?? Infinity)
    budget?.begin(now)
    return within(this.#sharedRead(operation, keys, args), ms, 'timeout').finally(() =>
      budget?.end(performance.now()),
    )
  }

  async close(): Promise<void> {
    await this.#connection?.close()
  }

  /**
   * Reads a value, for all callers that request it at the same time. A caller shares only a read
   * that has not begun: the reply is never older than the request for it.
   */
  #sharedRead(
    operation: Operation,
    keys: readonly string[],
    args: readonly OperationArgument[],
  ): Promise<unknown> {
    const id = JSON.stringify([operation.command, operation.buffers, keys, args])
    const next = this.#nextReads.get(id)
    if (next) return next
    const read = (): Promise<unknown> => {
      this.#nextReads.delete(id)
      const reply = this.#send(operation, keys, args, undefined, performance.now())
      this.#reads.set(id, reply)
      const end = (): void => {
        if (this.#reads.get(id) === reply) this.#reads.delete(id)
      }
      reply.then(end, end)
      return reply
    }
    const current = this.#reads.get(id)
    if (!current) return read()
    const following = current.then(read, read)
    this.#nextReads.set(id, following)
    return following
  }

  async #send(
    operation: Operation,
    keys: readonly string[],
    args: readonly OperationArgument[],
    budget: RequestBudget | undefined,
    startedAt: number,
  ): Promise<unknown> {
    const connection = (this.#connection ??= this.#open())
    await connection.waitForRoute(keys, budget, startedAt)
    const route = connection.routeTo(keys)!
    return await connection.run(operation, keys, args, route, budget, startedAt)
  }
}
