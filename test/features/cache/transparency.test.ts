/** What is not stored is left alone, and a hit looks like the miss. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { get as httpGet } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import express from 'express'
import express4 from 'express4'
import request from 'supertest'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { turnpike } from '../../../src/express.ts'
import { testStore } from '../../../src/testing.ts'
import { bothEngines } from '../../support/engines.ts'
import { until } from '../../support/until.ts'
import { counting, kinds, statusOf, type Handler, type Setup, type Tools } from './support.ts'

const engines = bothEngines()
const BODY = '0123456789'.repeat(500)

/** A handler that knows conditions and ranges, as frameworks' own file servers do. */
function capable(more: Record<string, string> = {}): Handler & { calls: number } {
  return counting((tools: Tools) => {
    const { header, set, send, res, native } = tools
    set('ETag', '"v1"')
    set('Content-Type', 'text/plain')
    for (const [name, value] of Object.entries(more)) set(name, value)
    if (header('if-none-match') === '"v1"') {
      if (native.respond !== undefined || native.app?.proxy !== undefined) {
        native.status = 304
        native.body = null
      } else {
        res.statusCode = 304
        res.end()
      }
      return
    }
    const range = /^bytes=(\d+)-(\d+)$/.exec(header('range') ?? '')
    if (!range) return send(200, BODY)
    set('Content-Range', `bytes ${range[1]}-${range[2]}/${BODY.length}`)
    send(206, BODY.slice(Number(range[1]), Number(range[2]) + 1))
  })
}

