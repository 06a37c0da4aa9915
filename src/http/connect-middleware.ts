/** Middlewares as Express, Connect and node:http know them. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ConnectExchange } from './connect-exchange.ts'

export type Next = (error?: any) => void

/** A middleware of Express, Connect or node:http. */
export type ConnectMiddleware<Req = IncomingMessage, Res = ServerResponse> = (
  req: Req,
  res: Res,
  next: Next,
) => void

/** Runs a feature. `stop` is called when it answers or fails, so that no member after it gets a turn. */
export type ConnectRun = (
  x: ConnectExchange<any>,
  res: ServerResponse,
  next: Next,
  early: unknown,
  stop: () => void,
) => void
