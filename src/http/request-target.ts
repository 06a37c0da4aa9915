/** Whether features and handlers surely see the same target, host and scheme of a request. */
import type { IncomingMessage } from 'node:http'

/** A host with or without a port (RFC 3986, 3.2.2), as it may stand in a key: names, addresses, IPv6 in brackets. */
const HOST = /^(?:[a-z0-9_](?:[a-z0-9._-]{0,251}[a-z0-9_.])?|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?$/

/**
 * Origin form (RFC 9112, 3.2.1) without what parsers of URLs cut off or change: a fragment, control
 * characters, blanks, the no-break space, a backslash.
 */
// oxlint-disable-next-line no-control-regex
const REGULAR = /^\/[^\x00-\x20\x7f#\\\xa0]*$/

export const isRegularTarget = (target: string): boolean => REGULAR.test(target)

/**
 * Returns the host that a request is for, in lower case. Undefined if it is missing, doubled or
 * malformed, or if the target names a host of its own (RFC 9112, 3.2.2).
 * @param isTrusted true if X-Forwarded-Host may be believed
 */
export function hostOf(req: IncomingMessage, isTrusted: boolean): string | undefined {
  const { headers, url = '' } = req
  if (!url.startsWith('/') || !hasOneHost(req)) return undefined
  const authority = headers[':authority'] as string | undefined
  // Frameworks differ in which of the two they believe (RFC 9113, 8.3.1).
  if (authority !== undefined && headers.host !== undefined && headers.host !== authority)
    return undefined
  const forwarded = isTrusted ? firstOf(headers['x-forwarded-host']) : undefined
  const host = (forwarded ?? authority ?? headers.host ?? '').toLowerCase()
  return HOST.test(host) ? host : undefined
}

/** Returns whether a trusted X-Forwarded-Proto is one of the two schemes, or absent. */
export function hasKnownScheme({ headers }: IncomingMessage): boolean {
  const scheme = firstOf(headers['x-forwarded-proto'])
  return scheme === undefined || scheme === 'http' || scheme === 'https'
}

/** Returns the first member of a field, as frameworks read it; undefined if the field is missing or empty. */
function firstOf(field: string | string[] | undefined): string | undefined {
  const text = Array.isArray(field) ? field.join(', ') : field
  return text ? text.split(',', 1)[0]!.trim() : undefined
}

/** Returns whether the request names no more than one host. Node keeps the first of several. */
export function hasOneHost({ rawHeaders }: IncomingMessage): boolean {
  let hosts = 0
  for (let i = 0; i < rawHeaders.length; i += 2)
    if (rawHeaders[i]!.length === 4 && rawHeaders[i]!.toLowerCase() === 'host') hosts++
  return hosts < 2
}
