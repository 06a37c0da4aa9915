/** Which requests are the same: hosts, nested mounts, keys in bodies, JSON and forms. */
import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import express from 'express'
import express4 from 'express4'
import multer from 'multer'
import request from 'supertest'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { turnpike } from '../../../src/express.ts'
import { testStore } from '../../../src/testing.ts'
import { apps, type App } from '../../support/apps.ts'
import { bothEngines } from '../../support/engines.ts'

const OPTIONS = { scope: () => 'me' } as const

/** Sends a text under the key `k`. */
async function upload(
  { server }: App,
  body: string,
  framing: object = {},
): Promise<IncomingMessage> {
  if (!server.listening) await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const headers = { 'Idempotency-Key': 'k', 'Content-Type': 'text/plain', ...framing }
  const req = httpRequest({ port, method: 'POST', headers, agent: false })
  req.end(body)
  const [res] = (await once(req, 'response')) as [IncomingMessage]
  await once(res.resume(), 'end')
  return res
}

describe.each(bothEngines())('on the $name engine', ({ open }) => {
  describe.each(apps)('$name', ({ name, start }) => {
    function shop(mount: (tp: any) => any[]) {
      const { store, prefix } = open()
      let runs = 0
      const app = start({
        options: { store, prefix },
        mount,
        handle: (native) => [
          201,
          { run: ++runs, attempt: (native.idempotency ?? native.state?.idempotency)?.attempt },
        ],
      })
      return { app, runs: () => runs }
    }

    test('the same key on another host is another request', async () => {
      const { app, runs } = shop((tp) => [tp.idempotency(OPTIONS)])
      const post = (host: string) =>
        app.post('/', { 'Idempotency-Key': 'k', Host: host }).then(({ text }) => text)
      const first = await post('a.example')
      expect(await post('b.example')).not.toBe(first)
      expect(await post('A.example:8080')).toBe(first)
      expect(await post('a.example.')).toBe(first)
      expect(runs()).toBe(2)
    })

    test('mounted twice on a way, the inner mount lets the request of the outer one pass', async () => {
      const { app, runs } = shop((tp) => [
        tp.idempotency(OPTIONS),
        tp.pipeline(tp.idempotency(OPTIONS)),
        tp.idempotency({ ...OPTIONS, wait: '1m' }),
      ])
      const first = await app.post('/', { 'Idempotency-Key': 'k' })
      expect([first.status, JSON.parse(first.text)]).toEqual([201, { run: 1, attempt: 1 }])
      const again = await app.post('/', { 'Idempotency-Key': 'k' })
      expect([again.text, again.headers['idempotency-replayed']]).toEqual([first.text, 'true'])
      expect(runs()).toBe(1)
    })

    test('a body that another middleware has read, and left nowhere, is not compared, and one warning says so', async () => {
      const drain = async (req: IncomingMessage): Promise<void> => {
        for await (const chunk of req) void chunk
      }
      const reader = name.startsWith('Koa')
        ? (ctx: any, next: any) => drain(ctx.req).then(next)
        : (req: any, _res: any, next: any) => void drain(req).then(() => next(), next)
      const { app, runs } = shop((tp) => [reader, tp.idempotency(OPTIONS)])
      expect((await upload(app, 'one')).statusCode).toBe(201)
      const again = await upload(app, 'another')
      expect([again.statusCode, again.headers['idempotency-replayed']]).toEqual([201, 'true'])
      expect(runs()).toBe(1)
      expect(app.warnings).toEqual([expect.stringContaining('set `fingerprint`')])
    })

    test.each([
      [{ 'Content-Length': '20000' }, { 'Transfer-Encoding': 'chunked' }],
      [{ 'Transfer-Encoding': 'chunked' }, { 'Content-Length': '20000' }],
    ])(
      'a body beyond maxRequestBytes with %o, sent again with %o, is refused, and has no second effect',
      async (first, second) => {
        const { app, runs } = shop((tp) => [
          tp.idempotency({ ...OPTIONS, maxRequestBytes: 10_000 }),
        ])
        const send = (framing: object): Promise<IncomingMessage> =>
          upload(app, 'x'.repeat(20_000), framing)
        expect((await send(first)).statusCode).toBe(201)
        expect((await send(second)).statusCode).toBe(422)
        const again = await send(first)
        expect([again.statusCode, again.headers['idempotency-replayed']]).toEqual([201, 'true'])
        expect(runs()).toBe(1)
      },
    )

    test('prepared twice in one pipeline, a request does not wait for itself', async () => {
      const { app, runs } = shop((tp) => {
        const options = { scope: tp.key.header('x-customer') }
        return [tp.pipeline(tp.idempotency(options), tp.idempotency(options))]
      })
      const headers = { 'Idempotency-Key': 'k', 'X-Customer': 'ada' }
      const first = await app.post('/', headers)
      expect(first.status).toBe(201)
      const again = await app.post('/', headers)
      expect([again.text, again.headers['idempotency-replayed']]).toEqual([first.text, 'true'])
      expect(runs()).toBe(1)
    })

    test('prepared for two scopes in one pipeline, a request keeps one claim', async () => {
      const types: string[] = []
      const { app, runs } = shop((tp) => {
        tp.on('idempotency', ({ type }: { type: string }) => types.push(type))
        return [
          tp.pipeline(
            tp.idempotency({ scope: tp.key.header('x-shop') }),
            tp.idempotency({ scope: tp.key.header('x-customer') }),
          ),
        ]
      })
      const headers = { 'Idempotency-Key': 'k', 'X-Shop': 'a', 'X-Customer': 'ada' }
      expect((await app.post('/', headers)).status).toBe(201)
      await vi.waitFor(() =>
        expect(types.toSorted()).toEqual(['first', 'first', 'released', 'stored']),
      )
      expect((await app.post('/', headers)).headers['idempotency-replayed']).toBe('true')
      // The other claim is free for another request.
      expect((await app.post('/', { ...headers, 'X-Shop': 'b' })).status).toBe(201)
      expect(runs()).toBe(2)
    })

    test('two mounts of different names on a way both keep the response', async () => {
      const { app, runs } = shop((tp) => [
        tp.idempotency({ ...OPTIONS, name: 'outer' }),
        tp.idempotency({ ...OPTIONS, name: 'inner' }),
      ])
      const first = await app.post('/', { 'Idempotency-Key': 'k' })
      const again = await app.post('/', { 'Idempotency-Key': 'k' })
      expect([again.text, again.headers['idempotency-replayed']]).toEqual([first.text, 'true'])
      expect(runs()).toBe(1)
    })
  })
})

