/** Reads JSON bodies. In your application, a body parser does. */
import { json } from 'node:stream/consumers'
import type { Context, Next } from 'koa'

export type Body = Record<string, any>

export async function readJson(ctx: Context, next: Next): Promise<void> {
  if (ctx.is('json')) (ctx.request as { body?: unknown }).body = await json(ctx.req)
  await next()
}

export const bodyOf = (ctx: Context): Body => (ctx.request as { body?: Body }).body ?? {}
