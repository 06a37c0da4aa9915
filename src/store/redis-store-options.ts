import type { Clock } from '../clock.ts'
import type { EventBus } from '../events.ts'
import type { RedisSource } from './redis.ts'

export interface RedisStoreOptions {
  source: RedisSource
  /** Names the store in events. */
  name: string
  /** Database in place of the source's. Not on a Cluster. */
  db?: number | undefined
  /** Uses the client that was passed, not a hardened duplicate of it. @default false */
  reuse?: boolean
  /** Timeout for each call, in ms. */
  commandTimeout: number
  /** Largest number of calls in progress. */
  maxInFlight: number
  events: EventBus
  /** Clock of the scripts, for tests. */
  clock?: Clock | undefined
  /** True if more than a cache is stored here: a server that evicts keys is then warned about. @default true */
  lasting?: boolean
}
