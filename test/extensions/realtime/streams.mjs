// A process with event streams of one user who is online: `streams.mjs <redis url>`. It says its port.
import { createServer } from 'node:http'
import { turnpike } from 'turnpike/node'
import { channels, presence, sse } from 'turnpike/realtime'

const tp = turnpike({ redis: process.argv[2], commandTimeout: '5s', requestBudget: '5s' })
const live = channels(tp)
const users = presence(live, { ttl: '3s' })
const stream = sse(live, { topics: () => 'news', user: () => 'ann', perUser: 100 })
await tp.ready()
users.connection('ann')
const server = createServer((req, res) => {
  stream(req, res, () => void res.writeHead(500).end())
}).listen(0, '127.0.0.1', () => process.send(server.address().port))
