/** Koa 2 and 3: one limit for all clients, a stricter one for guests, and a login that slows down guessing. */
import { Router } from '@koa/router'
import Koa, { type Context } from 'koa'
import { turnpike, type TurnpikeOptions } from 'turnpike/koa'

export function createApp(options: TurnpikeOptions<Context> = {}) {
  const tp = turnpike(options)
  const app = new Koa()

  // Who the request is from; your application asks its session.
  app.use(async (ctx, next) => {
    const id = ctx.get('x-user')
    if (id) ctx.state['user'] = { id }
    await next()
  })

  app.use(tp.health({ path: '/health' }))

  app.use(
    tp.rateLimit({
      name: 'site',
      window: '1m',
      limit: (ctx) => (ctx.state['user'] ? 5 : 2),
      key: tp.key.user(),
    }),
  )

  const router = new Router()
  const login = tp.loginGuard({ key: (ctx) => ctx.query['user'], limit: 1 })
  router.post('/login', login, (ctx) => {
    ctx.status = ctx.query['password'] === 'open sesame' ? 204 : 401
  })
  router.get('/', (ctx) => {
    const { user, rateLimit } = ctx.state
    ctx.body = { hello: user?.id ?? 'guest', remaining: rateLimit.remaining }
  })
  app.use(router.routes())
  return { app, tp }
}
