/** A Koa application without sessions. */
import Koa from 'koa'
import { turnpike } from 'turnpike/koa'

const tp = turnpike({ redis: 'memory' })
const app = new Koa()
app.use(tp.rateLimit({ limit: 5, window: '1m', key: (ctx) => ctx.ip }))
// @ts-expect-error the types of Koa are found
tp.rateLimit({ limit: 5, window: '1m', key: (ctx) => ctx.ip.nothing })
