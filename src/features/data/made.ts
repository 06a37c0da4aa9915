/** A value as the entry that it is kept in. */
import type { CacheEntry } from '../../caching/entry.ts'
import type { LogPosition } from '../../caching/invalidation-log.ts'
import type { Keeping } from './settings.ts'
import type { Written } from './value.ts'

/** @param storedAt by the store's clock; @param cost how long making it took; both in ms */
export function made(
  name: string,
  { written, body }: { written: Written; body: Buffer },
  { ttl, tags, staleFor, errorFor }: Keeping,
  origin: LogPosition,
  storedAt: number,
  cost: number,
): CacheEntry {
  const freshUntil = storedAt + ttl
  return {
    ...origin,
    tags,
    name,
    storedAt,
    initialAge: 0,
    freshUntil,
    staleUntil: freshUntil + staleFor,
    errorUntil: freshUntil + errorFor,
    cost,
    extra: written,
    body,
  }
}
