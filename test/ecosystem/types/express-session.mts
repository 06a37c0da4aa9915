/** An application with express-session's types and data. */
import session from 'express-session'
import express from 'express'
import { turnpike } from 'turnpike/express'

declare module 'express-session' {
  interface SessionData {
    cart: string[]
  }
}

const tp = turnpike({ redis: 'memory' })
const app = express()
app.use(session({ secret: 'a secret that is long enough', store: tp.sessionStore() }))
app.get('/:id', tp.rateLimit({ limit: 5, window: '1m' }), (req, res) => {
  const cart: string[] | undefined = req.session.cart
  req.session.cart = [req.params.id]
  res.json(cart)
})
