/** The adapter for Express 4 and 5, Connect and node:http. */
import { STATUS_CODES, type IncomingMessage, type ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import {
  exchangeSettings,
  markMiddleware,
  markPipeline,
  type AdapterOptions,
  type FrameworkAdapter,
} from './adapter.ts'
import { ConnectExchange, type ExpressRequest } from './connect-exchange.ts'
import type { Exchange, Feature, Plan, RefusalPlan, Reply } from './exchange.ts'
import { applyToHandshake, failHandshake, isResponse, onHandshakeEnd } from './handshake.ts'
import { Prepared, stepsOf, type Step } from './pipeline.ts'
import { problemReply } from './problem.ts'
import { isPromise, rejectionReason } from './promises.ts'
import { defaultReply, RefusalError, refusalHeaders, refusalReply } from './refusal.ts'
import { maskHeaders } from './request.ts'
import { isOver, onBody, onEnd, onHead, onSeal } from './response.ts'
import { withdraw } from './seal.ts'
import { sendReply } from './send-reply.ts'

export type Next = (error?: any) => void
/** A middleware of Express, Connect or node:http. */
export type ConnectMiddleware<Req = IncomingMessage, Res = ServerResponse> = (
  req: Req,
  res: Res,
  next: Next,
) => void

/** Runs a feature. `stop` is called when it answers or fails, so that no member after it gets a turn. */
type Run = (
  req: IncomingMessage,
  res: ServerResponse,
  next: Next,
  early: unknown,
  stop: () => void,
) => void

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

  function exchange(req: Req): Exchange<Req> {
    let x = (req as Kept)[kept]
    if (x === undefined) (req as Kept)[kept] = x = new ConnectExchange(req, settings)
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
      if (!isPromise(plan)) return carryOut(x, res, plan, next, stop, raise, refusals)
      plan.then((plan) => {
        if (!isOver(res)) return carryOut(x, res, plan, next, stop, raise, refusals)
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
      return sendReply(res, plan.reply, raise)
    } else if (plan.refusal !== undefined) {
      stop()
      return refuse(x, res, plan, next, refusals)
    } else {
      const { state, assign, headers, capture } = plan
      const { beforeEnd, onFinish, requestHeaders, responseHelpers } = plan
      if (requestHeaders !== undefined) maskHeaders(x.native, requestHeaders)
      if (responseHelpers !== undefined) Object.assign(res, responseHelpers)
      if (state !== undefined) Object.assign(x.native, state)
      if (assign !== undefined) Object.assign(x.native, assign)
      if (headers !== undefined) onHead(res, headers)
      if (capture !== undefined) onBody(res, capture)
      if (beforeEnd !== undefined)
        onSeal(res, beforeEnd, (error) => failBeforeEnd(x, res, next, error))
      if (onFinish !== undefined) onEnd(res, onFinish)
    }
  } catch (error) {
    return raise(error)
  }
  next()
}

/** Runs what a plan holds for a request that was over before the feature had made its plan. */
function leave(res: ServerResponse, plan: Plan): void {
  if (plan.reply !== undefined) {
    if (plan.reply.body instanceof Readable) plan.reply.body.destroy()
  } else if (plan.refusal === undefined) {
    if (plan.onAbort !== undefined) onEnd(res, plan.onAbort)
    if (plan.onFinish !== undefined) onEnd(res, plan.onFinish)
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
    onHead(res, () => refusalHeaders(refusal))
    return next(new RefusalError(refusal))
  }
  const raise = (error: unknown): void => fail(x, res, next, error)
  const send = (reply: Reply): void => {
    // The application's `reply` may have answered itself.
    if (res.headersSent || isOver(res)) return
    try {
      sendReply(res, reply, raise)
    } catch (error) {
      withdraw(res)
      raise(error)
    }
  }
  const reply = refusalReply(x, refusal, replyWith)
  if (isPromise(reply)) reply.then(send, raise)
  else send(reply)
}

/** Fails a request whose work before the end failed. If nothing was sent, it fails as if the handler had. */
function failBeforeEnd(
  x: Exchange<IncomingMessage>,
  res: ServerResponse,
  next: Next,
  error: unknown,
): void {
  if (!res.headersSent) {
    withdraw(res)
    fail(x, res, next, error)
  } else if (hasErrorPath(x.native, next)) {
    next(error)
  }
}

function fail(x: Exchange<IncomingMessage>, res: ServerResponse, next: Next, error: unknown): void {
  const reason = rejectionReason(error)
  if (!isResponse(res)) return failHandshake(x.native, res, next, reason, errorReply(x, reason))
  if (hasErrorPath(x.native, next)) return next(reason)
  if (res.headersSent) res.destroy()
  else sendReply(res, errorReply(x, reason), nothing)
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
  // Other members answer without telling us.
  if (steps.some(({ ours }) => ours === undefined)) {
    if (isResponse(res)) onEnd(res, stop)
    else onHandshakeEnd(req, stop)
  }
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