describe.each(bothEngines())('on the $name engine', ({ open }) => {
  test.each([
    ['Express 5', express],
    ['Express 4', express4],
  ])(
    '%s: mounted on the application and on a route with a parameter, a request is claimed once',
    async (_, framework) => {
      const { store, prefix } = open()
      const tp = turnpike({ store, prefix, requestBudget: '10s' })
      const events: string[] = []
      tp.on('idempotency', ({ type }) => events.push(type))
      const app = framework()
      // The route, its parser and the user are known to the inner mounts only.
      app.use(tp.idempotency(), framework.json())
      app.use((req, _res, next) => {
        Object.assign(req, { user: { id: 'ada' } })
        next()
      })
      const inner = tp.idempotency({ wait: '1m' })
      const prepared = tp.idempotency({ scope: tp.key.header('x-customer') })
      app.post('/orders/:id', inner, tp.pipeline(prepared), (req, res) => {
        res.status(201).json({ id: req.params['id'], attempt: req.idempotency!.attempt })
      })
      const server = app.listen(0)
      onTestFinished(() => void server.close())
      const post = (): request.Test =>
        request(server)
          .post('/orders/7')
          .set({ 'Idempotency-Key': 'k', 'X-Customer': 'ada' })
          .send({ item: 1 })
      expect((await post()).body).toEqual({ id: '7', attempt: 1 })
      expect((await post()).headers['idempotency-replayed']).toBe('true')
      expect(events).toEqual(['first', 'stored', 'replayed'])
    },
  )
})

