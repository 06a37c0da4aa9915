/** A news site on Koa: what is read now, features for some readers, and a switch for maintenance. */
import { Router } from '@koa/router'
import Koa, { type Context } from 'koa'
import { trending } from 'turnpike/collections'
import { flags, maintenance } from 'turnpike/flags'
import { turnpike, type TurnpikeOptions } from 'turnpike/koa'

const TOPICS = ['coffee', 'gardens', 'trains']

export function createApp(options: TurnpikeOptions<Context> = {}) {
  const tp = turnpike(options)
  // A read counts half after an hour.
  const topics = trending(tp, 'topics', { halfLife: '1h', max: 100 })
  const feature = flags(tp, {
    defaults: { newFront: false, teaser: { columns: 2 } },
    // Who the request is from; your application asks its session.
    user: (ctx) => ctx.get('x-user') || undefined,
    organisation: (ctx) => ctx.get('x-organisation') || undefined,
  })
  const isEditor = (ctx: Context): boolean => ctx.get('x-user') === 'editor'
  const closed = maintenance(tp, { allow: isEditor })

  const app = new Koa()
  // Outside of maintenance, so that it says how Redis is meanwhile.
  app.use(tp.health({ path: '/health' }))
  app.use(closed)
  app.use(feature)

  const router = new Router()
  router.get('/', (ctx) => {
    const mine = feature.of(ctx)
    ctx.body = { front: mine.enabled('newFront') ? 'new' : 'old', teaser: mine.value('teaser') }
  })
  router.get('/topics/:topic', async (ctx) => {
    const { topic = '' } = ctx['params'] as { topic?: string }
    // Only what exists is counted: clients could fill the list with anything else.
    if (!TOPICS.includes(topic)) return
    // A page is worth more than its count.
    await topics.hit(topic).catch(() => {})
    ctx.body = { topic }
  })
  router.get('/trending', async (ctx) => {
    ctx.body = (await topics.top(10)).map(({ id }) => id)
  })

  router.use('/editor', async (ctx, next) => {
    if (isEditor(ctx)) await next()
    else ctx.status = 403
  })
  // All readers of an organisation, then a share of the others.
  router.put('/editor/front', async (ctx) => {
    const { organisation, percentage = '0' } = ctx.query
    const organisations = organisation === undefined ? [] : [organisation].flat()
    const rules = [{ organisations }, { percentage: Number(percentage) }]
    await feature.set('newFront', rules, { by: ctx.get('x-user') })
    ctx.body = feature.get('newFront').rules
  })
  router.put('/editor/maintenance', async (ctx) => {
    await closed.on({ retryAfter: '10m', by: ctx.get('x-user') })
    ctx.body = closed.status()
  })
  router.delete('/editor/maintenance', async (ctx) => {
    await closed.off({ by: ctx.get('x-user') })
    ctx.body = closed.status()
  })
  app.use(router.routes())
  return { app, tp }
}
