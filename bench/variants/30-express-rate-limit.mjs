import { rateLimit } from 'express-rate-limit'
import { Redis } from 'ioredis'
import { RedisStore } from 'rate-limit-redis'
import { ENOUGH, expressApp } from '../apps.mjs'

export const group = 'Express 5'
export const title = 'express-rate-limit, 1 window'
export default ({ url }) => {
  const client = new Redis(url)
  const store = new RedisStore({ sendCommand: (command, ...args) => client.call(command, ...args) })
  return expressApp(
    rateLimit({
      windowMs: 60_000,
      limit: ENOUGH,
      standardHeaders: true,
      legacyHeaders: false,
      store,
    }),
  )
}
