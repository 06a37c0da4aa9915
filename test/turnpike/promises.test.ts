/** How many promises a request makes: a figure that is the same on every machine. A time is not. */
import { createHook } from 'node:async_hooks'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import express from 'express'
import Koa, { type Context, type Next } from 'koa'
import request from 'supertest'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { turnpike } from '../../src/express.ts'
import { turnpike as forKoa } from '../../src/koa.ts'
import { startRedis, testStore, type RedisServer } from '../../src/testing.ts'

let server: RedisServer
beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server.stop())

type Turnpike = ReturnType<typeof turnpike>
const BODY = { items: Array.from({ length: 20 }, (_, id) => ({ id, name: `Product ${id}` })) }
const BATCH = 20

const session = (tp: Turnpike) => tp.session({ secret: 'a secret', cookie: { secure: false } })
const limit = (tp: Turnpike) => tp.rateLimit({ limit: 1_000_000, window: '1h' })
const cache = (tp: Turnpike, near: boolean) =>
  tp.cache({ ttl: '1h', public: true, tags: ['products'], near })

/** Sends requests one after the other, without a promise or a parser of its own. */
class Client {
  readonly #socket: Socket
  readonly #head: string
  #left = 0
  #text = ''
  #done: () => void = () => {}

  constructor(socket: Socket, method: string, fields = '') {
    this.#socket = socket
    this.#head = `${method} / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 0\r\n${fields}\r\n`
    socket.on('data', (bytes: Buffer) => this.#read(bytes))
  }

  send(times: number): Promise<string> {
    this.#left = times
    return new Promise((resolve) => {
      this.#done = () => resolve(this.#text)
      this.#next()
    })
  }

  #next(): void {
    this.#text = ''
    this.#left--
    this.#socket.write(this.#head)
  }

  #read(bytes: Buffer): void {
    this.#text += bytes.toString('latin1')
    const end = this.#text.indexOf('\r\n\r\n')
    const length = /\r\ncontent-length: (\d+)/i.exec(this.#text)?.[1]
    if (end < 0 || this.#text.length < end + 4 + Number(length)) return
    if (this.#left > 0) this.#next()
    else this.#done()
  }
}

/** Returns the number of promises for each request of a batch. */
async function promisesOf(client: Client): Promise<number> {
  let promises = 0
  const hook = createHook({
    init: (_id, type) => {
      if (type === 'PROMISE') promises++
    },
  }).enable()
  await client.send(BATCH)
  hook.disable()
  return Math.floor(promises / BATCH)
}

/** Returns the least of several batches: now and then the process does something of its own. */
async function leastPromises(
  most: number,
  mount: (tp: Turnpike) => any[],
  method: 'GET' | 'POST' = 'GET',
  fields = '',
): Promise<number> {
  await server.send('FLUSHALL')
  const tp = turnpike({ redis: server.url, commandTimeout: '5s', requestBudget: '10s' })
  onTestFinished(() => tp.close())
  await tp.ready()
  const app = express()
  app.use('/', ...mount(tp), (req, res) => {
    if (req.session !== undefined && req.session.userId === undefined) req.session.userId = 'ada'
    res.json(BODY)
  })
  const http = createServer(app).listen(0, '127.0.0.1')
  await once(http, 'listening')
  onTestFinished(() => void http.close())
  const { port } = http.address() as AddressInfo
  const open = (): Socket => {
    const socket = connect(port, '127.0.0.1').setNoDelay()
    onTestFinished(() => void socket.destroy())
    return socket
  }
  const first = await new Client(open(), method, fields).send(1)
  const cookie = /set-cookie: ([^;]+)/i.exec(first)?.[1]
  const client = new Client(open(), method, cookie ? `Cookie: ${cookie}\r\n${fields}` : fields)
  // Scripts become known to Redis, keys and verified cookies to this process.
  await client.send(100)
  // A near cache serves once its connection has learned of invalidations.
  const deadline = performance.now() + 5000
  let least = Infinity
  for (let i = 0; i < 4 || (least > most && performance.now() < deadline); i++)
    least = Math.min(least, await promisesOf(client))
  return least
}

test.each<[string, number, (tp: Turnpike) => any[]]>([
  ['a session that is read', 8, (tp) => [session(tp)]],
  ['a limit', 6, (tp) => [limit(tp)]],
  ['a cache hit in Redis', 14, (tp) => [cache(tp, false)]],
  ['a cache hit in this process', 0, (tp) => [cache(tp, true)]],
  [
    'a session, a limit and a cache hit in a pipeline',
    31,
    (tp) => [tp.pipeline(session(tp), limit(tp), cache(tp, false))],
  ],
])('%s makes at most %d promises', async (_name, most, mount) => {
  expect(await leastPromises(most, mount)).toBeLessThanOrEqual(most)
})

test('the replay of a response makes at most 8 promises', async () => {
  const mount = (tp: Turnpike): any[] => [tp.idempotency({ scope: () => 'ada' })]
  const promises = await leastPromises(8, mount, 'POST', 'Idempotency-Key: one\r\n')
  expect(promises).toBeLessThanOrEqual(8)
})

test('a member of a Koa pipeline costs no promise besides those that it makes', async () => {
  const tp = forKoa({ store: testStore() })
  onTestFinished(() => tp.close())
  const counts: number[] = []
  for (const length of [2, 22]) {
    const pipeline = tp.pipeline(
      ...Array.from({ length }, () => (_ctx: Context, next: Next) => next()),
    )
    const app = new Koa()
    app.use((ctx, next) => {
      let promises = 0
      const hook = createHook({
        init: (_id, type) => {
          if (type === 'PROMISE') promises++
        },
      }).enable()
      const done = pipeline(ctx, next)
      hook.disable()
      counts.push(promises)
      return done
    })
    app.use((ctx) => {
      ctx.body = 'ok'
    })
    const listener = createServer(app.callback())
    onTestFinished(() => void listener.close())
    await request(listener).get('/').expect(200, 'ok')
  }
  expect(counts[1]).toBe(counts[0])
})
