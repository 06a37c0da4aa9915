/** Multipart bodies (RFC 2046, 5.1), compared without their boundaries: clients choose a new one for each attempt. */
import type { Hash } from 'node:crypto'

/** A boundary has up to 70 characters (RFC 2046, 5.1.1). */
const BOUNDARY = /;\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))/i
/** Parts that are compared one by one. The rest counts as one more part, whatever it contains. */
const MAX_PARTS = 1000

/** Returns the boundary that a Content-Type names; undefined if it is not multipart. */
export function boundaryOf(contentType: string): string | undefined {
  if (!/^multipart\//i.test(contentType)) return undefined
  const match = BOUNDARY.exec(contentType)
  return match?.[1] ?? match?.[2]
}

/** Bytes of a body; `length` is the Content-Length. */
interface Bytes {
  bytes: Buffer
  isWhole: boolean
  length: string
}

/** Adds a multipart body to a hash, without its boundaries. */
export function hashMultipart(
  hash: Hash,
  boundary: string,
  { bytes, isWhole, length }: Bytes,
): void {
  const delimiter = `--${boundary}`
  let start = 0
  let count = 0
  /** Content that is still to be compared, in bytes. */
  let left = isWhole ? Infinity : Math.floor(bytes.length / 2)
  while (start <= bytes.length) {
    const found = count < MAX_PARTS ? bytes.indexOf(delimiter, start) : -1
    const end = found < 0 ? bytes.length : found
    const part = bytes.subarray(start, Math.min(end, start + left))
    hash.update(`part ${isWhole ? part.length : ''}`).update(part)
    left -= part.length
    if (found < 0) break
    count++
    start = found + delimiter.length
  }
  // Of a body that was cut, the share of the boundaries differs: a part is compared, and the length without them.
  if (!isWhole) hash.update(`of ${Number(length) - (count + 1) * boundary.length}`)
}
