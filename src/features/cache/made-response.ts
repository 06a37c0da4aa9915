import type { CacheEntry } from '../../caching/entry.ts'
import type { EventBus } from '../../events.ts'
import { CACHE_REASONS, type CacheReason } from './reasons.ts'

/** A response that a handler made for a cache. */
export interface MadeResponse {
  /** The mount's name. */
  readonly name: string
  readonly key: string
  /** Why it is not stored. */
  readonly reason: CacheReason | undefined
  readonly entry: CacheEntry | undefined
  /** How long the handler took, in ms. */
  readonly ms: number
}

const OUTCOMES: readonly string[] = ['stored', ...Object.keys(CACHE_REASONS)]

/** Counts a response that a handler made, and reports it. */
export function reportFill(events: EventBus, { name, key, reason, entry, ms }: MadeResponse): void {
  events.counts.row('fill', name, OUTCOMES).count(reason ?? 'stored')
  events.counts.durations('fill', name).add(ms)
  if (!events.hasListeners('fill')) return
  events.emit('fill', {
    name,
    type: entry ? 'stored' : 'not-stored',
    key,
    reason,
    bytes: entry?.body.length,
    ttlMs: entry && Math.max(0, entry.freshUntil - entry.storedAt),
    ms,
  })
}