/** Parsers as applications mount them: on Koa they leave what they found on `ctx.request`. */
const mounted = (framework: string, parser: any): any =>
  framework.startsWith('Koa')
    ? async (ctx: any, next: () => Promise<void>) => {
        await new Promise<void>((resolve, reject) => {
          parser(ctx.req, ctx.res, (error?: Error) => (error ? reject(error) : resolve()))
        })
        const { body, file, files } = ctx.req
        Object.assign(ctx.request, { body, file, files })
        await next()
      }
    : parser

describe.each(bothEngines())('on the $name engine', ({ open }) => {
  describe.each(apps)('$name', ({ name: framework, start }) => {
    /** An application whose handler counts its runs. `mount` gets the parsers as they are. */
    function shop(mount: (tp: any) => any[]) {
      const { store, prefix } = open()
      let runs = 0
      const { server, warnings } = start({
        options: { store, prefix },
        mount: (tp) =>
          mount(tp).map((each) => (parsers.has(each) ? mounted(framework, each) : each)),
        handle: () => [201, { run: ++runs }],
      })
      return { post: () => request(server).post('/'), runs: () => runs, warnings }
    }
    const json = express.json({ limit: '1mb' })
    const parsers = new Set<unknown>([json])
    const parser = (each: unknown): unknown => {
      parsers.add(each)
      return each
    }

    describe('the same JSON', () => {
      test.each(['before', 'behind'])('is recognised %s the body parser', async (where) => {
        const { post, runs } = shop((tp) => {
          const all = [tp.idempotency(OPTIONS), json]
          return where === 'before' ? all : all.toReversed()
        })
        const send = (body: string) =>
          post().set('Idempotency-Key', 'k').set('Content-Type', 'application/json').send(body)
        expect((await send('{"item":1,"note":"a"}')).status).toBe(201)
        const again = await send('{ "note": "a",\n "item": 1 }')
        expect([again.status, again.headers['idempotency-replayed']]).toEqual([201, 'true'])
        expect((await send('{"item":1,"note":"b"}')).status).toBe(422)
        expect((await send('[1,{"item":1}]')).status).toBe(422)
        expect(runs()).toBe(1)
      })

      test('is recognised after a deploy that moved the mount behind the parser', async () => {
        const { store, prefix } = open()
        const send = (isMoved: boolean, body: object) => {
          const { server } = start({
            options: { store, prefix },
            mount(tp) {
              const all = [tp.idempotency(OPTIONS), mounted(framework, json)]
              return isMoved ? all.toReversed() : all
            },
          })
          return request(server).post('/').set('Idempotency-Key', 'k').send(body)
        }
        const sent = { item: 1, note: 'a' }
        expect((await send(false, sent)).headers['idempotency-replayed']).toBeUndefined()
        expect((await send(true, sent)).headers['idempotency-replayed']).toBe('true')
        expect((await send(true, { item: 2, note: 'a' })).status).toBe(422)
      })
    })

    describe('the same form', () => {
      const forms: Record<string, () => any[]> = {
        'without a parser': () => [],
        'behind multer in memory': () => [multer({ storage: multer.memoryStorage() }).any()],
        'behind multer on disk': () => [multer({ dest: tmpdir() }).single('file')],
        'behind multer with fields': () => [multer().fields([{ name: 'file' }, { name: 'other' }])],
      }
      test.each(Object.keys(forms))('is recognised %s, whatever its boundary', async (name) => {
        const { post, runs } = shop((tp) => [
          ...forms[name]!().map(parser),
          tp.idempotency(OPTIONS),
        ])
        const send = (
          change: { title?: string; file?: string; filename?: string; field?: string } = {},
        ) =>
          // superagent chooses a new boundary for each request.
          post()
            .set('Idempotency-Key', 'k')
            .field('title', change.title ?? 'Report')
            .attach(change.field ?? 'file', Buffer.from(change.file ?? 'content'), {
              filename: change.filename ?? 'report.pdf',
            })
        expect((await send()).status).toBe(201)
        const again = await send()
        expect([again.status, again.headers['idempotency-replayed']]).toEqual([201, 'true'])
        expect((await send({ title: 'Other' })).status).toBe(422)
        expect((await send({ file: 'CONTENT' })).status).toBe(422)
        expect((await send({ file: 'more content' })).status).toBe(422)
        expect((await send({ filename: 'other.pdf' })).status).toBe(422)
        expect(runs()).toBe(1)
      })
    })

    describe('a webhook, whose key is in its body', () => {
      const webhook = (options: object = {}) =>
        shop((tp) => [
          json,
          tp.idempotency({
            ...OPTIONS,
            key: (native: any) => (native.request?.body ?? native.body)?.id,
            fingerprint: () => 'any',
            ...options,
          }),
        ])

      test('has one effect although it is delivered twice with other fields', async () => {
        const { post, runs } = webhook()
        expect((await post().send({ id: 'evt_1', delivery: 1 })).text).toBe('{"run":1}')
        const again = await post().send({ id: 'evt_1', delivery: 2 })
        expect([again.text, again.headers['idempotency-replayed']]).toEqual(['{"run":1}', 'true'])
        expect((await post().send({ id: 'evt_2' })).text).toBe('{"run":2}')
        expect(runs()).toBe(2)
      })

      test('passes or is refused if it has no ID. A header field has no say', async () => {
        const open = webhook()
        expect((await open.post().set('Idempotency-Key', 'a b').send({})).status).toBe(201)
        expect((await open.post().send({})).text).toBe('{"run":2}')
        const strict = webhook({ required: true })
        expect((await strict.post().send({})).status).toBe(400)
        expect(strict.runs()).toBe(0)
      })

      test('is refused if its ID is no ID: 400', async () => {
        const { post, runs } = webhook()
        for (const id of ['', [], {}, { toString: 1 }, [''], [{}], true, [null]])
          expect((await post().send({ id })).status, JSON.stringify(id)).toBe(400)
        expect(runs()).toBe(0)
        expect((await post().send({ id: 7 })).status).toBe(201)
        expect((await post().send({ id: '7' })).headers['idempotency-replayed']).toBe('true')
        expect((await post().send({ id: ['7'] })).headers['idempotency-replayed']).toBeUndefined()
        expect((await post().send({ id: 'x'.repeat(50_000) })).status).toBe(201)
      })
    })

    test('a default body that an outer middleware gives the response is no body of the request', async () => {
      const { post } = shop((tp) => [
        json,
        framework.startsWith('Koa')
          ? (ctx: any, next: () => Promise<void>) => {
              ctx.body = { error: 'not found' }
              return next()
            }
          : (_req: unknown, _res: unknown, next: () => void) => next(),
        tp.idempotency(OPTIONS),
      ])
      const send = (item: number) => post().set('Idempotency-Key', 'k').send({ item })
      expect((await send(1)).status).toBe(201)
      expect((await send(2)).status).toBe(422)
      expect((await send(1)).headers['idempotency-replayed']).toBe('true')
    })

    test('Retry-After of a running request tells how long requests take, not how long leases are', async () => {
      const { store, prefix, advance } = open()
      const gates: (() => void)[] = []
      const app = start({
        options: { store, prefix },
        mount: (tp) => [tp.idempotency({ ...OPTIONS, lease: '10m' })],
        async handle() {
          await new Promise<void>((resolve) => gates.push(resolve))
          return [201, 'done']
        },
      })
      async function retryAfter(key: string, ms: number): Promise<number> {
        const first = app.post('/', { 'Idempotency-Key': key }).then(({ status }) => status)
        await vi.waitFor(() => expect(gates).toHaveLength(1))
        const { headers, status } = await app.post('/', { 'Idempotency-Key': key })
        expect(status).toBe(409)
        await advance(ms)
        gates.shift()!()
        expect(await first).toBe(201)
        return Number(headers['retry-after'])
      }
      // Nothing is known yet.
      expect(await retryAfter('0', 8000)).toBe(1)
      const estimate = await retryAfter('1', 8000)
      expect(estimate).toBeGreaterThanOrEqual(8)
      expect(estimate).toBeLessThanOrEqual(10)
    })
  })
})

