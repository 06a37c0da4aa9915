import { Readable } from 'node:stream'
import type { Context, Middleware as KoaMiddleware } from 'koa'
import { isPromise, markMiddleware, markPipeline } from './adapter.ts'
import type { FrameworkAdapter, AdapterOptions } from './adapter.ts'
import type { Exchange, Feature, Plan, Reply } from './exchange.ts'
import { sendBackgroundRequest, isBackgroundRequest } from './background-request.ts'
import { listenerKeyOf } from './cache-listener.ts'
import { isBodiless } from './headers.ts'
import { hostOf, maskHeaders } from './request.ts'
import type { Tap } from './joint.ts'
import { capture, isStreaming } from './koa-body.ts'
import { Prepared, stepsOf, type Step } from './pipeline.ts'
import * as response from './response.ts'
import { withdraw } from './seal.ts'
import { Identity } from './identity.ts'
import { RequestBudget } from '../request-budget.ts'

type Onward = () => Promise<unknown>
/** Carry a feature out. */
type Run = (ctx: Context, next: Onward, early: unknown) => Promise<unknown> | void

/** The adapter for Koa 2 and 3. */
export function koaAdapter({
  budgetMs,
  warn,
}: AdapterOptions): FrameworkAdapter<Context, KoaMiddleware> {
  const kept = Symbol('turnpike.exchange')
  let warned = false

  class KoaExchange implements Exchange<Context> {
    readonly native: Context
    #ip: string | undefined
    #budget: RequestBudget | undefined
    #identity: Identity | undefined

    constructor(ctx: Context) {
      this.native = ctx
    }
    get method(): string {
      return this.native.method
    }
    get url(): string {
      return this.native.originalUrl
    }
    get ip(): string {
      return (this.#ip ??= this.#address() ?? '')
    }
    get secure(): boolean {
      return this.native.secure
    }
    get host(): string | undefined {
      return hostOf(this.native.req, this.native.app.proxy)
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
      return (this.#budget ??= new RequestBudget(budgetMs))
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
      if (!warned) {
        warned = true
        warn(
          "app.proxy is true without maxIpsCount, so any client can make up its address: the socket's address is used instead. Write: new Koa({ proxy: true, maxIpsCount: 1 })  // the number of proxies in front",
        )
      }
      return req.socket.remoteAddress
    }
  }

  function exchange(ctx: Context): Exchange<Context> {
    const slot = ctx as Context & { [kept]?: KoaExchange }
    return (slot[kept] ??= new KoaExchange(ctx))
  }

  function mount<Early>(feature: Feature<Context, Early>): KoaMiddleware {
    const run: Run = (ctx, next, early) => {
      if (feature.onBackground === 'skip' && isBackgroundRequest(ctx.req)) return next()
      const plan = feature.handle(exchange(ctx), early as Early | undefined)
      if (!isPromise(plan)) return carryOut(ctx, plan, next)
      return plan.then((plan) =>
        response.isOver(ctx.res) ? leave(ctx, plan) : carryOut(ctx, plan, next),
      )
    }
    const middleware: KoaMiddleware = (ctx, next) => run(ctx, next, undefined)
    return markMiddleware(middleware, { feature, exchange, run })
  }

  function pipeline(members: readonly KoaMiddleware[]): KoaMiddleware {
    const steps = stepsOf<KoaMiddleware, Run>(members)
    const middleware: KoaMiddleware = (ctx, next) => walk(steps, ctx, next)
    Object.defineProperty(middleware, 'name', { value: 'pipeline' })
    return markPipeline(middleware, members)
  }

  return { exchange, mount, pipeline }
}

/** What routers leave on a context. */
interface Routed {
  _matchedRoute?: string | RegExp
  routerPath?: string
}

const unwound = Symbol('turnpike.unwound')
/** Set when an error has passed the seals' place: it goes before any failure of theirs. */
type Unwound = { [unwound]?: boolean }

/** Do what a feature wants done, and go on. */
function carryOut(ctx: Context, plan: Plan, next: Onward): Promise<unknown> | void {
  if (plan.reply !== undefined) return answer(ctx, plan.reply)
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
  const { res } = ctx
  const unmask = request && maskHeaders(ctx.req, request)
  if (tools !== undefined) Object.assign(ctx, tools)
  if (expose !== undefined) Object.assign(ctx.state, expose)
  if (own !== undefined) Object.assign(ctx, own)
  if (head !== undefined) response.onHead(res, head)
  const tap = body && response.onBody(res, body)
  const isSealer =
    seal !== undefined && response.onSeal(res, seal, (error, send) => refuse(ctx, error, send))
  if (end !== undefined) response.onEnd(res, end)
  return tap === undefined && !isSealer ? next() : around(ctx, next, tap, isSealer, unmask)
}

/** Take part on the way out of the onion: `isSealer` does the seals of everybody further inside. */
async function around(
  ctx: Context,
  next: Onward,
  tap: Tap | undefined,
  isSealer: boolean,
  unmask?: () => void,
): Promise<void> {
  try {
    await next()
  } catch (error) {
    if (tap !== undefined) tap.done = true
    if (rescue(ctx, tap, error)) return
    tap?.thrown?.()
    const slot = ctx as Context & Unwound
    slot[unwound] = isSealer
    throw error
  } finally {
    unmask?.()
  }
  // Written past Koa: then the tap and the patched end do it.
  if (ctx.respond === false || ctx.res.headersSent || ctx.res.writableEnded) return
  const sent = tap && (await capture(ctx, tap))
  const reply = sent && tap?.instead?.(sent)
  if (reply !== undefined) {
    withdraw(ctx.res)
    answer(ctx, reply)
  }
  if (isSealer && !isStreaming(ctx.body)) await response.sealNow(ctx.res)
}

/** Answer in an error's place, if somebody has an answer. */
function rescue(ctx: Context, tap: Tap | undefined, error: unknown): boolean {
  if (tap?.instead === undefined || ctx.headerSent) return false
  const { status = 500 } = (error ?? {}) as { status?: number }
  const reply = tap.instead({ status, headers: {}, body: Buffer.alloc(0) })
  if (reply === undefined) return false
  ctx.app.emit('error', error, ctx)
  withdraw(ctx.res)
  answer(ctx, reply)
  return true
}

/** The request was over before the feature had made its plan. */
function leave(ctx: Context, plan: Plan): void {
  if (plan.reply === undefined) {
    if (plan.onAbort !== undefined) response.onEnd(ctx.res, plan.onAbort)
    if (plan.onFinish !== undefined) response.onEnd(ctx.res, plan.onFinish)
  } else if (plan.reply.body instanceof Readable) {
    plan.reply.body.destroy()
  }
}

/** A seal has failed when Koa had left the response to a stream or to somebody else. */
function refuse(ctx: Context, error: unknown, send: () => void): void {
  if ((ctx as Unwound)[unwound] === true && !ctx.headerSent) {
    ctx.app.emit('error', error, ctx)
    send()
  } else {
    // Koa's types know only Errors and null; it copes with everything.
    ctx.onerror(error as Error)
  }
}

/** Answer in Koa's own terms, so that middleware further out can see and change the answer. */
function answer(ctx: Context, { status, headers = {}, body }: Reply): void {
  const isEmpty = isBodiless(ctx.method, status)
  const isUnwanted = isEmpty && body instanceof Readable
  if (isUnwanted) body.destroy()
  ctx.remove('Content-Type')
  ctx.status = status
  // For HEAD, Koa works the length out of a body that it does not send.
  ctx.body = (isUnwanted ? undefined : body) ?? (isEmpty ? null : '')
  // An empty body makes Koa forget the status and the fields that describe a body.
  ctx.status = status
  response.addFields(ctx.res, headers)
}

/** Run a pipeline's members one inside the other. */
function walk(
  steps: readonly Step<KoaMiddleware, Run>[],
  ctx: Context,
  next: Onward,
): Promise<unknown> {
  const prepared = new Prepared(steps, ctx)
  let turn = -1
  const advance = async (index: number): Promise<unknown> => {
    if (index <= turn) throw new Error('next() called multiple times')
    turn = index
    const step = steps[index]
    if (step === undefined) return next()
    const goOn = (): Promise<unknown> => advance(index + 1)
    return step.ours === undefined
      ? step.middleware(ctx, goOn)
      : step.ours.run(ctx, goOn, prepared.take(index))
  }
  return advance(0).finally(() => prepared.discard())
}
