import type { Clock } from '../clock.ts'
import type { EventBus } from '../events.ts'
import type { RedisSource } from './redis.ts'

/** What a Redis engine goes by. */
export interface RedisStoreOptions {
  source: RedisSource
  /** Names the store in events. */
  name: string
  /** Use another database than the source's. Not on a Cluster. */
  db?: number | undefined
  /** Use the client that was handed in itself, not a hardened duplicate of it. Default false. */
  reuse?: boolean
  /** Milliseconds within which each call is answered. */
  commandTimeout: number
  /** Calls that may be in flight at once. */
  maxInFlight: number
  events: EventBus
  /** Drives the scripts' clock in tests. */
  clock?: Clock | undefined
  /** Does anything but a cache live here? Then a server that evicts is warned about. Default true. */
  lasting?: boolean
}
