import { STATUS_CODES, type IncomingMessage, type ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { isPromise, markMiddleware, markPipeline, rejectionReason } from './adapter.ts'
import type { FrameworkAdapter, AdapterOptions } from './adapter.ts'
import type { Exchange, Feature, Plan } from './exchange.ts'
import { sendBackgroundRequest, isBackgroundRequest } from './background-request.ts'
import { sendReply } from './send-reply.ts'
import { listenerKeyOf } from './cache-listener.ts'
import { hostOf, maskHeaders } from './request.ts'
import { Prepared, stepsOf, type Step } from './pipeline.ts'
import { problemReply } from './problem.ts'
import { isOver, onBody, onEnd, onHead, onSeal } from './response.ts'
import { withdraw } from './seal.ts'
import { Identity } from './identity.ts'
import { RequestBudget } from '../request-budget.ts'

export type Next = (error?: any) => void
/** A middleware of Express, Connect or node:http. */
export type ConnectMiddleware<Req = IncomingMessage, Res = ServerResponse> = (
  req: Req,
  res: Res,
  next: Next,
) => void

/** What Connect and Express add to node's request. */
interface Framework {
  originalUrl?: string
  baseUrl?: string
  route?: { path?: string | RegExp | (string | RegExp)[] }
  ip?: string
  secure?: boolean
  app?: { get?(setting: string): unknown }
}

/** Carry a feature out. `stop` is called when it answers or fails, so that nobody after it is asked. */
type Run = (
  req: IncomingMessage,
  res: ServerResponse,
  next: Next,
  early: unknown,
  stop: () => void,
) => void

type Trust = (address: string, hop: number) => boolean

/** The adapter for Express 4 and 5, Connect and node:http. */
export function connectAdapter<
  Req extends IncomingMessage = IncomingMessage,
  Res extends ServerResponse = ServerResponse,
>({ budgetMs, warn }: AdapterOptions): FrameworkAdapter<Req, ConnectMiddleware<Req, Res>> {
  type Middleware = ConnectMiddleware<Req, Res>
  // On the requests themselves: a WeakMap with an entry for each costs the garbage collector far more.
  const kept = Symbol('turnpike.exchange')
  type Kept = { [kept]?: ConnectExchange }
  const believers = new WeakMap<Trust, boolean>()
  let warned = false

  /** Does the application believe any address that a client writes into X-Forwarded-For? */
  function believesAnybody(trust: unknown): boolean {
    if (typeof trust !== 'function') return false
    const known = believers.get(trust as Trust)
    if (known !== undefined) return known
    const believes = (trust as Trust)('192.0.2.1', 99)
    believers.set(trust as Trust, believes)
    return believes
  }

  class ConnectExchange implements Exchange<Req> {
    readonly native: Req
    #ip: string | undefined
    #budget: RequestBudget | undefined
    #identity: Identity | undefined

    constructor(req: Req) {
      this.native = req
    }
    get method(): string {
      return this.native.method ?? 'GET'
    }
    get url(): string {
      return (this.native as Framework).originalUrl ?? this.native.url ?? '/'
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
      return isToldOf && (native as Framework).secure === true
    }
    get host(): string | undefined {
      if (this.native.headers['x-forwarded-host'] === undefined) return hostOf(this.native, false)
      const { app } = this.native as Framework
      const trust = app?.get?.('trust proxy fn')
      const { remoteAddress = '' } = this.native.socket
      return hostOf(this.native, typeof trust === 'function' && (trust as Trust)(remoteAddress, 0))
    }
    get isBackground(): boolean {
      return isBackgroundRequest(this.native)
    }
    get listenerKey(): string | undefined {
      return listenerKeyOf(this.native)
    }
    get route(): string | undefined {
      const { baseUrl = '', route } = this.native as Framework
      return `${baseUrl}${String(route?.path ?? '')}` || undefined
    }
    get identity(): Identity {
      return (this.#identity ??= new Identity(this))
    }
    get budget(): RequestBudget {
      return (this.#budget ??= new RequestBudget(budgetMs))
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
      const { ip, app } = this.native as Framework
      if (app?.get === undefined) return remoteAddress
      if (!isForwarded || !believesAnybody(app.get('trust proxy fn'))) return ip
      if (!warned) {
        warned = true
        warn(
          "'trust proxy' is true, so any client can make up its address: the socket's address is used instead. Write: app.set('trust proxy', 1)  // the number of proxies in front",
        )
      }
      return remoteAddress
    }
  }

  function exchange(req: Req): Exchange<Req> {
    let x = (req as Kept)[kept]
    if (x === undefined) (req as Kept)[kept] = x = new ConnectExchange(req)
    return x
  }

  function mount<Early>(feature: Feature<Req, Early>): Middleware {
    const run: Run = (req, res, next, early, stop) => {
      const x = exchange(req as Req)
      if (feature.onBackground === 'skip' && x.isBackground) return next()
      const raise = (error: unknown): void => {
        stop()
        fail(x, res, next, error)
      }
      let plan: Promise<Plan> | Plan
      try {
        plan = feature.handle(x, early as Early | undefined)
      } catch (error) {
        return raise(error)
      }
      if (!isPromise(plan)) return carryOut(x, res, plan, next, stop, raise)
      plan.then((plan) => {
        if (!isOver(res)) return carryOut(x, res, plan, next, stop, raise)
        stop()
        leave(res, plan)
      }, raise)
    }
    const middleware: Middleware = (req, res, next) => run(req, res, next, undefined, nothing)
    return markMiddleware(middleware, { feature, exchange, run })
  }

  function pipeline(members: readonly Middleware[]): Middleware {
    const steps = stepsOf<Middleware, Run>(members)
    const middleware: Middleware = (req, res, next) => walk(steps, exchange(req), res, next)
    Object.defineProperty(middleware, 'name', { value: 'pipeline' })
    return markPipeline(middleware, members)
  }

  return { exchange, mount, pipeline }
}

function nothing(): void {}

/** Do what a feature wants done, then go on. */
function carryOut(
  x: Exchange<IncomingMessage>,
  res: ServerResponse,
  plan: Plan,
  next: Next,
  stop: () => void,
  raise: (error: unknown) => void,
): void {
  try {
    if (plan.reply !== undefined) {
      stop()
      return sendReply(res, plan.reply, raise)
    }
    const {
      state: expose,
      assign: own,
      headers: head,
      capture: body,
      beforeEnd: seal,
      onFinish: end,
      requestHeaders: request,
      responseHelpers: tools,
    } = plan
    if (request !== undefined) maskHeaders(x.native, request)
    if (tools !== undefined) Object.assign(res, tools)
    if (expose !== undefined) Object.assign(x.native, expose)
    if (own !== undefined) Object.assign(x.native, own)
    if (head !== undefined) onHead(res, head)
    if (body !== undefined) onBody(res, body)
    if (seal !== undefined) onSeal(res, seal, (error) => refuse(x, res, next, error))
    if (end !== undefined) onEnd(res, end)
  } catch (error) {
    return raise(error)
  }
  next()
}

/** The request was over before the feature had made its plan. */
function leave(res: ServerResponse, plan: Plan): void {
  if (plan.reply === undefined) {
    if (plan.onAbort !== undefined) onEnd(res, plan.onAbort)
    if (plan.onFinish !== undefined) onEnd(res, plan.onFinish)
  } else if (plan.reply.body instanceof Readable) {
    plan.reply.body.destroy()
  }
}

/** A seal has failed: if nothing was sent, the request fails as if the handler had. */
function refuse(x: Exchange<IncomingMessage>, res: ServerResponse, next: Next, error: unknown) {
  if (!res.headersSent) {
    withdraw(res)
    fail(x, res, next, error)
  } else if (hasErrorPath(x.native, next)) {
    next(error)
  }
}

function fail(x: Exchange<IncomingMessage>, res: ServerResponse, next: Next, error: unknown): void {
  if (hasErrorPath(x.native, next)) return next(rejectionReason(error))
  if (res.headersSent) {
    res.destroy()
    return
  }
  const { status, expose, message } = (error ?? {}) as Record<string, unknown>
  const code = Number(status) >= 400 && Number(status) < 600 ? Number(status) : 500
  const title = STATUS_CODES[code] ?? 'Error'
  const detail = expose === true ? { detail: String(message) } : {}
  sendReply(res, problemReply({ title, status: code, ...detail }, x), nothing)
}

/**
 * Does somebody handle what is given to `next`? A callback without parameters in node:http does not:
 * it would take the error for "go on". Connect and Express, whose `next` tracers wrap, always do.
 */
function hasErrorPath(req: IncomingMessage, next: Next): boolean {
  return next.length > 0 || (req as Framework).originalUrl !== undefined
}

/** Run a pipeline's members one after the other. */
function walk<Req extends IncomingMessage, Res extends ServerResponse>(
  steps: readonly Step<ConnectMiddleware<Req, Res>, Run>[],
  x: Exchange<Req>,
  res: Res,
  next: Next,
): void {
  const { native: req } = x
  const raise = (error: unknown): void => fail(x, res, next, error)
  let prepared: Prepared
  try {
    prepared = new Prepared(steps, req)
  } catch (error) {
    return raise(error)
  }
  const stop = (): void => prepared.discard()
  // Others answer without telling us.
  if (steps.some(({ ours }) => ours === undefined)) onEnd(res, stop)
  let turn = 0
  const advance = (index: number): void => {
    const step = steps[index]
    if (step === undefined) return next()
    const goOn = (error?: unknown): void => {
      if (error) {
        stop()
        raise(error)
      } else if (turn === index) {
        advance(++turn)
      }
    }
    if (step.ours !== undefined) return step.ours.run(req, res, goOn, prepared.take(index), stop)
    try {
      const done: unknown = step.middleware(req, res, goOn)
      if (isPromise(done)) {
        done.then(undefined, (error) => goOn(rejectionReason(error)))
      }
    } catch (error) {
      goOn(error)
    }
  }
  advance(0)
}
