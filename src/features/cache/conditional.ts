/** Conditional requests and ranges (RFC 9110, 13 and 14). */

/** What conditions are compared with. */
export interface Validators {
  readonly etag: string | undefined
  /** In ms since the epoch. */
  readonly lastModified: number | undefined
}

const TAG = /(?:W\/)?"[\x21\x23-\x7e\x80-\xff]*"/g
const opaque = (tag: string): string => tag.replace(/^W\//, '')

/** Returns whether the client has this representation (13.1.2, 13.1.3). If-None-Match is evaluated first. */
export function isUnchanged(
  ifNoneMatch: string | undefined,
  ifModifiedSince: number | undefined,
  { etag, lastModified }: Validators,
): boolean {
  if (ifNoneMatch !== undefined) {
    if (ifNoneMatch.trim() === '*') return true
    // The comparison is weak (8.8.3.2).
    return (
      etag !== undefined &&
      (ifNoneMatch.match(TAG) ?? []).some((tag) => opaque(tag) === opaque(etag))
    )
  }
  return (
    ifModifiedSince !== undefined && lastModified !== undefined && lastModified <= ifModifiedSince
  )
}

/** Returns whether a range of this representation may be sent (13.1.5). The comparison is strong. */
export function isSameRange(
  ifRange: string | undefined,
  date: number | undefined,
  { etag, lastModified }: Validators,
): boolean {
  if (ifRange === undefined) return true
  if (ifRange.includes('"')) return ifRange === etag && !ifRange.startsWith('W/')
  return date !== undefined && date === lastModified
}

/** Bytes `first` to `last`, both included. */
export interface ByteRange {
  readonly first: number
  readonly last: number
}

/**
 * Returns the range that a request asks for (14.1.2), or 'unsatisfiable' if it begins behind the end.
 * Undefined if the field asks for several or cannot be read: then the whole body is sent.
 */
export function byteRangeOf(
  range: string | undefined,
  length: number,
): ByteRange | 'unsatisfiable' | undefined {
  const match = /^bytes=\s*(\d*)-(\d*)\s*$/i.exec(range ?? '')
  if (!match || (match[1] === '' && match[2] === '')) return undefined
  if (match[1] === '') {
    const count = Math.min(Number(match[2]), length)
    return count === 0 ? 'unsatisfiable' : { first: length - count, last: length - 1 }
  }
  const first = Number(match[1])
  const last = match[2] === '' ? Infinity : Number(match[2])
  if (last < first) return undefined
  return first >= length ? 'unsatisfiable' : { first, last: Math.min(last, length - 1) }
}
