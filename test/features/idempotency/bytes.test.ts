import { createServer, request as ask, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import express from 'express'
import express4 from 'express4'
import Koa from 'koa'
import Koa2 from 'koa2'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { turnpike as forExpress } from '../../../src/express.ts'
import { turnpike as forKoa } from '../../../src/koa.ts'
import { turnpike as forNode } from '../../../src/node.ts'
import { bothEngines } from '../../support/engines.ts'

const engines = bothEngines()

/** The same handlers, as each framework writes them. */
type Write = (res: ServerResponse) => void
const BINARY = Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * 7) % 256))
const GZIP = gzipSync('x'.repeat(10_000))
const pieces = (): Readable =>
  Readable.from([BINARY.subarray(0, 1000), BINARY.subarray(1000, 1001), BINARY.subarray(1001)])

const raw: Record<string, Write> = {
  binary: (res) => res.setHeader('Content-Type', 'image/png').end(BINARY),
  gzip: (res) =>
    res.setHeader('Content-Encoding', 'gzip').setHeader('Content-Type', 'text/plain').end(GZIP),
  streamed: (res) => void pieces().pipe(res.setHeader('Content-Type', 'application/octet-stream')),
  head: (res) =>
    res.setHeader('Content-Length', '5000').setHeader('Content-Type', 'image/png').end(),
  empty: (res) => res.writeHead(204, { Location: '/orders/1' }).end(),
  cookies: (res) =>
    res
      .setHeader('Set-Cookie', 'sid=secret')
      .setHeader('X-Own', 'kept')
      .setHeader('X-Other', 'not')
      .end('ok'),
  'ends twice': (res) => {
    // node calls it a mistake, too.
    res.on('error', () => {})
    res.end('once')
    res.end('twice')
  },
  destroyed: (res) => void res.destroy(),
}

const koa: Record<string, (ctx: any) => void> = {
  binary: (ctx) => Object.assign(ctx, { type: 'image/png', body: BINARY }),
  gzip: (ctx) => {
    ctx.set('Content-Encoding', 'gzip')
    Object.assign(ctx, { type: 'text/plain', body: GZIP })
  },
  streamed: (ctx) => Object.assign(ctx, { body: pieces() }),
  head: (ctx) => Object.assign(ctx, { type: 'image/png', body: BINARY }),
  empty: (ctx) => {
    ctx.status = 204
    ctx.set('Location', '/orders/1')
  },
  cookies: (ctx) => {
    ctx.set({ 'Set-Cookie': 'sid=secret', 'X-Own': 'kept', 'X-Other': 'not' })
    ctx.body = 'ok'
  },
  'ends twice': (ctx) => {
    ctx.respond = false
    raw['ends twice']!(ctx.res)
  },
  destroyed: (ctx) => {
    ctx.respond = false
    ctx.res.destroy()
  },
}

const OPTIONS = {
  scope: () => 'me',
  methods: ['POST', 'HEAD'],
  omitHeaders: ['X-Other'],
  lease: '5s',
  maxLease: '10s',
} as const
type Setup = { store: any; prefix: string; what: string; runs: { count: number }; fail?: boolean }
const kitOf = ({ store, prefix }: Setup): object => ({ store, prefix, requestBudget: '5s' })
const failing = ({ runs, fail }: Setup): boolean => ++runs.count === 1 && fail === true

const servers: Record<string, (setup: Setup) => any> = {
  'Express 5': (setup) => onExpress(express, setup),
  'Express 4': (setup) => onExpress(express4 as any, setup),
  'Koa 3': (setup) => onKoa(Koa, setup),
  'Koa 2': (setup) => onKoa(Koa2, setup),
  'node:http': (setup) => {
    const guard = forNode(kitOf(setup)).idempotency(OPTIONS)
    return (req: IncomingMessage, res: ServerResponse) =>
      guard(req, res, (error) => {
        if (error || failing(setup)) res.writeHead(500).end('no')
        else raw[setup.what]!(res)
      })
  },
}

function onExpress(framework: typeof express, setup: Setup): any {
  const app = framework()
  app.use(forExpress(kitOf(setup)).idempotency(OPTIONS), (_req, res, next) =>
    failing(setup) ? next(new Error('no')) : raw[setup.what]!(res),
  )
  app.use((_error: any, _req: any, res: any, _next: any) => res.status(500).send('no'))
  return app
}

