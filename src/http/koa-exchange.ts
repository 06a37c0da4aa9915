/** What features know of a request in Koa 2 and 3. */
import type { IncomingHttpHeaders } from 'node:http'
import type { Context } from 'koa'
import { RequestBudget } from '../request-budget.ts'
import type { ExchangeSettings } from './adapter.ts'
import {
  isBackgroundRequest,
  isRefreshRequest,
  sendBackgroundRequest,
} from './background-request.ts'
import { listenerKeyOf } from './cache-listener.ts'
import type { Exchange } from './exchange.ts'
import { headerOf } from './headers.ts'
import { Identity } from './identity.ts'
import { checkedAddress, KOA, warnOfForwarding, warnOfTrust } from './proxies.ts'
import { hasKnownScheme, hostOf, isRegularTarget } from './request-target.ts'
import { hasBody } from './request-body.ts'

/** What routers leave on a context. */
interface Routed {
  _matchedRoute?: string | RegExp
  routerPath?: string
  /** koa-mount, which takes the prefix off `ctx.path`. */
  mountPath?: string
}

export class KoaExchange implements Exchange<Context> {
  readonly native: Context
  readonly #settings: ExchangeSettings
  #ip: string | undefined
  /** null: not read yet. */
  #host: string | undefined | null = null
  #isRegular: boolean | undefined
  #isBackground: boolean | undefined
  #budget: RequestBudget | undefined
  #identity: Identity | undefined

  constructor(ctx: Context, settings: ExchangeSettings) {
    this.native = ctx
    this.#settings = settings
  }
  get method(): string {
    return this.native.method
  }
  get url(): string {
    return this.native.originalUrl
  }
  get routedUrl(): string {
    return this.native.req.url ?? '/'
  }
  get ip(): string {
    return (this.#ip ??= this.#address())
  }
  get secure(): boolean {
    return this.native.secure
  }
  get host(): string | undefined {
    const { app, req } = this.native
    if (this.#host === null) this.#host = hostOf(req, app.proxy)
    return this.#host
  }
  get target(): string | undefined {
    this.#isRegular ??= this.#isTargetRegular()
    return this.#isRegular ? this.url : undefined
  }
  get hasBody(): boolean {
    return hasBody(this.native.req)
  }
  get isBackground(): boolean {
    return (this.#isBackground ??= isBackgroundRequest(this.native.req))
  }
  get isRefresh(): boolean {
    return this.isBackground && isRefreshRequest(this.native.req)
  }
  get listenerKey(): string | undefined {
    return listenerKeyOf(this.native.req)
  }
  get route(): string | undefined {
    const { _matchedRoute: route, routerPath } = this.native as Context & Routed
    const own = route === undefined ? routerPath : String(route)
    return own === undefined ? undefined : `${this.#mountPrefix()}${own}`
  }
  get identity(): Identity {
    return (this.#identity ??= new Identity(this))
  }
  get budget(): RequestBudget {
    return (this.#budget ??= new RequestBudget(this.#settings.budgetMs, this.#settings.waits))
  }
  get headers(): IncomingHttpHeaders {
    const { req, res } = this.native
    const { headers } = req
    // Koa will cut the range out of what it gets: out of a part, it would be the wrong one.
    const isCutLater = headers.range !== undefined && res.hasHeader('accept-ranges')
    return isCutLater ? { ...headers, range: undefined } : headers
  }
  header(name: string): string | undefined {
    return headerOf(this.headers, name)
  }
  sendInBackground(fields: Record<string, string | undefined>): Promise<void> | undefined {
    return sendBackgroundRequest(this.native.req, this.url, fields)
  }

  #isTargetRegular(): boolean {
    const { app, req } = this.native
    if (!isRegularTarget(this.url) || this.host === undefined) return false
    return hasKnownScheme(req) || !app.proxy
  }

  /** The prefixes that koa-mount has taken off the path. They have no parameters. */
  #mountPrefix(): string {
    const { mountPath, originalUrl, path } = this.native as Context & Routed
    if (mountPath === undefined) return ''
    const whole = originalUrl.split('?', 1)[0]!
    return whole.endsWith(path) ? whole.slice(0, whole.length - path.length) : mountPath
  }

  #address(): string {
    const { app, req, ip } = this.native
    const settings = this.#settings
    const isForwarded = req.headers[app.proxyIpHeader.toLowerCase()] !== undefined
    if (isForwarded && !app.proxy) warnOfForwarding(settings, KOA)
    if (!app.proxy || app.maxIpsCount > 0 || !isForwarded) return checkedAddress(settings, ip, KOA)
    warnOfTrust(settings, 'app.proxy is true without maxIpsCount', KOA.line)
    return checkedAddress(settings, req.socket.remoteAddress, KOA)
  }
}
