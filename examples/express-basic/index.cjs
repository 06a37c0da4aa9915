const express = require('express')
const { turnpike } = require('turnpike/express')

/** @param {import('turnpike/express').TurnpikeOptions<import('express').Request>} [options] */
function createApp(options) {
  const tp = turnpike(options)
  const app = express()
  app.use(tp.rateLimit({ limit: 3, window: '1m' }))
  app.get('/', (req, res) => {
    res.send(`Hello. You may ask ${req.rateLimit.remaining} more times this minute.\n`)
  })
  return { app, tp }
}

module.exports = { createApp }

if (require.main === module) {
  const { app } = createApp()
  app.listen(process.env.PORT ?? 3000)
}
