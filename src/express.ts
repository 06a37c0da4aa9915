/** turnpike for Express 4 and 5. */
import type { Request, RequestHandler } from 'express'
import type { Decision } from './features/rate-limit/decision.ts'
import type { Idempotency } from './features/idempotency/options.ts'
import type { HeldLock } from './features/lock/options.ts'
import { connectAdapter } from './http/connect.ts'
import { createFactory } from './create-turnpike.ts'
import type { TurnpikeFactory } from './turnpike.ts'

declare global {
  namespace Express {
    interface Request {
      /** What the innermost rate limit decided on this request. */
      rateLimit?: Decision
      /** With `tp.idempotency()`, of a request that has a key. */
      idempotency?: Idempotency
      /** With `tp.exclusive()`: the lock that this request holds. */
      lock?: HeldLock
    }
    interface Response {
      /** With `tp.cache()`, while it stores the response: adds tags that it can be invalidated by. */
      cacheTags?(...tags: string[]): void
    }
  }
}

/** Makes an instance whose middlewares are Express's. */
export const turnpike: TurnpikeFactory<Request, RequestHandler> = createFactory<
  Request,
  RequestHandler
>(connectAdapter)

export * from './index.ts'
