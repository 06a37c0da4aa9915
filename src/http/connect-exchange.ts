/** What features know of a request in Express 4 and 5, Connect and node:http. */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { RequestBudget } from '../request-budget.ts'
import type { ExchangeSettings } from './adapter.ts'
import {
  isBackgroundRequest,
  isRefreshRequest,
  sendBackgroundRequest,
} from './background-request.ts'
import { listenerKeyOf } from './cache-listener.ts'
import type { Exchange } from './exchange.ts'
import { expressRoute } from './express-route.ts'
import { headerOf } from './headers.ts'
import { Identity } from './identity.ts'
import { checkedAddress, EXPRESS, warnOfForwarding, warnOfTrust } from './proxies.ts'
import { hasKnownScheme, hostOf, isRegularTarget } from './request-target.ts'
import { hasBody } from './request-body.ts'

/** What Connect and Express add to node's request. */
export interface ExpressRequest {
  originalUrl?: string
  ip?: string
  secure?: boolean
  app?: { get?(setting: string): unknown }
}

/** Express's own mark of an application that has not set 'trust proxy'. */
const UNSET = '@@symbol:trust_proxy_default'

type Trust = (address: string, hop: number) => boolean

/** By 'trust proxy' function: does it believe any address that a client writes into X-Forwarded-For? */
const believers = new WeakMap<Trust, boolean>()

function believesAnybody(trust: unknown): boolean {
  if (typeof trust !== 'function') return false
  const known = believers.get(trust as Trust)
  if (known !== undefined) return known
  const believes = (trust as Trust)('192.0.2.1', 99)
  believers.set(trust as Trust, believes)
  return believes
}

export class ConnectExchange<Req extends IncomingMessage> implements Exchange<Req> {
  readonly native: Req
  readonly #settings: ExchangeSettings
  #ip: string | undefined
  /** null: not read yet. */
  #host: string | undefined | null = null
  #isRegular: boolean | undefined
  #isBackground: boolean | undefined
  #budget: RequestBudget | undefined
  #identity: Identity | undefined
  #hasBody: boolean | undefined
  #isTurn = false
  /** The header fields, once they were read in a turn of a feature. */
  #headers: IncomingHttpHeaders | undefined

  constructor(req: Req, settings: ExchangeSettings) {
    this.native = req
    this.#settings = settings
  }
  get method(): string {
    return this.native.method ?? 'GET'
  }
  get url(): string {
    return (this.native as ExpressRequest).originalUrl ?? this.native.url ?? '/'
  }
  get routedUrl(): string {
    return this.native.url ?? '/'
  }
  get ip(): string {
    return (this.#ip ??= this.#address())
  }
  get secure(): boolean {
    const { native } = this
    if ((native.socket as { encrypted?: boolean }).encrypted === true) return true
    // Nothing forwarded: then Express, too, goes by the socket, but takes a long way to it.
    const isToldOf =
      this.#readHeaders()['x-forwarded-proto'] !== undefined || Object.hasOwn(native, 'secure')
    return isToldOf && (native as ExpressRequest).secure === true
  }
  get host(): string | undefined {
    if (this.#host === null) this.#host = this.#hostOf()
    return this.#host
  }
  get target(): string | undefined {
    this.#isRegular ??= this.#isTargetRegular()
    return this.#isRegular ? this.url : undefined
  }
  get hasBody(): boolean {
    return (this.#hasBody ??= hasBody(this.native))
  }
  get isBackground(): boolean {
    return (this.#isBackground ??= isBackgroundRequest(this.native))
  }
  get isRefresh(): boolean {
    return this.isBackground && isRefreshRequest(this.native)
  }
  get listenerKey(): string | undefined {
    return listenerKeyOf(this.native)
  }
  get route(): string | undefined {
    return expressRoute(this.native)
  }
  get identity(): Identity {
    return (this.#identity ??= new Identity(this))
  }
  get budget(): RequestBudget {
    return (this.#budget ??= new RequestBudget(this.#settings.budgetMs, this.#settings.waits))
  }
  /**
   * Begins a feature's turn: no other middleware runs until `endTurn`, so the header fields are read
   * once. Express replaces the request's prototype, which makes each access cost 0.4 us on Node 20 and 22.
   */
  beginTurn(): void {
    this.#isTurn = true
  }
  /** Ends the turn. A middleware may replace the header fields from now on. */
  endTurn(): void {
    this.#isTurn = false
    this.#headers = undefined
  }
  get headers(): IncomingHttpHeaders {
    return this.#headers ?? this.#readHeaders()
  }
  header(name: string): string | undefined {
    return headerOf(this.headers, name)
  }
  sendInBackground(fields: Record<string, string | undefined>): Promise<void> | undefined {
    return sendBackgroundRequest(this.native, this.url, fields)
  }

  #readHeaders(): IncomingHttpHeaders {
    const headers = this.#headers ?? this.native.headers
    if (this.#isTurn) this.#headers = headers
    return headers
  }

  #hostOf(): string | undefined {
    const isForwarded = this.#readHeaders()['x-forwarded-host'] !== undefined
    return hostOf(this.native, isForwarded && this.#isProxyTrusted())
  }

  #isTargetRegular(): boolean {
    const { native, url } = this
    if (!isRegularTarget(url) || this.host === undefined) return false
    return hasKnownScheme(native) || !this.#isProxyTrusted()
  }

  /** Does the application believe the proxy that the connection comes from? */
  #isProxyTrusted(): boolean {
    const { app } = this.native as ExpressRequest
    const trust = app?.get?.('trust proxy fn')
    const { remoteAddress = '' } = this.native.socket
    return typeof trust === 'function' && (trust as Trust)(remoteAddress, 0)
  }

  #address(): string {
    const settings = this.#settings
    const { remoteAddress } = this.native.socket
    const isForwarded = this.#readHeaders()['x-forwarded-for'] !== undefined
    const { app } = this.native as ExpressRequest
    // Nothing forwarded: then Express, too, takes the socket's address, but goes a long way to it.
    if (!isForwarded && !Object.hasOwn(this.native, 'ip')) {
      return remoteAddress ?? checkedAddress(settings, undefined, app && EXPRESS)
    }
    if (app?.get === undefined) {
      if (isForwarded) warnOfForwarding(settings)
      return checkedAddress(settings, remoteAddress)
    }
    if (isForwarded && believesAnybody(app.get('trust proxy fn'))) {
      warnOfTrust(settings, "'trust proxy' is true", EXPRESS.line)
      return checkedAddress(settings, remoteAddress, EXPRESS)
    }
    if (isForwarded && app.get(UNSET) === true) warnOfForwarding(settings, EXPRESS)
    return checkedAddress(settings, (this.native as ExpressRequest).ip, EXPRESS)
  }
}
