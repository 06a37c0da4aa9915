import { Redis } from 'ioredis'
import { expressApp } from '../apps.mjs'

/** The lower bound: a lock is acquired before the response, and released after it. */
export const group = 'Express 5, locks'
export const title = 'two PINGs, one awaited'
export default ({ url }) => {
  const redis = new Redis(url)
  return expressApp(async (req, res, next) => {
    await redis.ping()
    next()
    await redis.ping()
  })
}
