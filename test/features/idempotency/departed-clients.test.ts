/** A client that leaves before it is answered: what becomes of its key, and of failures it cannot be told. */
import { once } from 'node:events'
import * as http2 from 'node:http2'
import { connect, type AddressInfo, type Socket } from 'node:net'
import Koa from 'koa'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { turnpike as forKoa } from '../../../src/koa.ts'
import { turnpike as forNode } from '../../../src/node.ts'
import { startRedis, testStore } from '../../../src/testing.ts'
import { apps, type App } from '../../support/apps.ts'

const KEY = { host: 'shop', 'idempotency-key': 'k' }

/** Posts a whole request with `KEY`. */
async function post({ server }: App): Promise<Socket> {
  if (!server.listening) await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const socket = connect(port, '127.0.0.1').on('error', () => {})
  onTestFinished(() => void socket.destroy())
  socket.write('POST / HTTP/1.1\r\nHost: shop\r\nIdempotency-Key: k\r\nContent-Length: 0\r\n\r\n')
  return socket
}

describe.each(apps)('$name', ({ start, name }) => {
  test('a client that leaves before its handler runs does not keep its key', async () => {
    let leaving: Promise<unknown> | undefined
    let runs = 0
    const app = start({
      options: { store: testStore() },
      mount: (tp) => [
        tp.idempotency({
          scope: () => 'me',
          // The key is claimed behind it.
          fingerprint: async (native: any) => {
            await (leaving ??= once((native.req ?? native).socket, 'close'))
            return 'the same'
          },
        }),
      ],
      handle: () => [201, `run ${++runs}`],
    })
    const events: string[] = []
    app.tp.on('idempotency', ({ type }) => events.push(type))
    const socket = await post(app)
    await vi.waitFor(() => expect(leaving).toBeDefined(), 5000)
    socket.destroy()
    await vi.waitFor(() => expect(events).toEqual(['first', 'released']), 5000)
    const repeated = await app.post('/', KEY)
    expect([repeated.status, repeated.text]).toEqual([201, 'run 1'])
  })

  // A request of node:http does not lead to its response.
  if (name === 'node:http') return
  test('a response that Redis refuses to store, though its client has left, is an error event', async () => {
    await using redis = await startRedis()
    const app = start({
      options: { redis: redis.url, prefix: 'left', requestBudget: '10s', commandTimeout: '10s' },
      mount: (tp) => [tp.idempotency({ scope: () => 'me' })],
      async handle(native) {
        const [key] = /left:\S+/.exec(await redis.send('KEYS', 'left:idempotency:*'))!
        await redis.send('DEL', key)
        await redis.send('LPUSH', key, 'what another program has written')
        native.respond = false
        native.res.writeHead(201)
        native.res.write('a part')
        return new Promise(() => {})
      },
    })
    const errors: unknown[] = []
    app.tp.on('error', ({ feature, error }) => errors.push([feature, (error as Error).message]))
    await app.tp.ready()
    const socket = await post(app)
    await once(socket, 'data')
    socket.destroy()
    const failure = ['idempotency', expect.stringContaining('WRONGTYPE')]
    await vi.waitFor(() => expect(errors).toEqual([failure]), 5000)
    await app.tp.close()
  })
})

/** Applications over HTTP/2, which Express cannot serve. Their handlers answer with the number of the run. */
const overHttp2: Record<string, (options: object, events: string[]) => any> = {
  'node:http2'(options, events) {
    const tp = forNode({ store: testStore(), requestBudget: '10s' })
    tp.on('idempotency', ({ type }) => events.push(type))
    const guard = tp.idempotency({ scope: () => 'me', ...options })
    let runs = 0
    return (req: any, res: any) => guard(req, res, () => res.end(`run ${++runs}`))
  },
  'Koa 3'(options, events) {
    const tp = forKoa({ store: testStore(), requestBudget: '10s' })
    tp.on('idempotency', ({ type }) => events.push(type))
    let runs = 0
    return new Koa()
      .use(tp.idempotency({ scope: () => 'me', ...options }))
      .use((ctx) => void (ctx.body = `run ${++runs}`))
      .callback()
  },
}

test.each(Object.entries(overHttp2))(
  '%s: over HTTP/2, a client that resets its stream before its handler runs does not keep its key',
  async (_name, create) => {
    let leaving: Promise<unknown> | undefined
    const events: string[] = []
    const fingerprint = async (native: any): Promise<string> => {
      await (leaving ??= once((native.req ?? native).stream, 'close'))
      return 'the same'
    }
    const server = http2.createServer(create({ fingerprint }, events)).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const session = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    onTestFinished(() => {
      session.destroy()
      server.close()
    })
    const send = (): http2.ClientHttp2Stream =>
      session.request({ ':method': 'POST', 'idempotency-key': 'k' }).on('error', () => {})
    const first = send().end()
    await vi.waitFor(() => expect(leaving).toBeDefined(), 5000)
    first.close(http2.constants.NGHTTP2_CANCEL)
    await vi.waitFor(() => expect(events).toEqual(['first', 'released']), 5000)
    let text = ''
    const second = send().end()
    for await (const chunk of second) text += String(chunk)
    expect(text).toBe('run 1')
  },
)