function onKoa(Framework: typeof Koa, setup: Setup): any {
  const app = new Framework()
  app.silent = true
  app.use(forKoa(kitOf(setup)).idempotency(OPTIONS))
  app.use((ctx) => {
    if (failing(setup)) throw new Error('no')
    koa[setup.what]!(ctx)
  })
  return app.callback()
}

interface Answer {
  status: number
  headers: Record<string, unknown>
  body: Buffer
}

describe.each(engines)('on the $name engine', ({ open }) => {
  describe.each(Object.keys(servers))('%s', (name) => {
    async function serve(what: string, fail = false) {
      const { store, prefix, advance } = open()
      const runs = { count: 0 }
      const server = createServer(servers[name]!({ store, prefix, what, runs, fail })).listen(
        0,
        '127.0.0.1',
      )
      await once(server, 'listening')
      onTestFinished(() => {
        server.closeAllConnections()
        server.close()
      })
      async function send(method = 'POST'): Promise<Answer> {
        const req = ask({
          port: (server.address() as AddressInfo).port,
          method,
          headers: { 'Idempotency-Key': 'k', 'Content-Length': '0' },
        }).end()
        const [res] = (await once(req, 'response')) as [IncomingMessage]
        const chunks: Buffer[] = []
        for await (const chunk of res) chunks.push(chunk as Buffer)
        return { status: res.statusCode!, headers: res.headers, body: Buffer.concat(chunks) }
      }
      return { send, runs, advance }
    }

    test.each(['binary', 'gzip', 'streamed', 'head', 'empty'])(
      '%s is answered again byte for byte',
      async (what) => {
        const { send, runs } = await serve(what)
        const method = what === 'head' ? 'HEAD' : 'POST'
        const [first, second] = [await send(method), await send(method)]
        expect(second.status).toBe(first.status)
        expect(second.body.equals(first.body)).toBe(true)
        for (const field of ['content-type', 'content-encoding', 'location'])
          expect(second.headers[field]).toBe(first.headers[field])
        if (what === 'head') expect(second.headers['content-length']).toBe('5000')
        if (what === 'binary') expect(second.body.equals(BINARY)).toBe(true)
        expect(second.headers['idempotency-replayed']).toBe('true')
        expect(runs.count).toBe(1)
      },
    )

    test('a replay has the fields of the response, but no Set-Cookie and no field that is left out', async () => {
      const { send } = await serve('cookies')
      const first = await send()
      expect(first.headers).toMatchObject({ 'set-cookie': ['sid=secret'], 'x-other': 'not' })
      const { headers } = await send()
      expect(headers).toMatchObject({ 'x-own': 'kept', 'idempotency-replayed': 'true' })
      expect(headers['set-cookie']).toBeUndefined()
      expect(headers['x-other']).toBeUndefined()
      for (const field of ['content-length', 'connection'])
        expect(headers[field]).toBe(first.headers[field])
    })

    test('next(err), a throw: no stranded key', async () => {
      const { send, runs } = await serve('binary', true)
      expect((await send()).status).toBe(500)
      expect((await send()).body.equals(BINARY)).toBe(true)
      expect(runs.count).toBe(2)
    })

    test('res.end twice: no stranded key', async () => {
      const { send, runs } = await serve('ends twice')
      expect((await send()).body.toString()).toBe('once')
      expect((await send()).body.toString()).toBe('once')
      expect(runs.count).toBe(1)
    })

    test('socket destroyed: the key is free once its lease is renewed no more', async () => {
      const { send, runs, advance } = await serve('destroyed')
      await expect(send()).rejects.toThrow()
      expect((await send()).status).toBe(409)
      for (let i = 0; i < 12; i++) {
        await advance('2s')
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
      await expect(send()).rejects.toThrow()
      await vi.waitFor(() => expect(runs.count).toBe(2))
    })
  })
})

test('50 MB are marked, and are not held in memory for that', async () => {
  const tp = forExpress({ redis: 'memory' })
  const app = express()
  let runs = 0
  app.post('/', tp.idempotency({ scope: () => 'me' }), (_req, res) => {
    runs++
    Readable.from(
      (function* () {
        for (let i = 0; i < 50; i++) yield Buffer.alloc(1_000_000, i)
      })(),
    ).pipe(res)
  })
  const server = app.listen(0)
  onTestFinished(() => void server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  const post = () => fetch(url, { method: 'POST', headers: { 'Idempotency-Key': 'k' } })
  expect((await (await post()).arrayBuffer()).byteLength).toBe(50_000_000)
  const again = await post()
  expect(again.status).toBe(409)
  expect(await again.json()).toMatchObject({ 'response-status': 200 })
  expect(runs).toBe(1)
})
