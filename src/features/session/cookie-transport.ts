/** A session's ID in a cookie: under which name, and with which attributes. */
import { cookieValues, serializeCookie } from '../../http/cookies.ts'
import type { Exchange, HeaderFields } from '../../http/exchange.ts'
import type { DeployDiagnosis } from './deploy-diagnosis.ts'
import type { RequestSession } from './request-session.ts'
import type { CookieSettings } from './session-cookie.ts'
import type { NamedSession, SignedIds } from './signed-ids.ts'
import { distinct, MAX_VALUES, NO_SESSIONS, type SessionTransport } from './transport.ts'

export interface CookieTransportOptions<Native> {
  /** The first is sent, all are read. Undefined: `sid`, or `__Host-sid` where the browser accepts that. */
  readonly names: readonly string[] | undefined
  isSecure(x: Exchange<Native>): boolean
  warn(message: string): void
}

/** How an application learns that a request reached its proxy over HTTPS. */
const BEHIND_PROXY =
  "app.set('trust proxy', 1); new Koa({ proxy: true, maxIpsCount: 1 }); with node:http, set req.secure = true before the session for requests that the proxy marks as HTTPS"

const PLAIN = 'sid'
const HOST_ONLY = '__Host-sid'
/**
 * Over HTTPS a plain cookie is not believed: any subdomain can set it. Elsewhere the prefixed one is
 * believed, too: no other site can set it. A proxy that is configured later logs no user out.
 */
const PLAIN_NAMES = [PLAIN, HOST_ONLY]
const HOST_ONLY_NAMES = [HOST_ONLY]

export class CookieTransport<Native> implements SessionTransport<Native> {
  readonly #ids: SignedIds
  readonly #diagnosis: DeployDiagnosis
  readonly #options: CookieTransportOptions<Native>

  constructor(ids: SignedIds, diagnosis: DeployDiagnosis, options: CookieTransportOptions<Native>) {
    this.#ids = ids
    this.#diagnosis = diagnosis
    this.#options = options
  }

  read(
    x: Exchange<Native>,
    settings: CookieSettings,
    tenant: string | undefined,
  ): readonly NamedSession[] {
    const field = x.header('cookie')
    if (field === undefined) return NO_SESSIONS
    const names = this.#namesFor(x, settings)
    const [name] = names as [string]
    const named = this.#readName(field, name, tenant)
    if (names.length === 1) {
      if (named.length === 0 && name === HOST_ONLY && this.#options.names === undefined)
        this.#diagnosePlain(field, tenant)
      return named
    }
    let all = named
    for (const other of names.slice(1))
      for (const one of this.#readName(field, other, tenant))
        // It has to be sent under the current name.
        if (!all.some(({ keys }) => keys.id === one.keys.id))
          all = [...all, { ...one, isOutdated: true }]
    return all
  }

  write(x: Exchange<Native>, settings: CookieSettings, session: RequestSession): HeaderFields {
    const notice = session.notice()
    if (notice === undefined) return {}
    const { cookie } = session.session
    const [name] = this.#namesFor(x, settings) as [string]
    if (!this.#canSend(x, settings, name, cookie.secure)) return {}
    if (notice.id === undefined)
      return { 'Set-Cookie': [serializeCookie(name, '', { ...cookie.data, expires: new Date(0) })] }
    return { 'Set-Cookie': [serializeCookie(name, this.#ids.sign(notice, name), cookie.data)] }
  }

  /** Returns whether the cookie may be sent, and warns if it may not, or if that is unsafe. */
  #canSend(
    x: Exchange<Native>,
    settings: CookieSettings,
    name: string,
    isSecureCookie: boolean | undefined,
  ): boolean {
    const { isSecure, warn } = this.#options
    if (isSecure(x)) return true
    if (isSecureCookie) {
      warn(
        `The session cookie ${name} is not sent: it is Secure, and the request did not arrive over HTTPS. Behind a proxy, configure the framework (${BEHIND_PROXY}), or use cookie: { secure: 'auto' }.`,
      )
      return false
    }
    if (name.startsWith('__'))
      warn(
        `The browser rejects the session cookie ${name}: its prefix requires HTTPS, and the request did not arrive over HTTPS. Behind a proxy, configure the framework: ${BEHIND_PROXY}.`,
      )
    else if (settings.secure === 'auto')
      warn(
        `The session cookie ${name} is sent without Secure, because the request did not arrive over HTTPS. Behind a proxy that terminates TLS, configure the framework: ${BEHIND_PROXY}.`,
      )
    return true
  }

  #readName(field: string, name: string, tenant: string | undefined): readonly NamedSession[] {
    return distinct(cookieValues(field, name, MAX_VALUES), (value) =>
      this.#ids.verify(value, name, tenant),
    )
  }

  #diagnosePlain(field: string, tenant: string | undefined): void {
    if (this.#readName(field, PLAIN, tenant).length > 0) this.#diagnosis.onPlainCookie()
  }

  /** Returns the names that are read. The first is the one to send. */
  #namesFor(
    x: Exchange<Native>,
    { domain, path = '/', secure }: CookieSettings,
  ): readonly string[] {
    const { names } = this.#options
    if (names !== undefined) return names
    const isHostOnly = domain === undefined && path === '/' && secure !== false
    return isHostOnly && this.#options.isSecure(x) ? HOST_ONLY_NAMES : PLAIN_NAMES
  }
}

/** True if a URL is below the cookie's path. */
export const isBelowPath = (url: string, path: string | undefined): boolean =>
  path === undefined || path === '/' || (url.split('?', 1)[0] || '/').startsWith(path)

/** Returns how a mount recognises HTTPS: by `proxy`, or by the framework's own setting. */
export function secureBy<Native>(proxy: boolean | undefined): (x: Exchange<Native>) => boolean {
  if (proxy === undefined) return (x) => x.secure
  return (x) => {
    const { socket } = x.native as { socket?: { encrypted?: boolean } }
    if (socket?.encrypted === true || !proxy) return socket?.encrypted === true
    return x.header('x-forwarded-proto')?.split(',', 1)[0]!.trim().toLowerCase() === 'https'
  }
}
