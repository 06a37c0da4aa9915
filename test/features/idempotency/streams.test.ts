/** A client that leaves while its response is streamed, and responses that fail after the handler. */
import { once } from 'node:events'
import { createServer, request as send, type ClientRequest, type IncomingMessage } from 'node:http'
import * as http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { setTimeout as wait } from 'node:timers/promises'
import express from 'express'
import express4 from 'express4'
import Koa from 'koa'
import Koa2 from 'koa2'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { turnpike as forExpress } from '../../../src/express.ts'
import { extension, type Instance } from '../../../src/extension.ts'
import { turnpike as forKoa } from '../../../src/koa.ts'
import { turnpike as forNode } from '../../../src/node.ts'
import { bothEngines, type Opened } from '../../support/engines.ts'

const OPTIONS = { scope: () => 'me', lease: '5s', maxLease: '10s' } as const

const settings = ({ store, prefix }: Pick<Opened, 'store' | 'prefix'>) => ({
  store,
  prefix,
  requestBudget: '10s' as const,
})

/** What a handler streams, and how many handlers have run. */
interface Shop {
  runs: number
  /** A source that gives one chunk and then waits for `go`. */
  source(): Readable
  go(): void
  /** Lets the source fail in place of that. */
  fail(): void
}

function createShop(): Shop {
  let go = (): void => {}
  let fail = (): void => {}
  return {
    runs: 0,
    source: () =>
      Readable.from(
        (async function* () {
          yield Buffer.from('first;')
          await new Promise<void>((resolve, reject) => {
            go = resolve
            fail = () => reject(new Error('the source failed'))
          })
          yield Buffer.from('second')
        })(),
      ),
    go: () => go(),
    fail: () => fail(),
  }
}

type Start = (opened: Pick<Opened, 'store' | 'prefix'>, shop: Shop) => any
/** How a handler writes its response. */
type Way = 'pipe' | 'write'

const pipeTo = (res: any, shop: Shop): void => {
  const source = shop.source()
  source.on('error', (error) => res.destroy(error)).pipe(res)
}

const writeTo = async (res: any, shop: Shop): Promise<void> => {
  for await (const chunk of shop.source()) res.write(chunk)
  res.end()
}

const onExpress =
  (framework: typeof express): ((way: Way) => Start) =>
  (way) =>
  (opened, shop) => {
    const tp = forExpress(settings(opened))
    const app = framework()
    app.post('/', tp.idempotency(OPTIONS), (_req, res) => {
      shop.runs++
      res.status(201).set('X-Order', String(shop.runs))
      if (way === 'pipe') pipeTo(res, shop)
      else void writeTo(res, shop)
    })
    return app
  }

const onKoa =
  (Framework: typeof Koa): ((way: Way) => Start) =>
  (way) =>
  (opened, shop) => {
    const tp = forKoa(settings(opened))
    const app = new Framework()
    app.silent = true
    app.use(tp.idempotency(OPTIONS))
    app.use((ctx) => {
      shop.runs++
      ctx.status = 201
      ctx.set('X-Order', String(shop.runs))
      if (way === 'pipe') {
        ctx.body = shop.source()
        return
      }
      ctx.respond = false
      void writeTo(ctx.res, shop)
    })
    return app.callback()
  }

const onNode =
  (way: Way): Start =>
  (opened, shop) => {
    const guard = forNode(settings(opened)).idempotency(OPTIONS)
    return (req: any, res: any) =>
      guard(req, res, () => {
        shop.runs++
        res.writeHead(201, { 'X-Order': String(shop.runs) })
        if (way === 'pipe') pipeTo(res, shop)
        else void writeTo(res, shop)
      })
  }

const frameworks: Record<string, (way: Way) => Start> = {
  'Express 5': onExpress(express),
  'Express 4': onExpress(express4 as any),
  'Koa 3': onKoa(Koa),
  'Koa 2': onKoa(Koa2),
  'node:http': onNode,
}

async function serve(listener: any): Promise<{ post(): ClientRequest; port: number }> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const headers = { 'Idempotency-Key': 'k', 'Content-Length': '0' }
  return {
    port,
    post: () =>
      send({ port, method: 'POST', headers })
        .on('error', () => {})
        .end(),
  }
}

interface Answer {
  status: number
  text: string
  headers: IncomingMessage['headers']
}

async function read(req: ClientRequest): Promise<Answer> {
  const [res] = (await once(req, 'response')) as [IncomingMessage]
  let text = ''
  for await (const chunk of res) text += String(chunk)
  return { status: res.statusCode!, text, headers: res.headers }
}

/** Sends the request, and leaves as soon as the first bytes are there. */
async function leave(req: ClientRequest): Promise<void> {
  const [res] = (await once(req, 'response')) as [IncomingMessage]
  await once(res, 'data')
  req.destroy()
}

