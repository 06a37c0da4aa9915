/** The adapter for Express 4 and 5, Connect and node:http. */
import { STATUS_CODES, type IncomingMessage, type ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import {
  exchangeSettings,
  markMiddleware,
  markPipeline,
  wrongFramework,
  type AdapterOptions,
  type FrameworkAdapter,
} from './adapter.ts'
import type { ConnectMiddleware, ConnectRun, Next } from './connect-middleware.ts'
import { ConnectExchange, type ExpressRequest } from './connect-exchange.ts'
import type { Exchange, Feature, PassPlan, Plan, RefusalPlan, Reply } from './exchange.ts'
import { breakOff, withdraw } from './disguise.ts'
import { applyToHandshake, failHandshake, isResponse } from './handshake.ts'
import { runConnectPipeline } from './connect-pipeline.ts'
import { stepsOf } from './pipeline.ts'
import { problemReply } from './problem.ts'
import { isPromise, rejectionReason } from './promises.ts'
import { defaultReply, refusalReply } from './refusal-reply.ts'
import { RefusalError, refusalHeaders } from './refusal.ts'
import { isOver, onFinish } from './request-end.ts'
import { maskConnectQuery, maskHeaders } from './request-mask.ts'
import { addFinalizer, addLateHeaders, stateOf, tapBody } from './response.ts'
import type { FailureStage } from './response-state.ts'
import { sendReply } from './send-reply.ts'

type Refusals = AdapterOptions['refusals']

/** Creates the adapter of one instance. */
export function connectAdapter<
  Req extends IncomingMessage = IncomingMessage,
  Res extends ServerResponse = ServerResponse,
>(options: AdapterOptions): FrameworkAdapter<Req, ConnectMiddleware<Req, Res>> {
  type Middleware = ConnectMiddleware<Req, Res>
  const settings = exchangeSettings(options)
  const { refusals } = options
  // On the requests themselves: a WeakMap with an entry for each costs the garbage collector far more.
  const kept = Symbol('turnpike.exchange')
  type Kept = { [kept]?: ConnectExchange<Req> }

  function exchange(req: Req): ConnectExchange<Req> {
    let x = (req as Kept)[kept]
    if (x === undefined) {
      // Koa's ctx has node's request.
      if ((req as { req?: unknown }).req !== undefined) throw wrongFramework('koa')
      ;(req as Kept)[kept] = x = new ConnectExchange(req, settings)
    }
    return x
  }

  function mount<Early>(feature: Feature<Req, Early>): Middleware {
    const run: ConnectRun = (x, res, next, early, stop) => {
      if (feature.onBackground === 'skip' && x.isBackground) return next()
      const raise = (error: unknown): void => {
        x.endTurn()
        stop()
        fail(x, res, next, error)
      }
      x.beginTurn()
      let plan: Promise<Plan> | Plan
      try {
        plan = feature.handle(x, early as Early | undefined)
      } catch (error) {
        return raise(error)
      }
      if (!isPromise(plan)) {
        x.endTurn()
        return carryOut(x, res, plan, next, stop, raise, refusals)
      }
      plan.then((plan) => {
        x.endTurn()
        if (!isOver(x.native, res)) return carryOut(x, res, plan, next, stop, raise, refusals)
        stop()
        leave(x.native, res, plan)
      }, raise)
    }
    const middleware: Middleware = (req, res, next) =>
      run(exchange(req), res, next, undefined, nothing)
    return markMiddleware(middleware, { feature, exchange, run })
  }

  function pipeline(members: readonly Middleware[]): Middleware {
    const steps = stepsOf<Middleware, ConnectRun>(members)
    const middleware: Middleware = (req, res, next) => {
      const x = exchange(req)
      runConnectPipeline(steps, x, exchange, res, next, (error) => fail(x, res, next, error))
    }
    Object.defineProperty(middleware, 'name', { value: 'pipeline' })
    return markPipeline(middleware, members)
  }

  return { framework: 'connect', exchange, mount, pipeline }
}

function nothing(): void {}

/** Carries out a plan, then calls `next` unless the request has been answered. */
function carryOut(
  x: Exchange<IncomingMessage>,
  res: ServerResponse,
  plan: Plan,
  next: Next,
  stop: () => void,
  raise: (error: unknown) => void,
  refusals: Refusals,
): void {
  try {
    if (!isResponse(res)) {
      if (plan.refusal !== undefined) {
        stop()
        return fail(x, res, next, new RefusalError(plan.refusal))
      }
      applyToHandshake(x.native, res, plan)
    } else if (plan.reply !== undefined) {
      stop()
      return sendReply(x.native, res, plan.reply, raise)
    } else if (plan.refusal !== undefined) {
      stop()
      return refuse(x, res, plan, next, refusals)
    } else {
      takePart(x, res, plan, next)
    }
  } catch (error) {
    return raise(error)
  }
  const { around } = plan as PassPlan
  if (around === undefined) next()
  else around(() => next())
}

/** Has a feature take part in the response. */
function takePart(
  x: Exchange<IncomingMessage>,
  res: ServerResponse,
  plan: PassPlan,
  next: Next,
): void {
  const { native: req } = x
  const { state, assign, headers, capture, beforeHead, beforeEnd, commit } = plan
  const { requestHeaders, requestQuery, responseHelpers } = plan
  if (requestHeaders !== undefined) stateOf(req, res).addUnmask(maskHeaders(req, requestHeaders))
  const unmask = requestQuery && maskConnectQuery(req, requestQuery)
  if (unmask !== undefined) stateOf(req, res).addUnmask(unmask)
  if (responseHelpers !== undefined) Object.assign(res, responseHelpers)
  if (state !== undefined) Object.assign(req, state)
  if (assign !== undefined) Object.assign(req, assign)
  if (headers !== undefined) addLateHeaders(req, res, headers)
  if (capture !== undefined) tapBody(req, res, capture)
  if (beforeEnd !== undefined || beforeHead !== undefined || commit !== undefined) {
    const fail = (error: unknown, stage: FailureStage): void =>
      failFinalizer(x, res, next, error, stage)
    addFinalizer(req, res, { beforeHead, beforeEnd, commit, fail })
  }
  if (plan.onFinish !== undefined) onFinish(stateOf(req, res), res, plan.onFinish)
}

/** Runs what a plan holds for a request that was over before the feature had made its plan. */
function leave(req: IncomingMessage, res: ServerResponse, plan: Plan): void {
  if (plan.reply !== undefined) {
    if (plan.reply.body instanceof Readable) plan.reply.body.destroy()
  } else if (plan.refusal === undefined) {
    if (plan.onAbort !== undefined) onFinish(stateOf(req, res), res, plan.onAbort)
    if (plan.onFinish !== undefined) onFinish(stateOf(req, res), res, plan.onFinish)
  }
}

/** Turns a request away: with a reply, or through the application's error handler. */
function refuse(
  x: Exchange<IncomingMessage>,
  res: ServerResponse,
  { refusal, replyWith }: RefusalPlan,
  next: Next,
  refusals: Refusals,
): void {
  if (refusals === 'next' && replyWith === undefined && hasErrorPath(x.native, next)) {
    // Error handlers remove and replace header fields: these are set after they have run.
    addLateHeaders(x.native, res, () => refusalHeaders(refusal))
    return next(new RefusalError(refusal))
  }
  const raise = (error: unknown): void => fail(x, res, next, error)
  const send = (reply: Reply): void => {
    // The application's `reply` may have answered itself.
    if (res.headersSent || isOver(x.native, res)) return
    try {
      sendReply(x.native, res, reply, raise)
    } catch (error) {
      withdraw(res)
      raise(error)
    }
  }
  const reply = refusalReply(x, refusal, replyWith)
  if (isPromise(reply)) reply.then(send, raise)
  else send(reply)
}

/** Fails a request whose work before the head or the end failed. */
function failFinalizer(
  x: Exchange<IncomingMessage>,
  res: ServerResponse,
  next: Next,
  error: unknown,
  stage: FailureStage,
): void {
  if (stage !== 'sent') withdraw(res)
  // Nothing was sent and the handler has ended: the request fails as if the handler had.
  if (stage === 'unsent') return fail(x, res, next, error)
  // The handler goes on writing, so its response must be over before anything else can run.
  if (stage === 'writing') sendReply(x.native, res, errorReply(x, error), nothing)
  if (hasErrorPath(x.native, next)) next(error)
}

function fail(x: Exchange<IncomingMessage>, res: ServerResponse, next: Next, error: unknown): void {
  const reason = rejectionReason(error)
  if (!isResponse(res)) return failHandshake(x.native, res, next, reason, errorReply(x, reason))
  if (hasErrorPath(x.native, next)) return next(reason)
  if (res.headersSent) breakOff(res)
  else sendReply(x.native, res, errorReply(x, reason), nothing)
}

/** Returns the reply to a request that failed where no error handler is. */
function errorReply(x: Exchange, error: unknown): Reply {
  const { refusal, status, expose, message } = error as Partial<RefusalError>
  if (refusal !== undefined) return defaultReply(x, refusal)
  const code = Number(status) >= 400 && Number(status) < 600 ? Number(status) : 500
  const title = STATUS_CODES[code] ?? 'Error'
  const detail = expose === true ? { detail: String(message) } : {}
  return problemReply({ title, status: code, ...detail }, x)
}

/**
 * Returns whether an error that is given to `next` is handled. A callback without parameters in
 * node:http would take it for "go on". Connect and Express, whose `next` tracers wrap, handle it always.
 */
function hasErrorPath(req: IncomingMessage, next: Next): boolean {
  return next.length > 0 || (req as ExpressRequest).originalUrl !== undefined
}