describe.each(engines)('the cache on the $name engine', ({ open }) => {
  describe.each(kinds)('$name', (kind) => {
    async function app(handler: Handler, rest: Omit<Setup, 'handler' | 'options'> = {}) {
      const { store, prefix, advance } = open()
      const options = { store, prefix, requestBudget: '9s' } as const
      return { ...(await kind.start({ options, handler, ...rest })), store, advance }
    }

    const notStored: [string, Record<string, string>, Setup['cache']][] = [
      ['no-store', { 'Cache-Control': 'no-store' }, { ttl: '1m' }],
      ['private', { 'Cache-Control': 'private, max-age=60' }, { ttl: '1m' }],
      ['a cookie', { 'Set-Cookie': 'a=b' }, { ttl: '1m' }],
      ['too large', {}, { ttl: '1m', maxBodyBytes: 100 }],
    ]
    test.each(notStored)(
      'ranges and conditions work as without a cache where the response is not stored: %s',
      async (_what, fields, cache) => {
        const bare = await app(capable(fields), {
          cache: () => [(...native: any[]) => native.at(-1)()],
        })
        const cached = await app(capable(fields), { cache: cache as any })
        const asked: Record<string, string>[] = [
          { range: 'bytes=2-4' },
          {},
          { 'if-none-match': '"v1"' },
          { 'if-none-match': '"v0"' },
          { range: 'bytes=0-0' },
          { range: 'bytes=0-0', 'if-none-match': '"v1"' },
        ]
        for (const headers of asked) {
          const [one, other] = [await bare.get('/', headers), await cached.get('/', headers)]
          const seen = (answer: typeof one) => {
            const { 'cache-status': _status, date: _date, ...rest } = answer.headers
            return [answer.status, answer.text, rest]
          }
          expect([headers, ...seen(other)]).toEqual([headers, ...seen(one)])
        }
      },
    )

    test('a condition on the very first request is answered as a framework would, though the response is not stored', async () => {
      const { get } = await app(
        counting(({ set, send }) => {
          set('ETag', '"v1"')
          set('Cache-Control', 'no-store')
          set('X-Inner', '1')
          send(200, BODY)
        }),
      )
      const answer = await get('/', { 'if-none-match': '"v1"' })
      expect([answer.status, answer.text, answer.headers.etag, answer.headers['x-inner']]).toEqual([
        304,
        '',
        '"v1"',
        '1',
      ])
      expect(answer.headers['content-length']).toBeUndefined()
    })

    test('a handler that knows ranges answers them on a cold cache, and its 206 is not stored as the whole', async () => {
      const handler = capable()
      const { get, tp } = await app(handler)
      const part = await get('/', { range: 'bytes=2-4' })
      expect([part.status, part.text, statusOf(part)]).toEqual([
        206,
        '234',
        'turnpike; fwd=miss; detail=range',
      ])
      expect((await get()).text).toBe(BODY)
      await until('it is stored', () => tp.cache.stats().stored === 1)
      const slice = await get('/', { range: 'bytes=5-6' })
      expect([slice.status, slice.text, handler.calls]).toEqual([206, '56', 2])
    })

    test('requests for ranges do not make others wait, nor share what others wait for', async () => {
      const { get } = await app(capable())
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, i) => get('/', i % 2 ? { range: 'bytes=0-1' } : {})),
      )
      for (const [i, { status, text }] of answers.entries())
        expect([status, text]).toEqual(i % 2 ? [206, '01'] : [200, BODY])
    })

    test('no-transform is obeyed: the body stays as the handler has made it', async () => {
      const coded = gzipSync(BODY)
      const handler = counting(({ url, header, set, send }) => {
        set('Cache-Control', 'no-transform')
        set('Content-Type', 'text/plain')
        if (url === '/coded' && /gzip/.test(header('accept-encoding') ?? '')) {
          set('Content-Encoding', 'gzip')
          return send(200, coded)
        }
        send(200, BODY)
      })
      const { get, tp } = await app(handler)
      const gzip = { 'accept-encoding': 'gzip' }
      await get('/', gzip)
      await until('it is stored', () => tp.cache.stats().stored === 1)
      const hit = await get('/', gzip)
      expect([hit.headers['content-encoding'], hit.bytes.length]).toEqual([undefined, BODY.length])
      await get('/coded', gzip)
      await until('it is stored', () => tp.cache.stats().stored === 2)
      const plain = await get('/coded', { 'accept-encoding': 'identity' })
      // The handler is asked: nothing is decoded here.
      expect([plain.text, statusOf(plain)]).toEqual([BODY, expect.stringContaining('fwd=')])
    })

    test('a hit has the fields of the miss; what the handler has removed is gone', async () => {
      const handler = counting(({ set, res, send }) => {
        set('X-Inner', 'a')
        set('Link', '</style.css>; rel=preload')
        set('Content-Language', 'de')
        set('X-Changed', 'inner')
        res.removeHeader('X-Frame-Options')
        res.removeHeader('X-Powered-By')
        send(200, 'hello')
      })
      const { get, tp } = await app(handler, {
        outer: ({ set }) => {
          set('X-Frame-Options', 'DENY')
          set('X-Powered-By', 'outer')
          set('X-Changed', 'outer')
          set('X-Kept', 'outer')
        },
      })
      const miss = await get()
      await until('it is stored', () => tp.cache.stats().stored === 1)
      const hit = await get()
      const fieldsOf = ({ headers }: typeof miss) => {
        const { date: _date, age: _age, 'cache-status': _status, etag: _etag, ...rest } = headers
        return rest
      }
      expect(statusOf(hit)).toContain('hit')
      expect(fieldsOf(hit)).toEqual(fieldsOf(miss))
      expect(hit.headers['x-frame-options']).toBeUndefined()
      const unchanged = await get('/', { 'if-none-match': String(hit.headers.etag) })
      expect([
        unchanged.status,
        unchanged.headers['x-frame-options'],
        unchanged.headers['x-inner'],
      ]).toEqual([304, undefined, 'a'])
    })

    test('a 304 carries what browsers need: CORS, and what a framework would send', async () => {
      const handler = counting(({ header, set, send }) => {
        set('Access-Control-Allow-Origin', header('origin') ?? '*')
        set('Access-Control-Expose-Headers', 'X-Total')
        set('Vary', 'Origin')
        set('X-Total', '7')
        set('Content-Type', 'application/json')
        set('ETag', '"v1"')
        send(200, '[]')
      })
      const { get, tp } = await app(handler)
      const headers = { origin: 'https://app.example', 'if-none-match': '"v1"' }
      const cold = await get('/', headers)
      await until('it is stored', () => tp.cache.stats().stored === 1)
      const warm = await get('/', headers)
      for (const answer of [cold, warm]) {
        expect(answer.status).toBe(304)
        expect(answer.headers).toMatchObject({
          'access-control-allow-origin': 'https://app.example',
          'access-control-expose-headers': 'X-Total',
          'x-total': '7',
        })
        expect(answer.headers['content-type']).toBeUndefined()
      }
      expect(handler.calls).toBe(1)
      const other = await get('/', { ...headers, origin: 'https://other.example' })
      expect(other.headers['access-control-allow-origin']).toBe('https://other.example')
    })

    test('attack: a body that expands without end is not decoded: the handler answers', async () => {
      const bomb = gzipSync(Buffer.alloc(100 * 1024 * 1024), { level: 9 })
      const { get, url, tp } = await app(({ header, set, send }) => {
        if (!/gzip/.test(header('accept-encoding') ?? '')) return send(200, 'plain')
        set('Content-Encoding', 'gzip')
        send(200, bomb)
      })
      const { hostname, port } = url
      await new Promise((resolve) =>
        httpGet({ hostname, port, headers: { 'accept-encoding': 'gzip' } }, (res) =>
          res.resume().on('end', resolve),
        ),
      )
      await until('it is stored', () => tp.cache.stats().stored === 1)
      const before = process.memoryUsage().arrayBuffers
      const plain = await get('/', { 'accept-encoding': 'identity' })
      expect([plain.text, statusOf(plain)]).toEqual([
        'plain',
        'turnpike; fwd=bypass; detail=coding',
      ])
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 1024 * 1024)
    })

    test('codings other than gzip are served as they are, and decoded for who cannot read them', async () => {
      const handler = counting(({ set, send }) => {
        set('Content-Encoding', 'br')
        set('Content-Type', 'text/plain')
        send(200, brotliCompressSync(BODY))
      })
      const { get, tp } = await app(handler)
      await get('/', { 'accept-encoding': 'br' })
      await until('it is stored', () => tp.cache.stats().stored === 1)
      for (const coding of ['br', 'identity'])
        expect((await get('/', { 'accept-encoding': coding })).text).toBe(BODY)
      expect(handler.calls).toBe(1)
    })

    test('a body of kind stream is stored like any other', async () => {
      const handler = counting(({ set, stream }) => {
        set('Content-Type', 'text/plain')
        stream(Readable.from(['a', 'b', 'c']))
      })
      const { get, tp } = await app(handler)
      expect((await get()).text).toBe('abc')
      await until('it is stored', () => tp.cache.stats().stored === 1)
      expect((await get()).text).toBe('abc')
      expect(handler.calls).toBe(1)
    })
  })
})

