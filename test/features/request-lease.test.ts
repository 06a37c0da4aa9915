/** tp.exclusive() and tp.concurrency() in the hands of slow, absent and nested requests. */
import { once } from 'node:events'
import type { Server } from 'node:http'
import * as http2 from 'node:http2'
import { connect, type AddressInfo } from 'node:net'
import express from 'express'
import request from 'supertest'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { turnpike } from '../../src/express.ts'
import { turnpike as forNode } from '../../src/node.ts'
import { testStore } from '../../src/testing.ts'
import { apps } from '../support/apps.ts'
import { bothEngines } from '../support/engines.ts'

/** Both middlewares, with room for one request. */
const middlewares = {
  exclusive: (tp: any, options: object = {}) => tp.exclusive({ key: 'a', ...options }),
  concurrency: (tp: any, options: object = {}) => tp.concurrency({ limit: 1, ...options }),
}
type Middleware = keyof typeof middlewares
const REFUSED = { exclusive: 423, concurrency: 503 }

async function portOf(server: Server): Promise<number> {
  if (!server.listening) await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

describe.each(bothEngines())('on the $name engine', ({ open }) => {
  describe.each(apps)('$name', ({ start }) => {
    describe.each(Object.keys(middlewares) as Middleware[])('%s', (which) => {
      const mount = middlewares[which]

      function shop(options: object = {}, times = 1) {
        const { store, prefix, advance } = open()
        const gates: (() => void)[] = []
        const app = start({
          options: { store, prefix, requestBudget: '5s' },
          mount: (tp) => Array.from({ length: times }, () => mount(tp, options)),
          async handle(native) {
            if (native.headers['x-slow'] !== undefined)
              await new Promise<void>((resolve) => gates.push(resolve))
            return [200, 'ok']
          },
        })
        return { app, gates, advance }
      }
      const slow = { 'x-slow': '1' }

      test('attack: a client that sends its body byte by byte keeps no other request out', async () => {
        const { app } = shop()
        const port = await portOf(app.server)
        const dripping = connect(port, '127.0.0.1')
        onTestFinished(() => void dripping.destroy())
        let text = ''
        dripping.on('data', (chunk) => (text += String(chunk)))
        dripping.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n1')
        await new Promise((resolve) => setTimeout(resolve, 40))
        for (let i = 0; i < 3; i++) {
          // A permit is released behind the response.
          await vi.waitFor(async () => expect((await app.post('/')).status).toBe(200))
        }
        dripping.write('23')
        await vi.waitFor(() => expect(text).toContain('200 OK'))
      })

      test('attack: a client that leaves while it sends its body leaves nothing held', async () => {
        const { app } = shop()
        const port = await portOf(app.server)
        for (let i = 0; i < 3; i++) {
          const socket = connect(port, '127.0.0.1')
          socket.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n1')
          await new Promise((resolve) => setTimeout(resolve, 20))
          socket.destroy()
        }
        await new Promise((resolve) => setTimeout(resolve, 20))
        expect((await app.post('/')).status).toBe(200)
      })

      test('a client that leaves while it waits for its turn keeps no other request out', async () => {
        const { app, gates } = shop({ wait: '20s', lease: '1m' })
        const port = await portOf(app.server)
        const first = app.post('/', slow).then(({ status }) => status)
        await vi.waitFor(() => expect(gates).toHaveLength(1))
        const leaving = connect(port, '127.0.0.1')
        leaving.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n')
        await new Promise((resolve) => setTimeout(resolve, 40))
        leaving.destroy()
        await new Promise((resolve) => setTimeout(resolve, 20))
        gates[0]!()
        expect(await first).toBe(200)
        expect((await app.post('/')).status).toBe(200)
      })

      test('mounted twice on a way, the inner mount does not wait for the outer one', async () => {
        const { app, gates } = shop({}, 3)
        const first = app.post('/', slow).then(({ status }) => status)
        await vi.waitFor(() => expect(gates).toHaveLength(1))
        expect((await app.post('/')).status).toBe(REFUSED[which])
        gates[0]!()
        expect(await first).toBe(200)
        await vi.waitFor(async () => expect((await app.post('/')).status).toBe(200))
      })

      test('attack: a handler that never ends holds its lease for maxLease, not for ever', async () => {
        const { app, gates, advance } = shop({ lease: '3s', maxLease: '9s' })
        void app.post('/', slow).catch(() => {})
        await vi.waitFor(() => expect(gates).toHaveLength(1))
        // A second is left of each lease, so that renewals are late but not too late.
        let held = 0
        while ((await app.post('/')).status === REFUSED[which]) {
          await advance('500ms')
          await new Promise((resolve) => setTimeout(resolve, 5))
          held += 500
          expect(held).toBeLessThan(20_000)
        }
        expect(held).toBeGreaterThanOrEqual(9000)
        expect(held).toBeLessThanOrEqual(12_500)
      })

      test('a client that leaves a handler at work keeps others out for a lease, not for maxLease', async () => {
        const { app, gates, advance } = shop({ lease: '3s', maxLease: '1m' })
        const leaving = connect(await portOf(app.server), '127.0.0.1')
        leaving.write('POST / HTTP/1.1\r\nHost: x\r\nX-Slow: 1\r\nContent-Length: 0\r\n\r\n')
        await vi.waitFor(() => expect(gates).toHaveLength(1))
        leaving.destroy()
        await new Promise((resolve) => setTimeout(resolve, 20))
        let held = 0
        while ((await app.post('/')).status === REFUSED[which]) {
          await advance('500ms')
          await new Promise((resolve) => setTimeout(resolve, 5))
          held += 500
          expect(held).toBeLessThan(8000)
        }
      })

      test('Retry-After tells how long holders take, not how long their leases are', async () => {
        const { app, gates, advance } = shop({ lease: '10m' })
        async function hold(ms: number): Promise<void> {
          const first = app.post('/', slow).then(({ status }) => status)
          await vi.waitFor(() => expect(gates).toHaveLength(1))
          await advance(ms)
          gates.shift()!()
          expect(await first).toBe(200)
          await vi.waitFor(async () => expect((await app.post('/')).status).toBe(200))
        }
        async function retryAfter(): Promise<number> {
          const first = app.post('/', slow).then(({ status }) => status)
          await vi.waitFor(() => expect(gates).toHaveLength(1))
          const { headers, status } = await app.post('/')
          expect(status).toBe(REFUSED[which])
          gates.shift()!()
          await first
          await vi.waitFor(async () => expect((await app.post('/')).status).toBe(200))
          return Number(headers['retry-after'])
        }
        // Nothing is known yet.
        expect(await retryAfter()).toBe(1)
        for (let i = 0; i < 10; i++) await hold(8000)
        const estimate = await retryAfter()
        expect(estimate).toBeGreaterThanOrEqual(3)
        expect(estimate).toBeLessThanOrEqual(8)
      })
    })
  })
})

describe.each(Object.keys(middlewares) as Middleware[])('%s', (which) => {
  const mount = middlewares[which]

  test('a parser behind the mount still gets the body, and a large upload is streamed', async () => {
    const store = testStore()
    const tp = turnpike({ store })
    const warnings: string[] = []
    tp.on('warning', ({ message }) => warnings.push(message))
    const app = express()
    app.post('/', mount(tp), express.json({ limit: '5mb' }), (req, res) => {
      res.json({ size: JSON.stringify(req.body).length })
    })
    const post = (body: object) => request(app).post('/').send(body)
    expect((await post({ a: 'x'.repeat(1000) })).body).toEqual({ size: 1008 })
    expect(warnings).toEqual([])
    expect((await post({ a: 'x'.repeat(2_000_000) })).body).toEqual({ size: 2_000_008 })
    expect(warnings).toEqual([expect.stringContaining(`tp.${which}()`)])
    expect((await post({})).status).toBe(200)
  })

  test('attack: over HTTP/2, a client that sends its body byte by byte keeps no other request out', async () => {
    const store = testStore()
    const tp = forNode({ store })
    const middleware = mount(tp)
    const server = http2.createServer((req, res) => {
      middleware(req, res, () => void res.end('ok'))
    })
    server.listen(0)
    const session = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    onTestFinished(() => {
      session.destroy()
      server.close()
    })
    const status = (stream: http2.ClientHttp2Stream): Promise<number> =>
      new Promise((resolve) =>
        stream.resume().on('response', (head) => resolve(Number(head[':status']))),
      )
    const dripping = session.request({ ':method': 'POST' })
    const answered = status(dripping)
    dripping.write('1')
    await new Promise((resolve) => setTimeout(resolve, 30))
    expect(await status(session.request())).toBe(200)
    expect(await status(session.request({ ':method': 'POST' }).end('x'))).toBe(200)
    dripping.end('2')
    expect(await answered).toBe(200)
  })
})

test('a lock that a request holds is taken once, although a route and its router ask for it', async () => {
  const tp = turnpike({ store: testStore() })
  const app = express()
  const key = (req: express.Request): string[] => ['cart', String(req.get('x-cart'))]
  app.use(tp.exclusive({ key, wait: '1m' }))
  app.post('/', tp.exclusive({ key, wait: '1m' }), (req, res) => {
    res.json({ lost: req.lock?.lost })
  })
  const answer = await request(app).post('/').set('x-cart', '7')
  expect([answer.status, answer.body]).toEqual([200, { lost: false }])
})

describe('names of tp.concurrency()', () => {
  test('two mounts with other settings count apart, although neither has a name', async () => {
    const tp = turnpike({ store: testStore() })
    const app = express()
    let go = (): void => {}
    app.get('/a', tp.concurrency({ limit: 1 }), async (_req, res) => {
      await new Promise<void>((resolve) => (go = resolve))
      res.send('a')
    })
    app.get('/b', tp.concurrency({ limit: 2 }), (_req, res) => void res.send('b'))
    const first = request(app)
      .get('/a')
      .then(({ status }) => status)
    await vi.waitFor(async () => expect((await request(app).get('/a')).status).toBe(503))
    expect((await request(app).get('/b')).status).toBe(200)
    go()
    expect(await first).toBe(200)
  })

  test('twins share their permits, with one warning; one name with two limits is refused', () => {
    const tp = turnpike({ store: testStore() })
    const warnings: string[] = []
    tp.on('warning', ({ message }) => warnings.push(message))
    tp.concurrency({ limit: 5 })
    expect(warnings).toEqual([])
    tp.concurrency({ limit: 5 })
    expect(warnings).toEqual([expect.stringContaining("'5'")])
    tp.concurrency({ limit: 5, name: 'export' })
    expect(() => tp.concurrency({ limit: 6, name: 'export' })).toThrow(
      expect.objectContaining({ code: 'TP_OPTION' }),
    )
    tp.semaphore('videos', { limit: 5 })
    tp.semaphore('videos', { limit: 5 })
    expect(() => tp.semaphore('videos', { limit: 6 })).toThrow(
      expect.objectContaining({ code: 'TP_OPTION' }),
    )
  })
})
