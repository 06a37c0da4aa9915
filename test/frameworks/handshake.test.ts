/** Middlewares on `upgrade`, where there is no response: as ws documents it, and as engine.io does it. */
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import { connectAdapter } from '../../src/http/connect.ts'
import type { ConnectMiddleware, Next } from '../../src/http/connect-middleware.ts'
import type { ResponseEnd } from '../../src/http/exchange.ts'
import type { Refusal } from '../../src/http/refusal.ts'
import { StoreUnavailable } from '../../src/errors.ts'
import { feature, signal, type AnyFeature } from './harness.ts'

const limited: Refusal = { status: 429, code: 'TP_LIMITED', detail: 'no', retryAfterMs: 3_000 }
const adapter = connectAdapter({ budgetMs: 100, warn: () => {} })

/** What engine.io passes in the place of a response (engine.io 6, `WebSocketResponse`). */
class EngineResponse {
  readonly headers: Record<string, unknown> = {}
  readonly socket: Duplex
  constructor(socket: Duplex) {
    this.socket = socket
  }
  setHeader(name: string, value: unknown): void {
    this.headers[name] = value
  }
  getHeader(name: string): unknown {
    return this.headers[name]
  }
  removeHeader(name: string): void {
    delete this.headers[name]
  }
  write(): void {}
  writeHead(): void {}
  end(): void {
    this.socket.destroy()
  }
}

const ENGINE_REFUSAL = 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n'

interface Handshake {
  req: IncomingMessage
  socket: Duplex
  client: Socket
  /** What the client has received. */
  received(): string
}

/** Sends an upgrade request to a server that does this with it. */
async function handshake(
  onUpgrade: (req: IncomingMessage, socket: Duplex) => void,
): Promise<Handshake> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const upgrade = once(server, 'upgrade') as Promise<[IncomingMessage, Duplex]>
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
  onTestFinished(() => {
    client.destroy()
    server.close()
  })
  client.write('GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
  let received = ''
  client.on('data', (chunk) => (received += String(chunk))).on('error', () => {})
  const [req, socket] = await upgrade
  socket.on('error', () => {})
  onUpgrade(req, socket)
  return { req, socket, client, received: () => received }
}

/** Whatever a feature's turn may come to that is no pass. */
const failures: [string, () => AnyFeature, object][] = [
  ['a refusal', () => feature(() => ({ refusal: limited })), { status: 429, code: 'TP_LIMITED' }],
  [
    'a refusal after a promise',
    () => feature(async () => ({ refusal: limited })),
    { status: 429, code: 'TP_LIMITED' },
  ],
  [
    'a store that is away',
    () => feature(() => Promise.reject(new StoreUnavailable('timeout', false))),
    { status: 503, code: 'TP_UNAVAILABLE' },
  ],
  [
    'a rejection without a reason',
    () => feature(() => Promise.reject()),
    { message: 'A promise was rejected without a reason.' },
  ],
]
const mounts: [string, (probe: AnyFeature) => ConnectMiddleware][] = [
  ['alone', (probe) => adapter.mount(probe)],
  [
    'in a pipeline',
    (probe) => adapter.pipeline([adapter.mount(probe), () => expect.unreachable()]),
  ],
]

describe.each(mounts)('a middleware %s, called with {} on upgrade', (_, mount) => {
  it.each(failures)('gives the callback an error, once: %s', async (_, probe, expected) => {
    const calls: unknown[] = []
    const called = signal()
    const next = (error: unknown): void => {
      calls.push(error)
      called.resolve()
    }
    const { received, socket } = await handshake((req) => mount(probe())(req, {} as never, next))
    await called.promise
    await delay(5)
    expect(calls).toEqual([expect.objectContaining(expected)])
    // The answer is the callback's.
    expect([received(), socket.writable]).toEqual(['', true])
  })

  it.each(failures)(
    'answers itself where the callback takes no error, whatever the callback does: %s',
    async (_, probe, expected) => {
      const called = signal()
      // Named parameters do not exist: this is how ws's example is written.
      const next: Next = function () {
        called.resolve(arguments[0])
        throw new TypeError("Cannot read properties of undefined (reading 'userId')")
      }
      const { received, client } = await handshake((req) => mount(probe())(req, {} as never, next))
      expect(await called.promise).toMatchObject(expected)
      await once(client, 'close')
      const { status = 500 } = expected as { status?: number }
      expect(received()).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
      if (status === 429) expect(received()).toContain('\r\nRetry-After: 3\r\n')
    },
  )

  it.each(failures)(
    "refuses engine.io's handshake with its own status: %s",
    async (_, probe, expected) => {
      const calls: unknown[] = []
      const { received, client } = await handshake((req, socket) =>
        mount(probe())(req, new EngineResponse(socket) as never, (error) => {
          calls.push(error)
          // What engine.io does with an error of a middleware.
          if (socket.writable) socket.write(ENGINE_REFUSAL)
          socket.destroy()
        }),
      )
      await once(client, 'close')
      const { status = 500 } = expected as { status?: number }
      expect(received()).toMatch(new RegExp(`^HTTP/1.1 ${status} [^]*"status":${status}[^]*}$`))
      expect(received()).not.toContain('400 Bad Request')
      expect(calls).toEqual([expect.objectContaining(expected)])
    },
  )

  it('goes on with what a plan gives the request, and reports the end of the connection', async () => {
    const ends: ResponseEnd[] = []
    const passed = signal()
    const probe = feature(async () => ({
      assign: { session: { userId: 7 } },
      state: { permit: 1 },
      requestHeaders: { 'x-hidden': undefined },
      headers: () => expect.unreachable(),
      beforeEnd: () => expect.unreachable(),
      capture: { limit: 1, onComplete: () => expect.unreachable() },
      responseHelpers: { help: 1 },
      onFinish: (end) => void ends.push(end),
    }))
    const members = [adapter.mount(probe), adapter.mount(feature(() => ({})))]
    const { req, client, socket } = await handshake((req) =>
      adapter.pipeline(members)(req, {} as never, passed.resolve),
    )
    expect(await passed.promise).toBeUndefined()
    expect(req).toMatchObject({ session: { userId: 7 }, permit: 1 })
    expect(ends).toEqual([])
    socket.resume().once('end', () => socket.end())
    client.end()
    await once(socket, 'close')
    expect(ends).toEqual([{ status: 101, finished: true }])
  })

  it('goes on where a stored response would have been the answer', async () => {
    const passed = signal()
    const { received } = await handshake((req) =>
      mount === mounts[0]![1]
        ? mount(feature(() => ({ reply: { status: 200, body: 'stored' } })))(
            req,
            {} as never,
            passed.resolve,
          )
        : passed.resolve(),
    )
    expect(await passed.promise).toBeUndefined()
    expect(received()).toBe('')
  })
})

it('works without any socket, and keeps nothing', async () => {
  const ends: ResponseEnd[] = []
  const passed: unknown[] = []
  const req = { headers: {}, url: '/', method: 'GET' } as IncomingMessage
  const pass = feature(() => ({ onFinish: (end) => void ends.push(end) }))
  const members = [adapter.mount(pass), adapter.mount(feature(() => ({ refusal: limited })))]
  adapter.pipeline(members)(req, {} as never, (...args) => passed.push(args))
  expect(passed).toEqual([[expect.objectContaining({ code: 'TP_LIMITED', status: 429 })]])
  expect(ends).toHaveLength(1)
})
