/** For each reason code of the cache: a request that is passed by, or a response that is not stored, because of it. */
import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import { createServer as createHttpsServer, request as httpsRequest } from 'node:https'
import { connect, type AddressInfo } from 'node:net'
import { PassThrough } from 'node:stream'
import { onTestFinished } from 'vitest'
import type { CacheReason } from '../../../src/features/cache/reasons.ts'
import type { CacheOptions } from '../../../src/index.ts'
import { makeCertificate } from '../../support/tls.ts'
import { until } from '../../support/until.ts'
import type { App, Handler, Setup, Tools } from './support.ts'

type Send = (app: App, advance: (time: '11s') => Promise<void>) => Promise<string | undefined>

/** How an application is set up, and what it is sent. */
export interface Situation {
  cache?: CacheOptions<any> | Setup['cache']
  outer?: (tools: Tools) => void
  handler?: Handler
  /** Sends the requests. @returns Cache-Status of the last response, if it is known when its head is sent */
  send?: Send
  /** Redis is stopped before the request. */
  isAway?: boolean
}

/** A situation, and what stores the response all the same. */
export interface ReasonCase extends Situation {
  /** What the request counts as (RFC 9211). Undefined: Cache-Status cannot say it any more. */
  forward: 'bypass' | 'miss' | undefined
  /** Changes of the situation with which the response is stored. */
  remedies?: Situation[]
}

const ok: Handler = ({ send }) => send(200, 'hello')
const get =
  (headers: Record<string, string>): Send =>
  async (app) =>
    String((await app.get('/', headers)).headers['cache-status'])
const withFields =
  (fields: Record<string, string>, status = 200): Handler =>
  ({ set, send }) => {
    for (const [name, value] of Object.entries(fields)) set(name, value)
    send(status, 'hello')
  }
const saysPublic = { handler: withFields({ 'Cache-Control': 'public, max-age=60' }) }
const scope = (): string => 'ann'

/** Sends bytes, and returns Cache-Status of the response. */
const raw =
  (...lines: string[]): Send =>
  async (app) => {
    const socket = connect(Number(app.url.port), '127.0.0.1').on('error', () => {})
    onTestFinished(() => void socket.destroy())
    let text = ''
    socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk))
    socket.write([...lines, 'Connection: close', '', ''].join('\r\n'))
    await once(socket, 'close')
    return /^cache-status: (.*)$/im.exec(text)?.[1]
  }

/** Sends a request over TLS, with a certificate that the server knows. */
const withCertificate: Send = async (app) => {
  const { key, cert } = makeCertificate()
  const [listener] = app.server.listeners('request')
  const options = { key, cert, ca: cert }
  const server = createHttpsServer({ ...options, requestCert: true }, listener as never)
  await once(server.listen(0, '127.0.0.1'), 'listening')
  onTestFinished(() => void server.close())
  const { port } = server.address() as AddressInfo
  const req = httpsRequest({ ...options, port, host: '127.0.0.1', agent: false }).end()
  const [res] = await once(req, 'response')
  await once(res.resume(), 'close')
  return String(res.headers['cache-status'])
}

/** Requests twice: the first response is not stored, so that the handler of the second sees all fields. */
const twice =
  (headers: Record<string, string>): Send =>
  async (app, advance) => {
    await app.get()
    return await get(headers)(app, advance)
  }

/** Answers a request with the field as asked, and others with what is not stored. */
const conditional =
  (name: string, status: number, fields: Record<string, string>): Handler =>
  (tools) =>
    (tools.header(name) === undefined
      ? withFields({ 'Cache-Control': 'no-store' })
      : withFields(fields, status))(tools)

/** Sends the beginning of a body, which has no end. */
const endless: Handler = ({ stream }) => {
  const body = new PassThrough()
  body.write('begin')
  stream(body)
}

/** An entry is stored after its response was sent. */
const stored = async (app: App): Promise<unknown> =>
  await until('it is stored', () => app.tp.cache.stats().stored > 0)

