/**
 * You have rate-limiter-flexible over ioredis, and want to keep both: its limiter counts on, in its
 * own keys, and turnpike adds header fields, problem+json, a timeout and failure rules.
 */
import express, { type RequestHandler } from 'express'
import type { Redis } from 'ioredis'
import { RateLimiterRedis } from 'rate-limiter-flexible'
import { turnpike } from 'turnpike/express'
import { sessions } from './sessions.ts'

/** @param redis the client that the application has already */
export function createApp(redis: Redis) {
  const limiter = new RateLimiterRedis({
    storeClient: redis,
    keyPrefix: 'api',
    points: 3,
    duration: 60,
  })
  // It is given a connection of its own, made like yours.
  const tp = turnpike({ redis })
  const app = express()

  // A route that was not moved yet: the same limiter, the same budget.
  const before: RequestHandler = (req, res, next) => {
    limiter.consume(req.ip ?? '').then(
      () => next(),
      () => res.status(429).send('Too Many Requests'),
    )
  }
  app.get('/old', before, (_req, res) => {
    res.json({ ok: true })
  })

  const after = tp.rateLimit({ limiter, key: (req) => req.ip })
  app.get('/new', after, (req, res) => {
    res.json({ ok: true, remaining: req.rateLimit?.remaining })
  })

  app.use('/sessions', sessions(redis, tp.sessionStore()))
  return { app, tp }
}