/** An Express application whose handler counts its runs. */
function shop(mount: (tp: any) => any[]): { post(): request.Test; runs(): number } {
  const tp = turnpike({ store: testStore() })
  const app = express()
  let runs = 0
  app.post('/', ...mount(tp), (_req: any, res: any) => res.status(201).json({ run: ++runs }))
  app.use((error: any, _req: any, res: any, _next: any) => res.status(error.status ?? 500).end())
  const server = app.listen(0)
  onTestFinished(() => void server.close())
  return { post: () => request(server).post('/'), runs: () => runs }
}

test('JSON as deep as a client likes is compared, and breaks nothing', async () => {
  const deep = (n: number): string => `${'['.repeat(n)}${']'.repeat(n)}`
  for (const all of [
    (tp: any) => [tp.idempotency(OPTIONS), express.json()],
    (tp: any) => [express.json(), tp.idempotency(OPTIONS)],
  ]) {
    const { post } = shop(all)
    const send = (body: string) =>
      post().set('Idempotency-Key', 'k').set('Content-Type', 'application/json').send(body)
    expect((await send(deep(40_000))).status).toBe(201)
    expect((await send(deep(40_000))).headers['idempotency-replayed']).toBe('true')
    expect((await send(deep(39_999))).status).toBe(422)
  }
})

