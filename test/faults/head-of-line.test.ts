/** Large pages and slow clients must not hold up small requests: with a healthy Redis nothing is refused. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import express from 'express'
import request from 'supertest'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { turnpike } from '../../src/express.ts'
import { startRedis, type RedisServer } from '../../src/testing.ts'
import { expectEveryKeyToExpire } from '../support/ttl.ts'

let server: RedisServer
beforeAll(async () => {
  server = await startRedis()
})
afterAll(async () => {
  await expectEveryKeyToExpire(server)
  await server.stop()
})

const MEGABYTE = Buffer.alloc(1 << 20, 'a large page ')
const READERS = 50

/** A client that requests a page again and again and reads it at 3 MB a second. */
function slowReader(port: number, path: string): { socket: Socket; pages(): number } {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  let received = 0
  let pages = 0
  const ask = (): void => void socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`)
  socket.once('connect', ask)
  socket.on('readable', () => {})
  const timer = setInterval(() => {
    const piece = socket.read(Math.min(65_536, socket.readableLength)) as Buffer | null
    received += piece?.length ?? 0
    if (received < (pages + 1) * MEGABYTE.length) return
    pages++
    ask()
  }, 20)
  socket.on('close', () => clearInterval(timer))
  return { socket, pages: () => pages }
}

it('attack: 50 slow readers of a cached page of 1 MB leave sessions and limits alone', async () => {
  const tp = turnpike({ redis: server.url })
  const outages: unknown[] = []
  const lookups: string[] = []
  for (const name of ['breaker', 'replaced'] as const) tp.on(name, (event) => outages.push(event))
  // On a slow machine a page may come from its handler, since it was not read in time.
  tp.on('unavailable', (event) => event.feature !== 'cache' && outages.push(event))
  tp.on('cache', ({ type }) => lookups.push(type))
  const app = express()
  const cache = tp.cache({ ttl: '1h', public: true, compress: false, maxBodyBytes: 2 << 20 })
  app.get('/page', cache, (_req, res) => void res.send(MEGABYTE))
  app.use(tp.session({ secret: 'a secret that is long enough 123' }))
  app.use(tp.rateLimit({ limit: 1_000_000, window: '1m', fail: 'closed' }))
  app.get('/login', (req, res) => {
    Object.assign(req.session, { user: 'ann' })
    res.send('in')
  })
  app.get('/me', (req, res) => void res.json(req.session))
  const web = createServer(app).listen(0, '127.0.0.1')
  await once(web, 'listening')
  const { port } = web.address() as AddressInfo
  onTestFinished(async () => {
    web.closeAllConnections()
    web.close()
    await tp.close()
  })
  await tp.ready()
  const agent = request.agent(`http://127.0.0.1:${port}`)
  await agent.get('/login').expect(200)
  await agent.get('/page').expect(200)

  const readers = Array.from({ length: READERS }, () => slowReader(port, '/page'))
  const end = performance.now() + 4000
  while (performance.now() < end) {
    // A session or limit that waits longer than commandTimeout answers 503.
    const { status, body } = await agent.get('/me')
    expect({ status, user: body.user }).toEqual({ status: 200, user: 'ann' })
  }
  for (const { socket } of readers) socket.destroy()
  expect(readers.reduce((sum, reader) => sum + reader.pages(), 0)).toBeGreaterThan(READERS)
  expect(lookups.filter((type) => type === 'hit').length).toBeGreaterThan(READERS)
  expect(outages).toEqual([])
})
