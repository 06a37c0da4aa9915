/** turnpike for node:http and for frameworks with (req, res, next): Connect, Polka, Restify. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { connectAdapter } from './http/connect.ts'
import type { SessionProperties } from './features/session/types.ts'
import { createFactory } from './create-turnpike.ts'
import type { Turnpike, TurnpikeFactory } from './turnpike.ts'

/** A request that has passed `tp.session()`. */
export type SessionRequest = IncomingMessage & SessionProperties

/** A middleware of Connect. It calls `next` if the request may pass, or with an error. */
export type NodeMiddleware = (
  req: IncomingMessage,
  res: ServerResponse,
  next: (error?: unknown) => void,
) => void

/** An instance for Connect and node:http. */
export interface NodeTurnpike extends Turnpike<IncomingMessage, NodeMiddleware> {}

/** Creates an instance whose middlewares are Connect's. */
export const turnpike: TurnpikeFactory<IncomingMessage, NodeMiddleware> = createFactory<
  IncomingMessage,
  NodeMiddleware
>(connectAdapter)

export * from './index.ts'
