import { Redis } from 'ioredis'
import { expressApp } from '../apps.mjs'

/** The floor: nothing that asks Redis can be cheaper. */
export const group = 'Express 5'
export const title = 'Express 5 + one PING'
export default ({ url }) => {
  const redis = new Redis(url)
  return expressApp(async (req, res, next) => {
    await redis.ping()
    next()
  })
}
