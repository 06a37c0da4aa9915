/** One of several processes of an application, on a Redis Cluster. */
import express from 'express'
import { turnpike } from 'turnpike/express'

const tp = turnpike({
  redis: { cluster: JSON.parse(process.env.NODES) },
  prefix: 'example',
  // A machine that runs all of it at once may be slow; with the default each process would count alone.
  commandTimeout: '2s',
  requestBudget: '4s',
})
const app = express()

app.get('/limited', tp.rateLimit({ limit: 100, window: '1h' }), (_req, res) => res.send('ok'))

app.get('/report', tp.cache({ ttl: '5m', key: () => 'report' }), (_req, res) => {
  process.send('made')
  setTimeout(() => res.json({ made: process.pid }), 100)
})

await tp.ready()
const server = app.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }))
process.once('disconnect', () => process.exit())
