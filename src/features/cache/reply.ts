/** Replies from an entry: whole, not modified, or a range. */
import type { CacheEntry } from '../../caching/entry.ts'
import type { HeaderFields, Reply, RequestHead } from '../../http/exchange.ts'
import { headerOf } from '../../http/headers.ts'
import { byteRangeOf, isSameRange, isUnchanged } from './conditional.ts'
import { acceptsCoding, decode, isDecodable } from './content-coding.ts'
import { dateOf } from './freshness.ts'
import { responseIn } from './cached-response.ts'

/** Fields that describe a body. A 304 has none. It keeps the others, as frameworks' own ones do. */
const OF_THE_BODY = [
  'content-encoding',
  'content-language',
  'content-length',
  'content-range',
  'content-type',
  'trailer',
  'transfer-encoding',
]

/** Fields that ask for less than the whole response. A handler that fills must not see them. */
export const CONDITIONS = ['if-none-match', 'if-modified-since', 'if-range', 'range'] as const

/** Returns whether a request asks for less than the whole response. */
export const isConditional = ({ headers }: RequestHead): boolean =>
  headers['if-none-match'] !== undefined ||
  headers['if-modified-since'] !== undefined ||
  headers['if-range'] !== undefined ||
  headers.range !== undefined

/** Returns the age of an entry in seconds (RFC 9111, 4.2.3). */
export const ageOf = ({ storedAt, initialAge }: CacheEntry, now: number): number =>
  Math.max(0, Math.floor((now - storedAt + initialAge) / 1000))

/** Returns whether an entry can be sent to a client, decoded here if necessary. */
export function isAcceptable(entry: CacheEntry, request: RequestHead): boolean {
  const { coding, isFixed } = responseIn(entry)
  return isReadable(entry, request) || (!isFixed && isDecodable(coding!))
}

/** Returns whether a client can read the body in the coding that the handler gave it. */
export function isReadable(entry: CacheEntry, request: RequestHead): boolean {
  const { coding } = responseIn(entry)
  return coding === undefined || acceptsCoding(request.headers['accept-encoding'], coding)
}

type Fields = Record<string, string | readonly string[]>

/**
 * Returns the reply to a request. It is a promise only if the body has to be decoded.
 * @param added the cache's own fields: Cache-Status and Age
 */
export function replyFrom(
  entry: CacheEntry,
  request: RequestHead,
  added: HeaderFields,
): Reply | Promise<Reply> {
  const stored = responseIn(entry)
  const { status, coding, isPacked, etag, length } = stored
  const headers: Fields = {}
  for (const [name, value] of stored.fields) headers[name] = value
  if (etag !== undefined) headers['etag'] = etag
  const isOk = status === 200
  const asked = request.headers
  const since = dateOf(asked['if-modified-since'])
  if (isOk && isUnchanged(asked['if-none-match'], since, stored))
    return { ...notModified(headers, added), remove: stored.removed }
  Object.assign(headers, added)
  const range = isOk && request.method === 'GET' ? asked.range : undefined
  const ifRange = headerOf(asked, 'if-range')
  if (
    range !== undefined &&
    coding === undefined &&
    isSameRange(ifRange, dateOf(ifRange), stored)
  ) {
    const reply = (body: Buffer): Reply => ({
      ...rangeReply(headers, body, range),
      remove: stored.removed,
    })
    return isPacked ? decode(entry.body, 'gzip', length).then(reply) : reply(entry.body)
  }
  return wholeReply(entry, request, headers)
}

/** Returns a 304 (RFC 9110, 15.4.5). */
export function notModified(fields: HeaderFields, added: HeaderFields): Reply {
  const headers = { ...fields, ...added }
  for (const name of OF_THE_BODY) delete headers[name]
  return { status: 304, headers }
}

function wholeReply(
  entry: CacheEntry,
  request: RequestHead,
  headers: Fields,
): Reply | Promise<Reply> {
  const { status, coding, isPacked, etag, length, removed: remove } = responseIn(entry)
  const { body } = entry
  const accepted = request.headers['accept-encoding']
  // Another representation than the one that a strong validator was made for (RFC 9110, 8.8.3.3).
  const weakEtag = etag !== undefined && !etag.startsWith('W/') ? `W/${etag}` : etag
  const reply = (body: Buffer): Reply => ({ status, headers, remove, body })
  if (isPacked) {
    headers['vary'] = withMember(headers['vary'], 'Accept-Encoding')
    if (!acceptsCoding(accepted, 'gzip')) return decode(body, 'gzip', length).then(reply)
    headers['content-encoding'] = 'gzip'
    if (weakEtag !== undefined) headers['etag'] = weakEtag
  } else if (coding !== undefined && !acceptsCoding(accepted, coding)) {
    delete headers['content-encoding']
    headers['vary'] = withMember(headers['vary'], 'Accept-Encoding')
    if (weakEtag !== undefined) headers['etag'] = weakEtag
    return decode(body, coding).then(reply)
  }
  return { status, headers, remove, body }
}

function withMember(field: string | readonly string[] | undefined, member: string): string {
  const present = [field ?? []].flat().join(', ')
  return present.toLowerCase().includes(member.toLowerCase())
    ? present
    : [present, member].filter(Boolean).join(', ')
}

/** Returns a 206, a 416, or the whole response (RFC 9110, 14.2). */
function rangeReply(headers: Fields, body: Buffer, range: string): Reply {
  const found = byteRangeOf(range, body.length)
  if (found === undefined) return { status: 200, headers, body }
  if (found === 'unsatisfiable') {
    delete headers['content-type']
    return {
      status: 416,
      headers: { ...headers, 'content-range': `bytes */${body.length}` },
      body: '',
    }
  }
  const { first, last } = found
  headers['content-range'] = `bytes ${first}-${last}/${body.length}`
  // They are digests of the whole.
  delete headers['content-digest']
  delete headers['content-md5']
  // An outer compressor would make the offsets wrong.
  headers['cache-control'] = withMember(headers['cache-control'], 'no-transform')
  return { status: 206, headers, body: body.subarray(first, last + 1) }
}
