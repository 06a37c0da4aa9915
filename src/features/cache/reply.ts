/** Answers made of an entry: whole, not modified, or a range. */
import type { CacheEntry } from '../../caching/entry.ts'
import type { Exchange, HeaderFields, Reply } from '../../http/exchange.ts'
import { acceptsCoding, isSameRange, isUnchanged, sliceOf } from './conditional.ts'
import { dateOf } from './policy.ts'
import { decoded, storedIn, isDecodable } from './stored.ts'

/** The fields of a 304 (RFC 9110, 15.4.5). */
const OF_304 = new Set(['cache-control', 'content-location', 'date', 'etag', 'expires', 'vary'])

/** Does the request ask for less than the whole? Then a handler must not see these fields. */
export const CONDITIONS = ['if-none-match', 'if-modified-since', 'if-range', 'range'] as const

/** What an answer depends on. */
export type Asked = Pick<Exchange, 'method' | 'header'>

export const isConditional = (x: Asked): boolean =>
  CONDITIONS.some((name) => x.header(name) !== undefined)

/** How old an entry is, in whole seconds (RFC 9111, 4.2.3). */
export const ageOf = ({ storedAt, initialAge }: CacheEntry, now: number): number =>
  Math.max(0, Math.floor((now - storedAt + initialAge) / 1000))

/** May the entry be sent to this client, decoded here if need be? */
export function isAcceptable(entry: CacheEntry, x: Asked): boolean {
  const { coding } = storedIn(entry)
  return (
    coding === undefined ||
    acceptsCoding(x.header('accept-encoding'), coding) ||
    isDecodable(coding)
  )
}

/** @param added fields of the cache's own: Cache-Status and, for what was stored before, Age */
export function replyFrom(
  entry: CacheEntry,
  x: Asked,
  added: HeaderFields,
): Reply | Promise<Reply> {
  const stored = storedIn(entry)
  const { status, coding, packed, etag } = stored
  const headers: Record<string, string | readonly string[]> = {}
  for (const [name, value] of stored.fields) headers[name] = value
  if (etag !== undefined) headers['etag'] = etag
  const ok = status === 200
  if (ok && isUnchanged(x.header('if-none-match'), dateOf(x.header('if-modified-since')), stored)) {
    for (const name of Object.keys(headers)) if (!OF_304.has(name)) delete headers[name]
    return { status: 304, headers: { ...headers, ...added } }
  }
  Object.assign(headers, added)
  const range = ok && x.method === 'GET' ? x.header('range') : undefined
  if (
    range !== undefined &&
    isSameRange(x.header('if-range'), dateOf(x.header('if-range')), stored) &&
    coding === undefined
  ) {
    const answer = (body: Buffer): Reply => part(headers, body, range)
    return packed ? decoded(entry.body, 'gzip').then(answer) : answer(entry.body)
  }
  return whole(entry, x, headers)
}

function whole(
  entry: CacheEntry,
  x: Asked,
  headers: Record<string, string | readonly string[]>,
): Reply | Promise<Reply> {
  const { status, coding, packed, etag } = storedIn(entry)
  const { body } = entry
  const accepts = x.header('accept-encoding')
  if (packed) {
    headers['vary'] = withMember(headers['vary'], 'Accept-Encoding')
    if (!acceptsCoding(accepts, 'gzip'))
      return decoded(body, 'gzip').then((body) => ({ status, headers, body }))
    headers['content-encoding'] = 'gzip'
    // Another representation than the one that the validator was made for (RFC 9110, 8.8.3.3).
    if (etag !== undefined && !etag.startsWith('W/')) headers['etag'] = `W/${etag}`
  } else if (coding !== undefined && !acceptsCoding(accepts, coding)) {
    delete headers['content-encoding']
    headers['vary'] = withMember(headers['vary'], 'Accept-Encoding')
    if (etag !== undefined && !etag.startsWith('W/')) headers['etag'] = `W/${etag}`
    return decoded(body, coding).then((body) => ({ status, headers, body }))
  }
  return { status, headers, body }
}

function withMember(field: string | readonly string[] | undefined, member: string): string {
  const present = [field ?? []].flat().join(', ')
  return present.toLowerCase().includes(member.toLowerCase())
    ? present
    : [present, member].filter(Boolean).join(', ')
}

/** 206, 416, or the whole (RFC 9110, 14.2). */
function part(
  headers: Record<string, string | readonly string[]>,
  body: Buffer,
  range: string,
): Reply {
  const slice = sliceOf(range, body.length)
  if (slice === undefined) return { status: 200, headers, body }
  if (slice === 'unsatisfiable') {
    delete headers['content-type']
    return {
      status: 416,
      headers: { ...headers, 'content-range': `bytes */${body.length}` },
      body: '',
    }
  }
  const { first, last } = slice
  headers['content-range'] = `bytes ${first}-${last}/${body.length}`
  // A compressor further out would make nonsense of the offsets.
  headers['cache-control'] = withMember(headers['cache-control'], 'no-transform')
  return { status: 206, headers, body: body.subarray(first, last + 1) }
}
