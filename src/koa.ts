/** turnpike for Koa 2 and 3. What a rate limit decided stands in `ctx.state.rateLimit`. */
import type { Context, Middleware } from 'koa'
import { koaAdapter } from './http/koa.ts'
import { entry, type Entry } from './kit.ts'

/** Makes an instance whose middlewares are Koa's. */
export const turnpike: Entry<Context, Middleware> = entry<Context, Middleware>(koaAdapter)

export * from './index.ts'
