/** turnpike for Koa 2 and 3. The decision of a rate limit is in `ctx.state.rateLimit`. */
import type { Context, Middleware } from 'koa'
import { koaAdapter } from './http/koa.ts'
import { createFactory } from './create-turnpike.ts'
import type { Turnpike, TurnpikeFactory } from './turnpike.ts'

/** What middlewares of turnpike add to `ctx`. */
export interface KoaContextProperties {
  /** With `tp.cache()`, while it stores the response: adds tags to invalidate it by. */
  cacheTags?(...tags: string[]): void
}

declare module 'koa' {
  interface DefaultContext extends KoaContextProperties {}
}

/** What `pipeline()` accepts: middlewares of turnpike, and those of any application. */
type PipelineMember = Middleware<any, any>

/** An instance for Koa. */
export interface KoaTurnpike extends Turnpike<Context, Middleware, PipelineMember> {}

/** Creates an instance whose middlewares are Koa's. */
export const turnpike: TurnpikeFactory<Context, Middleware, PipelineMember> = createFactory<
  Context,
  Middleware
>(koaAdapter)

export * from './index.ts'
