import type { RequestBudget } from '../request-budget.ts'
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
  #connection: RedisConnection | undefined

  /** @param open opens the connection, at the first large value */
  constructor(open: () => RedisConnection) {
    this.#open = open
  }

  /** The connection, if it was opened. */
  get connection(): RedisConnection | undefined {
    return this.#connection
  }

  async run(
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

  async close(): Promise<void> {
    await this.#connection?.close()
  }
}
