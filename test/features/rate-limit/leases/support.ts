/** Redis on a clock that is turned by hand, for several processes. */
import { afterAll, beforeAll, onTestFinished, vi } from 'vitest'
import { manualClock, type ManualClock } from '../../../../src/clock.ts'
import { EventBus } from '../../../../src/events.ts'
import { RedisStore } from '../../../../src/store/redis-store.ts'
import { startRedis, type RedisServer } from '../../../../src/testing.ts'

export interface Machine {
  clock: ManualClock
  /** Opens the store of another process. Its calls of scripts are counted. */
  open(): { store: RedisStore; calls(): string[] }
}

/** One Redis for a file. Returns a function that makes a clock, and stores on it. */
export function machines(): { machine(): Machine; server(): RedisServer } {
  let server: RedisServer | undefined
  beforeAll(async () => {
    server = await startRedis()
  })
  afterAll(() => server?.stop())
  return {
    server: () => server!,
    machine() {
      const clock = manualClock()
      return {
        clock,
        open() {
          const store = new RedisStore({
            source: server!.url,
            name: 'test',
            commandTimeout: 5000,
            maxInFlight: 5000,
            events: new EventBus(''),
            clock,
          })
          onTestFinished(() => store.close())
          const run = vi.spyOn(store, 'run')
          return { store, calls: () => run.mock.calls.map(([{ name }]) => name) }
        },
      }
    },
  }
}