describe.each(bothEngines())('on the $name engine', ({ open }) => {
  describe.each(Object.keys(frameworks))('%s', (name) => {
    test('a client that leaves while a stream is piped to it does not make the effect happen twice', async () => {
      const opened = open()
      const shop = createShop()
      const { post } = await serve(frameworks[name]!('pipe')(opened, shop))
      await leave(post())
      const again = await vi.waitFor(async () => {
        const answer = await read(post())
        expect(answer.text).not.toContain('running')
        return answer
      })
      expect(again.status).toBe(409)
      expect(JSON.parse(again.text)).toMatchObject({
        title: 'The response was not stored',
        'response-status': 201,
      })
      // Long after every lease has ended.
      for (let i = 0; i < 8; i++) {
        await opened.advance('5s')
        await wait(5)
      }
      expect((await read(post())).status).toBe(409)
      expect(shop.runs).toBe(1)
    })

    test('a stream that fails behind the head of its response does not make the effect happen twice', async () => {
      const shop = createShop()
      const { post } = await serve(frameworks[name]!('pipe')(open(), shop))
      const first = post()
      const [res] = (await once(first, 'response')) as [IncomingMessage]
      res.on('error', () => {})
      await once(res, 'data')
      shop.fail()
      // Koa 2 leaves such a response open.
      await wait(20)
      first.destroy()
      await vi.waitFor(async () =>
        expect(JSON.parse((await read(post())).text)).toMatchObject({ 'response-status': 201 }),
      )
      expect(shop.runs).toBe(1)
    })

    test('a handler that goes on writing although its client has left has its response stored', async () => {
      const shop = createShop()
      const { post } = await serve(frameworks[name]!('write')(open(), shop))
      await leave(post())
      await vi.waitFor(async () => expect((await read(post())).status).toBe(409))
      shop.go()
      const again = await vi.waitFor(async () => {
        const answer = await read(post())
        expect(answer.status).toBe(201)
        return answer
      })
      expect(again.text).toBe('first;second')
      expect(again.headers).toMatchObject({ 'x-order': '1', 'idempotency-replayed': 'true' })
      expect(shop.runs).toBe(1)
    })
  })

  test('over HTTP/2, a client that resets its stream does not make the effect happen twice', async () => {
    const opened = open()
    const shop = createShop()
    const server = http2.createServer(onNode('pipe')(opened, shop)).listen(0)
    const session = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    onTestFinished(() => {
      session.destroy()
      server.close()
    })
    const post = (): http2.ClientHttp2Stream =>
      session
        .request({ ':method': 'POST', 'idempotency-key': 'k' }, { endStream: true })
        .on('error', () => {})
    const first = post()
    await once(first, 'data')
    first.close(http2.constants.NGHTTP2_CANCEL)
    await once(first, 'close')
    await vi.waitFor(async () => {
      const [head] = (await once(post().resume(), 'response')) as [http2.IncomingHttpHeaders]
      expect(head[':status'] as unknown).toBe(409)
    })
    for (let i = 0; i < 8; i++) {
      await opened.advance('5s')
      await wait(5)
    }
    const [head] = (await once(post().resume(), 'response')) as [http2.IncomingHttpHeaders]
    expect(head[':status'] as unknown).toBe(409)
    expect(shop.runs).toBe(1)
  })
})

/** Mounts a feature that saves something before the end of the response, as sessions do. */
const saving = <Native, Middleware>(
  tp: Instance<Native, Middleware>,
  save: () => Promise<void>,
): Middleware =>
  extension(tp, 'saving', ({ mount }) =>
    mount({ name: 'saving', handle: () => ({ beforeEnd: save }) }),
  )

describe.each(bothEngines())(
  'a response that is sealed with other work, on the $name engine',
  ({ open }) => {
    const applications: Record<string, (opened: Opened, save: () => Promise<void>) => any> = {
      'Express 5': (opened, save) => {
        const tp = forExpress(settings(opened))
        const app = express()
        let runs = 0
        app.use(saving(tp, save))
        app.post(
          '/',
          tp.idempotency(OPTIONS),
          (_req, res) => void res.status(201).send(`${++runs}`),
        )
        return app
      },
      'Koa 3': (opened, save) => {
        const tp = forKoa(settings(opened))
        const app = new Koa()
        app.silent = true
        let runs = 0
        app.use(saving(tp, save))
        app.use(tp.idempotency(OPTIONS))
        app.use((ctx) => {
          ctx.status = 201
          ctx.body = `${++runs}`
        })
        return app.callback()
      },
    }

    test.each(Object.keys(applications))(
      '%s: if the save of a session fails, the response is not stored, and the request runs again',
      async (name) => {
        let saves = 0
        const save = async (): Promise<void> => {
          if (++saves === 1) throw Object.assign(new Error('not saved'), { status: 503 })
        }
        const { post } = await serve(applications[name]!(open(), save))
        expect((await read(post())).status).toBe(503)
        expect(await read(post())).toMatchObject({ status: 201, text: '2' })
        const replay = await read(post())
        expect(replay).toMatchObject({ status: 201, text: '2' })
        expect(replay.headers['idempotency-replayed']).toBe('true')
      },
    )

    test.each(Object.keys(applications))(
      '%s: no repeated request gets the response before the save has succeeded',
      async (name) => {
        let fail = (): void => {}
        let saves = 0
        const save = (): Promise<void> =>
          ++saves > 1
            ? Promise.resolve()
            : new Promise((_resolve, reject) => {
                fail = () => reject(Object.assign(new Error('not saved'), { status: 503 }))
              })
        const { post } = await serve(applications[name]!(open(), save))
        const first = read(post())
        await vi.waitFor(() => expect(saves).toBe(1))
        expect((await read(post())).status).toBe(409)
        fail()
        expect((await first).status).toBe(503)
        expect(await read(post())).toMatchObject({ status: 201, text: '2' })
      },
    )
  },
)
