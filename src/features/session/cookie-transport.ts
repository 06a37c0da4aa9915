/** How a session's ID travels in a cookie: under which name, with which attributes, and which is believed. */
import { cookieValues, decodeCookieValue, serializeCookie } from '../../http/cookies.ts'
import type { Exchange, HeaderFields } from '../../http/exchange.ts'
import type { SessionEngine } from './engine.ts'
import type { NamedSession, RequestSession } from './request-session.ts'
import type { CookieSettings } from './session-cookie.ts'
import { RecentlyUsed, verifySessionId } from './session-id.ts'

export interface CookieTransportOptions<Native> {
  name: string | undefined
  cookie: CookieSettings | ((native: Native) => CookieSettings)
  proxy: boolean | undefined
  warn(message: string): void
}

/** Number of verified cookies that are remembered: at least this many, at most twice as many. */
const REMEMBERED = 5_000

export class CookieTransport<Native> {
  /** The cookie's settings if they are the same for every request. */
  readonly fixed: CookieSettings | undefined
  readonly #engine: SessionEngine
  readonly #options: CookieTransportOptions<Native>
  readonly #verified = new RecentlyUsed<NamedSession>(REMEMBERED)

  constructor(engine: SessionEngine, options: CookieTransportOptions<Native>) {
    this.#engine = engine
    this.#options = options
    this.fixed = typeof options.cookie === 'function' ? undefined : options.cookie
  }

  /** Returns the settings of this request's cookie, before `secure: 'auto'` is resolved. */
  settingsOf(x: Exchange<Native>): CookieSettings {
    const { cookie } = this.#options
    return typeof cookie === 'function' ? cookie(x.native) : cookie
  }

  /** Returns the session that the request's cookie names. Undefined if it names none, or two. */
  read(
    x: Exchange<Native>,
    settings: CookieSettings,
    tenant: string | undefined,
  ): NamedSession | undefined {
    let named: NamedSession | undefined
    for (const value of cookieValues(x.header('cookie'), this.#nameFor(x, settings))) {
      const one = this.#verify(value, tenant)
      if (one && named && one.keys.id !== named.keys.id) {
        // Somebody has planted one of them (cookie tossing), and it is unknown which.
        this.#engine.report('two-cookies', undefined)
        return undefined
      }
      named ??= one
    }
    return named
  }

  /** Returns the Set-Cookie field that tells the client about its session, if one is due. */
  write(x: Exchange<Native>, settings: CookieSettings, session: RequestSession): HeaderFields {
    const value = session.cookie()
    if (value === undefined) return {}
    const { cookie } = session.session
    const name = this.#nameFor(x, settings)
    const secure = this.isSecure(x)
    const { warn } = this.#options
    if (cookie.secure && !secure) {
      warn(
        `The session cookie ${name} is not sent: it is Secure, and the request did not arrive over HTTPS. Behind a proxy, configure the framework (app.set('trust proxy', 1); new Koa({ proxy: true, maxIpsCount: 1 })), or use cookie: { secure: 'auto' }.`,
      )
      return {}
    }
    if (!cookie.secure && !secure && this.fixed?.secure === 'auto')
      warn(
        `The session cookie ${name} is sent without Secure, because the request did not arrive over HTTPS. Behind a proxy that terminates TLS, configure the framework: app.set('trust proxy', 1); new Koa({ proxy: true, maxIpsCount: 1 }).`,
      )
    const attributes = value === '' ? { ...cookie.data, expires: new Date(0) } : cookie.data
    return { 'Set-Cookie': [serializeCookie(name, value, attributes)] }
  }

  /** True if the request arrived over HTTPS, by `proxy` or the framework's own setting. */
  isSecure(x: Exchange<Native>): boolean {
    const { proxy } = this.#options
    if (proxy === undefined) return x.secure
    const { socket } = x.native as { socket?: { encrypted?: boolean } }
    if (socket?.encrypted === true || !proxy) return socket?.encrypted === true
    return x.header('x-forwarded-proto')?.split(',', 1)[0]!.trim().toLowerCase() === 'https'
  }

  #verify(value: string, tenant: string | undefined): NamedSession | undefined {
    const key = tenant === undefined ? value : `${tenant}\n${value}`
    const known = this.#verified.get(key)
    if (known) return known
    const plain = decodeCookieValue(value)
    const found =
      plain === undefined ? undefined : verifySessionId(plain, this.#engine.options.secrets)
    if (!found) return undefined
    const named: NamedSession = {
      keys: this.#engine.keysOf(found.id, tenant),
      isOutdated: found.secret > 0,
    }
    this.#verified.set(key, named)
    return named
  }

  /** Returns the cookie's name: `__Host-` (RFC 6265bis, 4.1.3.2) keeps other hosts and paths from setting it. */
  #nameFor(x: Exchange<Native>, { domain, path = '/', secure }: CookieSettings): string {
    const { name } = this.#options
    if (name !== undefined) return name
    const isHostOnly = domain === undefined && path === '/' && secure !== false
    return isHostOnly && this.isSecure(x) ? '__Host-sid' : 'sid'
  }
}

/** True if a URL is below the cookie's path. */
export const isBelowPath = (url: string, path: string | undefined): boolean =>
  path === undefined || path === '/' || (url.split('?', 1)[0] || '/').startsWith(path)
