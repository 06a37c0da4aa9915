import { manualClock } from '../clock.ts'
import { durationOption, type Duration } from '../duration.ts'
import { StoreUnavailable } from '../errors.ts'
import { MemoryStore } from '../store/memory.ts'
import type { OperationArgument, Operation, OperationReply, StoreStatus } from '../store/store.ts'

export interface TestStoreOptions {
  /** What the clock shows at first, in ms since the epoch. Default: the start of 2026, UTC. */
  now?: number
}

/**
 * A store for unit tests: in this process, with a clock that stands until it is turned.
 *
 *     const store = testStore()
 *     const tp = turnpike({ store })
 *     await store.advance('61s')
 */
export class TestStore extends MemoryStore {
  /** Move the clock by `ms`; a negative number turns it back, as a server's clock may jump. */
  readonly turn: (ms: number) => Promise<void>
  #away = false

  constructor({ now }: TestStoreOptions = {}) {
    const clock = manualClock(now)
    super({ clock })
    this.turn = clock.advance
  }

  /** Turn the clock forward; whoever waits for a time that has come goes on before this resolves. */
  async advance(time: Duration): Promise<void> {
    await this.turn(durationOption(time, 'store.advance()', 'time', 0))
  }

  /** Behave as if Redis were away, until `recover()`: features answer by their failure rules. */
  fail(): void {
    this.#away = true
  }

  /** Be there again, with everything that was counted before. */
  recover(): void {
    this.#away = false
  }

  override run<Result extends OperationReply>(
    operation: Operation<Result>,
    keys: readonly string[],
    args: readonly OperationArgument[],
  ): Promise<Result> {
    return this.#away ? Promise.reject(this.unavailable()) : super.run(operation, keys, args)
  }

  override unavailable(): StoreUnavailable | undefined {
    return this.#away ? new StoreUnavailable('not-ready', false) : super.unavailable()
  }

  override status(): StoreStatus {
    const status = super.status()
    return this.#away ? { ...status, status: 'degraded', reason: 'failed on purpose' } : status
  }
}

/** A store for unit tests. */
export function testStore(options: TestStoreOptions = {}): TestStore {
  return new TestStore(options)
}
