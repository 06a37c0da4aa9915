import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import request from 'supertest'
import { describe, expect, test, vi } from 'vitest'
import { apps, type App } from '../../support/apps.ts'
import { bothEngines } from '../../support/engines.ts'
import { testStore } from '../../../src/testing.ts'

const engines = bothEngines()

/** A client that goes away before it is answered. */
const gone = (app: App): Promise<unknown> =>
  request(app.server)
    .post('/')
    .timeout(80)
    .catch(() => 'gone')

describe.each(engines)('exclusive on the $name engine', ({ open }) => {
  describe.each(apps)('$name', ({ start }) => {
    function shop(options: object = {}, failing = false) {
      const opened = open()
      const gates: (() => void)[] = []
      let inside = 0
      let most = 0
      const app = start({
        options: { store: opened.store, prefix: opened.prefix, requestBudget: '5s' },
        mount: (tp) => [tp.exclusive({ key: 'inventory', ...options })],
        async handle(native) {
          most = Math.max(most, ++inside)
          const { lock } = native.state ?? native
          expect(lock.signal.aborted).toBe(false)
          if (gates.length < 1) await new Promise<void>((resolve) => gates.push(resolve))
          inside--
          if (failing) throw Object.assign(new Error('no'), { status: 500 })
          return [200, `token ${lock.token > 0}`]
        },
      })
      return { ...opened, app, gates, most: () => most }
    }

    test('a second request is answered 423 with Retry-After, and passes when the first is over', async () => {
      const { app, gates, most } = shop()
      const first = app.post('/').then((answer) => answer)
      await vi.waitFor(() => expect(gates).toHaveLength(1))
      const refused = await app.post('/')
      expect(refused.status).toBe(423)
      expect(refused.headers['content-type']).toMatch('problem+json')
      expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
      gates[0]!()
      expect((await first).text).toBe('token true')
      await vi.waitFor(async () => expect((await app.post('/')).status).toBe(200))
      expect(most()).toBe(1)
    })

    test('the application phrases the refusal', async () => {
      const { app, gates } = shop({
        reply: (native: any, refusal: any) =>
          native.headers['x-html'] === undefined
            ? undefined
            : { status: 409, headers: { 'X-Own': '1' }, body: { code: refusal.code } },
      })
      const first = app.post('/').then((answer) => answer)
      await vi.waitFor(() => expect(gates).toHaveLength(1))
      const own = await app.post('/', { 'x-html': '1' })
      expect([own.status, own.body, own.headers['x-own']]).toEqual([
        409,
        { code: 'TP_LOCKED' },
        '1',
      ])
      expect(Number(own.headers['retry-after'])).toBeGreaterThan(0)
      expect((await app.post('/')).status).toBe(423)
      gates[0]!()
      await first
    })

    test('with `wait` requests come one after the other', async () => {
      const { app, gates, most, advance } = shop({ wait: '30s' })
      const all = Array.from({ length: 5 }, () => app.post('/').then(({ status }) => status))
      await vi.waitFor(() => expect(gates).toHaveLength(1))
      gates[0]!()
      const turning = setInterval(() => void advance('1s'), 20)
      expect(await Promise.all(all)).toEqual([200, 200, 200, 200, 200])
      clearInterval(turning)
      expect(most()).toBe(1)
    })

    test('an error gives the lock back; another key is another lock; tp.lock() takes the same', async () => {
      const { app, gates } = shop(
        { key: (native: any) => ['item', native.headers['x-item']] },
        true,
      )
      const first = app.post('/', { 'x-item': '1' }).then((answer) => answer)
      await vi.waitFor(() => expect(gates).toHaveLength(1))
      expect((await app.post('/', { 'x-item': '2' })).status).toBe(500)
      expect((await app.post('/', { 'x-item': '1' })).status).toBe(423)
      gates[0]!()
      expect((await first).status).toBe(500)
      await vi.waitFor(async () =>
        expect((await app.post('/', { 'x-item': '1' })).status).toBe(500),
      )
    })

    test('a client that goes away does not let the next one in while the handler runs', async () => {
      const { app, gates, most } = shop()
      const aborted = gone(app)
      await vi.waitFor(() => expect(gates).toHaveLength(1))
      expect(await aborted).toBe('gone')
      expect((await app.post('/')).status).toBe(423)
      gates[0]!()
      await vi.waitFor(async () => expect((await app.post('/')).status).toBe(200))
      expect(most()).toBe(1)
    })

    test('a client that leaves before its handler runs does not keep the lock', async () => {
      let leaving: Promise<unknown> | undefined
      const key = async (native: any): Promise<string> => {
        await (leaving ??= once((native.req ?? native).socket, 'close'))
        return 'inventory'
      }
      const { app, gates } = shop({ key })
      const acquired = vi.fn()
      app.tp.on('lock', acquired)
      if (!app.server.listening) await once(app.server, 'listening')
      const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
      socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n')
      await vi.waitFor(() => expect(leaving).toBeDefined(), 5000)
      socket.destroy()
      await vi.waitFor(() => expect(acquired).toHaveBeenCalled(), 5000)
      const free = vi.waitFor(async () => expect((await app.post('/')).status).toBe(200), 5000)
      await vi.waitFor(() => expect(gates).toHaveLength(1), 5000)
      gates[0]!()
      await free
    })
  })
})

test.each(apps)(
  '$name: while Redis is away: 503 with Retry-After, or open if that is asked for',
  async ({ start }) => {
    const store = testStore()
    store.fail()
    for (const [fail, status] of [
      ['closed', 503],
      ['open', 200],
    ] as const) {
      let runs = 0
      const app = start({
        options: { store },
        mount: (tp) => [tp.exclusive({ key: 'a', fail })],
        handle: () => [200, `${++runs}`],
      })
      const answer = await app.post('/')
      expect(answer.status).toBe(status)
      expect(answer.headers['retry-after']).toBe(status === 503 ? '2' : undefined)
      expect(runs).toBe(status === 503 ? 0 : 1)
    }
  },
)
