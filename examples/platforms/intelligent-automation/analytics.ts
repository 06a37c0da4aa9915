/** Campaigns: live counts, numbers for the dashboard, trending hashtags, cached responses. */
// oxlint-disable oxc/no-async-endpoint-handlers -- Express 5 hands their errors on
import { Router, type Request } from 'express'
import { counters, trending } from 'turnpike/collections'
import type { Providers } from './providers.ts'

export function analytics({ tp, userOf }: Pick<Providers, 'tp' | 'userOf'>) {
  // 6. Counted in the process, written once a second.
  const stats = counters(tp, 'campaign', {
    ttl: '30d',
    fields: ['impressions', 'clicks', 'conversions', 'cents'],
    derived: { engagementRate: ({ clicks, impressions }) => (100 * clicks) / impressions },
  })
  const hashtags = trending(tp, 'hashtags', { halfLife: '1h', max: 1000 })
  const metrics = tp.data.namespace('metrics', { ttl: '1m' })
  const performance = tp.data.namespace('platform', { ttl: '5m' })

  const router = Router()
  router.post('/campaigns/:id/events', (req, res) => {
    stats.add(req.params.id, req.body)
    res.status(202).end()
  })
  router.get('/campaigns/:id/stats', async (req, res) => {
    res.json(await stats.get(req.params.id))
  })
  router.post('/hashtags/:tag', async (req, res) => {
    await hashtags.hit(req.params.tag)
    res.status(204).end()
  })
  router.get('/hashtags', async (_req, res) => {
    res.json((await hashtags.top(10)).map(({ id }) => id))
  })
  router.get('/dashboard', tp.session.require(), async (req, res) => {
    const compute = () => ({ pendingPosts: 12, monthlyCost: 245.67, successRate: 94.2 })
    res.json(await metrics.getOrFetch(userOf(req), compute))
  })
  router.get('/platforms/:name', async (req, res) => {
    const compute = () => ({ engagement: 4.2, successRate: 98.5 })
    res.json(await performance.getOrFetch(req.params.name, compute))
  })

  // 9. API responses, for a minute, or until the campaign is written.
  const names = new Map([['abc', 'Coffee launch']]) // your database
  const tags = (req: Request) => [`campaign:${String(req.params['id'])}`]
  router.get('/campaigns/:id', tp.cache({ ttl: '1m', public: true, tags }), (req, res) => {
    res.json({ id: req.params.id, name: names.get(req.params.id) })
  })
  router.put('/campaigns/:id', tp.invalidate({ tags }), (req, res) => {
    names.set(req.params.id, req.body.name)
    res.status(204).end()
  })
  return { router, stats, hashtags }
}
