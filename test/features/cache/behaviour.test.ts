import { describe, expect, test } from 'vitest'
import { bothEngines } from '../../support/engines.ts'
import { counting, kinds, statusOf, type Handler, type Setup } from './support.ts'

const engines = bothEngines()

describe.each(engines)('the cache on the $name engine', ({ open, server: redis }) => {
  describe.each(kinds)('$name', ({ start }) => {
    async function app(
      handler: Handler,
      rest: Omit<Setup, 'handler' | 'options'> & { tenant?: any } = {},
    ) {
      const opened = open()
      const { tenant, ...setup } = rest
      const options = {
        store: opened.store,
        prefix: opened.prefix,
        // A loaded test machine is slow: what is tested here is not the budget.
        requestBudget: '9s',
        ...(tenant && { tenant }),
      }
      return { ...(await start({ options, handler, ...setup })), ...opened }
    }
    const numbered = () => {
      const handler = counting(({ send }) => send(200, `number ${handler.calls}`))
      return handler
    }

    test('a hit tells its age and what is left', async () => {
      const { get, advance, tp } = await app(numbered(), { cache: { ttl: '1m' } })
      const miss = await get()
      expect([statusOf(miss), miss.headers.age]).toEqual(['turnpike; fwd=miss; stored', undefined])
      await expect.poll(() => tp.cache.stats().stored).toBe(1)
      await advance('10s')
      const hit = await get()
      expect([statusOf(hit), hit.headers.age, hit.text]).toEqual([
        'turnpike; hit; ttl=50',
        '10',
        'number 1',
      ])
      await advance('50s')
      expect((await get()).text).toBe('number 2')
      await expect.poll(() => tp.cache.stats().stored).toBe(2)
      expect(tp.cache.stats()).toMatchObject({ hits: 1, misses: 2, stored: 2, hitRate: 1 / 3 })
    })

    test('stale while revalidate: one request in the background, the others are served meanwhile', async () => {
      const seen: unknown[] = []
      const handler = counting(async ({ header, send }) => {
        seen.push(header('cookie'))
        await new Promise((resolve) => setTimeout(resolve, handler.calls > 1 ? 300 : 0))
        send(200, `number ${handler.calls}`)
      })
      const { get, advance } = await app(handler, {
        cache: { ttl: '10s', staleWhileRevalidate: '1m', public: true },
      })
      expect((await get()).text).toBe('number 1')
      await expect.poll(async () => statusOf(await get())).toContain('hit')
      await advance('11s')
      const stale = await Promise.all(
        Array.from({ length: 5 }, () => get('/', { cookie: 'sid=secret' })),
      )
      expect(stale.map(({ text }) => text)).toEqual(Array(5).fill('number 1'))
      expect(statusOf(stale[0]!)).toBe('turnpike; hit; ttl=-1')
      await expect.poll(async () => (await get()).text).toBe('number 2')
      expect(handler.calls).toBe(2)
      // A shared entry is refreshed without the sender's cookies.
      expect(seen[1]).toBeUndefined()
    })

    test('in the foreground: the first request revalidates, the others are served meanwhile', async () => {
      const handler = counting(async ({ send }) => {
        await new Promise((resolve) => setTimeout(resolve, handler.calls > 1 ? 200 : 0))
        send(200, `number ${handler.calls}`)
      })
      const { get, advance } = await app(handler, {
        cache: { ttl: '10s', staleWhileRevalidate: '1m', scope: () => 'me' },
      })
      await get()
      await expect.poll(async () => statusOf(await get())).toContain('hit')
      await advance('11s')
      const all = await Promise.all(Array.from({ length: 5 }, () => get()))
      expect(all.map(({ text }) => text).toSorted()).toEqual([
        ...Array(4).fill('number 1'),
        'number 2',
      ])
    })

    test('a soft invalidation expires, a hard one removes', async () => {
      const { get, tp } = await app(numbered(), {
        cache: { ttl: '10s', staleWhileRevalidate: '1m', tags: ['a'] },
      })
      await get()
      await expect.poll(async () => statusOf(await get())).toContain('hit')
      await tp.cache.invalidate({ tags: ['a'], soft: true })
      expect((await get()).text).toBe('number 1')
      await expect.poll(async () => (await get()).text).toBe('number 2')
      await tp.cache.invalidate({ tags: ['a'] })
      expect((await get()).text).toBe('number 3')
    })

    test('tags: those of the mount, of the handler, and of the response’s own fields', async () => {
      const handler = counting(({ url, set, tags, send }) => {
        if (url === '/handler') tags('late', 'later')
        if (url === '/groups') set('Cache-Groups', '"grouped", "other"')
        if (url === '/keys') set('Surrogate-Key', 'surrogate other')
        if (url === '/tags') set('Cache-Tag', 'listed,other')
        send(200, `number ${handler.calls}`)
      })
      const { get, tp } = await app(handler, {
        cache: { ttl: '1m', tags: (native: any) => [`url:${native.url}`] },
      })
      const cases = {
        '/mount': 'url:/mount',
        '/handler': 'later',
        '/groups': 'grouped',
        '/keys': 'surrogate',
        '/tags': 'listed',
      }
      for (const [path, tag] of Object.entries(cases)) {
        const before = (await get(path)).text
        await tp.cache.invalidate({ tags: ['nobody'] })
        expect((await get(path)).text).toBe(before)
        await tp.cache.invalidate({ tags: [tag] })
        expect((await get(path)).text).not.toBe(before)
      }
    })

    test('an unsafe request that succeeds invalidates its URL, its Location, and what tp.invalidate() names', async () => {
      let status = 201
      const handler = counting(({ method, set, send }) => {
        if (method === 'GET') return send(200, `number ${handler.calls}`)
        set('Location', '/list?page=1')
        set('Content-Location', 'http://elsewhere.example/kept')
        send(status, 'done')
        return undefined
      })
      const { get, ask } = await app(handler, {
        cache: (tp) => [
          tp.invalidate({
            tags: ['extra'],
            purge: ['/also'],
            when: (native: any, status: number) => native.method !== 'GET' && status < 400,
          }),
          tp.cache({
            ttl: '1m',
            jitter: 0,
            tags: (native: any) => (native.url === '/tagged' ? ['extra'] : []),
          }),
        ],
      })
      const paths = ['/item', '/item?x=1', '/list?page=1', '/tagged', '/also', '/kept']
      const read = async () => {
        const texts: string[] = []
        for (const path of paths) texts.push((await get(path)).text)
        return texts
      }
      const before = await read()
      expect(await read()).toEqual(before)
      status = 500
      await ask({ method: 'POST', path: '/item' })
      expect(await read()).toEqual(before)
      status = 201
      await ask({ method: 'POST', path: '/item' })
      const after = await read()
      expect(after.map((text, i) => text === before[i])).toEqual([
        false,
        false,
        false,
        false,
        false,
        true,
      ])
    })

    test('purge, clear and patterns', async () => {
      const handler = numbered()
      const { get, tp } = await app(handler)
      const read = async (path: string) => (await get(path)).text
      const before = { a1: await read('/a?x=1'), a2: await read('/a?x=2'), b: await read('/b/ü') }
      await tp.cache.purge('/a?x=1')
      expect([(await read('/a?x=1')) === before.a1, (await read('/a?x=2')) === before.a2]).toEqual([
        false,
        true,
      ])
      await tp.cache.purge('http://any.example/a')
      expect((await read('/a?x=2')) === before.a2).toBe(false)
      expect(await tp.cache.invalidatePattern('/b/*', { dryRun: true })).toBe(1)
      expect(await read('/b/ü')).toBe(before.b)
      expect(await tp.cache.invalidatePattern('/?')).toBe(2)
      expect(await read('/b/ü')).toBe(before.b)
      expect(await tp.cache.invalidatePattern('/b*')).toBe(1)
      const b = await read('/b/ü')
      expect(b).not.toBe(before.b)
      await tp.cache.clear()
      expect(await read('/b/ü')).not.toBe(b)
    })

    test('an invalidation that cannot be written is its caller’s error, and nothing that it was to hit is served here', async () => {
      const handler = counting(({ method, send }) =>
        send(200, method === 'GET' ? `number ${handler.calls}` : 'saved'),
      )
      const opened = open()
      if (!('fail' in opened.store)) return
      const store = opened.store as any
      const { get, ask, tp, errors } = await start({
        options: { store },
        handler,
        cache: (tp) => [tp.cache({ ttl: '1m', jitter: 0, tags: ['t'] })],
      })
      expect((await get()).text).toBe('number 1')
      store.fail()
      await expect(tp.cache.invalidate({ tags: ['t'] })).rejects.toMatchObject({
        code: 'TP_UNAVAILABLE',
      })
      expect((await ask({ method: 'PUT', path: '/other' })).status).toBe(503)
      expect(errors.length).toBeGreaterThan(0)
      expect((await get()).text).not.toBe('number 1')
      store.recover()
      expect((await get()).text).not.toBe('number 1')
      // And it is made up for.
      await opened.advance('10s')
      await expect
        .poll(async () => {
          await opened.advance('10s')
          return statusOf(await get())
        })
        .toContain('hit')
    })

    test('while Redis is away the handler answers, once for all concurrent requests', async () => {
      const opened = open()
      if (!('fail' in opened.store)) return
      ;(opened.store as any).fail()
      const handler = counting(async ({ send }) => {
        await new Promise((resolve) => setTimeout(resolve, 300))
        send(200, 'x')
      })
      const { get } = await start({ options: { store: opened.store }, handler })
      const answers = await Promise.all(Array.from({ length: 20 }, () => get()))
      expect(answers.every(({ status }) => status === 200)).toBe(true)
      expect(handler.calls).toBe(1)
    })

    test("ttl: 'auto' goes by the response alone", async () => {
      const now = Date.UTC(2026, 0, 1)
      const cases: [Record<string, string>, number | undefined][] = [
        [{}, undefined],
        [{ 'Cache-Control': 'max-age=60' }, 60],
        [{ 'Cache-Control': 'max-age=60, s-maxage=10' }, 10],
        [{ 'Cache-Control': 'max-age=60, max-age=20' }, 20],
        [{ 'Cache-Control': 'max-age="30"' }, 30],
        [{ 'Cache-Control': 'max-age=x' }, undefined],
        [{ 'Cache-Control': 'max-age=60', Age: '50' }, 10],
        [{ Expires: new Date(now + 60_000).toUTCString() }, 60],
        [{ Expires: '0' }, undefined],
        [{ 'Cache-Control': 'no-store', 'CDN-Cache-Control': 'max-age=15' }, 15],
        [{ 'Cache-Control': 'max-age=60', 'CDN-Cache-Control': 'no-store' }, undefined],
      ]
      for (const [headers, seconds] of cases) {
        const handler = counting(({ set, send }) => {
          for (const [name, value] of Object.entries(headers)) set(name, value)
          send(200, 'x')
        })
        const { get, advance } = await app(handler, { cache: { ttl: 'auto' } })
        await get()
        const why = JSON.stringify(headers)
        if (seconds === undefined) {
          await get()
          expect(handler.calls, why).toBe(2)
          continue
        }
        await advance(seconds * 1000 - 1)
        await get()
        expect(handler.calls, why).toBe(1)
        await advance(1)
        await get()
        expect(handler.calls, why).toBe(2)
      }
    })

    test("ttl: 'auto' obeys what the client asks for, a fixed ttl does not", async () => {
      const handler = counting(
        ({ set, send }) => (
          set('Cache-Control', 'max-age=60'),
          send(200, `number ${handler.calls}`)
        ),
      )
      const { get, advance } = await app(handler, { cache: { ttl: 'auto' } })
      expect((await get('/', { 'cache-control': 'only-if-cached' })).status).toBe(504)
      await get()
      await advance('20s')
      expect((await get('/', { 'cache-control': 'max-age=30' })).text).toBe('number 1')
      expect((await get('/', { 'cache-control': 'max-age=10' })).text).toBe('number 2')
      expect((await get('/', { 'cache-control': 'min-fresh=100' })).text).toBe('number 3')
      const forced = await get('/', { 'cache-control': 'no-cache' })
      expect([forced.text, statusOf(forced)]).toEqual(['number 4', 'turnpike; fwd=request; stored'])
      expect((await get('/', { pragma: 'no-cache' })).text).toBe('number 5')
      expect((await get('/none', { 'cache-control': 'no-store' })).text).toBe('number 6')
      expect((await get('/none')).text).toBe('number 7')
      const fixed = numbered()
      const { get: ask } = await app(fixed)
      await ask()
      expect((await ask('/', { 'cache-control': 'no-cache' })).text).toBe('number 1')
    })

    test('a stale response is revalidated with its own validators', async () => {
      const conditions: unknown[] = []
      const handler = counting(({ header, set, send, res, native }) => {
        conditions.push(header('if-none-match'))
        set('ETag', '"v1"')
        set('X-Round', String(handler.calls))
        if (header('if-none-match') === '"v1"') {
          if ('status' in res || native.res === undefined || native.respond === undefined) {
            res.statusCode = 304
            if (native.response && 'body' in native) {
              native.status = 304
              native.body = null
            } else res.end()
          }
          return undefined
        }
        send(200, 'the body')
        return undefined
      })
      const { get, advance } = await app(handler, { cache: { ttl: '10s', staleIfError: '1h' } })
      await get()
      await advance('11s')
      const again = await get('/', { 'accept-encoding': 'identity' })
      expect([again.status, again.text, again.headers['x-round']]).toEqual([200, 'the body', '2'])
      const hit = await get()
      expect([hit.text, hit.headers['x-round'], handler.calls]).toEqual(['the body', '2', 2])
      expect(conditions).toEqual([undefined, '"v1"'])
    })

    test('errors are stored for negativeTtl only', async () => {
      const handler = counting(({ url, send }) => send(Number(url.slice(1)), 'no'))
      const { get, advance } = await app(handler, { cache: { ttl: '1m', negativeTtl: '5s' } })
      for (const status of ['404', '410', '500', '400']) await get(`/${status}`)
      for (const status of ['404', '410'])
        expect(statusOf(await get(`/${status}`))).toContain('hit')
      for (const status of ['500', '400'])
        expect(statusOf(await get(`/${status}`))).toContain('fwd=miss')
      await advance('5s')
      expect(statusOf(await get('/404'))).toContain('fwd=miss')
    })

    test('text is stored compressed, and sent so to clients that accept it', async () => {
      const text = 'compress me '.repeat(500)
      const { get } = await app(
        counting(({ set, send }) => (set('ETag', '"strong"'), send(200, text))),
      )
      await get()
      const packed = await get('/', { 'accept-encoding': 'gzip' })
      expect([
        packed.headers['content-encoding'],
        packed.text === text,
        packed.headers.etag,
      ]).toEqual(['gzip', true, 'W/"strong"'])
      expect(String(packed.headers.vary).toLowerCase()).toContain('accept-encoding')
      const plain = await get('/', { 'accept-encoding': 'identity' })
      expect([plain.headers['content-encoding'], plain.text === text, plain.headers.etag]).toEqual([
        undefined,
        true,
        '"strong"',
      ])
      expect((await get('/', { range: 'bytes=0-7' })).bytes.toString()).toBe('compress')
    })

    test('tenants never share an entry or an invalidation', async () => {
      const handler = counting(({ header, send }) =>
        send(200, `${header('x-tenant')} ${handler.calls}`),
      )
      const { get, tp } = await app(handler, {
        tenant: (native: any) => native.headers['x-tenant'],
        cache: { ttl: '1m', tags: ['t'] },
      })
      const of = async (tenant: string) => (await get('/', { 'x-tenant': tenant })).text
      expect([await of('a'), await of('b'), await of('a'), await of('b')]).toEqual([
        'a 1',
        'b 2',
        'a 1',
        'b 2',
      ])
      await expect(tp.cache.invalidate({ tags: ['t'] })).rejects.toMatchObject({ code: 'TP_KEY' })
      await tp.cache.invalidate({ tags: ['t'], tenant: 'a' })
      expect([await of('a'), await of('b')]).toEqual(['a 3', 'b 2'])
    })

    test('key, query, skip and warm', async () => {
      const handler = numbered()
      const { get, server, tp } = await app(handler, {
        cache: {
          ttl: '1m',
          query: { allow: ['page', 'q'], sort: true },
          skip: (native: any) => native.headers['x-skip'] === '1',
        },
      })
      await get('/?page=1&q=a')
      expect((await get('/?q=a&session=x&page=1')).text).toBe('number 1')
      expect((await get('/?q=b&page=1')).text).toBe('number 2')
      expect(statusOf(await get('/?page=1&q=a', { 'x-skip': '1' }))).toBe(
        'turnpike; fwd=bypass; detail=skip',
      )
      const { host } = new URL(`http://127.0.0.1:${(server.address() as any).port}`)
      expect(await tp.cache.warm([`http://${host}/warm`], { server })).toBe(1)
      expect(statusOf(await get('/warm'))).toContain('hit')
      const own = await app(numbered(), {
        cache: { ttl: '1m', key: (native: any) => ['k', native.headers['x-key'] ?? ''] },
      })
      await own.get('/a', { 'x-key': '1' })
      expect((await own.get('/b', { 'x-key': '1' })).text).toBe('number 1')
      await own.tp.cache.purge({ key: ['k', '1'] })
      expect((await own.get('/b', { 'x-key': '1' })).text).toBe('number 2')
    })

    test('hot entries are served from this process, until any process invalidates them', async () => {
      const handler = numbered()
      const { get, tp, advance, store, prefix } = await app(handler, {
        cache: { ttl: '1h', near: true, tags: ['t'] },
      })
      await get()
      const outcomes: string[] = []
      tp.on('cache', ({ type: outcome }) => outcomes.push(outcome))
      await expect
        .poll(async () => {
          await get()
          await advance('500ms')
          return outcomes.at(-1)
        })
        .toBe('near')
      const { turnpike } = await import('../../../src/node.ts')
      await turnpike({ store, prefix }).cache.invalidate({ tags: ['t'] })
      await expect.poll(async () => (await get()).text).toBe('number 2')
      const before = (await get()).text
      await tp.cache.invalidate({ tags: ['t'] })
      expect((await get()).text).not.toBe(before)
    })

    test('options are checked when the middleware is made', async () => {
      const { tp } = await app(numbered())
      for (const options of [
        {},
        { ttl: '5 minutes' },
        { ttl: '1m', tag: [] },
        { ttl: '1m', jitter: 2 },
        { ttl: '1m', scope: () => 1, refresh: 'background' },
      ]) {
        expect(() => tp.cache(options as never)).toThrow(
          expect.objectContaining({ code: 'TP_OPTION' }),
        )
      }
      expect(() => tp.invalidate({ tags: 'x' } as never)).toThrow(
        expect.objectContaining({ code: 'TP_OPTION' }),
      )
      if (redis()) expect(tp.cache.stats().hits).toBe(0)
    })
  })
})
