import { manualClock, type ManualClock } from '../clock.ts'
import { durationOption, type Duration } from '../duration.ts'
import { StoreUnavailable } from '../errors.ts'
import { MemoryStore } from '../store/memory.ts'
import type { OperationArgument, Operation, OperationReply, StoreStatus } from '../store/store.ts'

/** Options of `testStore()`. */
export interface TestStoreOptions {
  /** Time that the clock shows at first, in ms since the epoch. @default the start of 2026, UTC */
  now?: number
}

/** A store for unit tests: in this process, with a clock that only the test moves. See `testStore()`. */
export class TestStore extends MemoryStore {
  readonly #clock: ManualClock
  #away = false

  constructor({ now }: TestStoreOptions = {}) {
    const clock = manualClock(now)
    super({ clock })
    this.#clock = clock
  }

  /**
   * Moves the clock forward. Callers that wait for a time that has come continue before it resolves.
   * @throws TP_OPTION for what is no duration
   */
  async advance(time: Duration): Promise<void> {
    const ms = durationOption(time, 'store.advance()', 'time', 0)
    // Callers begin to sleep first. Otherwise a wait that was just called would miss this time.
    await new Promise((resolve) => setImmediate(resolve))
    await this.#clock.advance(ms)
  }

  /**
   * Sets the clock back, as a server's clock may jump.
   * @throws TP_OPTION for what is no duration
   */
  async setBack(time: Duration): Promise<void> {
    await this.#clock.advance(-durationOption(time, 'store.setBack()', 'time', 0))
  }

  /** Simulates that Redis is away, until `recover()`. Features apply their failure rules. */
  fail(): void {
    this.#away = true
  }

  /** Ends `fail()`. The data is as it was before. */
  recover(): void {
    this.#away = false
  }

  /** See `Store.run`. Rejects with TP_UNAVAILABLE after `fail()`. */
  override run<Result extends OperationReply>(
    operation: Operation<Result>,
    keys: readonly string[],
    args: readonly OperationArgument[],
  ): Promise<Result> {
    return this.#away ? Promise.reject(this.unavailable()) : super.run(operation, keys, args)
  }

  /** See `Store.unavailable`. */
  override unavailable(): StoreUnavailable | undefined {
    return this.#away ? new StoreUnavailable('not-ready', false) : super.unavailable()
  }

  /** See `Store.status`. `degraded` after `fail()`. */
  override status(): StoreStatus {
    const status = super.status()
    return this.#away ? { ...status, status: 'degraded', reason: 'failed on purpose' } : status
  }
}

/**
 * Creates a store for unit tests: no Redis, and a clock that only the test moves.
 * @example
 * const store = testStore()
 * const tp = turnpike({ store })
 * await store.advance('61s')
 */
export function testStore(options: TestStoreOptions = {}): TestStore {
  return new TestStore(options)
}
