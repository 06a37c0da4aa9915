/** Sends operations to Redis: scripts with the deadline after which they must not run, and read commands. */
import { isUnavailable, StoreUnavailable } from '../errors.ts'
import type { RequestBudget } from '../request-budget.ts'
import type { GuardedCall } from './connection-guard.ts'
import type { Client } from './redis.ts'
import type { ServerClock } from './server-clock.ts'
import type { Operation, OperationArgument } from './store.ts'

/** What a call needs of its connection. */
export interface CallContext {
  readonly client: Client
  /** Holds back what is written next, to join it with other commands. */
  hold(request: object | undefined): void
  /** Returns a test's time, in place of Redis's clock. */
  readonly testTime: (() => number) | undefined
  /** Redis refused the keys of a call because they have several hash slots. */
  onCrossSlot(): void
}

/** Runs a script by EVALSHA, and by EVAL if Redis does not know it. */
export class ScriptCall implements GuardedCall<unknown> {
  readonly name: string
  readonly #context: CallContext
  readonly #clock: ServerClock
  readonly #operation: Operation
  readonly #keys: readonly string[]
  readonly #args: readonly OperationArgument[]
  readonly #budget: RequestBudget | undefined
  #sentArguments: unknown[] = []
  #wasLate = false

  constructor(
    context: CallContext,
    clock: ServerClock,
    operation: Operation,
    keys: readonly string[],
    args: readonly OperationArgument[],
    budget: RequestBudget | undefined,
  ) {
    this.name = operation.name
    this.#context = context
    this.#clock = clock
    this.#operation = operation
    this.#keys = keys
    this.#args = args
    this.#budget = budget
  }

  send(deadline: number): Promise<unknown> {
    if (this.#clock.isKnown || this.#context.testTime) return this.#evalsha(deadline)
    return this.#measureAndSend(deadline)
  }

  retry(error: unknown, deadline: number): Promise<unknown> | undefined {
    const { message } = error as Error
    if (message.startsWith('NOSCRIPT')) {
      const { client } = this.#context
      const { buffers, lua } = this.#operation
      return buffers
        ? client.evalBuffer(lua, ...this.#sentArguments)
        : client.eval(lua, ...this.#sentArguments)
    }
    // The event loop was blocked before the command was sent, or Redis's clock was set. The caller still waits.
    if (message.startsWith('TPLATE') && !this.#wasLate) {
      this.#wasLate = true
      return this.#measureAndSend(deadline)
    }
    if (message.startsWith('CROSSSLOT')) this.#context.onCrossSlot()
    return undefined
  }

  async #measureAndSend(deadline: number): Promise<unknown> {
    const clock = this.#clock
    await clock.measure()
    if (clock.isKnown && performance.now() < deadline) return await this.#evalsha(deadline)
    // A server that forbids TIME is no outage.
    if (clock.lastError && !isUnavailable(clock.lastError)) throw clock.lastError
    throw new StoreUnavailable('not-ready', false, new Error("Redis's clock is not known"))
  }

  #evalsha(deadline: number): Promise<unknown> {
    const { client, testTime } = this.#context
    const { buffers, sha } = this.#operation
    const time = testTime ? `=${testTime()}` : this.#clock.noLaterThan(deadline)
    const sent = [this.#keys.length, ...this.#keys, ...this.#args, time]
    this.#sentArguments = sent
    this.#context.hold(this.#budget)
    return buffers ? client.evalshaBuffer(sha, ...sent) : client.evalsha(sha, ...sent)
  }
}

/** Runs a read command. */
export class ReadCall implements GuardedCall<unknown> {
  readonly name: string
  readonly #context: CallContext
  readonly #operation: Operation
  readonly #parts: readonly OperationArgument[]
  readonly #budget: RequestBudget | undefined

  constructor(
    context: CallContext,
    operation: Operation,
    keys: readonly string[],
    args: readonly OperationArgument[],
    budget: RequestBudget | undefined,
  ) {
    this.name = operation.name
    this.#context = context
    this.#operation = operation
    this.#parts = [...keys, ...args]
    this.#budget = budget
  }

  send(): Promise<unknown> {
    const { client } = this.#context
    const { buffers, command } = this.#operation
    this.#context.hold(this.#budget)
    return buffers
      ? client.callBuffer(command!, ...this.#parts)
      : client.call(command!, ...this.#parts)
  }

  retry(error: unknown): undefined {
    if ((error as Error).message.startsWith('CROSSSLOT')) this.#context.onCrossSlot()
  }
}
