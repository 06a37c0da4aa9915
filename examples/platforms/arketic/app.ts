/** Arketic AI: what its Redis document describes, section by section, as an Express application. */
// oxlint-disable oxc/no-async-endpoint-handlers -- Express 5 hands their errors on
import express, { type ErrorRequestHandler, type Request, type RequestHandler } from 'express'
import { turnpike, type TurnpikeOptions } from 'turnpike/express'
import { channels } from 'turnpike/realtime'
import { refreshTokens } from 'turnpike/tokens'
import { chats } from './chats.ts'
import { knowledge, type Models } from './knowledge.ts'
import { userOf } from './user.ts'

export interface AppOptions extends TurnpikeOptions<Request> {
  models?: Models
}

export function createApp({ models, ...options }: AppOptions = {}) {
  const tp = turnpike({ prefix: 'arketic', ...options })
  const app = express().use(express.json())

  // Monitoring and health checks: basic for everybody, Redis's numbers for operators.
  const isOperator = (req: Request): boolean => req.get('x-operator') === 'secret' // your login
  app.use('/health', tp.health({ details: false }))
  const operators: RequestHandler = (req, res, next) => {
    if (isOperator(req)) next()
    else res.status(404).end()
  }
  app.use('/monitoring/redis', operators, tp.health({ details: true }))
  app.use('/metrics', operators, tp.metrics())

  // 2. Rate limiting. Of an address first, so that what is refused costs no session.
  // While Redis is away requests pass, counted by each process.
  app.use(tp.rateLimit({ name: 'ip', limit: 300, window: '1m', fail: 'local' }))

  // 3. Sessions: an hour, extended by use. Who is logged in, and where.
  app.use(tp.session({ secret: 'only for development, 32 characters', ttl: '1h' }))
  const refresh = refreshTokens(tp, { ttl: '30d' })
  app.post('/login', async (req, res) => {
    const { user, organisation = 'acme', role = 'user' } = req.body // your login
    await tp.session.login(req, user, { organisation, role, device: req.get('user-agent') })
    res.json({ refresh: (await refresh.issue(user)).token })
  })
  app.post('/logout', async (req, res) => {
    await tp.session.logout(req)
    res.status(204).end()
  })
  app.get('/me', tp.session.require(), (req, res) => {
    const { userId, organisation, device } = req.session
    res.json({ userId, organisation, device })
  })
  app.get('/sessions', tp.session.require(), async (req, res) => {
    res.json(await tp.sessions.list(userOf(req), { current: req.sessionID }))
  })

  const live = channels(tp, { history: { max: 1000, ttl: '1h' } })
  app.use(knowledge({ tp, ...(models && { models }) }))
  app.use(chats({ tp, live }))

  // 2. Files: how many, and how many kilobytes.
  const uploads = tp.rateLimit({
    name: 'upload',
    key: tp.key.user(),
    limit: 10_000,
    window: '1h',
    cost: tp.cost.bodySize({ unit: 1024, unknown: 5 * 1024 * 1024 }),
  })
  const downloads = tp.rateLimit({ name: 'download', key: tp.key.user(), limit: 100, window: '1h' })
  app.post('/files', tp.session.require(), uploads, express.raw({ limit: '5mb' }), (req, res) => {
    res.status(201).json({ bytes: (req.body as Buffer).length })
  })
  app.get('/files/:id', tp.session.require(), downloads, (req, res) => {
    res.send(`file ${req.params['id']}`)
  })

  const failed: ErrorRequestHandler = (error, _req, res, next) => {
    if (res.headersSent) return next(error)
    const { status = 500, code } = error
    res.status(status).json({ code })
  }
  app.use(failed)
  return { app, tp, live }
}
