/** Warming the response cache: a few requests at a time, each entry filled by one process. */
import { describe, expect, test } from 'vitest'
import { bothEngines } from '../../support/engines.ts'
import { until } from '../../support/until.ts'
import { signal } from '../../frameworks/harness.ts'
import { counting, kinds, statusOf, type Handler, type Setup } from './support.ts'

const urlsOf = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => `http://shop.example/${i}`)
const host = 'shop.example'

describe.each(bothEngines())('tp.cache.warm on the $name engine', ({ open }) => {
  describe.each(kinds)('$name', ({ name, start }) => {
    /** Starts one process after the other, over the same store. */
    function processes(rest: Omit<Setup, 'handler' | 'options'> = {}) {
      const { store, prefix } = open()
      return async (handler: Handler) =>
        await start({ options: { store, prefix, requestBudget: '9s' }, handler, ...rest })
    }

    test('URLs are requested a few at a time, and clients find them', async () => {
      let [current, most] = [0, 0]
      const full = signal()
      const handler = counting(async ({ send, url }) => {
        most = Math.max(most, ++current)
        if (current === 3) full.resolve()
        await full.promise
        current--
        send(200, `page ${url}`)
      })
      const { get, server, tp } = await processes()(handler)
      expect(await tp.cache.warm(urlsOf(10), { server, concurrency: 3 })).toBe(10)
      expect(most).toBe(3)
      await until('all are stored', () => tp.cache.stats().stored === 10)
      for (const id of [0, 9]) {
        const found = await get(`/${id}`, { host })
        expect([found.text, statusOf(found)]).toEqual([
          `page /${id}`,
          expect.stringContaining('hit'),
        ])
      }
      expect(handler.calls).toBe(10)
    })

    test('what is fresh is not made again', async () => {
      const handler = counting()
      const { server, tp } = await processes()(handler)
      await tp.cache.warm(urlsOf(3), { server })
      await until('all are stored', () => tp.cache.stats().stored === 3)
      expect(await tp.cache.warm(urlsOf(4), { server })).toBe(4)
      expect(handler.calls).toBe(4)
    })

    test('what another process is filling is waited for', async () => {
      const gate = signal()
      const handler = counting(async ({ send, url }) => {
        if (url === '/0') await gate.promise
        send(200, 'made')
      })
      const startOne = processes({ cache: { ttl: '1m', wait: '30s', lease: '30s' } })
      const [a, b] = [await startOne(handler), await startOne(handler)]
      const first = a.tp.cache.warm(urlsOf(1), { server: a.server })
      await until('the handler runs', () => handler.calls === 1)
      const second = b.tp.cache.warm(urlsOf(1), { server: b.server })
      // The other process has time to begin, too.
      await b.get('/other')
      gate.resolve()
      await Promise.all([first, second])
      expect(handler.calls).toBe(2)
      expect(statusOf(await b.get('/0', { host }))).toContain('hit')
    })

    test('no limit counts the requests', async () => {
      const { get, server, tp } = await processes({
        cache: (tp) => [tp.rateLimit({ limit: 1, window: '1h' }), tp.cache({ ttl: '1m' })],
      })(counting())
      await tp.cache.warm(urlsOf(5), { server })
      expect((await get('/new')).status).toBe(200)
    })

    test('an https URL is stored for clients of https', async () => {
      const { get, server, tp } = await processes({ trustProxy: true })(counting())
      await tp.cache.warm(['https://shop.example/'], { server })
      await until('it is stored', () => tp.cache.stats().stored === 1)
      expect(statusOf(await get('/', { host }))).not.toContain('hit')
      // Without a framework nothing says which proxies to believe.
      if (name === 'node:http') return
      const secure = { host, 'x-forwarded-proto': 'https' }
      expect(statusOf(await get('/', secure))).toContain('hit')
    })

    test('what is no URL is refused before anything is requested', async () => {
      const handler = counting()
      const { server, tp } = await processes()(handler)
      const given: [unknown, unknown][] = [
        [[...urlsOf(2), 'http://['], { server }],
        [[...urlsOf(2), 7], { server }],
        [[undefined], { server }],
        [['ftp://shop.example/'], { server }],
        ['/a', { server }],
        [urlsOf(1), {}],
        [urlsOf(1), undefined],
        [urlsOf(1), { server: {} }],
        [urlsOf(1), { server, concurrency: 0 }],
        [urlsOf(1), { server, concurrency: Infinity }],
        [urlsOf(1), { server, parallel: 2 }],
      ]
      for (const [urls, options] of given)
        await expect(tp.cache.warm(urls as never, options as never)).rejects.toMatchObject({
          code: 'TP_OPTION',
        })
      expect(handler.calls).toBe(0)
      expect(await tp.cache.warm([], { server })).toBe(0)
    })

    test('a handler that fails is no reason to leave out the others', async () => {
      const handler = counting(({ send, url }) => {
        if (url === '/0') throw new Error('broken page')
        send(200, 'made')
      })
      const { server, tp } = await processes()(handler)
      expect(await tp.cache.warm(urlsOf(3), { server, concurrency: 1 })).toBe(3)
      await until('the others are stored', () => tp.cache.stats().stored === 2)
    })
  })
})

test.each(kinds)('on $name an instance that is closed requests no more', async ({ start }) => {
  let tp: Awaited<ReturnType<typeof start>>['tp'] | undefined
  let closing: Promise<void> | undefined
  const handler = counting(({ send }) => {
    closing ??= tp!.close()
    send(200, 'made')
  })
  const app = await start({ options: { redis: 'memory' }, handler })
  ;({ tp } = app)
  expect(await tp.cache.warm(urlsOf(50), { server: app.server, concurrency: 1 })).toBeLessThan(50)
  await closing
  expect(handler.calls).toBeLessThan(50)
})
