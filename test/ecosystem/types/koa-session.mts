/** An application whose `ctx.session` is koa-session's. */
import Koa from 'koa'
import session from 'koa-session'
import { turnpike } from 'turnpike/koa'

const tp = turnpike({ redis: 'memory' })
const app = new Koa()
app.use(session(app))
app.use(tp.rateLimit({ limit: 5, window: '1m', key: (ctx) => ctx.session?.['userId'] ?? ctx.ip }))
app.use((ctx) => {
  const own: session.Session | null = ctx.session
  ctx.body = own?.isNew
})
