/**
 * The load generator: keep-alive HTTP/1.1 over raw sockets, one request in flight on each.
 * A job is `{ port, path, method, connections, ms }` or `{ …, requests }`, where `port` may be several
 * ports that share the connections, and `pages` asks for so many different queries in turn; its result is
 * `{ requests, ms, p25, p50, p99 }`, times in ms. Any answer but a complete 200 ends it with an error.
 */
import { connect } from 'node:net'
import { quantile } from './table.mjs'

const END_OF_HEAD = Buffer.from('\r\n\r\n')
const STATUS = 'HTTP/1.1 200 '
/** What a POST sends. */
const ORDER = '{"sku":"A-1","count":2,"note":"by the back door, please"}'

function run({
  port,
  path,
  method = 'GET',
  connections,
  ms = Infinity,
  requests = Infinity,
  pages = 1,
}) {
  const ports = [port].flat()
  const body = method === 'GET' ? '' : ORDER
  const fields =
    body && `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n`
  const head = `Host: 127.0.0.1\r\n${fields}\r\n${body}`
  const heads = Array.from({ length: pages }, (_, page) =>
    Buffer.from(`${method} ${path}${pages > 1 ? `?page=${page}` : ''} HTTP/1.1\r\n${head}`),
  )
  const latencies = []
  let started = 0
  let open = connections
  const begin = performance.now()
  const until = begin + ms

  return new Promise((resolve, reject) => {
    const finish = () => {
      const elapsed = performance.now() - begin
      const at = (share) => quantile(latencies, share)
      resolve({
        requests: latencies.length,
        ms: elapsed,
        p25: at(0.25),
        p50: at(0.5),
        p99: at(0.99),
      })
    }

    for (let i = 0; i < connections; i++) {
      let sent = 0
      let rest
      const receive = (size, buffer) => {
        const fresh = buffer.subarray(0, size)
        const answer = rest ? Buffer.concat([rest, fresh]) : fresh
        const length = lengthOf(answer)
        if (length === undefined || answer.length < length) {
          rest = Buffer.from(answer)
          return true
        }
        rest = undefined
        const now = performance.now()
        latencies.push(now - sent)
        if (now >= until || started >= requests) {
          socket.end()
          if (--open === 0) finish()
        } else {
          send(now)
        }
        return true
      }
      const send = (now) => {
        sent = now
        socket.write(heads[started++ % pages])
      }
      const socket = connect({
        port: ports[i % ports.length],
        host: '127.0.0.1',
        // On Linux each connection is a client of its own, so that limits by address have as many keys.
        ...(process.platform === 'linux' && { localAddress: `127.0.1.${i + 1}` }),
        noDelay: true,
        onread: {
          buffer: Buffer.allocUnsafe(65_536),
          callback: (...args) => attempt(receive, args),
        },
      })
      const attempt = (work, args) => {
        try {
          return work(...args)
        } catch (error) {
          reject(error)
          socket.destroy()
          return false
        }
      }
      socket.once('connect', () => send(performance.now()))
      socket.once('error', reject)
    }
  })
}

/** How long the answer that begins here is, with its head; undefined while the head is not complete. */
function lengthOf(answer) {
  const head = answer.indexOf(END_OF_HEAD)
  if (head < 0) return undefined
  const text = answer.latin1Slice(0, head)
  if (!text.startsWith(STATUS)) throw new Error(`An answer that is no 200:\n${text}`)
  const [, length] = /\ncontent-length: (\d+)/i.exec(text) ?? []
  if (length === undefined) throw new Error(`An answer without Content-Length:\n${text}`)
  return head + 4 + Number(length)
}

process.on('message', (job) =>
  run(job).then(
    (result) => process.send(result),
    (error) => process.send({ error: error.message }),
  ),
)
process.on('disconnect', () => process.exit())
process.send({ ready: true })
