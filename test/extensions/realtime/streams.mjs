// A process with event streams of one user: `streams.mjs <redis url>`. It says its port.
import { createServer } from 'node:http'
import { turnpike } from 'turnpike/node'
import { channels, sse } from 'turnpike/realtime'

const tp = turnpike({ redis: process.argv[2], commandTimeout: '5s', requestBudget: '5s' })
const stream = sse(channels(tp), { topics: () => 'news', user: () => 'ann', perUser: 100 })
await tp.ready()
const server = createServer((req, res) => {
  stream(req, res, () => void res.writeHead(500).end())
}).listen(0, '127.0.0.1', () => process.send(server.address().port))
