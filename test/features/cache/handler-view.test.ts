/** The handler of a cached route sees only what is in the key, and the key says all that it sees. */
import { createServer as createHttp2 } from 'node:http2'
import { connect as connectHttp2 } from 'node:http2'
import { connect } from 'node:net'
import { once } from 'node:events'
import express from 'express'
import { describe, expect, onTestFinished, test } from 'vitest'
import { turnpike } from '../../../src/express.ts'
import { turnpike as forNode } from '../../../src/node.ts'
import { testStore } from '../../../src/testing.ts'
import { bothEngines } from '../../support/engines.ts'
import {
  counting,
  kinds,
  statusOf,
  type App,
  type Handler,
  type Setup,
  type Tools,
} from './support.ts'

const engines = bothEngines()

/** What frameworks make of a request's address. */
const addressesOf = ({ native, url }: Tools) => ({
  url: native.url,
  originalUrl: native.originalUrl ?? native.url,
  seen: url,
  query: JSON.stringify(native.query ?? null),
  search: native.search,
  href: native.URL?.search,
})

/** Sends a head as it is, and returns the whole response. */
async function raw({ url }: App, head: string): Promise<string> {
  const socket = connect(Number(url.port), '127.0.0.1')
  socket.write(`${head}\r\nConnection: close\r\n\r\n`)
  let text = ''
  for await (const piece of socket) text += piece
  return text
}

