/** The applications that the variants put their middlewares into. */
import express from 'express'
import Koa from 'koa'
import { PATH, payload } from './payload.mjs'

/** A limit that no request reaches: admitted requests are measured. */
export const ENOUGH = 1_000_000_000

/** The windows of the variants with three of them, in ms. */
export const WINDOWS = { '1m': 60_000, '1h': 3_600_000, '1d': 86_400_000 }

export function expressApp(...middlewares) {
  const app = express()
  for (const middleware of middlewares) app.use(middleware)
  app.get(PATH, (req, res) => res.json(payload()))
  return app
}

/** Adds a new idempotency key to each request. */
export function freshKey() {
  const start = Date.now().toString(36)
  let count = 0
  return (req, _res, next) => {
    req.headers['idempotency-key'] = `${start}-${++count}`
    next()
  }
}

/** Accepts orders with new keys: the body is parsed, then the middlewares run. */
export function orderApp(...middlewares) {
  const app = express()
  app.post(PATH, freshKey(), express.json(), ...middlewares, (req, res) => res.json(payload()))
  return app
}

export function koaApp(...middlewares) {
  const app = new Koa()
  for (const middleware of middlewares) app.use(middleware)
  app.use((ctx) => {
    if (ctx.path === PATH) ctx.body = payload()
  })
  return app.callback()
}
