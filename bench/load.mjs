/**
 * The load generator: keep-alive HTTP/1.1 over raw sockets, one request in flight on each.
 * A job is `{ port, path, method, connections, ms }` or `{ …, requests }`, where `port` may be several
 * ports that share the connections, and `pages` asks for so many different queries in turn. Each connection
 * sends its next request when it has the last response: a closed loop. With `rate`, so many requests a second
 * arrive for `ms`, at fixed intervals: an open loop. One that finds no free connection waits for it, and its
 * latency counts from its arrival. The result is `{ requests, ms, p25, p50, p99 }`, times in ms. Any answer
 * but a complete 200 ends it with an error.
 */
import { connect } from 'node:net'
import { AlarmClock, now } from './alarm-clock.mjs'
import { quantile } from './table.mjs'

const END_OF_HEAD = Buffer.from('\r\n\r\n')
const STATUS = 'HTTP/1.1 200 '
/** What a POST sends. */
const ORDER = '{"sku":"A-1","count":2,"note":"by the back door, please"}'

/** A connection that reports each response, and when it is free. */
class Connection {
  #socket
  #rest
  #sent = 0
  #events

  constructor(events) {
    this.#events = events
  }

  /** @param number on Linux, each has an address of its own, so that limits by address have as many keys */
  open(port, number) {
    this.#socket = connect({
      port,
      host: '127.0.0.1',
      ...(process.platform === 'linux' && { localAddress: `127.0.1.${number + 1}` }),
      noDelay: true,
      onread: {
        buffer: Buffer.allocUnsafe(65_536),
        callback: (size, buffer) => this.#receive(buffer.subarray(0, size)),
      },
    })
    this.#socket.once('connect', () => {
      this.#events.connected()
      this.#events.free(this)
    })
    this.#socket.once('error', this.#events.failed)
  }

  /** @param arrived when the request came up: its latency counts from then */
  send(head, arrived) {
    this.#sent = arrived
    this.#socket.write(head)
  }

  end() {
    this.#socket.end()
  }

  #receive(fresh) {
    const answer = this.#rest ? Buffer.concat([this.#rest, fresh]) : fresh
    try {
      const length = lengthOf(answer)
      if (length === undefined || answer.length < length) {
        this.#rest = Buffer.from(answer)
        return true
      }
    } catch (error) {
      this.#events.failed(error)
      this.#socket.destroy()
      return false
    }
    this.#rest = undefined
    this.#events.answered(now() - this.#sent)
    this.#events.free(this)
    return true
  }
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

/** When requests arrive in a closed loop: each as soon as a connection is free for it. */
class ClosedLoop {
  #until
  #left

  constructor({ ms = Infinity, requests = Infinity }) {
    this.#until = now() + ms
    this.#left = requests
  }

  begin() {}

  get isOver() {
    return this.#left === 0 || now() >= this.#until
  }

  /** Returns when the next request arrived, undefined if none waits. */
  next() {
    if (this.isOver) return undefined
    this.#left--
    return now()
  }
}

let ring
let clock

/** When requests arrive in an open loop: at fixed intervals, since all connections are there. */
class OpenLoop {
  #interval
  #left
  #due
  #waiting = []
  #arrived

  /** @param arrived called when requests wait */
  constructor({ ms, rate }, arrived) {
    this.#interval = 1000 / rate
    this.#left = Math.ceil((ms * rate) / 1000)
    this.#arrived = arrived
  }

  begin() {
    this.#due = now()
    ring = () => this.#ring()
    clock ??= new AlarmClock(() => ring())
    ring()
  }

  get isOver() {
    return this.#left === 0 && this.#waiting.length === 0
  }

  next() {
    return this.#waiting.shift()
  }

  #ring() {
    for (; this.#left > 0 && this.#due <= now(); this.#left--) {
      this.#waiting.push(this.#due)
      this.#due += this.#interval
    }
    clock.set(this.#left > 0 ? this.#due : Infinity)
    this.#arrived()
  }
}

function headsOf({ path, method = 'GET', pages = 1 }) {
  const body = method === 'GET' ? '' : ORDER
  const fields =
    body && `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n`
  const head = `Host: 127.0.0.1\r\n${fields}\r\n${body}`
  return Array.from({ length: pages }, (_, page) =>
    Buffer.from(`${method} ${path}${pages > 1 ? `?page=${page}` : ''} HTTP/1.1\r\n${head}`),
  )
}

function run(job) {
  const heads = headsOf(job)
  const ports = [job.port].flat()
  const latencies = []
  const free = []
  const begin = now()
  const loop = job.rate ? new OpenLoop(job, sendAll) : new ClosedLoop(job)
  let sent = 0
  let connected = 0
  let ended = 0
  let finish

  function sendAll() {
    while (free.length > 0) {
      const arrived = loop.next()
      if (arrived === undefined) break
      free.shift().send(heads[sent++ % heads.length], arrived)
    }
    if (!loop.isOver) return
    ended += free.length
    for (const each of free.splice(0)) each.end()
    if (ended === job.connections) finish()
  }

  return new Promise((resolve, reject) => {
    finish = () => {
      const at = (share) => quantile(latencies, share)
      const [requests, ms] = [latencies.length, now() - begin]
      resolve({ requests, ms, p25: at(0.25), p50: at(0.5), p99: at(0.99) })
    }
    const events = {
      connected() {
        if (++connected === job.connections) loop.begin()
      },
      free(connection) {
        free.push(connection)
        sendAll()
      },
      answered: (latency) => latencies.push(latency),
      failed: reject,
    }
    for (let i = 0; i < job.connections; i++) {
      new Connection(events).open(ports[i % ports.length], i)
    }
  })
}

process.on('message', (job) =>
  run(job).then(
    (result) => process.send(result),
    (error) => process.send({ error: error.message }),
  ),
)
process.on('disconnect', () => process.exit())
process.send({ ready: true })
