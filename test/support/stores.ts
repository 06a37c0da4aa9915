import { onTestFinished } from 'vitest'
import { EventBus, type EventName, type EventMap } from '../../src/events.ts'
import type { RedisStoreOptions } from '../../src/store/redis-store-options.ts'
import { RedisStore } from '../../src/store/redis-store.ts'

export interface OpenedStore {
  store: RedisStore
  /** Every event of that name so far. */
  events: { [Name in EventName]: EventMap[Name][] }
}

const NAMES = ['decision', 'unavailable', 'breaker', 'replaced', 'error', 'warning'] as const

/** A Redis store that is closed when the test ends, and all that it reports. */
export function openStore(
  options: Partial<RedisStoreOptions> & Pick<RedisStoreOptions, 'source'>,
): OpenedStore {
  const emitter = new EventBus('')
  const events = Object.fromEntries(
    NAMES.map((name) => [name, []]),
  ) as unknown as OpenedStore['events']
  for (const name of NAMES) emitter.on(name, (event) => (events[name] as unknown[]).push(event))
  const store = new RedisStore({
    name: 'redis',
    commandTimeout: 100,
    maxInFlight: 5000,
    events: emitter,
    ...options,
  })
  onTestFinished(() => store.close())
  return { store, events }
}
