// A shop in a process that is killed at any moment. Its effects happen in a second Redis, in a
// transaction that knows the step's key; runs of the handler are counted there, too.
// oxlint-disable oxc/no-async-endpoint-handlers -- Express 5 hands their errors on
import express from 'express'
import { Redis } from 'ioredis'
import { turnpike } from 'turnpike/express'

const [url, bank, lease, wait] = process.argv.slice(2)
// A loaded machine is no outage: no response goes out unstored.
const tp = turnpike({ redis: url, commandTimeout: '10s', requestBudget: '10s' })
const effects = new Redis(bank)
effects.defineCommand('charge', {
  numberOfKeys: 0,
  lua: `local receipt = redis.call('HGET', 'receipts', ARGV[1])
    if receipt then return receipt end
    redis.call('HINCRBY', 'effects', ARGV[2], 1)
    receipt = 'receipt ' .. redis.call('INCR', 'count')
    redis.call('HSET', 'receipts', ARGV[1], receipt)
    return receipt`,
})
// A row that remembers the last token: what an older attempt writes is refused.
effects.defineCommand('writeFenced', {
  numberOfKeys: 0,
  lua: `local last = tonumber(redis.call('HGET', 'fences', ARGV[1]) or '0')
    if tonumber(ARGV[2]) < last then redis.call('HINCRBY', 'refused', ARGV[1], 1) return 0 end
    redis.call('HSET', 'fences', ARGV[1], ARGV[2])
    redis.call('HINCRBY', 'effects', ARGV[1], 1)
    return 1`,
})
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const app = express()
app.post(
  '/pay',
  tp.idempotency({ scope: () => 'me', lease, wait }),
  express.json(),
  async (req, res) => {
    const { idempotency, body } = req
    const start = `${idempotency.key} ${idempotency.attempt} ${process.pid} ${Date.now()}`
    await Promise.all([effects.hincrby('runs', idempotency.key, 1), effects.rpush('starts', start)])
    await sleep((body.pause ?? 0) + Math.random() * body.ms)
    if (body.fenced) {
      const isWritten = await effects.writeFenced(idempotency.key, idempotency.token)
      return res.status(201).json({ isWritten, attempt: idempotency.attempt })
    }
    const receipt = await idempotency.step('charge', ({ key }) =>
      effects.charge(key, idempotency.key),
    )
    await sleep(Math.random() * body.ms)
    if (body.hang && idempotency.attempt === 1) {
      process.send('charged')
      await sleep(60_000)
    }
    return res.status(201).json({
      receipt,
      ...(body.tell && { attempt: idempotency.attempt, recovered: idempotency.recovered }),
    })
  },
)
await tp.ready()
const server = app.listen(0, '127.0.0.1', () => process.send(server.address().port))

// The recipe of docs/idempotency.md.
process.once('SIGTERM', () => {
  server.prependListener('request', (_req, res) => res.setHeader('Connection', 'close'))
  server.close(async () => {
    await tp.close()
    effects.disconnect()
    process.disconnect()
  })
  setTimeout(() => server.closeAllConnections(), 1500).unref()
})
