/** Responses that are sent again, and the header fields that are stored for them. */
import type { HeaderFields, Reply } from '../../http/exchange.ts'
import type { StoredResponse } from './stored-response.ts'

/** Fields of one connection, one moment or one visit. Another client must not get them. */
const NEVER_STORED = [
  'set-cookie',
  'set-cookie2',
  'date',
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]

/** Selects the fields to be stored. @param connection the field Connection */
export type HeaderFilter = (
  headers: HeaderFields,
  method: string,
  connection: string | undefined,
) => HeaderFields

/**
 * Returns the function that selects the fields to be stored: all that were set inside the mount,
 * except those above, and those that Connection names (RFC 9110, 7.6.1).
 * @param omitted names of more fields, in any case
 */
export function createHeaderFilter(omitted: readonly string[]): HeaderFilter {
  const never = new Set([...NEVER_STORED, ...omitted.map((name) => name.toLowerCase())])
  return (headers, method, connection) => {
    const named = connection?.toLowerCase().split(/[\s,]+/)
    const stored: HeaderFields = {}
    for (const field in headers) {
      const name = field.toLowerCase()
      // The body tells its length, except after HEAD.
      if (name === 'content-length' && method !== 'HEAD') continue
      if (!never.has(name) && !named?.includes(name)) stored[field] = headers[field]!
    }
    return stored
  }
}

export const replayOf = ({ status, headers, removed }: StoredResponse, body: Buffer): Reply => ({
  status,
  headers: { ...headers, 'Idempotency-Replayed': 'true' },
  remove: removed,
  ...(body.length > 0 && { body }),
})
