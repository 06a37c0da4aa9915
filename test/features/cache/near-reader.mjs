// Reads a few things through its near cache, over one connection each, as fast as they come, and keeps
// when each read began and what it gave. Times are the machine's, the same in every process.
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { Redis } from 'ioredis'
import { turnpike } from 'turnpike/node'

const [url, things] = process.argv.slice(2)
const tp = turnpike({ redis: url, commandTimeout: '2s', requestBudget: '4s' })
await tp.ready()
const truth = new Redis(url)
const cache = tp.cache({ ttl: '5m', near: true, tags: (req) => [req.url] })
const server = createServer((req, res) => {
  cache(req, res, async () => {
    const value = (await truth.get(`truth:${req.url}`)) ?? '0'
    res.setHeader('Content-Length', value.length)
    res.end(value)
  })
}).listen(0, '127.0.0.1')
await once(server, 'listening')

const reads = []
let isOver = false
const now = () => Number(process.hrtime.bigint()) / 1e6

/** One complete answer of a connection. */
async function answerOn(socket) {
  for (let text = ''; ;) {
    const [piece] = await once(socket, 'data')
    text += piece.toString('latin1')
    const head = text.indexOf('\r\n\r\n')
    if (head >= 0 && text.length >= head + 4 + Number(/content-length: (\d+)/i.exec(text)[1]))
      return text.slice(head + 4)
  }
}

async function reader(path) {
  const socket = connect(server.address().port, '127.0.0.1').setNoDelay()
  const read = async () => {
    const began = now()
    socket.write(`GET ${path} HTTP/1.1\r\nHost: a.test\r\n\r\n`)
    return [began, path, Number(await answerOn(socket))]
  }
  while (!isOver) reads.push(await read())
  const last = await read()
  socket.destroy()
  return last
}

const reading = Promise.all(Array.from({ length: Number(things) }, (_, i) => reader(`/${i}`)))
process.send('ready')
await once(process, 'message')
isOver = true
const last = await reading
process.send({ reads, last, near: tp.cache.stats().near }, () => process.exit(0))
