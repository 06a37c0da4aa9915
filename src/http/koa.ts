/** The adapter for Koa 2 and 3. */
import { Readable } from 'node:stream'
import type { Context, Middleware as KoaMiddleware } from 'koa'
import {
  exchangeSettings,
  markMiddleware,
  markPipeline,
  wrongFramework,
  type AdapterOptions,
  type FrameworkAdapter,
} from './adapter.ts'
import type { BodyTap } from './body-tap.ts'
import { withdraw } from './disguise.ts'
import type { Exchange, Feature, PassPlan, Plan, RefusalPlan, Reply } from './exchange.ts'
import { addFields, isBodiless } from './headers.ts'
import { captureBody, isStreaming } from './koa-body.ts'
import { KoaExchange } from './koa-exchange.ts'
import { exchangeFor, PreparedSteps, stepsOf, type ExchangeOf, type Step } from './pipeline.ts'
import { isPromise, rejectionReason } from './promises.ts'
import { refusalReply } from './refusal-reply.ts'
import { RefusalError, refusalHeaders } from './refusal.ts'
import { isOver, onFinish } from './request-end.ts'
import { maskKoaQuery, maskHeaders } from './request-mask.ts'
import { addFinalizer, addLateHeaders, finalizeNow, stateOf, tapBody } from './response.ts'
import type { FailureStage } from './response-state.ts'
import { breakOffWith, isGarbledByEnd } from './send-reply.ts'

type Onward = () => Promise<unknown>
/** Carry a feature out. */
type Run = (x: Exchange<Context>, next: Onward, early: unknown) => Promise<unknown> | void

/** Creates the adapter of one instance. */
export function koaAdapter(options: AdapterOptions): FrameworkAdapter<Context, KoaMiddleware> {
  const settings = exchangeSettings(options)
  const { refusals } = options
  const kept = Symbol('turnpike.exchange')

  function exchange(ctx: Context): Exchange<Context> {
    const slot = ctx as Context & { [kept]?: KoaExchange }
    if (slot[kept] !== undefined) return slot[kept]
    if (ctx.req === undefined) throw wrongFramework('connect')
    return (slot[kept] = new KoaExchange(ctx, settings))
  }

  function mount<Early>(feature: Feature<Context, Early>): KoaMiddleware {
    const run: Run = (x, next, early) => {
      const ctx = x.native
      if (feature.onBackground === 'skip' && x.isBackground) return next()
      let plan: Promise<Plan> | Plan
      try {
        plan = feature.handle(x, early as Early | undefined)
      } catch (error) {
        return raise(error)
      }
      if (!isPromise(plan)) return carryOut(x, plan, next, refusals)
      return plan.then(
        (plan) => (isOver(ctx.req, ctx.res) ? leave(ctx, plan) : carryOut(x, plan, next, refusals)),
        raise,
      )
    }
    const middleware: KoaMiddleware = (ctx, next) => run(exchange(ctx), next, undefined)
    return markMiddleware(middleware, { feature, exchange, run })
  }

  function pipeline(members: readonly KoaMiddleware[]): KoaMiddleware {
    const steps = stepsOf<KoaMiddleware, Run>(members)
    const middleware: KoaMiddleware = (ctx, next) =>
      runKoaPipeline(steps, exchange(ctx), exchange, next)
    Object.defineProperty(middleware, 'name', { value: 'pipeline' })
    return markPipeline(middleware, members)
  }

  return { framework: 'koa', exchange, mount, pipeline }
}

const unwound = Symbol.for('turnpike.unwound@1')
/** Set when an error has passed the finalizers' place: it takes precedence over their failures. */
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
  return takePart(ctx, plan, next)
}

/** Has a feature take part in the response. */
function takePart(ctx: Context, plan: PassPlan, next: Onward): Promise<unknown> | void {
  const { req, res } = ctx
  const { state, assign, headers, capture, beforeHead, beforeEnd, commit } = plan
  const { requestHeaders, requestQuery, responseHelpers } = plan
  const showHeaders = requestHeaders && maskHeaders(req, requestHeaders)
  const showQuery = requestQuery && maskKoaQuery(ctx, requestQuery)
  const unmask =
    showQuery || showHeaders
      ? (): void => {
          showQuery?.()
          showHeaders?.()
        }
      : undefined
  if (responseHelpers !== undefined) Object.assign(ctx, responseHelpers)
  if (state !== undefined) Object.assign(ctx.state, state)
  if (assign !== undefined) Object.assign(ctx, assign)
  if (headers !== undefined) addLateHeaders(req, res, headers)
  const tap = capture && tapBody(req, res, capture)
  let isFirst = false
  if (beforeEnd !== undefined || beforeHead !== undefined || commit !== undefined) {
    const fail = (error: unknown, stage: FailureStage, send: () => void): void =>
      failFinalizer(ctx, error, stage, send)
    isFirst = addFinalizer(req, res, { beforeHead, beforeEnd, commit, fail })
  }
  if (plan.onFinish !== undefined) onFinish(stateOf(req, res), res, plan.onFinish)
  const isPassing = tap === undefined && !isFirst && unmask === undefined
  const onward: Onward = plan.around === undefined ? next : () => plan.around!(next)
  return isPassing ? onward() : around(ctx, onward, tap, isFirst, unmask)
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
    addLateHeaders(ctx.req, ctx.res, () => refusalHeaders(refusal))
    throw new RefusalError(refusal)
  }
  const send = (reply: Reply): void => {
    // The application's `reply` may have answered itself.
    if (!ctx.headerSent && !isOver(ctx.req, ctx.res) && ctx.respond !== false) answer(ctx, reply)
  }
  const reply = refusalReply(x, refusal, replyWith)
  return isPromise(reply) ? reply.then(send, raise) : send(reply)
}

