/** Who is logged in, and where. */
// oxlint-disable oxc/no-async-endpoint-handlers -- Express 5 hands their errors on
import express, { Router } from 'express'
import type { Request } from 'express'
import type { ExpressTurnpike } from 'turnpike/express'
// Types of req.session.
import 'turnpike/express/session'

declare global {
  interface TurnpikeSessionData {
    userId: string
  }
}

// In clear, because this is a demo: a shop of yours keeps hashes.
const users = new Map([['ada@example.com', 'correct horse']])

export function sessions(tp: ExpressTurnpike): Router {
  const router = Router()

  // Short, so that a demo goes on: the defaults are 5 failures in 15 minutes.
  const guard = tp.loginGuard({
    key: (req) => req.body?.email,
    limit: 5,
    window: '30s',
  })
  // Only where it is asked for: what needs no session is served without Redis, cookie or not.
  const session = tp.session({ secret: process.env['SESSION_SECRET'] ?? 'only for a demo' })

  router.post('/login', express.json(), guard, session, async (req, res) => {
    const { email, password } = (req.body ?? {}) as Record<string, unknown>
    const wanted = users.get(String(email))
    if (wanted === undefined || wanted !== password) {
      const refusal = { title: 'Wrong e-mail or password', status: 401 }
      res.status(401).type('application/problem+json').send(JSON.stringify(refusal))
      return
    }
    await tp.session.login(req, String(email))
    res.json({ welcome: email })
  })

  router.post('/logout', session, async (req, res) => {
    await tp.session.logout(req)
    res.json({ bye: true })
  })

  router.use('/me', session, tp.session.require())
  const userOf = (req: Request) => req.session.userId!

  router.get('/me', (req, res) => {
    res.json({ user: userOf(req) })
  })

  router.get('/me/sessions', async (req, res) => {
    res.json(await tp.sessions.list(userOf(req), { current: req.sessionID }))
  })

  router.delete('/me/sessions', async (req, res) => {
    const spared = req.query['except'] === 'current' ? { except: req.sessionID } : {}
    res.json({ ended: await tp.sessions.revokeAll(userOf(req), spared) })
  })
  return router
}
