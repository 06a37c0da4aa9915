/** What the pipeline of a warm process costs Redis: near sessions, leased limits and the near cache together. */
import { connect, type AddressInfo, type Socket } from 'node:net'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { startRedis, type RedisServer } from '../../src/testing.ts'
import { apps, type App, type AppKind } from '../support/apps.ts'
import { startFaultProxy, type FaultProxy } from '../support/fault-proxy.ts'
import { expectEveryKeyToExpire } from '../support/ttl.ts'
import { until } from '../support/until.ts'

let server: RedisServer
let proxy: FaultProxy

beforeAll(async () => {
  server = await startRedis()
  proxy = await startFaultProxy(server.port)
})
afterAll(async () => {
  await proxy.close()
  await expectEveryKeyToExpire(server)
  await server.stop()
})

const frameworks = apps.filter(({ name }) => /^(Express|Koa 3)/.test(name))
const VISITORS = 500
const CONNECTIONS = 64
/** So many of a connection use up the leases that begin while the process gets warm. */
const REQUESTS = 50 * CONNECTIONS
const PAGE = JSON.stringify(Array.from({ length: 20 }, (_, id) => ({ id, name: `Product ${id}` })))

/** Starts an application whose failure rules refuse. No request can pass without a copy or Redis. */
function start(kind: AppKind): App & { runs(): number } {
  let runs = 0
  const app = kind.start({
    options: { redis: proxy.url, commandTimeout: '10s', requestBudget: '20s' },
    trustProxy: 1,
    mount: (tp) => [
      tp.pipeline(
        tp.session({ secret: 'only for tests', cookie: { secure: false }, near: '1m' }),
        tp.rateLimit({
          policies: (['10m', '1h', '1d'] as const).map((window) => ({ limit: 100_000, window })),
          lease: { for: '1m' },
          fail: 'closed',
        }),
        tp.cache({ ttl: '1h', public: true, tags: ['products'], near: true }),
      ),
    ],
    handle(native) {
      if (native.method === 'POST') native.session.userId = 'ada'
      else runs++
      return [200, PAGE]
    },
  })
  onTestFinished(() => app.tp.close())
  return { ...app, runs: () => runs }
}

interface Visitor {
  cookie: string
}

/** A connection that keeps alive, with an address of its own and one request at a time. */
class Connection {
  readonly #socket: Socket
  readonly #address: string
  #text = ''
  #done: (response: string) => void = () => {}

  constructor(port: number, address: string) {
    this.#address = address
    this.#socket = connect(port, '127.0.0.1').setNoDelay()
    this.#socket.on('data', (bytes) => this.#read(bytes))
    onTestFinished(() => void this.#socket.destroy())
  }

  send(method: 'GET' | 'POST', { cookie }: Visitor): Promise<string> {
    this.#text = ''
    const fields = `Host: shop.test\r\nX-Forwarded-For: ${this.#address}\r\nCookie: ${cookie}\r\n`
    return new Promise((resolve) => {
      this.#done = resolve
      this.#socket.write(`${method} / HTTP/1.1\r\n${fields}Content-Length: 0\r\n\r\n`)
    })
  }

  #read(bytes: Buffer): void {
    this.#text += bytes.toString('latin1')
    const end = this.#text.indexOf('\r\n\r\n')
    const length = /\r\ncontent-length: (\d+)/i.exec(this.#text)?.[1]
    if (end >= 0 && this.#text.length >= end + 4 + Number(length)) this.#done(this.#text)
  }
}

/** Browsers that share the connections. */
class Crowd {
  readonly #connections: readonly Connection[]
  readonly #visitors = Array.from({ length: VISITORS }, (): Visitor => ({ cookie: 'a=b' }))

  constructor(app: App) {
    const { port } = app.server.address() as AddressInfo
    this.#connections = Array.from(
      { length: CONNECTIONS },
      (_, i) => new Connection(port, `203.0.113.${i}`),
    )
  }

  /** Sends so many requests. The visitors take turns. */
  async visit(requests: number, method: 'GET' | 'POST' = 'GET'): Promise<void> {
    let sent = 0
    const send = async (connection: Connection): Promise<void> => {
      while (sent < requests) {
        const visitor = this.#visitors[sent++ % VISITORS]!
        const response = await connection.send(method, visitor)
        if (!response.startsWith('HTTP/1.1 200 ') || !response.endsWith(PAGE))
          expect.fail(`${method}: ${response}`)
        visitor.cookie = /\r\nset-cookie: ([^;]+)/i.exec(response)?.[1] ?? visitor.cookie
      }
    }
    await Promise.all(this.#connections.map(send))
  }
}

test.each(frameworks)(
  '$name: a warm pipeline of near session, three leased windows and near hit sends at most one command for ten requests, and no request waits for it',
  async (kind) => {
    const app = start(kind)
    await app.tp.ready()
    const crowd = new Crowd(app)
    const needNoCommand = (requests: number): Promise<boolean> =>
      until(`${requests} requests send no command`, async () => {
        proxy.forget()
        await crowd.visit(requests)
        return proxy.traffic.commands.length === 0
      })
    await crowd.visit(VISITORS, 'POST')
    // From now on, copies are kept. Each session is loaded once.
    await needNoCommand(1)
    await crowd.visit(VISITORS)
    const before = app.runs()

    proxy.forget()
    await crowd.visit(REQUESTS)
    const sent = proxy.traffic.commands.length
    expect(sent / REQUESTS).toBeLessThanOrEqual(0.1)
    // Leases were used up meanwhile. The commands that asked for the next ones are among those.
    expect(sent).toBeGreaterThan(0)

    await needNoCommand(CONNECTIONS)
    proxy.set({ mode: 'stall' })
    onTestFinished(() => proxy.heal())
    await crowd.visit(CONNECTIONS)
    expect(app.runs()).toBe(before)
  },
)
