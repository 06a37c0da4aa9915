import { Redis } from 'ioredis'
import flexible from 'rate-limiter-flexible'
import { ENOUGH, expressApp, WINDOWS } from '../apps.mjs'

export const group = 'Express 5'
export const title = 'rate-limiter-flexible, 3 windows'
export default ({ url }) => {
  const storeClient = new Redis(url)
  const limiters = Object.entries(WINDOWS).map(
    ([keyPrefix, ms]) =>
      new flexible.RateLimiterRedis({
        storeClient,
        keyPrefix,
        points: ENOUGH,
        duration: ms / 1000,
      }),
  )
  return expressApp(async (req, res, next) => {
    try {
      let least
      for (const limiter of limiters) {
        const state = await limiter.consume(req.ip)
        if (!least || state.remainingPoints < least.remainingPoints) least = state
      }
      res.set({
        'X-RateLimit-Limit': ENOUGH,
        'X-RateLimit-Remaining': least.remainingPoints,
        'X-RateLimit-Reset': Math.ceil((Date.now() + least.msBeforeNext) / 1000),
      })
      next()
    } catch {
      res.status(429).send('Too Many Requests')
    }
  })
}