describe.each([
  ['Express 5', express],
  ['Express 4', express4],
])('%s', (_name, framework) => {
  let folder: string
  let file: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'transparency-'))
    file = join(folder, 'video.bin')
    writeFileSync(file, Buffer.alloc(300_000, 'v'))
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  test('res.sendFile of a file that is too large to store: ranges, conditions and HEAD', async () => {
    const tp = turnpike({ store: testStore() })
    const app = framework()
    app.get(
      '/video',
      tp.cache({ ttl: '1m', maxBodyBytes: 100_000 }) as any,
      (_req: any, res: any) => res.sendFile(file),
    )
    const part = await request(app).get('/video').set('Range', 'bytes=100-199')
    expect([part.status, part.headers['content-range'], part.body.length]).toEqual([
      206,
      'bytes 100-199/300000',
      100,
    ])
    const whole = await request(app).get('/video')
    expect([whole.status, whole.body.length]).toEqual([200, 300_000])
    const again = await request(app).get('/video').set('If-None-Match', whole.headers['etag']!)
    expect(again.status).toBe(304)
    const since = await request(app)
      .get('/video')
      .set('If-Modified-Since', whole.headers['last-modified']!)
    expect(since.status).toBe(304)
    expect((await request(app).get('/video').set('Range', 'bytes=-5')).body.length).toBe(5)
    expect((await request(app).head('/video')).headers['content-length']).toBe('300000')
  })

  test('res.send and res.json answer conditions as without a cache', async () => {
    const tp = turnpike({ store: testStore() })
    const app = framework()
    app.get('/own', tp.cache({ ttl: '1m' }) as any, (_req: any, res: any) => {
      res.cookie('seen', '1').json({ a: 1 })
    })
    const { headers } = await request(app).get('/own')
    for (let i = 0; i < 2; i++) {
      const again = await request(app).get('/own').set('If-None-Match', headers['etag']!)
      expect([again.status, again.headers['set-cookie']?.length]).toEqual([304, 1])
    }
    const forced = await request(app)
      .get('/own')
      .set({ 'If-None-Match': headers['etag']!, 'Cache-Control': 'no-cache' })
    expect(forced.status).toBe(200)
  })
})
