/** Revalidating a stale entry in the background. */
import type { LookupResult } from '../../caching/entry-keys.ts'
import type { SharedEntry } from '../../caching/fill.ts'
import { deadlinesOf } from '../../caching/validity.ts'
import type { CacheLookup } from './cache-lookup.ts'
import type { CacheMount } from './mount.ts'
import { CONDITIONS } from './reply.ts'

/** Returns whether this request refreshes a fresh entry before it expires (Vattani et al., VLDB 2015). */
export function isEarlyRefresh<Native>(
  { refreshesInBackground, waitMs }: CacheMount<Native>,
  { entry, validUntil, now }: SharedEntry,
): boolean {
  if (!refreshesInBackground || waitMs === 0 || entry.cost === 0) return false
  if (entry.staleUntil <= entry.freshUntil) return false
  const ahead = entry.cost * -Math.log(1 - Math.random())
  return now + ahead >= deadlinesOf(entry, validUntil ?? Infinity).fresh
}

/**
 * Sends a copy of a request through the application, to revalidate an entry. Returns whether the
 * entry is being revalidated.
 */
export function refreshInBackground<Native>(
  lookup: CacheLookup<Native>,
  { lease }: LookupResult,
): boolean {
  const { x, keys, engine, mount } = lookup
  const { refreshing, cacheStore } = engine
  if (refreshing.has(keys.entry)) return true
  if (!mount.refreshesInBackground) return false
  const token = lease === 'ours' ? lookup.token : ''
  // Without the sender's cookies. Otherwise a shared entry could become the sender's own.
  const hidden = [...CONDITIONS, 'cookie', 'cache-control', 'pragma']
  refreshing.set(keys.entry, token)
  const over = x.sendInBackground(Object.fromEntries(hidden.map((name) => [name, undefined])))
  if (over === undefined) {
    refreshing.delete(keys.entry)
    return false
  }
  lookup.token = ''
  void over.finally(() => {
    refreshing.delete(keys.entry)
    if (token !== '') cacheStore.leases.release(keys.lease, token)
  })
  return true
}
