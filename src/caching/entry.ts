/** How an entry is written down: its deadlines are worked out once, so that a hit compares numbers. */
import { crc32 } from 'node:zlib'

/** Something that is kept for a while, with what decides whether it may still be used. */
export interface CacheEntry {
  /** The record of invalidations that was in force when the entry's making began. */
  readonly nonce: string
  /** Its sequence then: what was invalidated later has hit this entry, if it bears the tag. */
  readonly sequence: number
  readonly tags: readonly string[]
  /** What patterns are matched against: a path, or a key. */
  readonly name: string
  /** When it was stored, in ms since the epoch by the store's clock; and how old it already was. */
  readonly storedAt: number
  readonly initialAge: number
  /** Until when it is fresh; may be served stale while it is made anew; may be served in an error's place. */
  readonly freshUntil: number
  readonly staleUntil: number
  readonly errorUntil: number
  /** How long making it took, in ms. */
  readonly cost: number
  /** The feature's own: a response's status and fields, say. */
  readonly extra: unknown
  readonly body: Buffer
}

const MAGIC = 'TPC1'
/** Magic, 13 digits of freshness (which scripts read and set), the length of the rest of the head; behind that, its CRC-32. */
const DIGITS = 13
const HEAD = MAGIC.length + DIGITS + 4
const CHECK = 4

/** How the head of an entry begins, after its lengths: enough to know it again. */
export const entryHeadPrefix = ({ nonce, sequence }: CacheEntry): string =>
  `${JSON.stringify([nonce, sequence]).slice(0, -1)},`

/** The entry as one binary string. */
export function encodeEntry(entry: CacheEntry): Buffer {
  const {
    nonce,
    sequence,
    tags,
    name,
    storedAt,
    initialAge,
    freshUntil,
    staleUntil,
    errorUntil,
    cost,
    extra,
    body,
  } = entry
  const meta = JSON.stringify([
    nonce,
    sequence,
    tags,
    name,
    storedAt,
    initialAge,
    // Whole as freshness is: what may not be stale must not be so for a part of a millisecond either.
    Math.floor(staleUntil),
    Math.floor(errorUntil),
    cost,
    extra,
  ])
  const length = Buffer.byteLength(meta)
  const end = HEAD + length
  const bytes = Buffer.allocUnsafe(end + CHECK + body.length)
  bytes.write(MAGIC + String(Math.floor(freshUntil)).padStart(DIGITS, '0'), 0, 'latin1')
  bytes.writeUInt32BE(length, HEAD - 4)
  bytes.write(meta, HEAD, 'utf8')
  bytes.writeUInt32BE(crc32(bytes.subarray(HEAD, end)), end)
  body.copy(bytes, end + CHECK)
  return bytes
}

type Meta = [string, number, string[], string, number, number, number, number, number, unknown]

/** What stood before a body, and the entry that it meant. */
export interface EntryHead {
  readonly bytes: Buffer
  readonly entry: CacheEntry
}

/** The head of an entry that was read, by itself: it must not hold on to the body. */
export const entryHeadOf = (bytes: Buffer, entry: CacheEntry): EntryHead => ({
  bytes: Buffer.from(bytes.subarray(0, bytes.length - entry.body.length)),
  entry: { ...entry, body: Buffer.alloc(0) },
})

/** The entry, if it has the same head as one that was read before: then there is nothing to parse. */
export function decodeWithKnownHead(bytes: Buffer, head: EntryHead): CacheEntry | undefined {
  const { length } = head.bytes
  if (bytes.length < length || head.bytes.compare(bytes, 0, length) !== 0) return undefined
  return { ...head.entry, body: bytes.subarray(length) }
}

/** The entry that was written down, or undefined: of another version, broken, or no entry at all. */
export function decodeEntry(bytes: Buffer): CacheEntry | undefined {
  if (bytes.length < HEAD || bytes.toString('latin1', 0, MAGIC.length) !== MAGIC) return undefined
  const end = HEAD + bytes.readUInt32BE(HEAD - 4)
  if (end + CHECK > bytes.length) return undefined
  if (crc32(bytes.subarray(HEAD, end)) !== bytes.readUInt32BE(end)) return undefined
  try {
    const meta = JSON.parse(bytes.toString('utf8', HEAD, end)) as Meta
    const [nonce, sequence, tags, name, storedAt, initialAge, staleUntil, errorUntil, cost, extra] =
      meta
    const freshUntil = Number(bytes.toString('latin1', MAGIC.length, MAGIC.length + DIGITS))
    const body = bytes.subarray(end + CHECK)
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
      cost,
      extra,
      body,
    }
  } catch {
    return undefined
  }
}

/** How long an entry is kept in the store, in ms: as long as anybody may serve it. */
export const entryTtl = ({ storedAt, freshUntil, staleUntil, errorUntil }: CacheEntry): number =>
  Math.max(1, Math.ceil(Math.max(freshUntil, staleUntil, errorUntil) - storedAt))