export const CASES: Record<CacheReason, ReasonCase> = {
  authorization: {
    forward: 'bypass',
    send: get({ authorization: 'Bearer ann' }),
    remedies: [
      { cache: { ttl: '1m', scope } },
      { cache: { ttl: '1m', public: true } },
      { cache: { ttl: '1m', vary: ['Authorization'] } },
      { ...saysPublic, send: twice({ authorization: 'Bearer ann' }) },
      { cache: { ttl: 'auto' }, handler: withFields({ 'Cache-Control': 's-maxage=60' }) },
      {
        cache: { ttl: 'auto' },
        handler: withFields({ 'Cache-Control': 'max-age=60, must-revalidate' }),
      },
    ],
  },
  'api-key': {
    forward: 'bypass',
    send: get({ 'x-api-key': 'k1' }),
    remedies: [
      { cache: { ttl: '1m', scope } },
      { cache: { ttl: '1m', public: true } },
      { cache: { ttl: '1m', vary: ['X-API-Key'] } },
      { ...saysPublic, send: twice({ 'x-api-key': 'k1' }) },
    ],
  },
  certificate: {
    forward: 'bypass',
    send: withCertificate,
    remedies: [{ cache: { ttl: '1m', scope } }, { cache: { ttl: '1m', public: true } }],
  },
  cookie: {
    forward: 'bypass',
    send: get({ cookie: 'sid=1' }),
    remedies: [
      { cache: { ttl: '1m', scope } },
      { cache: { ttl: '1m', public: true } },
      { cache: { ttl: '1m', vary: ['Cookie'] } },
      { cache: { ttl: '1m', cookies: { ignore: ['sid'] } } },
    ],
  },
  session: {
    forward: 'bypass',
    outer: ({ native }) => void (native.session = { cart: 1 }),
    remedies: [{ cache: { ttl: '1m', scope } }, { cache: { ttl: '1m', public: true } }],
  },
  user: {
    forward: 'bypass',
    outer: ({ native }) => void ((native.state ?? native).user = { id: 1 }),
    remedies: [{ cache: { ttl: '1m', scope } }, { cache: { ttl: '1m', public: true } }],
  },
  skip: { forward: 'bypass', cache: { ttl: '1m', skip: () => true } },
  body: {
    forward: 'bypass',
    send: async (app) =>
      String(
        (await app.ask({ body: 'q=1', headers: { 'content-length': '3' } })).headers[
          'cache-status'
        ],
      ),
  },
  precondition: { forward: 'bypass', send: get({ 'if-match': '"a"' }) },
  upgrade: { forward: 'bypass', send: get({ upgrade: 'h2c', connection: 'upgrade' }) },
  target: {
    forward: 'bypass',
    send: raw('GET /news?a=1#b HTTP/1.1', 'Host: shop.example'),
    remedies: [{ cache: { ttl: '1m', key: () => 'news' } }],
  },
  host: {
    forward: 'bypass',
    send: raw('GET /news HTTP/1.1', 'Host: SHOP.example'),
    remedies: [{ cache: { ttl: '1m', key: () => 'news' } }],
  },
  scheme: {
    forward: 'bypass',
    send: raw('GET /news HTTP/1.1', 'Host: shop.example', 'X-Forwarded-Proto: gopher'),
    remedies: [{ cache: { ttl: '1m', key: () => 'news' } }],
  },
  coding: {
    forward: 'bypass',
    // What is no gzip cannot be decoded.
    handler: withFields({ 'Content-Encoding': 'gzip' }),
    send: async (app, advance) => {
      const request = ['GET / HTTP/1.1', `Host: ${app.url.host}`]
      await raw(...request, 'Accept-Encoding: gzip')(app, advance)
      await stored(app)
      return await raw(...request, 'Accept-Encoding: br')(app, advance)
    },
  },
  nested: {
    forward: 'bypass',
    cache: (tp) => [tp.cache({ ttl: '1m' }), tp.cache({ ttl: '1m' })],
  },
  loop: {
    forward: 'bypass',
    async send(app) {
      // The first one of a process is not known as a part of its own fill, but does not wait for it.
      await app.get('/first', { 'x-port': app.url.port })
      return (await app.get('/', { 'x-port': app.url.port })).text
    },
    handler: async ({ header, send, url }) => {
      const port = header('x-port')
      if (port === undefined) return send(200, 'inner')
      const response = await fetch(`http://127.0.0.1:${port}${url}`)
      return send(200, response.headers.get('cache-status')!)
    },
  },
  'no-store': { forward: 'miss', handler: withFields({ 'Cache-Control': 'no-store' }) },
  private: { forward: 'miss', handler: withFields({ 'Cache-Control': 'private' }) },
  'no-cache': {
    forward: 'miss',
    handler: withFields({ 'Cache-Control': 'no-cache', ETag: '"a"' }),
    remedies: [{ cache: { ttl: 'auto' } }],
  },
  'set-cookie': {
    forward: 'miss',
    handler: ({ cookie, send }) => {
      cookie('seen', '1')
      send(200, 'hello')
    },
    remedies: [{ cache: { ttl: '1m', public: true } }],
  },
  nonce: {
    forward: 'miss',
    handler: withFields({ 'Content-Security-Policy': "script-src 'nonce-abc'" }),
    remedies: [{ cache: { ttl: '1m', public: true } }],
  },
  vary: { forward: 'miss', handler: withFields({ Vary: '*' }) },
  status: {
    forward: 'miss',
    handler: withFields({ 'Cache-Control': 'max-age=60' }, 404),
    remedies: [{ cache: { ttl: '1m', negativeTtl: '10s' } }, { cache: { ttl: 'auto' } }],
  },
  freshness: {
    forward: 'miss',
    cache: { ttl: 'auto' },
    handler: withFields({ 'Last-Modified': 'Sat, 01 Jan 2022 00:00:00 GMT' }),
    remedies: [{ cache: { ttl: '1m' } }, { cache: { ttl: 'auto', heuristic: true } }],
  },
  size: {
    forward: 'miss',
    cache: { ttl: '1m', maxBodyBytes: 4 },
    remedies: [{ cache: { ttl: '1m', maxBodyBytes: 5 } }],
  },
  stream: { forward: 'miss', handler: withFields({ 'Content-Type': 'text/event-stream' }) },
  'content-range': {
    forward: 'miss',
    handler: withFields({ 'Content-Range': 'bytes 0-4/10' }, 206),
  },
  range: {
    forward: 'miss',
    handler: conditional('range', 206, { 'Content-Range': 'bytes 0-4/10' }),
    send: twice({ range: 'bytes=0-4' }),
  },
  condition: {
    forward: 'miss',
    handler: conditional('if-none-match', 304, { ETag: '"a"' }),
    send: twice({ 'if-none-match': '"a"' }),
  },
  head: {
    forward: 'miss',
    send: async (app) => String((await app.ask({ method: 'HEAD' })).headers['cache-status']),
  },
  'request-no-store': { forward: 'miss', send: get({ 'cache-control': 'no-store' }) },
  scope: {
    forward: 'miss',
    cache: (tp) => [tp.cache({ ttl: '1m' }), tp.cache({ ttl: '1m', scope })],
    remedies: [
      { cache: (tp) => [tp.cache({ ttl: '1m', public: true }), tp.cache({ ttl: '1m', scope })] },
    ],
  },
  tags: {
    forward: 'miss',
    handler: ({ tags, send }) => {
      tags(...Array.from({ length: 1_001 }, (_, index) => `t${index}`))
      send(200, 'hello')
    },
  },
  error: {
    forward: undefined,
    cache: { ttl: '10s', jitter: 0, staleIfError: '1h' },
    handler: (tools) => {
      if (tools.header('x-fail') === '1') throw new Error('on purpose')
      return ok(tools)
    },
    send: async (app, advance) => {
      await app.get()
      await stored(app)
      await advance('11s')
      await app.get('/', { 'x-fail': '1' })
      return undefined
    },
  },
  aborted: {
    forward: undefined,
    handler: endless,
    send: async (app) => {
      const { hostname, port } = app.url
      const req = httpRequest({ hostname, port, agent: false })
        .on('error', () => {})
        .end()
      const [res] = await once(req, 'response')
      await once(
        res.on('error', () => {}),
        'data',
      )
      req.destroy()
      return undefined
    },
  },
  store: { forward: 'miss', isAway: true },
}
