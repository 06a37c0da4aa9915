/** The entry of a response: made from it, compared with the one before, stored. */
import type { CacheEntry } from '../../caching/entry.ts'
import type { LogPosition } from '../../caching/invalidation-log.ts'
import type { CacheLookup } from './cache-lookup.ts'
import {
  cachedResponse,
  isSameHead,
  packEntry,
  responseIn,
  type CachedResponse,
} from './cached-response.ts'
import type { Candidate } from './freshness.ts'
import { varyOf, type StorageTerms } from './policy.ts'
import { variantOf } from './resource.ts'

/** What an entry is made of, besides what the request asks for. */
export interface EntryParts {
  readonly response: Candidate & { body: Buffer }
  readonly terms: StorageTerms
  /** The entry that the response has revalidated. Undefined: the response is whole. */
  readonly former: CacheEntry | undefined
  /** The log's position before the handler ran. Undefined: the entry is not stored. */
  readonly position: LogPosition | undefined
  readonly tags: readonly string[]
  /** Request headers that inner caches vary by. */
  readonly vary: readonly string[]
  /** Names of outer fields that the handler has removed. */
  readonly removed: readonly string[]
  /** How long the fill took, in ms. */
  readonly cost: number
}

/** Returns the entry of a response. */
export function createEntry<Native>(
  { mount, resource, now, header }: CacheLookup<Native>,
  { response, terms, former, position, tags, vary: inner, removed, cost }: EntryParts,
): CacheEntry {
  const { freshFor, staleFor, errorFor, keptFor, initialAge, sharing } = terms
  const vary = [...new Set([...varyOf(response), ...mount.vary, ...inner])].sort()
  const variant = vary.length > 0 ? variantOf(vary, header) : ''
  // The time at which the response was made stays with it (RFC 9111, 4).
  const headers = { date: new Date(now).toUTCString(), ...response.headers }
  const stored = cachedResponse({ ...response, headers }, { removed, sharing, vary, variant })
  const { isPacked, length } = former ? responseIn(former) : stored
  const freshUntil = now + freshFor
  return {
    nonce: position?.nonce ?? '',
    sequence: position?.sequence ?? 0,
    tags,
    name: resource.name,
    storedAt: now,
    initialAge,
    freshUntil,
    staleUntil: freshUntil + staleFor,
    errorUntil: freshUntil + errorFor,
    keptUntil: keptFor > 0 ? Math.max(freshUntil, now) + keptFor : freshUntil,
    cost,
    extra: { ...stored, isPacked, length } satisfies CachedResponse,
    body: response.body,
  }
}

/** Returns whether each request has to revalidate an entry. Then it is of no use to waiting requests. */
export const isNeverFresh = ({ freshUntil, storedAt }: CacheEntry): boolean =>
  freshUntil <= storedAt

/**
 * Returns whether the entry that was revalidated does as well as the new one. Otherwise what is never
 * fresh would be written for each request.
 */
export const isStillGood = (
  former: CacheEntry,
  { storedAt, keptUntil, extra }: CacheEntry,
): boolean =>
  former.keptUntil - storedAt > (keptUntil - storedAt) / 2 &&
  isSameHead(responseIn(former), extra as CachedResponse)

/** Stores an entry. A failure is only reported as an event. */
export async function storeEntry<Native>(
  { engine, mount, keys, resourceKeys }: CacheLookup<Native>,
  entry: CacheEntry,
  token: string,
): Promise<void> {
  const packed = mount.options.compress === false ? entry : await packEntry(entry)
  await engine.save(mount.name, { keys, entry: packed, token, resourceKeys })
}
