import { Redis } from 'ioredis'
import { expressApp } from '../apps.mjs'

/** The lower bound of a hit in Redis. */
export const group = 'Express 5, cached'
export const title = 'res.json + one PING'
export default ({ url }) => {
  const redis = new Redis(url)
  return expressApp(async (req, res, next) => {
    await redis.ping()
    next()
  })
}
