import { Redis } from 'ioredis'
import { expressApp } from '../apps.mjs'

/** The lower bound of everything that calls Redis. */
export const group = 'Express 5'
export const title = 'Express 5 + one PING'
export default ({ url }) => {
  const redis = new Redis(url)
  return expressApp(async (req, res, next) => {
    await redis.ping()
    next()
  })
}
