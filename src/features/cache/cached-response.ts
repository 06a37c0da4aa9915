/** A response as an entry stores it. */
import { createHash } from 'node:crypto'
import type { CacheEntry } from '../../caching/entry.ts'
import { compress } from './content-coding.ts'
import { dateOf, endToEndFields, fieldOf, type Candidate } from './policy.ts'

/** A header field. A list is sent as several fields. */
export type StoredField = [name: string, value: string | readonly string[]]

/** What an entry of the response cache holds besides its body. */
export interface CachedResponse {
  readonly status: number
  readonly fields: readonly StoredField[]
  readonly etag: string | undefined
  /** In ms since the epoch. */
  readonly lastModified: number | undefined
  /** True if the handler set a validator. False if `etag` was generated here. */
  readonly hasOwnValidators: boolean
  /** The response's own Content-Encoding. */
  readonly coding: string | undefined
  /** True if the body is stored in gzip to save memory. */
  readonly isPacked: boolean
  /** The length of the body before it was packed. */
  readonly length: number
  /** The request headers that the response varies by, and the variant of this one. */
  readonly vary: readonly string[]
  readonly variant: string
}

/** What is stored under a resource's own key when its responses vary. */
export interface VaryMarker {
  readonly marker: readonly string[]
}

/** Returns the response in an entry. */
export const responseIn = (entry: CacheEntry): CachedResponse => entry.extra as CachedResponse

/** Returns the request headers that responses vary by, if the entry is the resource's marker. */
export const varyIn = (entry: CacheEntry | undefined): readonly string[] | undefined =>
  (entry?.extra as VaryMarker | undefined)?.marker

/** Returns a weak validator for a body (RFC 9110, 8.8.1): an outer compressor may recode it. */
const etagFor = (body: Buffer): string =>
  `W/"${createHash('sha256').update(body).digest('base64url').slice(0, 27)}"`

/** Returns the part of an entry that describes the response. */
export function cachedResponse(
  response: Candidate & { body: Buffer },
  vary: readonly string[],
  variant: string,
): CachedResponse {
  const etag = fieldOf(response, 'etag')
  const lastModified = dateOf(fieldOf(response, 'last-modified'))
  const coding = fieldOf(response, 'content-encoding')?.toLowerCase()
  return {
    status: response.status,
    fields: endToEndFields(response),
    etag: etag ?? etagFor(response.body),
    lastModified,
    hasOwnValidators: etag !== undefined || lastModified !== undefined,
    coding: coding === 'identity' ? undefined : coding,
    isPacked: false,
    length: response.body.length,
    vary,
    variant,
  }
}

/** Returns the entry with its body compressed, if that makes it smaller. Small bodies need no promise. */
export function packEntry(entry: CacheEntry): CacheEntry | Promise<CacheEntry> {
  const response = responseIn(entry)
  if (response.coding !== undefined) return entry
  const type = response.fields.find(([name]) => name === 'content-type')?.[1]
  const packed = compress(entry.body, String(type ?? ''))
  const withBody = (body: Buffer | undefined): CacheEntry =>
    body === undefined ? entry : { ...entry, body, extra: { ...response, isPacked: true } }
  return packed instanceof Promise ? packed.then(withBody) : withBody(packed)
}
