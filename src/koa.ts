/** turnpike for Koa 2 and 3. What a rate limit decided stands in `ctx.state.rateLimit`. */
import type { Context, Middleware } from 'koa'
import { koaAdapter } from './http/koa.ts'
import { createFactory } from './create-turnpike.ts'
import type { TurnpikeFactory } from './turnpike.ts'

declare module 'koa' {
  interface DefaultContext {
    /** With `tp.cache()`, while it stores the response: adds tags that it can be invalidated by. */
    cacheTags?(...tags: string[]): void
  }
}

/** Makes an instance whose middlewares are Koa's. */
export const turnpike: TurnpikeFactory<Context, Middleware> = createFactory<Context, Middleware>(
  koaAdapter,
)

export * from './index.ts'
