import type { IncomingMessage } from 'node:http'

/** A host with or without a port (RFC 3986, 3.2.2), as it may stand in a key: names, addresses, IPv6 in brackets. */
const HOST = /^(?:[a-z0-9_](?:[a-z0-9._-]{0,251}[a-z0-9_.])?|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?$/

/**
 * The host that a request is for; undefined where it is missing, doubled or malformed, or where the
 * target names one of its own (RFC 9112, 3.2.2).
 *
 * @param isTrusted may X-Forwarded-Host be believed?
 */
export function hostOf(req: IncomingMessage, isTrusted: boolean): string | undefined {
  const { headers, url = '' } = req
  if (!url.startsWith('/') || !hasOneHost(req)) return undefined
  const given = headers[':authority'] ?? headers.host
  const forwarded = isTrusted
    ? String(headers['x-forwarded-host'] ?? '')
        .split(',', 1)[0]!
        .trim()
    : ''
  const host = (forwarded || String(given ?? '')).toLowerCase()
  return HOST.test(host) ? host : undefined
}

/** Does the request name no more than one host? node keeps the first of several. */
export function hasOneHost({ rawHeaders }: IncomingMessage): boolean {
  let hosts = 0
  for (let i = 0; i < rawHeaders.length; i += 2)
    if (rawHeaders[i]!.length === 4 && rawHeaders[i]!.toLowerCase() === 'host') hosts++
  return hosts < 2
}

/** Show everybody further inside other request headers. Gives the function that undoes it. */
export function maskHeaders(
  req: IncomingMessage,
  fields: Record<string, string | undefined>,
): () => void {
  const { headers } = req
  const before = Object.keys(fields).map((name) => [name, headers[name]] as const)
  for (const [name, value] of Object.entries(fields)) set(headers, name, value)
  return () => {
    for (const [name, value] of before) set(headers, name, value)
  }
}

function set(
  headers: IncomingMessage['headers'],
  name: string,
  value: string | string[] | undefined,
): void {
  if (value === undefined) delete headers[name]
  else headers[name] = value
}
