/** How many of the requests to caches were answered from one. */

/** Outcomes of requests to a cache that spared the handler. */
const ANSWERED: ReadonlySet<string> = new Set(['hit', 'near', 'stale', 'collapsed'])

/** Requests to caches, and those of them that a cache answered. */
export interface CacheRequests {
  readonly asked: number
  readonly answered: number
}

/**
 * Adds up counts of minutes. Requests that no cache may answer do not count.
 * @param counts `<kind>:<name>:<outcome>` and their number
 */
export function cacheRequestsOf(counts: Iterable<readonly [string, number]>): CacheRequests {
  let [asked, answered] = [0, 0]
  for (const [field, count] of counts) {
    const [kind, , outcome = ''] = field.split(':')
    if (kind !== 'cache' || outcome === 'bypass') continue
    asked += count
    if (ANSWERED.has(outcome)) answered += count
  }
  return { asked, answered }
}
