import request from 'supertest'
import { describe, expect, test, vi } from 'vitest'
import { testStore } from '../../../src/testing.ts'
import { apps, type App } from '../../support/apps.ts'
import { bothEngines } from '../../support/engines.ts'

/** A client that leaves before it is answered. */
const gone = (app: App): Promise<unknown> =>
  request(app.server)
    .post('/')
    .timeout(80)
    .catch(() => 'gone')

describe.each(bothEngines())('concurrency on the $name engine', ({ open }) => {
  describe.each(apps)('$name', ({ start }) => {
    function shop(options: object = {}) {
      const opened = open()
      const gates: (() => void)[] = []
      const app = start({
        options: { store: opened.store, prefix: opened.prefix, requestBudget: '5s' },
        mount: (tp) => [tp.concurrency({ limit: 2, ...options })],
        async handle(native) {
          if (native.headers['x-fast'] !== undefined) return [200, 'fast']
          await new Promise<void>((resolve) => gates.push(resolve))
          if (native.headers['x-throw'] !== undefined)
            throw Object.assign(new Error('no'), { status: 500 })
          return [200, 'ok']
        },
      })
      return { ...opened, app, gates }
    }

    test('more than the limit are refused with Retry-After; finish, error and abort make room', async () => {
      const { app, gates } = shop({ lease: '20s' })
      const fast = { 'x-fast': '1' }
      const two = [
        app.post('/').then(({ status }) => status),
        app.post('/', { 'x-throw': '1' }).then(({ status }) => status),
      ]
      await vi.waitFor(() => expect(gates).toHaveLength(2))
      const refused = await app.post('/', fast)
      expect(refused.status).toBe(503)
      expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
      expect(Number(refused.headers['retry-after'])).toBeLessThanOrEqual(20)
      for (const go of gates.splice(0)) go()
      expect(await Promise.all(two)).toEqual([200, 500])
      await vi.waitFor(async () => expect((await app.post('/', fast)).status).toBe(200))
      const both = [gone(app), gone(app)]
      expect(await Promise.all(both)).toEqual(['gone', 'gone'])
      await vi.waitFor(async () => expect((await app.post('/', fast)).status).toBe(200))
    })

    test('per user: 429, and only for the one who has too many', async () => {
      const { app, gates } = shop({ limit: 1, key: (native: any) => native.headers['x-user'] })
      const first = app.post('/', { 'x-user': 'a' }).then(({ status }) => status)
      await vi.waitFor(() => expect(gates).toHaveLength(1))
      expect((await app.post('/', { 'x-user': 'a', 'x-fast': '1' })).status).toBe(429)
      expect((await app.post('/', { 'x-user': 'b', 'x-fast': '1' })).status).toBe(200)
      gates[0]!()
      expect(await first).toBe(200)
    })

    test('the application phrases the refusal', async () => {
      const { app, gates } = shop({
        limit: 1,
        reply: (_native: any, { code, status }: any) => ({ body: `${code} ${status}` }),
      })
      const first = app.post('/').then(({ status }) => status)
      await vi.waitFor(() => expect(gates).toHaveLength(1))
      const refused = await app.post('/', { 'x-fast': '1' })
      expect([refused.status, refused.text]).toEqual([503, 'TP_SEMAPHORE_FULL 503'])
      gates[0]!()
      expect(await first).toBe(200)
    })

    test('with `wait` a request queues', async () => {
      const { app, gates } = shop({ limit: 1, wait: '30s' })
      const first = app.post('/').then(({ status }) => status)
      await vi.waitFor(() => expect(gates).toHaveLength(1))
      const second = app.post('/', { 'x-fast': '1' }).then(({ status }) => status)
      await new Promise((resolve) => setTimeout(resolve, 60))
      gates[0]!()
      expect(await Promise.all([first, second])).toEqual([200, 200])
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
      const app = start({ options: { store }, mount: (tp) => [tp.concurrency({ limit: 1, fail })] })
      const answer = await app.post('/')
      expect(answer.status).toBe(status)
      expect(answer.headers['retry-after']).toBe(status === 503 ? '2' : undefined)
    }
  },
)
