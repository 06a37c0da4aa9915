import { Redis } from 'ioredis'
import flexible from 'rate-limiter-flexible'
import { ENOUGH, expressApp } from '../apps.mjs'

export const group = 'Express 5'
export const title = 'rate-limiter-flexible, 1 window'
export default ({ url }) => {
  const storeClient = new Redis(url)
  const limiter = new flexible.RateLimiterRedis({ storeClient, points: ENOUGH, duration: 60 })
  return expressApp(async (req, res, next) => {
    try {
      const { remainingPoints, msBeforeNext } = await limiter.consume(req.ip)
      res.set({
        'X-RateLimit-Limit': ENOUGH,
        'X-RateLimit-Remaining': remainingPoints,
        'X-RateLimit-Reset': Math.ceil((Date.now() + msBeforeNext) / 1000),
      })
      next()
    } catch {
      res.status(429).send('Too Many Requests')
    }
  })
}