test('a large file is compared by its beginning and its length', async () => {
  const { post } = shop((tp) => [tp.idempotency({ ...OPTIONS, maxRequestBytes: 10_000 })])
  const send = (file: Buffer) =>
    post().set('Idempotency-Key', 'k').attach('file', file, { filename: 'a.bin' })
  expect((await send(Buffer.alloc(100_000, 'x'))).status).toBe(201)
  expect((await send(Buffer.alloc(100_000, 'x'))).headers['idempotency-replayed']).toBe('true')
  expect((await send(Buffer.alloc(100_001, 'x'))).status).toBe(422)
  expect((await send(Buffer.alloc(100_000, 'y'))).status).toBe(422)
})

test('a replay has all fields that were set behind the mount, and none of those before', async () => {
  const tp = turnpike({ store: testStore() })
  const app = express()
  app.disable('x-powered-by')
  let requests = 0
  app.use((_req, res, next) => {
    res.set('X-Request-Id', String(++requests))
    next()
  })
  app.post('/', tp.idempotency({ ...OPTIONS, omitHeaders: ['X-Trace'] }), (_req, res) => {
    res
      .status(201)
      .set({ 'X-Order': '7', Link: '</orders/7>; rel="self"', 'X-Trace': 'secret' })
      .set({ Connection: 'keep-alive, X-Hop', 'X-Hop': '1' })
      .cookie('a', '1')
      .append('X-List', ['a', 'b'])
      .json({})
  })
  const post = () => request(app).post('/').set('Idempotency-Key', 'k')
  const first = await post()
  const { headers } = await post()
  expect(headers).toMatchObject({
    'x-order': '7',
    link: '</orders/7>; rel="self"',
    'x-list': 'a, b',
    'x-request-id': '2',
    'content-length': first.headers['content-length'],
    etag: first.headers['etag'],
  })
  expect(headers['x-trace']).toBeUndefined()
  expect(headers['x-hop']).toBeUndefined()
  expect(headers['set-cookie']).toBeUndefined()
  expect(first.headers['x-trace']).toBe('secret')
})

test('options of another package, or wrong ones, are refused where the middleware is made', () => {
  const tp = turnpike({ store: testStore() })
  for (const options of [{ headers: ['X-Own'] }, { omitHeaders: ['a b'] }, { key: 'k' }])
    expect(() => tp.idempotency(options as never)).toThrow(
      expect.objectContaining({ code: 'TP_OPTION' }),
    )
})

test('a request that broke off while its body was read ahead reaches the error handler as such', async () => {
  const tp = turnpike({ store: testStore() })
  const app = express()
  const errors: unknown[] = []
  app.post('/', tp.idempotency(OPTIONS), (_req, res) => void res.send('x'))
  app.use((error: any, _req: any, res: any, _next: any) => {
    errors.push(error.code)
    res.status(error.status).end()
  })
  const server = app.listen(0)
  onTestFinished(() => void server.close())
  const call = request(server)
    .post('/')
    .set({ 'Idempotency-Key': 'k', 'Content-Length': '100' })
    .timeout(50)
  call.write('half')
  await call.then(
    () => {},
    () => {},
  )
  await vi.waitFor(() => expect(errors).toEqual(['TP_REQUEST_ABORTED']))
})
