/** An application whose `req.session` is cookie-session's. */
import cookieSession from 'cookie-session'
import express from 'express'
import { turnpike } from 'turnpike/express'

const tp = turnpike({ redis: 'memory' })
const app = express()
app.use(cookieSession({ keys: ['key'] }))
app.use(tp.rateLimit({ limit: 5, window: '1m', key: (req) => req.session?.['userId'] ?? req.ip }))
app.get('/:id', tp.cache({ ttl: '1m' }), (req, res) => {
  const own: CookieSessionInterfaces.CookieSessionObject | null | undefined = req.session
  if (req.session) req.session['id'] = req.params.id
  res.json(own?.isNew)
})
