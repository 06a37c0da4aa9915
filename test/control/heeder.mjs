// A process with a gate, or with a limit alone: node heeder.mjs <redis> <every> <gate|limit>
import { createServer } from 'node:http'
import { turnpike } from 'turnpike/node'

const [redis, every, kind] = process.argv.slice(2)
const tp = turnpike({
  redis,
  commandTimeout: '10s',
  requestBudget: '10s',
  operations: { every },
})
const middleware = kind === 'gate' ? tp.gate() : tp.rateLimit({ limit: 100_000, window: '1h' })
const server = createServer((req, res) => middleware(req, res, () => res.end('welcome')))
server.listen(0, '127.0.0.1', async () => {
  await tp.ready('10s')
  process.send(server.address().port)
})
