/**
 * express-session stays as it is, and so does the ioredis client; only what is between them differs:
 * connect-redis 8, which takes ioredis; connect-redis 9, which wants node-redis; and turnpike's own store.
 */
import { RedisStore as RedisStore8 } from 'connect-redis'
// In your package.json it is connect-redis; here both versions stand side by side.
import { RedisStore as RedisStore9 } from 'connect-redis9'
import { Router } from 'express'
import session, { type Store } from 'express-session'
import type { Redis } from 'ioredis'
import { asNodeRedis } from 'turnpike'

declare module 'express-session' {
  interface SessionData {
    visits: number
  }
}

/** Counts visits at /8, /9 and /turnpike. @param own `tp.sessionStore()` */
export function sessions(redis: Redis, own: Store): Router {
  const stores: Record<string, Store> = {
    8: new RedisStore8({ client: redis, prefix: 'eight:' }),
    9: new RedisStore9({ client: asNodeRedis(redis) as never, prefix: 'nine:' }),
    turnpike: own,
  }
  const router = Router()
  for (const [name, store] of Object.entries(stores)) {
    const options = { secret: 'only for this example', resave: false, saveUninitialized: false }
    router.get(`/${name}`, session({ ...options, name: `sid-${name}`, store }), (req, res) => {
      req.session.visits = (req.session.visits ?? 0) + 1
      res.json({ visits: req.session.visits })
    })
  }
  return router
}
