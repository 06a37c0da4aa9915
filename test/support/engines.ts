import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll } from 'vitest'
import { manualClock } from '../../src/clock.ts'
import { durationOption, type Duration } from '../../src/duration.ts'
import { EventBus } from '../../src/events.ts'
import { RedisStore } from '../../src/store/redis-store.ts'
import type { Store } from '../../src/store/store.ts'
import { startRedis, testStore, type RedisServer } from '../../src/testing.ts'

/** A store whose clock is turned by hand, with a prefix that nothing else uses. */
export interface Opened {
  store: Store
  prefix: string
  advance(time: Duration): Promise<void>
  /** Turn the clock back. */
  back(time: Duration): Promise<void>
}

export interface EngineUnderTest {
  name: 'in-process' | 'Redis'
  open(): Opened
  /** The server, where there is one. */
  server(): RedisServer | undefined
}

/** Both engines, for `describe.each`. One Redis for the whole file; every key in it must expire. */
export function bothEngines(): EngineUnderTest[] {
  let server: RedisServer | undefined
  const opened: Store[] = []
  beforeAll(async () => {
    server = await startRedis()
  })
  afterAll(async () => {
    await Promise.all(opened.map((store) => store.close()))
    try {
      if (server) await everyKeyExpires(server)
    } finally {
      await server?.stop()
    }
  })
  return [
    {
      name: 'in-process',
      open() {
        const store = testStore()
        return {
          store,
          prefix: 'tp',
          advance: (time) => store.advance(time),
          back: (time) => store.setBack(time),
        }
      },
      server: () => undefined,
    },
    {
      name: 'Redis',
      open() {
        const clock = manualClock()
        const store = new RedisStore({
          source: server!.url,
          name: 'test',
          // The timeout is long, because a loaded test machine is slow.
          commandTimeout: 5000,
          maxInFlight: 5000,
          events: new EventBus(''),
          clock,
        })
        opened.push(store)
        return {
          store,
          prefix: `t${randomBytes(4).toString('hex')}`,
          advance: (time) => clock.advance(durationOption(time, 'advance()', 'time')),
          back: (time) => clock.advance(-durationOption(time, 'back()', 'time')),
        }
      },
      server: () => server,
    },
  ]
}

/** Fails if a key in Redis has no time to live. */
export async function everyKeyExpires(server: RedisServer): Promise<void> {
  const script = `local eternal = {} for _, key in ipairs(redis.call('KEYS', '*')) do if redis.call('PTTL', key) == -1 then eternal[#eternal + 1] = key end end return table.concat(eternal, ' ')`
  const reply = await server.send('EVAL', script, '0')
  if (reply.trim() !== '$0') throw new Error(`keys without a time to live: ${reply}`)
}
