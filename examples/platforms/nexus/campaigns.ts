/** Campaigns and creators: cached, counted, ranked, searched. */
import type { Router } from '@koa/router'
import type { Context, Middleware } from 'koa'
import { counters, leaderboard, recent, suggestions, trending } from 'turnpike/collections'
import type { KoaTurnpike } from 'turnpike/koa'
import type { Channels, Inbox } from 'turnpike/realtime'
import { bodyOf } from '../koa-json.ts'

export interface Parts {
  tp: KoaTurnpike
  live: Channels
  notifications: Inbox
  router: Router
  perOrganisation: Middleware
}

interface Campaign {
  id: string
  name: string
}

export function campaigns({ tp, live, router, perOrganisation }: Parts) {
  const loggedIn = tp.session.require()
  const userOf = (ctx: Context): string => String(ctx.session.userId)
  const table = new Map<string, Campaign>([['c1', { id: 'c1', name: 'Spring' }]]) // your database
  const idOf = (ctx: Context): string => (ctx['params'] as { id: string }).id
  const reads = { campaigns: 0 }

  // 2. Each kind has its time to live. Tags find what a change concerns.
  const cached = {
    user: tp.data.namespace('user', { ttl: '1h' }),
    campaign: tp.data.namespace('campaign', { ttl: '15m' }),
    creator: tp.data.namespace('creator', { ttl: '30m' }),
    content: tp.data.namespace('content', { ttl: '1h' }),
    organisation: tp.data.namespace('organisation', { ttl: '30m' }),
    list: tp.data.namespace('list', { ttl: '5m' }),
  }
  const search = cached.list.wrap(
    (query: { text: string; page: number }) => {
      reads.campaigns++
      return [...table.values()].filter(({ name }) => name.includes(query.text))
    },
    { name: 'campaigns', tags: ['campaigns'] },
  )
  router.get('/campaigns', loggedIn, perOrganisation, async (ctx) => {
    const text = String(ctx.query['text'] ?? '')
    if (text) {
      await Promise.all([words.add(text), searches.push(userOf(ctx), text)])
    }
    ctx.body = await search({ text, page: Number(ctx.query['page'] ?? 1) })
  })
  router.get('/campaigns/:id', loggedIn, async (ctx) => {
    const id = idOf(ctx)
    const load = () => table.get(id) ?? ctx.throw(404)
    ctx.body = await cached.campaign.getOrFetch(id, load, { tags: [`campaign:${id}`] })
  })
  router.put('/campaigns/:id', loggedIn, async (ctx) => {
    const id = idOf(ctx)
    // 8. One change of a campaign at a time. The lock is renewed while it is held.
    await tp.lock(['campaign', id], { lease: '30s', wait: '5s' }, () => {
      table.set(id, { id, name: String(bodyOf(ctx)['name']) })
    })
    await tp.data.invalidate({ tags: [`campaign:${id}`, 'campaigns'] })
    // 4. Everybody who looks at it learns of it.
    await live.publish(`campaign:${id}`, table.get(id))
    ctx.status = 204
  })
  // By pattern, found by SCAN in steps: never by KEYS.
  router.delete('/cache/users', tp.session.require('admin:cache'), async (ctx) => {
    ctx.body = { removed: await cached.user.invalidatePattern('*') }
  })

  // 4. Live statistics, and 6. what is made of them.
  const stats = counters(tp, 'live', { ttl: '30d', fields: ['views', 'clicks', 'conversions'] })
  const creators = leaderboard(tp, 'engagement', { period: 'week', max: 10_000 })
  const content = trending(tp, 'content', { halfLife: '6h', max: 1000 })
  const analytics = tp.data.namespace('analytics', { ttl: '1h' })
  router.post('/campaigns/:id/events', async (ctx) => {
    const { creator, post, ...counts } = bodyOf(ctx)
    stats.add(idOf(ctx), counts)
    if (creator) await creators.add(creator, counts['clicks'] ?? 0)
    if (post) await content.hit(post)
    ctx.status = 202
  })
  router.get('/campaigns/:id/live', loggedIn, async (ctx) => {
    ctx.body = await stats.get(idOf(ctx))
  })
  router.get('/campaigns/:id/periods/:period', loggedIn, async (ctx) => {
    const { period } = ctx['params'] as { period: string }
    const compute = async () => ({ period, ...(await stats.get(idOf(ctx))) })
    ctx.body = await analytics.getOrFetch(`${idOf(ctx)} ${period}`, compute)
  })
  router.get('/creators', loggedIn, async (ctx) => {
    ctx.body = await creators.top(10)
  })
  router.get('/trending', async (ctx) => {
    ctx.body = (await content.top(10)).map(({ id }) => id)
  })

  // 10. Search and autocomplete.
  const words = suggestions(tp, 'campaigns', { max: 10_000 })
  const searches = recent(tp, 'searches', { max: 10, ttl: '7d' })
  router.get('/suggestions', async (ctx) => {
    ctx.body = await words.complete(String(ctx.query['prefix']), 5)
  })
  router.get('/searches', loggedIn, async (ctx) => {
    ctx.body = await searches.list(userOf(ctx))
  })
  return { stats, reads }
}
