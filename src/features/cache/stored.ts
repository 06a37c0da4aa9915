/** A response as an entry: what is stored, and how its body is coded. */
import { createHash } from 'node:crypto'
import { brotliDecompress, gunzip, gzip, gzipSync, inflate } from 'node:zlib'
import { promisify } from 'node:util'
import type { CacheEntry } from '../../caching/entry.ts'
import { dateOf, fieldOf, storedFields, type Candidate } from './policy.ts'

export type Field = [name: string, value: string | readonly string[]]

/** What an entry of the response cache holds besides its body. */
export interface Stored {
  readonly status: number
  readonly fields: readonly Field[]
  readonly etag: string | undefined
  readonly lastModified: number | undefined
  /** The validators are the response's own, not made here. */
  readonly own: boolean
  /** The response's own Content-Encoding. */
  readonly coding: string | undefined
  /** The body is kept in gzip, for our own sake. */
  readonly packed: boolean
  /** The length of the body as it was. */
  readonly length: number
  /** The request headers that it varies by, and which variant of them it is. */
  readonly vary: readonly string[]
  readonly variant: string
}

/** What stands at the resource's own key when its responses vary. */
export interface Marker {
  readonly marker: readonly string[]
}

export const storedIn = (entry: CacheEntry): Stored => entry.extra as Stored
export const markerIn = (entry: CacheEntry | undefined): readonly string[] | undefined =>
  (entry?.extra as Marker | undefined)?.marker

const TEXT =
  /^(?:text\/|application\/(?:[\w.+-]*\+)?(?:json|xml|javascript|x-javascript|ld)|image\/svg\+xml)/i
const PACK_FROM = 1024
/** Compressing this much takes less than a millisecond; more is done beside the event loop. */
const PACK_AT_ONCE = 32_768

/** A weak validator for a body (RFC 9110, 8.8.1): a compressor further out may recode it. */
export const etagFor = (body: Buffer): string =>
  `W/"${createHash('sha256').update(body).digest('base64url').slice(0, 27)}"`

/** The part of an entry that is about the response. @param varied the request's variant by its Vary */
export function storedOf(
  response: Candidate & { body: Buffer },
  vary: readonly string[],
  variant: string,
): Stored {
  const etag = fieldOf(response, 'etag')
  const lastModified = dateOf(fieldOf(response, 'last-modified'))
  const coding = fieldOf(response, 'content-encoding')?.toLowerCase()
  return {
    status: response.status,
    fields: storedFields(response),
    etag: etag ?? etagFor(response.body),
    lastModified,
    own: etag !== undefined || lastModified !== undefined,
    coding: coding === 'identity' ? undefined : coding,
    packed: false,
    length: response.body.length,
    vary,
    variant,
  }
}

/** The entry with its body compressed, where that is worth it; at once for small ones. */
export function packed(entry: CacheEntry): CacheEntry | Promise<CacheEntry> {
  const stored = storedIn(entry)
  const type = String(stored.fields.find(([name]) => name === 'content-type')?.[1] ?? '')
  if (stored.coding !== undefined || entry.body.length <= PACK_FROM || !TEXT.test(type))
    return entry
  const withBody = (body: Buffer): CacheEntry =>
    body.length < entry.body.length * 0.9
      ? { ...entry, body, extra: { ...stored, packed: true } satisfies Stored }
      : entry
  if (entry.body.length <= PACK_AT_ONCE) return withBody(gzipSync(entry.body, { level: 1 }))
  return promisify(gzip)(entry.body, { level: 1 }).then(withBody)
}

const DECODERS: Record<string, (body: Buffer) => Promise<Buffer>> = {
  gzip: promisify<Buffer, Buffer>(gunzip),
  'x-gzip': promisify<Buffer, Buffer>(gunzip),
  br: promisify<Buffer, Buffer>(brotliDecompress),
  deflate: promisify<Buffer, Buffer>(inflate),
}

/** Can a body in this coding be decoded here? */
export const isDecodable = (coding: string): boolean => Object.hasOwn(DECODERS, coding)

/** A body without its coding. */
export const decoded = async (body: Buffer, coding: string): Promise<Buffer> =>
  await DECODERS[coding]!(body)