describe.each(engines)('the cache on the $name engine', ({ open }) => {
  describe.each(kinds)('$name', (kind) => {
    async function app(handler: Handler, rest: Omit<Setup, 'handler' | 'options'> = {}) {
      const { store, prefix } = open()
      const options = { store, prefix, requestBudget: '9s' } as const
      return await kind.start({ options, handler, ...rest })
    }
    const isExpress = kind.name.startsWith('Express')
    const isKoa = kind.name.startsWith('Koa')

    test('attack: cache poisoning by a query parameter that is ignored: the handler does not see it', async () => {
      const seen: object[] = []
      const { get } = await app(
        (tools) => {
          seen.push(addressesOf(tools))
          tools.send(200, JSON.stringify(addressesOf(tools)))
        },
        { cache: { ttl: '1m', query: { allow: ['page'], sort: true } } },
      )
      for (const target of [
        '/list?page=2&evil=1',
        '/list?evil=1&page=2',
        '/list?page=2',
        '/list?evil%5B%5D=1&page=2&evil.x=3',
        '/list?page=2&p%61ge2=x',
      ]) {
        const { text } = await get(target)
        expect([target, text]).not.toEqual([target, expect.stringContaining('evil')])
        expect([target, text]).toEqual([target, expect.stringContaining('page=2')])
      }
      expect(seen.length).toBe(1)
      await get('/list?evil=1')
      expect(seen[1]).toMatchObject({ url: '/list', originalUrl: '/list' })
      expect(JSON.stringify(seen[1])).not.toContain('evil')
    })

    test('brackets are another spelling of a name, as parsers read them', async () => {
      const handler = counting((tools) => tools.send(200, JSON.stringify(addressesOf(tools))))
      const allowed = await app(handler, { cache: { ttl: '1m', query: { allow: ['page'] } } })
      expect((await allowed.get('/?page[]=2&x[y]=1')).text).toContain('page[]=2')
      expect((await allowed.get('/?page[]=3&x[y]=2')).text).toContain('page[]=3')
      expect((await allowed.get('/?page%5Bsize%5D=4&x[y]=2')).text).toContain('page%5Bsize%5D=4')
      const ignored = await app(handler, { cache: { ttl: '1m', query: { ignore: ['session'] } } })
      const texts = ['/?session[]=a&q=1', '/?session%5bid%5d=b&q=1', '/?%73ession=c&q=1'].map(
        async (target) => (await ignored.get(target)).text,
      )
      for (const text of await Promise.all(texts)) expect(text).not.toMatch(/session/i)
    })

    test('outside the cached route the request is as it came, before and after', async () => {
      const before: object[] = []
      const after: Promise<object>[] = []
      const { get } = await app((tools) => tools.send(200, JSON.stringify(addressesOf(tools))), {
        outer: (tools) => {
          before.push(addressesOf(tools))
          const { promise, resolve } = withResolvers()
          after.push(promise as Promise<object>)
          tools.res.once('finish', () =>
            resolve({
              ...addressesOf(tools),
              cookie: tools.header('cookie'),
              condition: tools.header('if-none-match'),
            }),
          )
        },
      })
      const headers = { cookie: '_ga=1', 'if-none-match': '"x"' }
      const answer = await get('/a?utm_source=mail&q=1', headers)
      expect(answer.text).not.toContain('utm')
      expect(before[0]).toMatchObject({ url: '/a?utm_source=mail&q=1' })
      expect(await after[0]).toMatchObject({
        ...before[0],
        cookie: '_ga=1',
        condition: '"x"',
      })
    })

    test('a GET with a body passes by', async () => {
      const handler = counting()
      const { ask, get } = await app(handler)
      await get()
      const answer = await ask({ path: '/', body: 'q=1', headers: { 'content-length': '3' } })
      expect(statusOf(answer)).toBe('turnpike; fwd=bypass; detail=body')
      const chunked = await ask({
        path: '/',
        body: 'q=1',
        headers: { 'transfer-encoding': 'chunked' },
      })
      expect(statusOf(chunked)).toBe('turnpike; fwd=bypass; detail=body')
      expect(handler.calls).toBe(3)
    })

    test.each<[string, string, string]>([
      ['a fragment', 'GET /news#/../x HTTP/1.1\r\nHost: shop.example', 'target'],
      ['a fragment behind a query', 'GET /news?a=1#b HTTP/1.1\r\nHost: shop.example', 'target'],
      ['an absolute form', 'GET http://evil.example/news HTTP/1.1\r\nHost: shop.example', 'target'],
      ['a host in the path', 'GET //evil.example/news HTTP/1.1\r\nHost: shop.example', 'target'],
      ['a backslash', 'GET /news\\..\\x HTTP/1.1\r\nHost: shop.example', 'target'],
      ['no host', 'GET /news HTTP/1.0', 'host'],
      ['two hosts', 'GET /news HTTP/1.1\r\nHost: shop.example\r\nHost: evil.example', 'host'],
      ['a host in capitals', 'GET /news HTTP/1.1\r\nHost: SHOP.example', 'host'],
      ['a malformed host', 'GET /news HTTP/1.1\r\nHost: shop.example/x', 'host'],
      [
        'an empty forwarded host',
        'GET /news HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-Host: ,evil.example',
        'host',
      ],
      [
        'a forwarded scheme that is none',
        'GET /news HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-Proto: javascript',
        'scheme',
      ],
      [
        'a forwarded scheme in capitals',
        'GET /news HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-Proto: HTTPS',
        'scheme',
      ],
    ])(
      'attack: cache poisoning by a request with %s: it passes by',
      async (_what, head, reason) => {
        const handler = counting(({ send }) => send(200, `number ${handler.calls}`))
        const it = await app(handler, { trustProxy: true })
        await it.get('/news', { host: 'shop.example' })
        const response = await raw(it, head)
        // Node itself may refuse it.
        if (!response.startsWith('HTTP/1.1 400') && !response.includes('404'))
          expect(response).toContain(`detail=${reason}`)
        expect((await it.get('/news', { host: 'shop.example' })).text).toBe('number 1')
      },
    )

    test('attack: the page of a rewritten address for others: what a middleware has made of it is a part of the key', async () => {
      const handler = counting(({ native, send }) => send(200, `page ${native.url}`))
      const { get, tp } = await app(handler, {
        outer: ({ native, header }) => {
          const variant = header('x-variant')
          if (variant) native.url = `/${variant}${native.url}`
        },
      })
      const of = async (variant?: string) =>
        (await get('/news', variant ? { 'x-variant': variant } : {})).text
      for (let round = 0; round < 2; round++)
        expect([await of(), await of('a'), await of('b')]).toEqual([
          'page /news',
          'page /a/news',
          'page /b/news',
        ])
      expect(handler.calls).toBe(3)
      // All of them are the page that the client has asked for. node:http does not keep what that was.
      if (kind.name === 'node:http') return
      await tp.cache.purge('/news')
      await of('a')
      await of('b')
      expect(handler.calls).toBe(5)
    })

    if (isExpress || isKoa)
      test('scheme and host are what the handler sees', async () => {
        const handler = counting(({ native, send }) =>
          send(200, `${native.protocol}://${native.hostname}`),
        )
        const { get } = await app(handler, { trustProxy: true })
        const asked: Record<string, string>[] = [
          { host: 'a.example' },
          { host: 'a.example', 'x-forwarded-proto': 'https' },
          { host: 'a.example', 'x-forwarded-host': 'b.example' },
          { host: 'a.example', 'x-forwarded-host': 'b.example, c.example' },
          { host: 'a.example', 'x-forwarded-host': '' },
          { host: 'a.example', 'x-forwarded-proto': 'https, http' },
        ]
        const cold = await Promise.all(asked.map(async (each) => (await get('/', each)).text))
        for (const [i, each] of asked.entries()) expect((await get('/', each)).text).toBe(cold[i])
        expect(cold.slice(0, 4)).toEqual([
          'http://a.example',
          'https://a.example',
          'http://b.example',
          'http://b.example',
        ])
      })
  })
})

