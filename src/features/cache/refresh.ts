/** Revalidating a stale entry in the background. */
import type { LookupResult } from '../../caching/entry-keys.ts'
import { decideFill, type FillDecision, type SharedEntry } from '../../caching/fill.ts'
import { deadlinesOf, entryState } from '../../caching/validity.ts'
import { reportFailureOf } from '../failure-rule.ts'
import type { CacheLookup } from './cache-lookup.ts'
import { responseIn } from './cached-response.ts'
import type { CacheMount } from './mount.ts'
import { CONDITIONS } from './reply.ts'

/** Decides what to do about an entry that was found. @param hasFlight this process is filling it */
export function decideFor<Native>(
  lookup: CacheLookup<Native>,
  found: LookupResult,
  hasFlight: boolean,
): FillDecision {
  const { backoff, cacheStore } = lookup.engine
  return decideFill({
    entry: entryState(found),
    lease: found.lease,
    hasFlight,
    mayWait: lookup.mayWait(),
    backsOff: backoff.isActive(lookup.keys.entry, cacheStore.store.monotonic()),
  })
}

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

/** Fields that a copy of a request does not have. With its cookies, a shared entry could become its sender's own. */
const HIDDEN = Object.fromEntries(
  [...CONDITIONS, 'cookie', 'cache-control', 'pragma'].map((name) => [name, undefined]),
)

/**
 * Sends a copy of a request through the application, to revalidate an entry. Returns whether the
 * entry is being revalidated. A copy without cookies may belong to another variant: then the request
 * itself has to revalidate.
 */
export function refreshInBackground<Native>(
  lookup: CacheLookup<Native>,
  { entry, lease }: LookupResult & SharedEntry,
): boolean {
  const { x, keys, engine, mount } = lookup
  const { refreshes, cacheStore } = engine
  if (refreshes.isUnderWay(keys.entry)) return true
  const isSameVariant = !responseIn(entry).vary.includes('cookie') && refreshes.canReach(keys.entry)
  if (!mount.refreshesInBackground || !isSameVariant) return false
  const token = lease === 'ours' ? lookup.token : ''
  refreshes.begin(keys.entry, token)
  const over = x.sendInBackground(HIDDEN)
  if (over === undefined) {
    refreshes.end(keys.entry, false)
    return false
  }
  lookup.token = ''
  const ended = over.finally(() => {
    refreshes.end(keys.entry, true)
    if (token !== '') cacheStore.leases.release(keys.lease, token)
  })
  // A listener of the server may throw: it would end the process.
  reportFailureOf(engine.context.events, { feature: 'cache', name: mount.name }, ended)
  return true
}
