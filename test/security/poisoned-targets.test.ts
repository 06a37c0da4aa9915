/** Attack: a request whose target, host or scheme two readers may read differently leaves a page for others. */
import * as http2 from 'node:http2'
import { connect, type AddressInfo } from 'node:net'
import Koa from 'koa'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { turnpike as forKoa } from '../../src/koa.ts'
import { turnpike as forNode } from '../../src/node.ts'
import { testStore } from '../../src/testing.ts'
import { apps } from '../support/apps.ts'
import { frame, literal, PREFACE } from '../support/http2-frames.ts'

/** Sends bytes on a connection of its own. Resolves with what the server sent, up to the end of a page. */
async function exchange(port: number, bytes: Buffer | string): Promise<string> {
  const socket = connect(port, '127.0.0.1').on('error', () => {})
  let received = ''
  const answered = new Promise<void>((resolve) => {
    socket.on('close', resolve)
    socket.on('data', (data) => {
      received += data.toString('latin1')
      if (received.includes('end of page')) resolve()
    })
  })
  socket.write(bytes)
  await answered
  socket.destroy()
  return received
}

const HOST = 'Host: shop'
/** Head lines of requests that a cache could take for GET /news of shop. */
const POISONED: Record<string, { target?: string; fields?: string[]; version?: string }> = {
  'a fragment': { target: '/news#/../x' },
  'a fragment alone': { target: '/news#' },
  'the absolute form of another host': { target: 'http://evil/news' },
  'the absolute form beside another Host': { target: 'http://shop/news', fields: ['Host: evil'] },
  'a backslash': { target: '/x\\..\\news' },
  'dot segments': { target: '/x/../news' },
  'encoded dot segments': { target: '/x/%2e%2e/news' },
  'a control character': { target: '/news\x01' },
  'a no-break space': { target: '/news\xa0' },
  'two slashes': { target: '//news' },
  'an empty query': { target: '/news?' },
  'another case': { target: '/NEWS' },
  'two hosts': { fields: [HOST, 'Host: evil'] },
  'two hosts, the other one first': { fields: ['Host: evil', HOST] },
  'a host with a user': { fields: ['Host: evil@shop'] },
  'a host with a path': { fields: ['Host: shop/evil'] },
  'a forwarded host': { fields: [HOST, 'X-Forwarded-Host: evil'] },
  'an empty forwarded host': { fields: [HOST, 'X-Forwarded-Host:'] },
  'a forwarded scheme': { fields: [HOST, 'X-Forwarded-Proto: https'] },
  'a forwarded scheme that is none': { fields: [HOST, 'X-Forwarded-Proto: javascript'] },
  'no host': { fields: [], version: 'HTTP/1.0' },
  'another method in a field': { fields: [HOST, 'X-HTTP-Method-Override: DELETE'] },
}

describe.each(apps)('$name', ({ start }) => {
  test.each(Object.entries(POISONED))(
    'attack: a page is poisoned for others by %s',
    async (_name, { target = '/news', fields = [HOST], version = 'HTTP/1.1' }) => {
      const app = start({
        options: { store: testStore() },
        mount: (tp) => [tp.cache({ ttl: '1m', public: true, near: true })],
        handle(native) {
          const { url, headers, rawHeaders } = native.req ?? native
          // What a handler may read of the request, and make a page of.
          const seen = JSON.stringify([url, headers.host, rawHeaders.length, native.hostname])
          return [200, `${seen} end of page`]
        },
      })
      await vi.waitFor(() => expect(app.server.listening).toBe(true))
      const { port } = app.server.address() as AddressInfo
      const get = (line: string, ...lines: string[]): Promise<string> =>
        exchange(port, Buffer.from(`${[line, ...lines].join('\r\n')}\r\n\r\n`, 'latin1'))
      await get(`GET ${target} ${version}`, ...fields, 'Accept: text/html')
      const page = await get('GET /news HTTP/1.1', HOST)
      expect(page).toContain('["/news","shop",')
      expect(page).not.toContain('evil')
      // The page of the good request is kept, so the cache was not switched off.
      await get('GET /news HTTP/1.1', HOST, 'X-Count: 1')
      const again = await get('GET /news HTTP/1.1', HOST, 'X-Count: 1', 'X-More: 1')
      expect(again.split('\r\n\r\n')[1]).toBe(page.split('\r\n\r\n')[1])
    },
  )
})

const pageOf = (headers: Record<string, unknown>): string =>
  `${JSON.stringify([headers[':authority'], headers['host']])} end of page`

const overHttp2: Record<string, () => any> = {
  'node:http2'() {
    const cache = forNode({ store: testStore() }).cache({ ttl: '1m', public: true })
    return (req: any, res: any) =>
      cache(req, res, () => {
        res.setHeader('content-type', 'text/plain')
        res.end(pageOf(req.headers))
      })
  },
  'Koa over HTTP/2'() {
    const app = new Koa()
    app.silent = true
    app.use(forKoa({ store: testStore() }).cache({ ttl: '1m', public: true }))
    app.use((ctx) => {
      ctx.body = pageOf(ctx.headers)
    })
    return app.callback()
  },
}

describe.each(Object.entries(overHttp2))('%s', (_name, create) => {
  test.each<[string, [string, string][]]>([
    [
      'another host beside :authority',
      [
        [':authority', 'shop'],
        ['host', 'evil'],
      ],
    ],
    [
      'another :authority beside the host',
      [
        [':authority', 'evil'],
        ['host', 'shop'],
      ],
    ],
    ['a malformed :authority', [[':authority', 'evil@shop']]],
    [
      'a forwarded host',
      [
        [':authority', 'shop'],
        ['x-forwarded-host', 'evil'],
      ],
    ],
  ])('attack: a page is poisoned for others by %s', async (_attack, fields) => {
    const server = http2.createServer(create())
    onTestFinished(() => void server.close())
    server.listen(0, '127.0.0.1')
    await vi.waitFor(() => expect(server.listening).toBe(true))
    const { port } = server.address() as AddressInfo
    const get = (...all: [string, string][]): Promise<string> => {
      // GET /news over http, in HPACK (RFC 7541).
      const path = Buffer.from([0x04, 5, ...Buffer.from('/news')])
      const block = [Buffer.from([0x82, 0x86]), path, ...all.map(([n, v]) => literal(n, v))]
      return exchange(port, Buffer.concat([PREFACE, frame(1, 5, 1, Buffer.concat(block))]))
    }
    await get(...fields)
    const page = await get([':authority', 'shop'])
    expect(page).toContain('end of page')
    expect(page).not.toContain('evil')
  })
})
