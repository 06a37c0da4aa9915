/** turnpike for node:http and for frameworks that take (req, res, next): Connect, Polka, Restify. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { connectAdapter } from './http/connect.ts'
import type { SessionProperties } from './features/session/types.ts'
import { createFactory } from './create-turnpike.ts'
import type { TurnpikeFactory } from './turnpike.ts'

/** A request that has passed `tp.session()`. */
export type SessionRequest = IncomingMessage & SessionProperties

/** A middleware as Connect knows it. `next` is called when the request may pass, or with an error. */
export type NodeMiddleware = (
  req: IncomingMessage,
  res: ServerResponse,
  next: (error?: unknown) => void,
) => void

/** Makes an instance whose middlewares are Connect's. */
export const turnpike: TurnpikeFactory<IncomingMessage, NodeMiddleware> = createFactory<
  IncomingMessage,
  NodeMiddleware
>(connectAdapter)

export * from './index.ts'
