import { Redis } from 'ioredis'
import { expressApp } from '../apps.mjs'

/** The lower bound of everything that loads a session from Redis. */
export const group = 'Express 5, sessions'
export const title = 'no session, one PING'
export default ({ url }) => {
  const redis = new Redis(url)
  return expressApp(async (req, res, next) => {
    await redis.ping()
    next()
  })
}
