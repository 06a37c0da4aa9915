/** Whatever a client does with its connection, no permit, lock or key stays held. */
import type { Server } from 'node:http'
import * as http2 from 'node:http2'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import Koa from 'koa'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { turnpike as forKoa } from '../../src/koa.ts'
import { turnpike as forNode } from '../../src/node.ts'
import { apps } from '../support/apps.ts'
import { bothEngines, type Opened } from '../support/engines.ts'
import { cancel, GET, headers, literal, PREFACE } from '../support/http2-frames.ts'

/** Middlewares that hold something for a request, with room for two requests at most. */
const middlewares: Record<string, (tp: any, options?: object) => any> = {
  concurrency: (tp, options) => tp.concurrency({ limit: 2, ...options }),
  exclusive: (tp, options) => tp.exclusive({ key: 'a', ...options }),
  idempotency: (tp, options) => tp.idempotency({ scope: () => 'me', methods: ['GET'], ...options }),
}
const KEY = { 'Idempotency-Key': 'k' }

/** Starts `node:http2` over an application. Resolves with its port. */
async function listening(server: Server | http2.Http2Server): Promise<number> {
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  return (server.address() as AddressInfo).port
}

function client(port: number): Socket {
  const socket = connect(port, '127.0.0.1').on('error', () => {})
  socket.resume()
  onTestFinished(() => void socket.destroy())
  return socket
}

/** An idle shop answers no request. */
interface Shop {
  isIdle: boolean
}

/** Applications over HTTP/2, which Express cannot serve. */
const overHttp2: Record<string, (opened: Opened, shop: Shop, mount: (tp: any) => any) => any> = {
  'node:http2'({ store, prefix }, shop, mount) {
    const middleware = mount(forNode({ store, prefix, requestBudget: '10s' }))
    return (req: any, res: any) =>
      middleware(req, res, () => {
        if (!shop.isIdle) res.end('ok')
      })
  },
  'Koa 3'({ store, prefix }, shop, mount) {
    const app = new Koa()
    app.silent = true
    app.use(mount(forKoa({ store, prefix, requestBudget: '10s' })))
    app.use(async (ctx) => {
      if (shop.isIdle) await new Promise(() => {})
      ctx.body = 'ok'
    })
    return app.callback()
  },
}

async function statusOver(session: http2.ClientHttp2Session): Promise<number> {
  const stream = session.request({ ':path': '/', 'idempotency-key': 'k' })
  const status = new Promise<number>((resolve, reject) => {
    stream.on('response', (head) => resolve(Number(head[':status']))).on('error', reject)
  })
  stream.resume().end()
  return await status
}

describe.each(bothEngines())('on the $name engine', ({ open }) => {
  describe.each(Object.keys(middlewares))('%s', (name) => {
    const mount = (tp: any): any => middlewares[name]!(tp, { lease: '3s', maxLease: '6s' })
    /** Lets all leases end that are not renewed any more. */
    async function passLeases({ advance }: Opened): Promise<void> {
      for (let i = 0; i < 12; i++) {
        await advance('900ms')
        await wait(5)
      }
    }

    test.each(Object.keys(overHttp2))(
      'attack: requests over %s that are cancelled in the packet that opens them leave nothing held',
      async (framework) => {
        const opened = open()
        const shop = { isIdle: true }
        const port = await listening(http2.createServer(overHttp2[framework]!(opened, shop, mount)))
        const fields = Buffer.concat([GET, literal('idempotency-key', 'k')])
        const frames = Array.from({ length: 10 }, (_, n) => [headers(n, fields), cancel(n)])
        for (let i = 0; i < 3; i++) client(port).write(Buffer.concat([PREFACE, ...frames.flat()]))
        await wait(100)
        shop.isIdle = false
        // A permit is free at once. A handler that may still be at work keeps its lock and its key until its lease ends.
        if (name !== 'concurrency') await passLeases(opened)
        const session = http2.connect(`http://127.0.0.1:${port}`)
        onTestFinished(() => session.destroy())
        await vi.waitFor(async () => expect(await statusOver(session)).toBe(200))
      },
    )

    describe.each(apps)('$name', ({ start }) => {
      test('attack: two requests in one packet and a close leave nothing held', async () => {
        const opened = open()
        let isIdle = true
        const app = start({
          options: { store: opened.store, prefix: opened.prefix },
          mount: (tp) => [mount(tp)],
          async handle() {
            if (isIdle) await new Promise(() => {})
            return [200, 'ok']
          },
        })
        await vi.waitFor(() => expect(app.server.listening).toBe(true))
        const { port } = app.server.address() as AddressInfo
        for (let i = 0; i < 5; i++) {
          const socket = client(port)
          socket.write('GET / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\n\r\n'.repeat(2))
          await wait(i * 4)
          socket.destroy()
        }
        await wait(30)
        isIdle = false
        if (name !== 'concurrency') await passLeases(opened)
        await vi.waitFor(async () => expect((await app.get('/', KEY)).status).toBe(200))
      })
    })
  })
})
