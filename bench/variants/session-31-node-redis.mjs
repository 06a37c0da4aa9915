import { RedisStore } from 'connect-redis9'
import expressSession from 'express-session'
import { createClient } from 'redis'
import { expressSessions } from '../sessions.mjs'

export const group = 'Express 5, sessions'
export const title = 'express-session + connect-redis 9, over node-redis'
export default async ({ url }) => {
  const client = await createClient({ url }).connect()
  const store = new RedisStore({ client })
  const options = { secret: 'bench', resave: false, saveUninitialized: false, store }
  return expressSessions(expressSession(options))
}
