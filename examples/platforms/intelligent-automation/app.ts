/** Intelligent automation: what its Redis document describes, section by section, as an Express application. */
// oxlint-disable oxc/no-async-endpoint-handlers -- Express 5 hands their errors on
import express, { type Request, type RequestHandler } from 'express'
import { config } from 'turnpike/flags'
import { turnpike, type TurnpikeOptions } from 'turnpike/express'
// Types of req.session.
import 'turnpike/express/session'
import { channels, inbox, sse, subscriptions } from 'turnpike/realtime'
import { apiKeys } from 'turnpike/tokens'
import { analytics } from './analytics.ts'
import { providers, type Providers } from './providers.ts'
import { publishing, type PublishPost } from './publishing.ts'
import { workflows } from './workflows.ts'

export interface AppOptions extends TurnpikeOptions<Request> {
  /** Publishes a post on a platform. Returns the platform's ID of it. */
  publish?: PublishPost
  /** Calls language models and tools. */
  call?: Providers['call']
  /** Loads the settings of the system from your database. */
  settings?: () => { maxConcurrentWorkflows: number }
}

declare global {
  interface TurnpikeSessionData {
    userId: string
  }
}

interface ApiKey {
  user: string
  name: string
  permissions: string[]
  perMinute: number
}

const ADMIN = 'admin:campaigns'

export function createApp({
  publish = async (post) => `${post.platform}_${post.id}`,
  call = async ({ prompt }) => ({ text: `An answer to ${prompt}`, tokens: 450 }),
  settings = () => ({ maxConcurrentWorkflows: 1000 }),
  ...options
}: AppOptions = {}) {
  const tp = turnpike({ prefix: 'automation', ...options })
  const app = express().use(express.json())
  const userOf = (req: Request): string => String(req.session.userId)

  // 7. System health and monitoring: for probes and Prometheus, before sessions and limits.
  app.use('/health', tp.health())
  app.use('/metrics', tp.metrics({ authorize: (req) => req.get('x-monitoring') === 'secret' }))

  // 1. User sessions: 24 hours, renewed by use. The index of a user's sessions needs no key of its own.
  app.use(tp.session({ secret: 'only for development, 32 characters', ttl: '24h' }))
  app.post('/login', async (req, res) => {
    const { user, permissions = [] } = req.body // your login
    await tp.session.login(req, user, { tier: 'pro', permissions })
    res.status(204).end()
  })
  app.get('/sessions', tp.session.require(), async (req, res) => {
    res.json(await tp.sessions.list(userOf(req)))
  })
  // 1. API keys: your database is asked once an hour.
  const table = new Map<string, ApiKey>() // your database
  const keys = apiKeys(tp, { lookup: (digest) => table.get(digest), ttl: '1h' })
  app.post('/keys', tp.session.require(), (req, res) => {
    const { key, digest } = keys.generate()
    const record = { user: userOf(req), name: 'Production', perMinute: 1000 }
    table.set(digest, { ...record, permissions: ['read:workflows'] })
    res.status(201).json({ key })
  })

  // 2. Rate limiting: the whole system, then three windows of each user, and each key by its own limit.
  app.use(tp.rateLimit({ name: 'system', limit: 100_000, window: '1m', key: () => 'all' }))
  app.use(
    tp.rateLimit({
      name: 'user',
      key: tp.key.user(),
      policies: [
        { name: 'minute', limit: 60, window: '1m' },
        { name: 'hour', limit: 1000, window: '1h' },
        { name: 'day', limit: 10_000, window: '1d' },
        { name: 'burst', limit: 100, window: '1m', algorithm: 'gcra', burst: 100 },
      ],
    }),
  )
  const perKey = tp.rateLimit({
    name: 'key',
    key: keys.subject,
    limit: keys.limit(60, ({ perMinute }) => perMinute),
    window: '1m',
  })
  app.get('/api/me', keys, perKey, (req, res) => void res.json(keys.of(req)))
  const admins: RequestHandler[] = [tp.session.require(ADMIN)]
  app.put('/admin/limits/:user', admins, async (req: Request, res: express.Response) => {
    await tp.overrides.set(String(req.params['user']), req.body)
    res.status(204).end()
  })

  // 4. Real-time notifications: an inbox of seven days, topics that a user follows, announcements.
  const live = channels(tp, { history: { max: 1000, ttl: '24h' } })
  const notifications = inbox(live, { ttl: '7d' })
  const follows = subscriptions(tp, { name: 'topics' })
  const pushTokens = subscriptions(tp, { name: 'push-tokens', max: 10 })
  app.use('/notifications', notifications.router())
  app.put('/topics/:topic', tp.session.require(), async (req, res) => {
    await follows.add(userOf(req), [req.params.topic])
    res.json(await follows.list(userOf(req)))
  })
  app.get(
    '/stream',
    tp.session.require(),
    sse(live, { topics: (req) => follows.list(userOf(req)) }),
  )
  app.put('/push-tokens/:token', tp.session.require(), async (req, res) => {
    await pushTokens.add(userOf(req), [req.params.token])
    res.json(await pushTokens.list(userOf(req)))
  })
  app.post('/admin/announcements', admins, async (req: Request, res: express.Response) => {
    await notifications.announce(req.body)
    res.status(201).end()
  })

  // 9. Configuration, held in each process, and loaded again in all of them by reload().
  const system = config(tp, 'system', { load: settings, ttl: '30m' })
  app.post('/admin/configuration/reload', admins, async (_req: Request, res: express.Response) => {
    res.json(await system.reload())
  })

  const context = { tp, live, userOf, notifications, call, publish, system }
  const llm = providers(context)
  app.use(llm.router)
  app.use(workflows(context, llm).router)
  const posts = publishing(context)
  app.use(posts.router)
  const stats = analytics(context)
  app.use(stats.router)
  return { app, tp, ...posts, ...stats }
}
