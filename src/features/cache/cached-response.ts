/** A response as an entry stores it. */
import { createHash } from 'node:crypto'
import type { CacheEntry } from '../../caching/entry.ts'
import { compress } from './content-coding.ts'
import { directivesOf } from './directives.ts'
import { dateOf, fieldOf, type Candidate } from './freshness.ts'
import { endToEndFields, type Sharing } from './policy.ts'

/** A header field. A list is sent as several fields. */
export type StoredField = [name: string, value: string | readonly string[]]

/** What an entry of the response cache holds besides its body. */
export interface CachedResponse {
  readonly status: number
  readonly fields: readonly StoredField[]
  /** Names of outer fields that the handler has removed. */
  readonly removed: readonly string[]
  /** To which requests it may be sent. */
  readonly sharing: Sharing
  readonly etag: string | undefined
  /** In ms since the epoch. */
  readonly lastModified: number | undefined
  /** True if the handler set a validator. False if `etag` was generated here. */
  readonly hasOwnValidators: boolean
  /** The response's own Content-Encoding. */
  readonly coding: string | undefined
  /** True if the body must not be recoded: Cache-Control says no-transform, or there is a digest of it. */
  readonly isFixed: boolean
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

/** Entries share what was parsed once, so it is checked once. */
const checked = new WeakSet<object>()

/** Returns whether an entry holds a response that can be sent. Anybody may have written to Redis. */
export function isCachedResponse({ extra }: CacheEntry): boolean {
  const response = extra as Partial<CachedResponse>
  if (checked.has(response)) return true
  const { status, fields, removed, vary, length } = response
  const isWellFormed =
    Number.isInteger(status) &&
    status! >= 200 &&
    status! <= 599 &&
    Number.isSafeInteger(length) &&
    Array.isArray(fields) &&
    fields.every(isField) &&
    [removed, vary].every((names) => Array.isArray(names) && names.every(isString))
  if (isWellFormed) checked.add(response)
  return isWellFormed
}

const isString = (value: unknown): boolean => typeof value === 'string'

const isField = (field: unknown): boolean =>
  Array.isArray(field) &&
  field.length === 2 &&
  isString(field[0]) &&
  (isString(field[1]) || (Array.isArray(field[1]) && field[1].every(isString)))

/** Returns the request headers that responses vary by, if the entry is the resource's marker. */
export const varyIn = (entry: CacheEntry | undefined): readonly string[] | undefined =>
  (entry?.extra as VaryMarker | undefined)?.marker

/** Fields with a digest of the body in the coding in which it was sent (RFC 9530). */
const DIGESTS = ['content-digest', 'content-md5', 'digest', 'repr-digest'] as const

/** What a response does not say of itself. */
export type CachedResponseOptions = Pick<CachedResponse, 'removed' | 'sharing' | 'vary' | 'variant'>

/** Returns a weak validator for a body (RFC 9110, 8.8.1): an outer compressor may recode it. */
const etagFor = (body: Buffer): string =>
  `W/"${createHash('sha256').update(body).digest('base64url').slice(0, 27)}"`

/** Returns the part of an entry that describes the response. */
export function cachedResponse(
  response: Candidate & { body: Buffer },
  { removed, sharing, vary, variant }: CachedResponseOptions,
): CachedResponse {
  const etag = fieldOf(response, 'etag')
  const lastModified = dateOf(fieldOf(response, 'last-modified'))
  const coding = fieldOf(response, 'content-encoding')?.toLowerCase()
  return {
    status: response.status,
    fields: endToEndFields(response),
    removed,
    sharing,
    etag: etag ?? etagFor(response.body),
    lastModified,
    hasOwnValidators: etag !== undefined || lastModified !== undefined,
    coding: coding === 'identity' ? undefined : coding,
    isFixed:
      directivesOf(fieldOf(response, 'cache-control')).has('no-transform') ||
      DIGESTS.some((name) => fieldOf(response, name) !== undefined),
    isPacked: false,
    length: response.body.length,
    vary,
    variant,
  }
}

/**
 * Returns a stored response with the fields of a 304 (RFC 9111, 3.2 and 4.3.4). Without a Date of its
 * own the 304 was made just now.
 */
export function refreshedResponse(former: CachedResponse, notModified: Candidate): Candidate {
  const headers = Object.fromEntries([...former.fields, ...endToEndFields(notModified)])
  const { date } = notModified.headers
  if (date === undefined) delete headers['date']
  // They describe the body, which the 304 does not bring.
  for (const name of ['content-encoding', 'content-type', 'content-range']) {
    const own = former.fields.find(([each]) => each === name)
    if (own === undefined) delete headers[name]
    else headers[name] = own[1]
  }
  return { status: former.status, headers }
}

/** Returns whether two responses differ in nothing but their Date. */
export const isSameHead = (a: CachedResponse, b: CachedResponse): boolean =>
  a.status === b.status && JSON.stringify(undated(a)) === JSON.stringify(undated(b))

const undated = ({ fields }: CachedResponse): StoredField[] =>
  fields.filter(([name]) => name !== 'date').toSorted(([a], [b]) => (a < b ? -1 : 1))

/** Returns the entry with its body compressed, if that makes it smaller. Small bodies need no promise. */
export function packEntry(entry: CacheEntry): CacheEntry | Promise<CacheEntry> {
  const response = responseIn(entry)
  if (response.coding !== undefined || response.isFixed) return entry
  const type = response.fields.find(([name]) => name === 'content-type')?.[1]
  const packed = compress(entry.body, String(type ?? ''))
  const withBody = (body: Buffer | undefined): CacheEntry =>
    body === undefined ? entry : { ...entry, body, extra: { ...response, isPacked: true } }
  return packed instanceof Promise ? packed.then(withBody) : withBody(packed)
}
