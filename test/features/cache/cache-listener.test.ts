/** `tp.cacheListener()`: hits before the framework, for what is public, and for nothing else. */
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { turnpike } from '../../../src/node.ts'
import { testStore } from '../../../src/testing.ts'
import { until } from '../../support/until.ts'
import {
  counting,
  kinds,
  statusOf,
  type App,
  type Handler,
  type Kind,
  type Setup,
} from './support.ts'

const AT_LISTENER = /^turnpike; hit; ttl=\d+; detail=listener$/
const PUBLIC = { ttl: '1m', near: true, public: true, beforeFramework: true } as const

/** An application behind the listener that counts what reaches it, and what reaches its handler. */
async function behind(
  { start }: Kind,
  answer: Handler = ({ send }) => send(200, 'hello'),
  setup: Partial<Setup> = {},
) {
  const handler = counting(answer)
  const seen: string[] = []
  const store = testStore()
  const app = await start({
    options: { store },
    cache: PUBLIC,
    handler,
    listener: true,
    outer: ({ url, set }) => {
      seen.push(url)
      set('X-Request-Id', String(seen.length))
    },
    ...setup,
  })
  return { ...app, app, handler, seen, store }
}

/** Ask until the listener answers: the near cache has to be armed first. */
const warm = (
  { get }: Pick<App, 'get'>,
  path = '/',
  headers: Record<string, string> = {},
): Promise<unknown> =>
  until('the listener answers', async () => AT_LISTENER.test(statusOf(await get(path, headers))))

