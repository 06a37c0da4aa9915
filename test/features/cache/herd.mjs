// One of two processes that are asked for the same cold response by many clients at once.
import { createServer } from 'node:http'
import { once } from 'node:events'
import { turnpike } from 'turnpike/node'

const [url, delay, lease] = process.argv.slice(2)
const tp = turnpike({ redis: url, commandTimeout: '2s', requestBudget: '4s' })
await tp.ready()
let calls = 0
const cache = tp.cache({ ttl: '1m', wait: '5s', lease: lease })
const server = createServer((req, res) => {
  cache(req, res, () => {
    calls++
    process.send('handling')
    setTimeout(() => res.end('made'), Number(delay))
  })
}).listen(0, '127.0.0.1')
await once(server, 'listening')
const ask = async (host) => {
  const { port } = server.address()
  const answer = await fetch(`http://127.0.0.1:${port}/cold`, { headers: { 'x-host': host } })
  return answer.text()
}
// Both processes must mean the same host.
server.on('request', () => {})
server.prependListener('request', (req) => {
  req.headers.host = 'shop.example'
})
process.send('ready')
for await (const [count] of (async function* () {
  for (;;) yield await once(process, 'message')
})()) {
  if (count === 'end') break
  const began = performance.now()
  const texts = await Promise.all(Array.from({ length: count }, ask))
  process.send({
    calls,
    ms: performance.now() - began,
    good: texts.every((text) => text === 'made'),
  })
}
process.exit(0)
