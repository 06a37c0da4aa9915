import { Redis } from 'ioredis'
import { orderApp } from '../apps.mjs'

/** The lower bound: a key is claimed in one round trip, and its response stored in another. */
export const group = 'idempotency'
export const method = 'POST'
export const title = 'POST with express.json() + two PINGs'
export default ({ url }) => {
  const redis = new Redis(url)
  return orderApp(async (req, res, next) => {
    await redis.ping()
    await redis.ping()
    next()
  })
}
