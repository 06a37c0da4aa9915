/** Responses that are sent again, and the header fields that are stored for them. */
import type { HeaderFields, Reply } from '../../http/exchange.ts'
import type { StoredResponse } from './stored-response.ts'

/** Fields that describe the response itself. */
const USUAL = [
  'accept-ranges',
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-location',
  'content-range',
  'content-type',
  'etag',
  'expires',
  'last-modified',
  'link',
  'location',
  'retry-after',
  'vary',
  'warning',
]

/** Fields of one connection, one moment or one visit. Another client must not get them. */
export const NEVER_STORED: readonly string[] = [
  'set-cookie',
  'date',
  'connection',
  'keep-alive',
  'transfer-encoding',
  'trailer',
  'upgrade',
]

/** Returns the function that selects the fields to be stored. @param more names, in any case */
export function createHeaderFilter(
  more: readonly string[],
): (headers: HeaderFields, method: string) => HeaderFields {
  const allowed = new Set([...USUAL, ...more.map((name) => name.toLowerCase())])
  return (headers, method) => {
    const stored: HeaderFields = {}
    for (const field in headers) {
      const name = field.toLowerCase()
      // The length is all that HEAD tells of the body.
      if (allowed.has(name) || (method === 'HEAD' && name === 'content-length'))
        stored[field] = headers[field]!
    }
    return stored
  }
}

export const replayOf = ({ status, headers }: StoredResponse, body: Buffer): Reply => ({
  status,
  headers: { ...headers, 'Idempotency-Replayed': 'true' },
  ...(body.length > 0 && { body }),
})
