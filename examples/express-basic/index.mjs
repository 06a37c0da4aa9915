import { realpathSync } from 'node:fs'
import express from 'express'
import { turnpike } from 'turnpike/express'

/** @param {import('turnpike/express').TurnpikeOptions<import('express').Request>} [options] */
export function createApp(options) {
  const tp = turnpike(options)
  const app = express()
  app.use(tp.rateLimit({ limit: 3, window: '1m' }))
  app.get('/', (req, res) => {
    res.send(`Hello. You may ask ${req.rateLimit.remaining} more times this minute.\n`)
  })
  return { app, tp }
}

if (import.meta.filename === realpathSync(process.argv[1] ?? '')) {
  const { app } = createApp()
  app.listen(process.env.PORT ?? 3000)
}
