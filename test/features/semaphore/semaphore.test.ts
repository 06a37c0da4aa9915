import request from 'supertest'
import { describe, expect, test, vi } from 'vitest'
import { turnpike } from '../../../src/node.ts'
import { testStore } from '../../../src/testing.ts'
import { apps, type App } from '../../support/apps.ts'
import { bothEngines } from '../../support/engines.ts'
import { renewed } from '../../support/renewal.ts'

const engines = bothEngines()

/** A client that goes away before it is answered. */
const gone = (app: App): Promise<unknown> =>
  request(app.server)
    .post('/')
    .timeout(80)
    .catch(() => 'gone')

describe.each(engines)('semaphores on the $name engine', ({ open }) => {
  function kit() {
    const opened = open()
    const tp = turnpike({ store: opened.store, prefix: opened.prefix })
    return { ...opened, tp, other: turnpike({ store: opened.store, prefix: opened.prefix }) }
  }

  test('300 parallel, limit 7: exactly 7 inside at any time', async () => {
    const { tp, other, advance } = kit()
    let inside = 0
    let most = 0
    let isOver = false
    const all = Promise.all(
      Array.from({ length: 300 }, (_, i) =>
        (i % 2 ? tp : other)
          .semaphore('s', { limit: 7, lease: '1h' })
          .using({ wait: '1h' }, async () => {
            most = Math.max(most, ++inside)
            // However slow the machine is: the first ones stay until all places are taken.
            do await new Promise((resolve) => setTimeout(resolve, 1))
            while (most < 7)
            inside--
          }),
      ),
    ).then(() => (isOver = true))
    while (!isOver) {
      await advance('1s')
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    await all
    expect(most).toBe(7)
  })

  test('a crashed holder’s place is free after its lease; double release is harmless', async () => {
    const { tp, other, advance } = kit()
    const semaphore = tp.semaphore('s', { limit: 2, lease: '10s' })
    const [one, two] = [await semaphore.acquire(), await semaphore.acquire()]
    await expect(semaphore.acquire()).rejects.toMatchObject({
      code: 'TP_SEMAPHORE_FULL',
      status: 503,
    })
    expect(await one.release()).toBe(true)
    expect(await one.release()).toBe(true)
    expect(await semaphore.count()).toBe(1)
    const three = await other.semaphore('s', { limit: 2, lease: '10s' }).acquire()
    await expect(semaphore.acquire()).rejects.toMatchObject({ code: 'TP_SEMAPHORE_FULL' })
    // All of them stand still for longer than their leases, as a crash would have it.
    await advance('11s')
    expect([two.lost, three.lost]).toEqual([true, true])
    expect(await semaphore.count()).toBe(0)
    const next = [await semaphore.acquire(), await semaphore.acquire()]
    expect(await two.release()).toBe(false)
    expect(await semaphore.count()).toBe(2)
    await Promise.all(next.map((each) => each.release()))
    expect(await semaphore.count()).toBe(0)
  })

  test('a place is renewed while it is held', async () => {
    const { tp, advance, store } = kit()
    const semaphore = tp.semaphore('s', { limit: 1, lease: '9s' })
    const place = await semaphore.acquire()
    for (let i = 0; i < 8; i++) {
      await renewed({ store, advance }, '3s')
    }
    expect(place.lost).toBe(false)
    expect(await semaphore.count()).toBe(1)
  })

  test('the limit can be lowered while places are taken', async () => {
    const { tp } = kit()
    let limit = 3
    const semaphore = tp.semaphore('s', { limit: () => limit })
    const places = [await semaphore.acquire(), await semaphore.acquire(), await semaphore.acquire()]
    limit = 2
    await places[0]!.release()
    await expect(semaphore.acquire()).rejects.toMatchObject({ code: 'TP_SEMAPHORE_FULL' })
    await places[1]!.release()
    await (await semaphore.acquire()).release()
    limit = 1.5
    await expect(semaphore.acquire()).rejects.toMatchObject({ code: 'TP_VALUE' })
  })

  test('fair: who came first is served first, over two instances', async () => {
    const { tp, other } = kit()
    const order: number[] = []
    const options = { limit: 1, fair: true } as const
    const held = await tp.semaphore('s', options).acquire()
    const all: Promise<unknown>[] = []
    for (let i = 0; i < 5; i++) {
      all.push(
        (i % 2 ? tp : other)
          .semaphore('s', options)
          .using({ wait: '1m' }, () => void order.push(i)),
      )
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
    await held.release()
    await Promise.all(all)
    expect(order).toEqual([0, 1, 2, 3, 4])
  })

  describe.each(apps)('concurrency on $name', ({ start }) => {
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
