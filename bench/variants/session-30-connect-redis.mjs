import { RedisStore } from 'connect-redis'
import expressSession from 'express-session'
import { Redis } from 'ioredis'
import { expressSessions } from '../sessions.mjs'

export const group = 'Express 5, sessions'
export const title = 'express-session + connect-redis 8'
export default ({ url }) => {
  const store = new RedisStore({ client: new Redis(url) })
  return expressSessions(
    expressSession({ secret: 'bench', resave: false, saveUninitialized: false, store }),
  )
}