/** Fails a request. Koa leaves one unanswered whose error is undefined. */
function raise(error: unknown): never {
  throw rejectionReason(error)
}

/**
 * Takes part in the response after the inner middlewares have returned.
 * @param isFirst true for the feature that does the work of all finalizers
 */
async function around(
  ctx: Context,
  next: Onward,
  tap: BodyTap | undefined,
  isFirst: boolean,
  unmask?: () => void,
): Promise<void> {
  try {
    await next()
  } catch (error) {
    if (tap !== undefined) tap.isDone = true
    if (rescue(ctx, tap, error)) return
    tap?.capture.onError?.()
    const slot = ctx as Context & Unwound
    slot[unwound] = isFirst
    throw error
  } finally {
    unmask?.()
  }
  // Written past Koa: then the interceptor does it.
  if (ctx.respond === false || ctx.res.writableEnded) return
  const isHeadSent = ctx.res.headersSent
  // Koa still sends the body. Outer middlewares may change it.
  const sent = tap && (await captureBody(ctx, tap))
  if (isHeadSent) return
  const reply = sent && tap?.capture.replace?.(sent)
  if (reply !== undefined) {
    withdraw(ctx.res)
    answer(ctx, reply)
  }
  if (isFirst) await finalizeNow(ctx.res, !isStreaming(ctx.body))
}

/** Answers in the place of an error, if the feature has an answer. */
function rescue(ctx: Context, tap: BodyTap | undefined, error: unknown): boolean {
  if (tap?.capture.replace === undefined || ctx.headerSent) return false
  const { status = 500 } = (error ?? {}) as { status?: number }
  const reply = tap.capture.replace({ status, headers: {}, body: Buffer.alloc(0) })
  if (reply === undefined) return false
  ctx.app.emit('error', error, ctx)
  withdraw(ctx.res)
  answer(ctx, reply)
  return true
}

/** Runs what a plan holds for a request that was over before the feature had made its plan. */
function leave(ctx: Context, plan: Plan): void {
  if (plan.reply !== undefined) {
    if (plan.reply.body instanceof Readable) plan.reply.body.destroy()
  } else if (plan.refusal === undefined) {
    const { req, res } = ctx
    if (plan.onAbort !== undefined) onFinish(stateOf(req, res), res, plan.onAbort)
    if (plan.onFinish !== undefined) onFinish(stateOf(req, res), res, plan.onFinish)
  }
}

/** Fails a request whose work before the head or the end failed after Koa's middlewares had returned. */
function failFinalizer(ctx: Context, error: unknown, stage: FailureStage, send: () => void): void {
  if ((ctx as Unwound)[unwound] === true && stage === 'unsent') {
    ctx.app.emit('error', error, ctx)
    send()
  } else {
    // Koa's types know only Errors and null. It takes everything.
    ctx.onerror(error as Error)
  }
}

/** Answers in Koa's own terms, so that outer middlewares can see and change the answer. */
function answer(ctx: Context, { status, headers = {}, remove = [], body }: Reply): void {
  const isEmpty = isBodiless(ctx.method, status)
  const isUnwanted = isEmpty && body instanceof Readable
  if (isUnwanted) body.destroy()
  else if (body instanceof Readable) {
    breakOffWith(ctx.res, body)
    ignoreDeparture(ctx)
  }
  ctx.remove('Content-Type')
  for (const name of remove) ctx.remove(name)
  ctx.status = status
  const isGarbled = Buffer.isBuffer(body) && body.length > 0 && isGarbledByEnd(headers)
  // Node's `end` writes the head in front of bytes, but not in front of a stream.
  const sent = isGarbled && !isEmpty ? Readable.from([body], { objectMode: false }) : body
  // For HEAD, Koa works the length out of a body that it does not send.
  ctx.body = (isUnwanted ? undefined : sent) ?? (isEmpty ? null : '')
  // An empty body makes Koa forget the status and the fields that describe a body.
  ctx.status = status
  // Koa sets a Content-Type for the empty string, and for bytes and streams that have none.
  if (typeof body !== 'string' || body === '') ctx.remove('Content-Type')
  addFields(ctx.res, headers)
  if (isGarbled) {
    ctx.remove('Content-Length')
    ctx.length = body.length
  }
}

/** Koa 3 would report a client that leaves a stream as an error of the application. */
function ignoreDeparture(ctx: Context): void {
  const { onerror } = ctx
  const report = (error: NodeJS.ErrnoException): void => {
    if (error?.code !== 'ERR_STREAM_PREMATURE_CLOSE') onerror.call(ctx, error)
  }
  Object.assign(ctx, { onerror: report })
}

/** Prepares all members in one tick, then runs them one inside the other. */
function runKoaPipeline(
  steps: readonly Step<KoaMiddleware, Run>[],
  x: Exchange<Context>,
  exchangeOf: ExchangeOf,
  next: Onward,
): Promise<unknown> {
  const prepared = new PreparedSteps(steps, x, exchangeOf)
  let turn = -1
  const run = (index: number): unknown => {
    const step = steps[index]
    if (step === undefined) return next()
    const goOn = (): Promise<unknown> => advance(index + 1)
    const { ours, middleware } = step
    return ours === undefined
      ? middleware(x.native, goOn)
      : ours.run(exchangeFor(ours, x, exchangeOf), goOn, prepared.take(index))
  }
  /** As koa-compose does. A member that returns a promise costs no promise of the pipeline's own. */
  const advance = (index: number): Promise<unknown> => {
    if (index <= turn) return Promise.reject(new Error('next() called multiple times'))
    turn = index
    try {
      return Promise.resolve(run(index))
    } catch (error) {
      return Promise.reject(error)
    }
  }
  return advance(0).finally(() => prepared.discard())
}
