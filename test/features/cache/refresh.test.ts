/** Revalidating what is stale: in the background where a copy without cookies will do, and not again and again. */
import { Readable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { bothEngines } from '../../support/engines.ts'
import { until } from '../../support/until.ts'
import { counting, kinds, statusOf, type Handler, type Setup } from './support.ts'

const engines = bothEngines()

describe.each(engines)('the cache on the $name engine', ({ open }) => {
  describe.each(kinds)('$name', (kind) => {
    async function app(handler: Handler, rest: Omit<Setup, 'handler' | 'options'> = {}) {
      const { store, prefix, advance } = open()
      const options = { store, prefix, requestBudget: '9s' } as const
      return { ...(await kind.start({ options, handler, ...rest })), store, advance }
    }
    const settled = async (): Promise<void> =>
      void (await new Promise((resolve) => setTimeout(resolve, 5)))

    test.each<[string, number | 'throws']>([
      ['answers with an error', 503],
      ['throws', 'throws'],
      ['answers with what is not stored', 200],
    ])(
      'a refresh that keeps failing is not tried at each request: the handler %s',
      async (_what, how) => {
        let isFailing = false
        const handler = counting(({ set, send }) => {
          if (!isFailing) return send(200, `good ${handler.calls}`)
          if (how === 'throws') throw new Error('down')
          if (how === 200) set('Cache-Control', 'no-store')
          send(how, 'bad')
        })
        const { get, advance } = await app(handler, {
          cache: { ttl: '10s', staleWhileRevalidate: '1h', wait: '1s' },
        })
        await get()
        await until('it is stored', async () => statusOf(await get()).includes('hit'))
        await advance('11s')
        isFailing = true
        const before = handler.calls
        for (let second = 0; second < 60; second++) {
          expect((await get()).text).toBe('good 1')
          await settled()
          await advance('1s')
        }
        // After 1, 2, 4, 8, 16 and 32 s.
        expect(handler.calls - before).toBeLessThanOrEqual(8)
        expect(handler.calls - before).toBeGreaterThan(2)
        isFailing = false
        await advance('1m')
        await until('it is refreshed', async () => (await get()).text !== 'good 1')
      },
    )

    test('a page that is piped in large pieces is refreshed', async () => {
      // More than a connection takes at once: the pipe waits for it to drain.
      const handler = counting(({ stream }) =>
        stream(Readable.from([`page ${handler.calls}`, 'x'.repeat(100_000), 'y'.repeat(100_000)])),
      )
      const { get, advance } = await app(handler, {
        cache: { ttl: '10s', staleWhileRevalidate: '1h' },
      })
      await get()
      await until('it is stored', async () => statusOf(await get()).includes('hit'))
      await advance('11s')
      expect((await get()).text).toMatch(/^page 1x/)
      await until('it is refreshed', async () => (await get()).text.startsWith('page 2x'))
    })

    test('a listener of the server may call any method of the connection of a refresh', async () => {
      const handler = counting(({ send }) => send(200, `page ${handler.calls}`))
      const { get, advance, server } = await app(handler, {
        cache: { ttl: '10s', staleWhileRevalidate: '1h' },
      })
      const failures: unknown[] = []
      server.prependListener('request', ({ socket }) => {
        try {
          socket.setKeepAlive(true).setNoDelay().setTimeout(1000).unref().ref()
          socket.address()
        } catch (error) {
          failures.push(error)
        }
      })
      await get()
      await until('it is stored', async () => statusOf(await get()).includes('hit'))
      await advance('11s')
      expect((await get()).text).toBe('page 1')
      await until('it is refreshed', async () => (await get()).text === 'page 2')
      expect(failures).toEqual([])
    })

    test('a listener of the server that throws at a refresh ends no process', async () => {
      const handler = counting(({ send }) => send(200, 'page'))
      const { get, advance, server, errors } = await app(handler, {
        cache: { ttl: '10s', staleWhileRevalidate: '1h' },
      })
      const failure = new Error('the listener fails')
      server.prependListener('request', ({ socket }) => {
        // A connection without a client has no bytes to count.
        if (socket.bytesRead === undefined) throw failure
      })
      await get()
      await until('it is stored', async () => statusOf(await get()).includes('hit'))
      await advance('11s')
      expect((await get()).text).toBe('page')
      await until('it is reported', () => errors.includes(failure))
      expect((await get()).text).toBe('page')
    })

    test('in place of an error, an old response is served without asking the handler each time', async () => {
      let isFailing = false
      const handler = counting(({ send }) => {
        if (isFailing) throw new Error('down')
        send(200, `good ${handler.calls}`)
      })
      const { get, advance } = await app(handler, { cache: { ttl: '10s', staleIfError: '1h' } })
      await get()
      await until('it is stored', async () => statusOf(await get()).includes('hit'))
      await advance('11s')
      isFailing = true
      const before = handler.calls
      for (let second = 0; second < 30; second++) {
        expect((await get()).text).toBe('good 1')
        await advance('1s')
      }
      expect(handler.calls - before).toBeLessThanOrEqual(6)
    })

    test('what varies by Cookie is refreshed by the request itself, not by a copy without cookies', async () => {
      const seen: unknown[] = []
      const handler = counting(({ header, set, send }) => {
        seen.push(header('cookie'))
        set('Vary', 'Cookie')
        send(200, `for ${header('cookie')} ${handler.calls}`)
      })
      const { get, advance, tp } = await app(handler, {
        cache: { ttl: '10s', staleWhileRevalidate: '1h', vary: ['Cookie'] },
      })
      const of = async (cookie: string) => (await get('/', { cookie })).text
      expect(await of('theme=a')).toBe('for theme=a 1')
      await until('it is stored', () => tp.cache.stats().stored === 1)
      await advance('11s')
      expect(await of('theme=a')).toBe('for theme=a 2')
      expect(seen).toEqual(['theme=a', 'theme=a'])
    })

    test('a copy that does not reach the entry is sent once: then the request itself revalidates', async () => {
      const handler = counting(({ header, send }) =>
        send(200, `${header('cookie') ?? 'none'} ${handler.calls}`),
      )
      const { get, advance, tp } = await app(handler, {
        cache: {
          ttl: '10s',
          staleWhileRevalidate: '1h',
          public: true,
          key: (native: any) => ['page', native.headers.cookie ?? 'none'],
        },
      })
      const of = async () => (await get('/', { cookie: 'group=b' })).text
      expect(await of()).toBe('group=b 1')
      await until('it is stored', () => tp.cache.stats().stored === 1)
      await advance('11s')
      expect(await of()).toBe('group=b 1')
      await until('the copy is answered', () => handler.calls === 2)
      await settled()
      await until('it is refreshed', async () => (await of()) !== 'group=b 1')
      const calls = handler.calls
      await until('it is fresh', async () =>
        /hit; ttl=\d/.test(statusOf(await get('/', { cookie: 'group=b' }))),
      )
      expect(handler.calls).toBe(calls)
    })
  })
})
