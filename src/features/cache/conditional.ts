/** Conditional requests and ranges (RFC 9110, 13 and 14), answered from what is stored. */

export interface Validators {
  readonly etag: string | undefined
  /** In ms since the epoch. */
  readonly lastModified: number | undefined
}

const TAG = /(?:W\/)?"[\x21\x23-\x7e\x80-\xff]*"/g
const opaque = (tag: string): string => tag.replace(/^W\//, '')

/** Does the client have this representation already (13.1.2, 13.1.3)? If-None-Match goes first. */
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

/** May a range of this representation be given (13.1.5)? The comparison is strong. */
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
export interface Slice {
  readonly first: number
  readonly last: number
}

/**
 * The one range that is asked for (14.1.2); 'unsatisfiable' where it lies behind the end; undefined
 * where the field asks for several, or cannot be read: then the whole is given.
 */
export function sliceOf(
  range: string | undefined,
  length: number,
): Slice | 'unsatisfiable' | undefined {
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

/** Does the client take this coding (12.5.3)? Without the field it takes any; `identity` always, unless it says otherwise. */
export function acceptsCoding(acceptEncoding: string | undefined, coding: string): boolean {
  if (acceptEncoding === undefined) return coding === 'identity'
  let any: boolean | undefined
  for (const member of acceptEncoding.toLowerCase().split(',')) {
    const [name, ...parameters] = member.split(';').map((part) => part.trim())
    const weight = parameters.find((parameter) => parameter.startsWith('q='))
    const accepted = weight === undefined || Number(weight.slice(2)) > 0
    if (name === coding || (coding === 'gzip' && name === 'x-gzip')) return accepted
    if (name === '*') any = accepted
  }
  return any ?? coding === 'identity'
}
