/** The adapter for Koa 2 and 3. */
import { Readable } from 'node:stream'
import type { Context, Middleware as KoaMiddleware } from 'koa'
import {
  exchangeSettings,
  markMiddleware,
  markPipeline,
  type AdapterOptions,
  type FrameworkAdapter,
} from './adapter.ts'
import { isBackgroundRequest } from './background-request.ts'
import type { Exchange, Feature, Plan, RefusalPlan, Reply } from './exchange.ts'
import { isBodiless } from './headers.ts'
import type { Tap } from './joint.ts'
import { capture, isStreaming } from './koa-body.ts'
import { KoaExchange } from './koa-exchange.ts'
import { Prepared, stepsOf, type Step } from './pipeline.ts'
import { isPromise } from './promises.ts'
import { RefusalError, refusalHeaders, refusalReply } from './refusal.ts'
import { maskHeaders } from './request.ts'
import * as response from './response.ts'
import { withdraw } from './seal.ts'

type Onward = () => Promise<unknown>
/** Carry a feature out. */
type Run = (ctx: Context, next: Onward, early: unknown) => Promise<unknown> | void

/** Creates the adapter of one instance. */
export function koaAdapter(options: AdapterOptions): FrameworkAdapter<Context, KoaMiddleware> {
  const settings = exchangeSettings(options)
  const { refusals } = options
  const kept = Symbol('turnpike.exchange')

  function exchange(ctx: Context): Exchange<Context> {
    const slot = ctx as Context & { [kept]?: KoaExchange }
    return (slot[kept] ??= new KoaExchange(ctx, settings))
  }

  function mount<Early>(feature: Feature<Context, Early>): KoaMiddleware {
    const run: Run = (ctx, next, early) => {
      if (feature.onBackground === 'skip' && isBackgroundRequest(ctx.req)) return next()
      const x = exchange(ctx)
      const plan = feature.handle(x, early as Early | undefined)
      if (!isPromise(plan)) return carryOut(x, plan, next, refusals)
      return plan.then((plan) =>
        response.isOver(ctx.res) ? leave(ctx, plan) : carryOut(x, plan, next, refusals),
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

const unwound = Symbol.for('turnpike.unwound@1')
/** Set when an error has passed the seals' place: it goes before any failure of theirs. */
type Unwound = { [unwound]?: boolean }

/** Carries out a plan, then calls `next` unless the request has been answered. */
function carryOut(
  x: Exchange<Context>,
  plan: Plan,
  next: Onward,
  refusals: AdapterOptions['refusals'],
): Promise<unknown> | void {
  const ctx = x.native
  if (plan.reply !== undefined) return answer(ctx, plan.reply)
  if (plan.refusal !== undefined) return refuse(x, plan, refusals)
  const { state, assign, headers, capture } = plan
  const { beforeEnd, onFinish, requestHeaders, responseHelpers } = plan
  const { res } = ctx
  const unmask = requestHeaders && maskHeaders(ctx.req, requestHeaders)
  if (responseHelpers !== undefined) Object.assign(ctx, responseHelpers)
  if (state !== undefined) Object.assign(ctx.state, state)
  if (assign !== undefined) Object.assign(ctx, assign)
  if (headers !== undefined) response.onHead(res, headers)
  const tap = capture && response.onBody(res, capture)
  const isSealer =
    beforeEnd !== undefined &&
    response.onSeal(res, beforeEnd, (error, send) => failBeforeEnd(ctx, error, send))
  if (onFinish !== undefined) response.onEnd(res, onFinish)
  return tap === undefined && !isSealer ? next() : around(ctx, next, tap, isSealer, unmask)
}

/** Turns a request away: with a reply, or through the application's error handler. */
function refuse(
  x: Exchange<Context>,
  { refusal, replyWith }: RefusalPlan,
  refusals: AdapterOptions['refusals'],
): Promise<void> | void {
  const ctx = x.native
  if (refusals === 'next' && replyWith === undefined) {
    // Koa's error handler removes every header field: these are set after it has run.
    response.onHead(ctx.res, () => refusalHeaders(refusal))
    throw new RefusalError(refusal)
  }
  const send = (reply: Reply): void => {
    // The application's `reply` may have answered itself.
    if (!ctx.headerSent && !response.isOver(ctx.res) && ctx.respond !== false) answer(ctx, reply)
  }
  const reply = refusalReply(x, refusal, replyWith)
  return isPromise(reply) ? reply.then(send) : send(reply)
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
  if (plan.reply !== undefined) {
    if (plan.reply.body instanceof Readable) plan.reply.body.destroy()
  } else if (plan.refusal === undefined) {
    if (plan.onAbort !== undefined) response.onEnd(ctx.res, plan.onAbort)
    if (plan.onFinish !== undefined) response.onEnd(ctx.res, plan.onFinish)
  }
}

/** A seal has failed when Koa had left the response to a stream or to somebody else. */
function failBeforeEnd(ctx: Context, error: unknown, send: () => void): void {
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
  // Koa gives the empty string a Content-Type.
  if (body === undefined || body === '') ctx.remove('Content-Type')
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