function withResolvers() {
  let resolve: (value: unknown) => void = () => {}
  const promise = new Promise((done) => (resolve = done))
  return { promise, resolve }
}

test('below a mount path the key is the whole path, and the handler sees what its router sees', async () => {
  const tp = turnpike({ store: testStore() })
  const app = express()
  const shop = express.Router()
  shop.use(tp.cache({ ttl: '1m' }))
  shop.get('/list', (req, res) => void res.json([req.url, req.originalUrl, req.baseUrl, req.query]))
  app.use(['/de', '/en'], shop)
  const server = app.listen(0)
  onTestFinished(() => void server.close())
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const get = async (path: string) => (await fetch(`http://127.0.0.1:${port}${path}`)).json()
  for (let round = 0; round < 2; round++) {
    expect(await get('/de/list?a=1&utm_x=2')).toEqual([
      '/list?a=1',
      '/de/list?a=1',
      '/de',
      { a: '1' },
    ])
    expect(await get('/en/list')).toEqual(['/list', '/en/list', '/en', {}])
  }
  expect(tp.cache.stats().misses).toBe(2)
})

test('attack: cache poisoning over HTTP/2 by an authority beside another host', async () => {
  const tp = forNode({ store: testStore() })
  const cache = tp.cache({ ttl: '1m' })
  const server = createHttp2((req: any, res: any) =>
    cache(req, res, () => res.end(`for ${req.headers.host ?? req.authority}`)),
  ).listen(0)
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const client = connectHttp2(`http://127.0.0.1:${port}`)
  onTestFinished(() => {
    client.destroy()
    server.close()
  })
  const ask = async (headers: Record<string, string>): Promise<string> => {
    const stream = client.request({ ':path': '/', ...headers })
    let text = ''
    for await (const piece of stream) text += piece
    return text
  }
  expect(await ask({ ':authority': 'shop.example', host: 'evil.example' })).toBe('for evil.example')
  expect(await ask({ ':authority': 'shop.example' })).toBe('for shop.example')
  expect(await ask({ ':authority': 'shop.example' })).toBe('for shop.example')
  expect(tp.cache.stats()).toMatchObject({ hits: 1, bypassed: 1 })
})
