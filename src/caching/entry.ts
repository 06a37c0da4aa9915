/**
 * The stored form of an entry. Deadlines are computed when an entry is stored, so that a hit only
 * compares numbers.
 */
import { crc32 } from 'node:zlib'
import { MAX_ENTRY_TAGS } from './tags.ts'

/** A stored response or value, with what decides whether it may still be used. */
export interface CacheEntry {
  /** The invalidation log that was in force when the fill began. */
  readonly nonce: string
  /** The log's sequence at that time. A later invalidation of one of the tags makes the entry invalid. */
  readonly sequence: number
  readonly tags: readonly string[]
  /** What patterns are matched against: a path or a key. */
  readonly name: string
  /** When it was stored, in ms since the epoch by the store's clock. */
  readonly storedAt: number
  /** How old it was when it was stored, in ms. */
  readonly initialAge: number
  /** When it stops being fresh. */
  readonly freshUntil: number
  /** Until when it may be served while it is revalidated. */
  readonly staleUntil: number
  /** Until when it may be served instead of an error. */
  readonly errorUntil: number
  /** Until when it is kept, so that the handler can be asked if it is still current. */
  readonly keptUntil: number
  /** How long the fill took, in ms. */
  readonly cost: number
  /** The feature's own data: a response's status and fields, for example. */
  readonly extra: unknown
  readonly body: Buffer
}

/*
 * The layout: MAGIC, 13 digits of `freshUntil` (scripts read and set them), the length of the
 * metadata, the metadata as JSON, its CRC-32, the body.
 */
const MAGIC = 'TPC1'
const DIGITS = 13
const PREFIX = MAGIC.length + DIGITS + 4
const CHECKSUM = 4

/** Returns how an entry's metadata begins. Scripts recognise an entry by it. */
export const metadataPrefix = ({ nonce, sequence }: CacheEntry): string =>
  `${JSON.stringify([nonce, sequence]).slice(0, -1)},`

/** Returns an entry as one binary string. */
export function encodeEntry(entry: CacheEntry): Buffer {
  const { nonce, sequence, tags, name, storedAt, initialAge, cost, extra, body } = entry
  // Rounded down like `freshUntil`. Otherwise what may not be stale is so for a part of a millisecond.
  const { staleUntil, errorUntil, keptUntil } = entry
  const metadata = JSON.stringify([
    nonce,
    sequence,
    tags,
    name,
    storedAt,
    initialAge,
    ...[staleUntil, errorUntil, keptUntil].map(Math.floor),
    cost,
    extra,
  ])
  const length = Buffer.byteLength(metadata)
  const end = PREFIX + length
  const bytes = Buffer.allocUnsafe(end + CHECKSUM + body.length)
  bytes.write(MAGIC + String(Math.floor(entry.freshUntil)).padStart(DIGITS, '0'), 0, 'latin1')
  bytes.writeUInt32BE(length, PREFIX - 4)
  bytes.write(metadata, PREFIX, 'utf8')
  bytes.writeUInt32BE(crc32(bytes.subarray(PREFIX, end)), end)
  body.copy(bytes, end + CHECKSUM)
  return bytes
}

/** What stands before a body, and the entry that was read from it. */
export interface EntryHead {
  readonly bytes: Buffer
  readonly entry: CacheEntry
}

/** Returns the head of an entry that was read. The bytes are copied, so that the body can be freed. */
export const entryHeadOf = (bytes: Buffer, entry: CacheEntry): EntryHead => ({
  bytes: Buffer.from(bytes.subarray(0, bytes.length - entry.body.length)),
  entry: { ...entry, body: Buffer.alloc(0) },
})

/** Returns the entry if its head equals one that was read before: then there is nothing to parse. */
export function decodeWithKnownHead(bytes: Buffer, head: EntryHead): CacheEntry | undefined {
  const { length } = head.bytes
  if (bytes.length < length || head.bytes.compare(bytes, 0, length) !== 0) return undefined
  return { ...head.entry, body: bytes.subarray(length) }
}

/** Returns the entry in a stored value. Undefined for another version, a broken entry and anything else. */
export function decodeEntry(bytes: Buffer): CacheEntry | undefined {
  if (bytes.length < PREFIX || bytes.toString('latin1', 0, MAGIC.length) !== MAGIC) return undefined
  const end = PREFIX + bytes.readUInt32BE(PREFIX - 4)
  if (end + CHECKSUM > bytes.length) return undefined
  if (crc32(bytes.subarray(PREFIX, end)) !== bytes.readUInt32BE(end)) return undefined
  const metadata = metadataIn(bytes.toString('utf8', PREFIX, end))
  if (metadata === undefined) return undefined
  const [nonce, sequence, tags, name, storedAt, initialAge, ...rest] = metadata
  const [staleUntil, errorUntil, keptUntil, cost, extra] = rest
  const freshUntil = Number(bytes.toString('latin1', MAGIC.length, MAGIC.length + DIGITS))
  const body = bytes.subarray(end + CHECKSUM)
  return {
    nonce,
    sequence,
    tags,
    name,
    storedAt,
    initialAge,
    freshUntil,
    staleUntil,
    errorUntil,
    keptUntil,
    cost,
    extra,
    body,
  }
}

type Deadlines = [staleUntil: number, errorUntil: number, keptUntil: number]
type Metadata = [string, number, string[], string, number, number, ...Deadlines, number, unknown]
const TYPES = ['string', 'number', 'object', 'string', ...Array(6).fill('number')] as const
const LENGTH = TYPES.length + 1

/** Returns metadata that has the right shape. What stands in Redis may have been written by anybody. */
function metadataIn(text: string): Metadata | undefined {
  let metadata: unknown
  try {
    metadata = JSON.parse(text)
  } catch {
    return undefined
  }
  if (!Array.isArray(metadata) || metadata.length !== LENGTH) return undefined
  const tags: unknown = metadata[2]
  const isWellFormed =
    TYPES.every((type, i) => typeof metadata[i] === type) &&
    Array.isArray(tags) &&
    tags.length <= MAX_ENTRY_TAGS &&
    tags.every((tag) => typeof tag === 'string') &&
    typeof metadata[LENGTH - 1] === 'object' &&
    metadata[LENGTH - 1] !== null
  return isWellFormed ? (metadata as Metadata) : undefined
}

/** Returns how long the store keeps an entry, in ms: as long as anything may be served from it. */
export const entryTtl = (entry: CacheEntry): number =>
  Math.max(1, Math.ceil(lastUseOf(entry) - entry.storedAt))

/** Returns when nothing can be done with an entry any more. */
export const lastUseOf = ({ freshUntil, staleUntil, errorUntil, keptUntil }: CacheEntry): number =>
  Math.max(freshUntil, staleUntil, errorUntil, keptUntil)
