/** Which requests the cache passes by, because their key would not say what the handler sees. */
import type { Exchange } from '../../http/exchange.ts'
import type { IgnoredCookies } from './cookies.ts'
import type { CacheReason } from './reasons.ts'

/** Returns why a request asks for what only the handler can answer. */
export function demandReason({ headers }: Pick<Exchange, 'headers'>): CacheReason | undefined {
  // Other preconditions are the handler's to evaluate (RFC 9110, 13.2.1).
  if (headers['if-match'] !== undefined || headers['if-unmodified-since'] !== undefined)
    return 'precondition'
  if (headers.upgrade !== undefined) return 'upgrade'
  // Only the handler knows other units (RFC 9110, 14.2): items of a list, for example.
  const { range } = headers
  if (range !== undefined && !/^\s*bytes=/i.test(range)) return 'range'
  // A stream does not end, so no request must wait for it.
  return headers.accept?.includes('text/event-stream') === true ? 'stream' : undefined
}

/** Returns why a request is passed by because of its head. @param hasKey the application names the entry itself */
export function requestReason(x: Exchange, hasKey: boolean): CacheReason | undefined {
  const reason = demandReason(x)
  if (reason !== undefined) return reason
  if (x.hasBody) return 'body'
  return hasKey ? undefined : addressReason(x)
}

/** A path and a query: no fragment, backslash, space or control character, and no host (`//`). */
const PLAIN_TARGET = /^\/(?!\/)[!"$-[\]-~\x80-\xff]*$/

/** Returns why target, host or scheme may mean something else to the handler than to the key. */
function addressReason(x: Exchange): CacheReason | undefined {
  if (!PLAIN_TARGET.test(x.url)) return 'target'
  if (x.routedUrl !== x.url && !PLAIN_TARGET.test(x.routedUrl)) return 'target'
  const { headers, host } = x
  if (host === undefined) return 'host'
  const { 'x-forwarded-host': forwarded, 'x-forwarded-proto': scheme } = headers
  const sent = headers.host ?? headers[':authority']
  if (forwarded === undefined ? sent !== host : !isForwardedHost(forwarded, host, sent))
    return 'host'
  return scheme === undefined || /^https?$/.test(firstOf(scheme)) ? undefined : 'scheme'
}

/** A proxy's host counts only if the proxy is trusted. Either way the handler must see it as the key does. */
const isForwardedHost = (
  forwarded: string | string[],
  host: string,
  sent: string | string[] | undefined,
): boolean => firstOf(forwarded) === host || (firstOf(forwarded) !== '' && sent === host)

const firstOf = (field: string | string[]): string => String(field).split(',', 1)[0]!.trim()

/** What decides whether the sender of a request matters. */
export interface SenderOptions {
  /** Request headers that are part of the key, in lower case. */
  readonly vary: readonly string[]
  readonly varySet: ReadonlySet<string>
  readonly ignoredCookies: IgnoredCookies
}

/** Returns what makes a request personal. Undefined: it is anonymous, as far as the key does not say who it is. */
export function senderReason(x: Exchange, options: SenderOptions): CacheReason | undefined {
  const { identity } = x
  const { varySet, ignoredCookies } = options
  const credential = identity.credential(varySet)
  if (credential !== undefined) return credential
  const { cookie } = x.headers
  const isIdentified =
    cookie !== undefined && !varySet.has('cookie') && !ignoredCookies.covers(cookie)
  const knownBy = identity.knownBy
  // A user that comes from a credential in the key is a part of the key.
  if (knownBy !== undefined && (isIdentified || !hasCredentialInKey(x, options))) return knownBy
  return isIdentified ? 'cookie' : undefined
}

/** Returns whether the key has a credential of this request. Certificates and ignored cookies are none. */
function hasCredentialInKey(
  x: Exchange,
  { vary, varySet, ignoredCookies }: SenderOptions,
): boolean {
  if (vary.length === 0 || x.identity.knownBy === 'certificate') return false
  const { cookie } = x.headers
  if (cookie !== undefined && varySet.has('cookie') && !ignoredCookies.covers(cookie)) return true
  return x.identity.credential() !== undefined
}
