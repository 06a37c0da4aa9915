/**
 * Live statistics of a campaign, notifications with an unread badge, reports with a progress bar, and
 * who is online. The page uses the browser's EventSource alone: it continues where it was.
 */
// oxlint-disable oxc/no-async-endpoint-handlers -- Express 5 hands their errors on
import { randomUUID } from 'node:crypto'
import express, { type Request, type RequestHandler } from 'express'
import { turnpike, type TurnpikeOptions } from 'turnpike/express'
import { jobs } from 'turnpike/jobs'
import { channels, inbox, presence, progress, sse } from 'turnpike/realtime'
import { page } from './page.ts'

declare module 'express-session' {
  interface SessionData {
    userId: string
  }
}

export interface AppOptions extends TurnpikeOptions<Request> {
  /** Duration of one step of a report, in ms. @default 700 */
  stepMs?: number
}

interface Report {
  id: string
  user: string
}

export function createApp({ stepMs = 700, ...options }: AppOptions = {}) {
  const tp = turnpike(options)
  const live = channels(tp)
  const mails = inbox(live)
  const tasks = progress(live)
  const online = presence(live, { ttl: '1m' })
  const campaigns = new Map([['7', { views: 0, clicks: 0 }]]) // your database
  const reports = new Map<string, Report>() // your database

  const queue = jobs(tp)
  const build = tasks.follow(
    async ({ id, user }: Report, { step }) => {
      for (const name of ['read', 'count', 'draw', 'write'])
        await step(name, () => new Promise<void>((resolve) => setTimeout(resolve, stepMs)))
      await mails.push(user, { title: `Report ${id.slice(0, 4)} is ready` }, { id: `report:${id}` })
    },
    { total: 4 },
  )
  queue.define('report.build', build)

  const app = express()
  app.use(tp.session({ secret: process.env['SESSION_SECRET'] ?? 'only for a demo', ttl: '1d' }))
  app.use(online)
  const userOf = (req: Request) => req.session.userId!
  const members: RequestHandler = (req, res, next) => {
    if (userOf(req)) next()
    else res.status(401).json({ error: 'Log in first.' })
  }

  app.get('/', (req, res) => {
    const { html, policy } = page(userOf(req))
    res.set('Content-Security-Policy', policy).type('html').send(html)
  })
  app.post('/login', express.json(), async (req, res) => {
    const name = String(req.body?.name ?? '').trim()
    const isValid = /^\w{1,20}$/.test(name)
    if (isValid) await tp.session.login(req, name)
    res.status(isValid ? 204 : 422).end()
  })
  app.post('/logout', async (req, res) => {
    await tp.session.logout(req)
    res.status(204).end()
  })

  // Each message has the whole state, so that the page needs no other one.
  app.get('/campaigns/:id', (req, res) => {
    const campaign = campaigns.get(req.params.id)
    if (campaign) res.json(campaign)
    else res.status(404).end()
  })
  app.post('/campaigns/:id/:kind', async (req, res) => {
    const campaign = campaigns.get(req.params.id)
    const { kind } = req.params
    if (campaign && (kind === 'views' || kind === 'clicks')) {
      campaign[kind]++
      await live.publish(`campaign:${req.params.id}`, campaign)
      res.json(campaign)
    } else res.status(404).end()
  })
  const stream = sse(live, { topics: () => ['campaign:7', online.topic] })
  app.get('/stream', members, stream)
  app.get('/online', members, async (_req, res) => {
    res.json({ count: await online.count(), ...(await online.online()) })
  })

  app.post('/notes', members, express.json(), async (req, res) => {
    const { to = userOf(req), title = 'A note' } = req.body ?? {}
    const pushed = await mails.push(String(to), { title: String(title), from: userOf(req) })
    res.status(201).json(pushed)
  })
  app.use('/inbox', mails.router())

  app.post('/reports', members, async (req, res) => {
    const report = { id: randomUUID(), user: userOf(req) }
    reports.set(report.id, report)
    await queue.add('report.build', report, { id: report.id })
    res.status(202).location(`/progress/${report.id}`).json({ id: report.id })
  })
  const isOwner = (req: Request, id: string) => reports.get(id)?.user === userOf(req)
  app.use('/progress', tasks.router({ authorize: isOwner }))
  return { app, tp, queue, stream, mails }
}
