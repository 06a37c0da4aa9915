/** Runs a pipeline of Express's, Connect's or node's middlewares. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ConnectMiddleware, ConnectRun, Next } from './connect-middleware.ts'
import type { ConnectExchange } from './connect-exchange.ts'
import { isResponse, onHandshakeEnd } from './handshake.ts'
import { exchangeFor, PreparedSteps, type ExchangeOf, type Step } from './pipeline.ts'
import { isPromise, rejectionReason } from './promises.ts'
import { onFinish } from './request-end.ts'
import { stateOf } from './response.ts'

/** Prepares all members in one tick, then runs them one after the other. */
export function runConnectPipeline<Req extends IncomingMessage, Res extends ServerResponse>(
  steps: readonly Step<ConnectMiddleware<Req, Res>, ConnectRun>[],
  x: ConnectExchange<Req>,
  exchangeOf: ExchangeOf,
  res: Res,
  next: Next,
  raise: (error: unknown) => void,
): void {
  const { native: req } = x
  let prepared: PreparedSteps
  x.beginTurn()
  try {
    prepared = new PreparedSteps(steps, x, exchangeOf)
  } catch (error) {
    x.endTurn()
    return raise(error)
  }
  x.endTurn()
  const stop = (): void => prepared.discard()
  // Other members answer without telling us.
  if (steps.some(({ ours }) => ours === undefined)) {
    if (isResponse(res)) onFinish(stateOf(req, res), res, stop)
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
    const { ours, middleware } = step
    if (ours !== undefined)
      return ours.run(
        exchangeFor(ours, x, exchangeOf) as ConnectExchange<Req>,
        res,
        goOn,
        prepared.take(index),
        stop,
      )
    try {
      const done: unknown = middleware(req, res, goOn)
      if (isPromise(done)) done.then(undefined, (error) => goOn(rejectionReason(error)))
    } catch (error) {
      goOn(error)
    }
  }
  advance(0)
}
