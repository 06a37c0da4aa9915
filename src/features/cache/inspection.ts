/** Reads cached responses in another process, without a script. */
import { decodeEntry, type CacheEntry } from '../../caching/entry.ts'
import { logFieldsFor } from '../../caching/invalidation-operations.ts'
import { entryState, parseSnapshot, validUntil, type EntryState } from '../../caching/validity.ts'
import type { Exchange } from '../../http/exchange.ts'
import type { KeySpace } from '../../store/keys.ts'
import { isCachedResponse, responseIn, varyIn } from './cached-response.ts'
import { Targets } from './resource.ts'

/** Where the response to a URL is stored. */
export interface UrlKeys {
  readonly entry: string
  /** The invalidation log of the tenant: a hash. */
  readonly log: string
}

/** Returns where a mount without options of its own stores the response to a URL. */
export function keysOfUrl(keys: KeySpace, url: URL, tenant: string | undefined): UrlKeys {
  const log = keys.key('inv', keys.tag('log', tenant))
  const targets = new Targets({
    keysOf: (hash, readable) =>
      ({ entry: keys.key('cache', keys.tag(hash, tenant), readable) }) as never,
    query: undefined,
    tags: [],
    ignoresPort: false,
  })
  const target = `${url.pathname}${url.search}`
  const request = {
    host: url.host,
    secure: url.protocol === 'https:',
    url: target,
    routedUrl: target,
  }
  return { entry: targets.withOwnKey(request as unknown as Exchange, {}).keys.entry, log }
}

/** What is stored under a key. */
export interface InspectedEntry {
  /** Path or own key. */
  readonly name: string
  readonly status: number
  readonly fields: readonly (readonly [name: string, value: string | readonly string[]])[]
  readonly tags: readonly string[]
  /** In ms since the epoch. */
  readonly storedAt: number
  readonly freshUntil: number
  readonly staleUntil: number
  /** Length of the body in bytes, and as it is stored. */
  readonly length: number
  readonly storedLength: number
  /** How long the handler took, in ms. */
  readonly cost: number
  readonly entry: CacheEntry
}

/** Returns the response in a stored value, the header names that it varies by, or undefined. */
export function inspectEntry(
  bytes: Buffer,
): InspectedEntry | { readonly vary: readonly string[] } | undefined {
  const entry = decodeEntry(bytes)
  if (entry === undefined) return undefined
  const vary = varyIn(entry)
  if (Array.isArray(vary)) return { vary: vary.map(String) }
  if (!isCachedResponse(entry)) return undefined
  const { fields, length, status } = responseIn(entry)
  const { body, cost, freshUntil, name, staleUntil, storedAt, tags } = entry
  const storedLength = body.length
  return {
    name,
    status,
    fields,
    tags,
    storedAt,
    freshUntil,
    staleUntil,
    length,
    storedLength,
    cost,
    entry,
  }
}

/** Returns the fields of the invalidation log that decide on an entry. */
export const logFieldsOf = ({ tags }: Pick<CacheEntry, 'tags'>): string[] => logFieldsFor(tags)

/** Returns what a response may still be used for. @param log values of `logFieldsOf` */
export function usabilityOf(
  entry: CacheEntry,
  log: readonly (string | null)[],
  now: number,
): EntryState | 'invalidated' {
  const valid = validUntil(entry, parseSnapshot(entry.tags, log), now)
  return valid === undefined ? 'invalidated' : entryState({ entry, validUntil: valid, now })
}
