/** An API without passwords: a code by mail, refresh tokens on each device, keys for programs. */
// oxlint-disable oxc/no-async-endpoint-handlers -- Express 5 hands their errors on
import { randomBytes } from 'node:crypto'
import express, { type ErrorRequestHandler, type Request } from 'express'
import { turnpike, type TurnpikeOptions } from 'turnpike/express'
import { apiKeys, oneTimeTokens, refreshTokens } from 'turnpike/tokens'

interface ApiKey {
  user: string
  permissions: string[]
}

export interface AppOptions extends TurnpikeOptions<Request> {
  /** Sends a mail. */
  mail?: (to: string, text: string) => void
}

export function createApp({ mail = console.log, ...options }: AppOptions = {}) {
  const tp = turnpike(options)
  const codes = oneTimeTokens(tp, {
    purpose: 'login',
    format: 'letters:8',
    pepper: process.env['TOKEN_PEPPER'] ?? randomBytes(32).toString('hex'),
  })
  const refresh = refreshTokens(tp, { ttl: '7d', grace: '10s' })
  const table = new Map<string, ApiKey>() // your database
  const keys = apiKeys(tp, { lookup: (digest) => table.get(digest) })

  const app = express().use(express.json())
  const emailOf = (req: Request) => String(req.body?.email).trim().toLowerCase()

  app.post('/login', async (req, res) => {
    const issued = await codes.issue(emailOf(req), { address: req.ip })
    if (issued.sent) mail(emailOf(req), issued.code)
    // The same answer, sent or not: what is too early is no business of strangers.
    res.status(202).end()
  })
  const guard = codes.guard({ subject: emailOf, code: (req) => req.body?.code })
  app.post('/login/code', guard, async (req, res) => {
    const data = { device: req.get('user-agent') }
    const { token } = await refresh.issue(codes.of(req)!.subject as string, { data })
    res.json({ refresh: token })
  })
  app.post('/refresh', async (req, res) => {
    const { token, user } = await refresh.rotate(req.body?.refresh)
    res.json({ refresh: token, user })
  })

  app.post('/keys', async (req, res) => {
    const { token, user } = await refresh.rotate(req.body?.refresh)
    const { key, digest } = keys.generate()
    table.set(digest, { user, permissions: ['orders:read'] })
    res.status(201).json({ key, refresh: token })
  })
  app.delete('/keys', keys, async (req, res) => {
    const digest = keys.subject(req) as string
    table.delete(digest)
    await keys.revoke(digest)
    res.status(204).end()
  })
  app.get('/orders', keys, keys.require('orders:read'), (req, res) => {
    res.json({ user: keys.of(req)?.user })
  })
  app.post('/orders', keys, keys.require('orders:write'), (_req, res) => {
    res.status(201).end()
  })

  const failed: ErrorRequestHandler = (error, _req, res, next) => {
    if (res.headersSent) return next(error)
    const { status = 500, code } = error
    res.status(status).json({ code })
  }
  app.use(failed)
  return { app, tp }
}
