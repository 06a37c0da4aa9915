/** What features know of a request in Express 4 and 5, Connect and node:http. */
import type { IncomingMessage } from 'node:http'
import { RequestBudget } from '../request-budget.ts'
import type { ExchangeSettings } from './adapter.ts'
import { isBackgroundRequest, sendBackgroundRequest } from './background-request.ts'
import { listenerKeyOf } from './cache-listener.ts'
import type { Exchange } from './exchange.ts'
import { Identity } from './identity.ts'
import { hostOf } from './request.ts'
import { hasBody } from './request-body.ts'

/** What Connect and Express add to node's request. */
export interface ExpressRequest {
  originalUrl?: string
  baseUrl?: string
  route?: { path?: string | RegExp | (string | RegExp)[] }
  ip?: string
  secure?: boolean
  app?: { get?(setting: string): unknown }
}

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
  #budget: RequestBudget | undefined
  #identity: Identity | undefined

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
    return (this.#ip ??= this.#address() ?? '')
  }
  get secure(): boolean {
    const { native } = this
    if ((native.socket as { encrypted?: boolean }).encrypted === true) return true
    // Nothing forwarded: then Express, too, goes by the socket, but takes a long way to it.
    const isToldOf =
      native.headers['x-forwarded-proto'] !== undefined || Object.hasOwn(native, 'secure')
    return isToldOf && (native as ExpressRequest).secure === true
  }
  get host(): string | undefined {
    if (this.#host === null) this.#host = this.#readHost()
    return this.#host
  }
  #readHost(): string | undefined {
    if (this.native.headers['x-forwarded-host'] === undefined) return hostOf(this.native, false)
    const { app } = this.native as ExpressRequest
    const trust = app?.get?.('trust proxy fn')
    const { remoteAddress = '' } = this.native.socket
    return hostOf(this.native, typeof trust === 'function' && (trust as Trust)(remoteAddress, 0))
  }
  get hasBody(): boolean {
    return hasBody(this.native)
  }
  get isBackground(): boolean {
    return isBackgroundRequest(this.native)
  }
  get listenerKey(): string | undefined {
    return listenerKeyOf(this.native)
  }
  get route(): string | undefined {
    const { baseUrl = '', route } = this.native as ExpressRequest
    return `${baseUrl}${String(route?.path ?? '')}` || undefined
  }
  get identity(): Identity {
    return (this.#identity ??= new Identity(this))
  }
  get budget(): RequestBudget {
    return (this.#budget ??= new RequestBudget(this.#settings.budgetMs))
  }
  header(name: string): string | undefined {
    const value = this.native.headers[name]
    return Array.isArray(value) ? value.join(', ') : value
  }
  sendInBackground(fields: Record<string, string | undefined>): Promise<void> | undefined {
    return sendBackgroundRequest(this.native, this.url, fields)
  }

  #address(): string | undefined {
    const { remoteAddress } = this.native.socket
    const isForwarded = this.native.headers['x-forwarded-for'] !== undefined
    // Nothing forwarded: then Express, too, takes the socket's address, but goes a long way to it.
    if (!isForwarded && !Object.hasOwn(this.native, 'ip')) return remoteAddress
    const { ip, app } = this.native as ExpressRequest
    if (app?.get === undefined) return remoteAddress
    if (!isForwarded || !believesAnybody(app.get('trust proxy fn'))) return ip
    this.#settings.warnOnce(
      'trust',
      "'trust proxy' is true, so any client can make up its address. The socket's address is used instead. Write: app.set('trust proxy', 1)  // the number of proxies in front",
    )
    return remoteAddress
  }
}