describe.each(kinds)('$name', (kind) => {
  test('answers hits without the framework, and nothing else', async () => {
    const { app, get, seen, handler, store, tp } = await behind(kind, ({ set, send, url }) => {
      set('ETag', '"one"')
      set('X-Inner', 'yes')
      send(200, `hello ${url}`)
    })
    const first = await get('/a?b=1')
    expect([statusOf(first), first.headers['x-request-id']]).toEqual([
      'turnpike; fwd=miss; stored',
      '1',
    ])
    await warm(app, '/a?b=1')
    const [before, near] = [seen.length, tp.cache.stats().near]
    await store.advance('3s')
    const hit = await get('/a?b=1')
    expect([hit.status, hit.text, hit.headers['x-inner'], hit.headers['age']]).toEqual([
      200,
      'hello /a?b=1',
      'yes',
      '3',
    ])
    // What is set outside of the cache has no part in it.
    expect(hit.headers['x-request-id']).toBeUndefined()
    expect([statusOf(hit), hit.headers['content-length']]).toEqual([
      'turnpike; hit; ttl=57; detail=listener',
      '12',
    ])
    const head = await app.ask({ method: 'HEAD', path: '/a?b=1' })
    const unchanged = await get('/a?b=1', { 'if-none-match': '"one"' })
    const part = await get('/a?b=1', { range: 'bytes=0-4' })
    expect([head.status, head.text, head.headers['content-length']]).toEqual([200, '', '12'])
    expect([unchanged.status, unchanged.headers['etag']]).toEqual([304, '"one"'])
    expect([part.status, part.text]).toEqual([206, 'hello'])
    expect([seen.length - before, handler.calls]).toEqual([0, 1])
    expect(tp.cache.stats().near - near).toBe(4)

    // Another target, host, method, credentials, a body, other preconditions: the application's.
    const others = [
      { path: '/a?b=2' },
      { path: '/a' },
      { path: '/a?b=1', headers: { host: 'other.test' } },
      { path: '/a?b=1', headers: { authorization: 'Bearer a' } },
      { path: '/a?b=1', headers: { 'if-match': '"one"' } },
      { path: '/a?b=1', headers: { 'if-unmodified-since': new Date().toUTCString() } },
      { path: '/a?b=1', headers: { accept: 'text/event-stream' } },
      { path: '/a?b=1', headers: { 'x-forwarded-host': 'evil.test' } },
      { path: '/a?b=1', headers: { 'x-forwarded-proto': 'https' } },
      { path: '/a?b=1', headers: { 'content-length': '1' }, body: 'x' },
      // The last one: it invalidates the entry.
      { path: '/a?b=1', method: 'POST' },
    ]
    for (const [i, other] of others.entries()) {
      const answer = await app.ask(other)
      expect(statusOf(answer), JSON.stringify(other)).not.toMatch(AT_LISTENER)
      expect(seen.length - before, JSON.stringify(other)).toBe(i + 1)
    }
  })

  test('an invalidation and the end of its time end it', async () => {
    let value = 'old'
    const { app, get, tp, store } = await behind(kind, ({ send, tags }) => {
      tags('a')
      send(200, value)
    })
    await warm(app)
    value = 'new'
    await tp.cache.invalidate({ tags: ['a'] })
    expect((await get()).text).toBe('new')
    await warm(app)
    value = 'newer'
    await store.advance('61s')
    expect((await get()).text).toBe('newer')
  })

  test('each variant goes to whom it is for, each coding to who takes it', async () => {
    const long = 'hello '.repeat(1000)
    const { app, get, handler, seen } = await behind(kind, ({ set, send, header }) => {
      set('Vary', 'Accept-Language')
      set('Content-Type', 'text/plain; charset=utf-8')
      send(200, `${header('accept-language')} ${long}`)
    })
    for (const language of ['de', 'en']) await warm(app, '/', { 'accept-language': language })
    const [before, calls] = [seen.length, handler.calls]
    for (const language of ['de', 'en']) {
      const plain = await get('/', { 'accept-language': language })
      const packed = await get('/', { 'accept-language': language, 'accept-encoding': 'gzip' })
      expect([plain.text, packed.text]).toEqual([`${language} ${long}`, `${language} ${long}`])
      expect([plain.headers['content-encoding'], packed.headers['content-encoding']]).toEqual([
        undefined,
        'gzip',
      ])
      expect(packed.bytes.length).toBeLessThan(1000)
      expect(String(packed.headers['vary'])).toMatch(/Accept-Language.*Accept-Encoding/)
    }
    expect([seen.length - before, handler.calls - calls]).toEqual([0, 0])
    expect((await get('/', { 'accept-language': 'fr' })).text).toBe(`fr ${long}`)
    expect(seen.length - before).toBe(1)
  })

  test('bytes of every kind arrive as they are', async () => {
    const bytes = Buffer.from(Array.from({ length: 5_000 }, (_, i) => (i * 7) % 256))
    const coded = gzipSync('coded')
    const { app, get } = await behind(kind, ({ set, send, url }) => {
      set('Content-Type', 'application/octet-stream')
      if (url === '/coded') set('Content-Encoding', 'gzip')
      send(
        200,
        url === '/coded' ? coded : url === '/large' ? Buffer.concat(Array(8).fill(bytes)) : bytes,
      )
    })
    for (const path of ['/', '/large', '/coded']) await warm(app, path)
    expect((await get()).bytes.equals(bytes)).toBe(true)
    expect((await get('/large')).bytes.length).toBe(40_000)
    const [taken, not] = [
      await get('/coded', { 'accept-encoding': 'gzip' }),
      await get('/coded', { 'accept-encoding': 'identity' }),
    ]
    expect([taken.bytes.equals(coded), taken.text, not.bytes.toString()]).toEqual([
      true,
      'coded',
      'coded',
    ])
    expect([statusOf(taken), statusOf(not)]).toEqual([
      expect.stringMatching(AT_LISTENER),
      expect.stringMatching(AT_LISTENER),
    ])
  })

  test('without `beforeFramework: true` every request reaches the application', async () => {
    const { get, seen, tp } = await behind(kind, undefined, {
      cache: { ...PUBLIC, beforeFramework: false },
    })
    await until('it is served from the process', async () => {
      await get()
      return tp.cache.stats().near > 2
    })
    expect(statusOf(await get())).toMatch(/^turnpike; hit; ttl=\d+$/)
    expect(tp.cache.stats().hits + tp.cache.stats().misses).toBe(seen.length)
  })

  test('behind a proxy that is trusted, host and scheme are told apart as the framework tells them', async () => {
    if (kind.name === 'node:http') return
    const { app, get, seen } = await behind(
      kind,
      ({ send, header }) => send(200, String(header('x-forwarded-proto'))),
      { trustProxy: true },
    )
    await warm(app, '/', { 'x-forwarded-proto': 'https' })
    const before = seen.length
    expect((await get('/', { 'x-forwarded-proto': 'https' })).text).toBe('https')
    expect(seen.length).toBe(before)
    expect((await get('/', { 'x-forwarded-proto': 'http' })).text).toBe('http')
    expect(
      (await get('/', { 'x-forwarded-host': 'b.test', 'x-forwarded-proto': 'https' })).headers,
    ).toMatchObject({
      'cache-status': 'turnpike; fwd=miss; stored',
    })
  })
})

test('it is refused where somebody would have to be asked first', () => {
  const tp = turnpike({ store: testStore() })
  for (const options of [
    { near: true },
    { public: true },
    { near: true, public: true, scope: () => 'a' },
    { near: true, public: true, key: () => 'a' },
    { near: true, public: true, skip: () => false },
  ])
    expect(() => tp.cache({ ttl: '1m', beforeFramework: true, ...options })).toThrow(
      /beforeFramework/,
    )
  const tenanted = turnpike({ store: testStore(), tenant: () => 'a' })
  expect(() => tenanted.cache({ ...PUBLIC })).toThrow(/beforeFramework/)
  expect(() => tp.cacheListener({} as never)).toThrow(/app\.callback/)
})
