/** What features know of a request in Koa 2 and 3. */
import type { Context } from 'koa'
import { RequestBudget } from '../request-budget.ts'
import type { ExchangeSettings } from './adapter.ts'
import { isBackgroundRequest, sendBackgroundRequest } from './background-request.ts'
import { listenerKeyOf } from './cache-listener.ts'
import type { Exchange } from './exchange.ts'
import { Identity } from './identity.ts'
import { hostOf } from './request.ts'
import { hasBody } from './request-body.ts'

/** What routers leave on a context. */
interface Routed {
  _matchedRoute?: string | RegExp
  routerPath?: string
}

export class KoaExchange implements Exchange<Context> {
  readonly native: Context
  readonly #settings: ExchangeSettings
  #ip: string | undefined
  /** null: not read yet. */
  #host: string | undefined | null = null
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
    return (this.#ip ??= this.#address() ?? '')
  }
  get secure(): boolean {
    return this.native.secure
  }
  get host(): string | undefined {
    if (this.#host === null) this.#host = hostOf(this.native.req, this.native.app.proxy)
    return this.#host
  }
  get hasBody(): boolean {
    return hasBody(this.native.req)
  }
  get isBackground(): boolean {
    return isBackgroundRequest(this.native.req)
  }
  get listenerKey(): string | undefined {
    return listenerKeyOf(this.native.req)
  }
  get route(): string | undefined {
    const { _matchedRoute: route, routerPath } = this.native as Context & Routed
    return route === undefined ? routerPath : String(route)
  }
  get identity(): Identity {
    return (this.#identity ??= new Identity(this))
  }
  get budget(): RequestBudget {
    return (this.#budget ??= new RequestBudget(this.#settings.budgetMs))
  }
  header(name: string): string | undefined {
    const value = this.native.req.headers[name]
    return Array.isArray(value) ? value.join(', ') : value
  }
  sendInBackground(fields: Record<string, string | undefined>): Promise<void> | undefined {
    return sendBackgroundRequest(this.native.req, this.url, fields)
  }

  #address(): string | undefined {
    const { app, req, ip } = this.native
    const isForwarded = req.headers[app.proxyIpHeader.toLowerCase()] !== undefined
    if (!app.proxy || app.maxIpsCount > 0 || !isForwarded) return ip
    this.#settings.warnOnce(
      'trust',
      "app.proxy is true without maxIpsCount, so any client can make up its address. The socket's address is used instead. Write: new Koa({ proxy: true, maxIpsCount: 1 })  // the number of proxies in front",
    )
    return req.socket.remoteAddress
  }
}
