/** turnpike for Express 4 and 5. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Request, RequestHandler } from 'express'
import type { Decision } from './features/rate-limit/decision.ts'
import type { Idempotency } from './features/idempotency/options.ts'
import type { HeldLock } from './features/lock/options.ts'
import { connectAdapter } from './http/connect.ts'
import { createFactory } from './create-turnpike.ts'
import type { AdapterFactory, Turnpike, TurnpikeFactory } from './turnpike.ts'

/** What middlewares of turnpike add to a request. */
export interface ExpressRequestProperties {
  /** Decision of the innermost rate limit. */
  rateLimit?: Decision
  /** With `tp.idempotency()`, if the request has a key. */
  idempotency?: Idempotency
  /** With `tp.exclusive()`: the lock that the request holds. */
  lock?: HeldLock
}

/** What middlewares of turnpike add to a response. */
export interface ExpressResponseProperties {
  /** With `tp.cache()`, while it stores the response: adds tags to invalidate it by. */
  cacheTags?(...tags: string[]): void
}

declare global {
  namespace Express {
    // Inherited, so that an application may declare a property of the same name more narrowly.
    interface Request extends ExpressRequestProperties {}
    interface Response extends ExpressResponseProperties {}
  }
}

/**
 * The request that callbacks of options receive. It is the request of any route, so its parameters
 * have no type of their own.
 */
export type RouteRequest = Request<any>

/**
 * A middleware for Express. It accepts the request of any route. With the type RequestHandler,
 * handlers behind it would lose the types of their route's parameters.
 */
export type ExpressMiddleware = (
  req: IncomingMessage,
  res: ServerResponse,
  next: (error?: any) => void,
) => void

/** What `pipeline()` accepts: middlewares of turnpike, and handlers of any route. */
type PipelineMember = RequestHandler<any, any, any, any, any>

/** An instance for Express. */
export interface ExpressTurnpike extends Turnpike<
  RouteRequest,
  ExpressMiddleware,
  PipelineMember
> {}

/** Creates an instance whose middlewares are Express's. */
export const turnpike: TurnpikeFactory<RouteRequest, ExpressMiddleware, PipelineMember> =
  createFactory(connectAdapter as AdapterFactory<RouteRequest, ExpressMiddleware>)

export * from './index.ts'
