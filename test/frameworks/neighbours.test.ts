/** What clients get again, beside middlewares that name files, remove fields or cut ranges. */
import { Readable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { testStore } from '../../src/testing.ts'
import { until } from '../support/until.ts'
import { kinds, type App, type Handler, type Setup } from '../features/cache/support.ts'

const ORDER = { method: 'POST', headers: { 'Idempotency-Key': '"1"' } }
const scope = (): string => 'me'

describe.each(kinds)('$name', ({ name, start }) => {
  const isKoa = name.startsWith('Koa')
  const open = (handler: Handler, rest: Partial<Setup> = {}): Promise<App> =>
    start({ options: { store: testStore() }, handler, ...rest })
  const openOrders = (handler: Handler, rest: Partial<Setup> = {}): Promise<App> =>
    open(handler, { cache: (tp) => [tp.idempotency({ scope })], ...rest })
  const whenStored = ({ tp }: App): Promise<unknown> =>
    until('it is stored', () => tp.cache.stats().stored === 1)

  describe('a download with an umlaut in its name', () => {
    const disposition = 'attachment; filename="gr\u00fcn.txt"'
    const download: Handler = ({ set, stream }) => {
      set('Content-Type', 'text/plain')
      set('Content-Disposition', disposition)
      stream(Readable.from(['green '.repeat(1_000)]))
    }

    test('has the same name on a hit, whole, in gzip, in part, and for HEAD', async () => {
      const app = await open(download)
      const miss = await app.get('/')
      await whenStored(app)
      expect(miss.headers['content-disposition']).toBe(disposition)
      for (const headers of [{}, { 'Accept-Encoding': 'gzip' }, { Range: 'bytes=6-' }]) {
        const hit = await app.get('/', headers)
        expect(hit.headers['cache-status']).toContain('hit')
        expect(hit.headers['content-disposition']).toBe(disposition)
        expect(hit.headers['content-length']).toBe(String(hit.bytes.length))
        expect(miss.text.endsWith(hit.text)).toBe(true)
      }
      const head = await app.ask({ method: 'HEAD' })
      expect(head.headers).toMatchObject({
        'content-disposition': disposition,
        'content-length': String(miss.bytes.length),
      })
    })

    test('has the same name when the order is repeated', async () => {
      const app = await openOrders(download)
      const first = await app.ask(ORDER)
      const again = await app.ask(ORDER)
      expect(again.headers['idempotency-replayed']).toBe('true')
      expect(again.headers['content-disposition']).toBe(first.headers['content-disposition'])
      expect(again.text).toBe(first.text)
    })
  })

  test('an empty field is there on a hit as well', async () => {
    const app = await open(({ set, send }) => {
      set('Access-Control-Allow-Origin', '')
      send(200, 'ok')
    })
    for (let i = 0; i < 2; i++)
      expect((await app.get('/')).headers['access-control-allow-origin']).toBe('')
    expect(app.tp.cache.stats().hits).toBe(1)
  })

  test('bytes without a Content-Type get none on a hit, or when an order is repeated', async () => {
    const plain: Handler = ({ native, res }) => {
      if (isKoa) native.respond = false
      res.end('plain')
    }
    const [pages, orders] = await Promise.all([open(plain), openOrders(plain)])
    for (const ask of [() => pages.get('/'), () => orders.ask(ORDER)]) {
      await ask()
      const again = await ask()
      expect(again.text).toBe('plain')
      expect(again.headers).not.toHaveProperty('content-type')
    }
  })

  test('what the handler has removed does not come back when an order is repeated', async () => {
    const app = await openOrders(
      ({ res, send }) => {
        res.removeHeader('X-Powered-By')
        send(201, 'ordered')
      },
      { outer: ({ set }) => set('X-Powered-By', 'a framework') },
    )
    for (let i = 0; i < 2; i++) {
      const { status, headers, text } = await app.ask(ORDER)
      expect([status, text]).toEqual([201, 'ordered'])
      expect(headers).not.toHaveProperty('x-powered-by')
    }
  })

  test.each(['1m', 'auto'] as const)('pages of a list by Range stay apart: ttl %s', async (ttl) => {
    const app = await open(
      ({ header, set, send }) => {
        set('Cache-Control', 'max-age=60')
        set('Content-Range', `posts ${header('range')?.slice(6)}/100`)
        send(200, { asked: header('range') ?? 'all' })
      },
      { cache: { ttl } },
    )
    for (const asked of ['posts=0-9', 'posts=10-19', 'posts=0-9']) {
      const { status, text } = await app.get('/', { Range: asked })
      expect([status, JSON.parse(text)]).toEqual([200, { asked }])
    }
    expect(JSON.parse((await app.get('/')).text)).toEqual({ asked: 'all' })
  })
})

describe.each(kinds.filter(({ name }) => name.startsWith('Koa')))('$name', ({ start }) => {
  const WHOLE = '0123456789'.repeat(20)
  /** As koa-range: sends the part that the request asks for of what inner middlewares send. */
  const cutter = async (ctx: any, next: () => Promise<void>): Promise<void> => {
    ctx.set('Accept-Ranges', 'bytes')
    const match = /^bytes=(\d+)-(\d+)$/.exec(ctx.get('Range'))
    await next()
    if (match === null) return
    const [first, last] = [Number(match[1]), Number(match[2])]
    const body = Buffer.from(ctx.body)
    ctx.status = 206
    ctx.set('Content-Range', `bytes ${first}-${last}/${body.length}`)
    ctx.body = body.subarray(first, last + 1)
  }
  const open = (handler: Handler): Promise<App> =>
    start({
      options: { store: testStore() },
      cache: (tp) => [cutter, tp.cache({ ttl: '1m' })],
      handler,
    })

  test('a middleware in front of the cache that cuts ranges cuts them out of the whole', async () => {
    const app = await open(({ send }) => send(200, WHOLE))
    for (let i = 0; i < 2; i++) {
      const part = await app.get('/', { Range: 'bytes=101-103' })
      expect([part.status, part.text]).toEqual([206, '123'])
      expect(part.headers['content-range']).toBe('bytes 101-103/200')
    }
    expect((await app.get('/')).text).toBe(WHOLE)
    expect(app.tp.cache.stats().misses).toBe(1)
  })

  test('what it cuts out after the head was sent is not the page of others', async () => {
    const app = await open(({ native, send }) => {
      native.status = 200
      native.flushHeaders()
      send(200, WHOLE)
    })
    await app.get('/', { Range: 'bytes=101-103' })
    await until('it is stored', () => app.tp.cache.stats().stored === 1)
    const hit = await app.get('/')
    expect(hit.headers['cache-status']).toContain('hit')
    expect(hit.text).toBe(WHOLE)
  })

  test('a 304 that fills the cache says that the response is stored', async () => {
    const app = await start({
      options: { store: testStore() },
      handler: ({ set, send }) => {
        set('Last-Modified', 'Sat, 01 Jan 2022 00:00:00 GMT')
        send(200, WHOLE)
      },
    })
    const headers = { 'If-Modified-Since': 'Sat, 01 Jan 2022 00:00:00 GMT' }
    const { status, headers: fields } = await app.get('/', headers)
    expect([status, fields['cache-status']]).toEqual([304, 'turnpike; fwd=miss; stored'])
  })
})
