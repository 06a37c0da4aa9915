import { rateLimit } from 'express-rate-limit'
import { Redis } from 'ioredis'
import { RedisStore } from 'rate-limit-redis'
import { ENOUGH, expressApp, WINDOWS } from '../apps.mjs'

export const group = 'Express 5'
export const title = 'express-rate-limit, 3 windows'
export default ({ url }) => {
  const client = new Redis(url)
  const sendCommand = (command, ...args) => client.call(command, ...args)
  return expressApp(
    ...Object.entries(WINDOWS).map(([name, windowMs]) =>
      rateLimit({
        windowMs,
        limit: ENOUGH,
        standardHeaders: true,
        legacyHeaders: false,
        store: new RedisStore({ sendCommand, prefix: `rl:${name}:` }),
      }),
    ),
  )
}
