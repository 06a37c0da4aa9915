/** Uploads that break off, and are sent again under the same key. */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { Agent, createServer, request as send, type IncomingMessage, type Server } from 'node:http'
import * as http2 from 'node:http2'
import { connect, type AddressInfo } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import express from 'express'
import express4 from 'express4'
import Koa from 'koa'
import Koa2 from 'koa2'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { turnpike as forExpress } from '../../../src/express.ts'
import { turnpike as forKoa } from '../../../src/koa.ts'
import { turnpike as forNode } from '../../../src/node.ts'
import { testStore } from '../../../src/testing.ts'
import { bothEngines, type Opened } from '../../support/engines.ts'

const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
console.log(`uploads: SEED=${SEED}`)
let state = SEED
/** Mulberry32. */
function random(): number {
  state = (state + 0x6d2b79f5) | 0
  let t = Math.imul(state ^ (state >>> 15), 1 | state)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
}

const BODY = Buffer.from(JSON.stringify({ text: 'x'.repeat(10_000_000) }))
const DIGEST = createHash('sha256').update(BODY).digest('hex')

/** Effects that have happened, by key. Only whole uploads have one. */
type Effects = Map<string, number>

const digestOf = async (stream: AsyncIterable<Buffer>): Promise<string> => {
  const hash = createHash('sha256')
  for await (const chunk of stream) hash.update(chunk)
  return hash.digest('hex')
}
const note = (effects: Effects, key: string): void =>
  void effects.set(key, (effects.get(key) ?? 0) + 1)

/** An application that answers 400 where an upload breaks off, as body parsers do. */
type Start = (opened: Pick<Opened, 'store' | 'prefix'>, effects: Effects) => any

function onExpress(framework: typeof express, isParsed: boolean): Start {
  return ({ store, prefix }, effects) => {
    const tp = forExpress({ store, prefix, requestBudget: '10s' })
    const app = framework()
    const parsers = isParsed ? [framework.json({ limit: '20mb' })] : []
    app.post('/', tp.idempotency({ scope: () => 'me' }), ...parsers, (req, res, next) => {
      void (async () => {
        const digest = isParsed
          ? createHash('sha256').update(JSON.stringify(req.body)).digest('hex')
          : await digestOf(req)
        if (digest === DIGEST) note(effects, req.get('idempotency-key')!)
        res.status(201).json({ digest })
      })().catch(next)
    })
    app.use((_error: any, _req: any, res: any, _next: any) => res.status(400).send('broken'))
    return app
  }
}

const onKoa =
  (Framework: typeof Koa): Start =>
  ({ store, prefix }, effects) => {
    const tp = forKoa({ store, prefix, requestBudget: '10s' })
    const app = new Framework()
    app.silent = true
    app.use(tp.idempotency({ scope: () => 'me' }))
    app.use(async (ctx) => {
      try {
        const digest = await digestOf(ctx.req)
        if (digest === DIGEST) note(effects, ctx.get('idempotency-key'))
        ctx.status = 201
        ctx.body = { digest }
      } catch {
        ctx.status = 400
        ctx.body = 'broken'
      }
    })
    return app.callback()
  }

const applications: Record<string, Start> = {
  'Express 5 with a parser': onExpress(express, true),
  'Express 5 with a stream': onExpress(express, false),
  'Express 4 with a parser': onExpress(express4 as any, true),
  'Express 4 with a stream': onExpress(express4 as any, false),
  'Koa 3': onKoa(Koa),
  'Koa 2': onKoa(Koa2),
}

async function listening(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

const headOf = (key: string): string =>
  `POST / HTTP/1.1\r\nHost: shop\r\nIdempotency-Key: ${key}\r\nContent-Type: application/json\r\nContent-Length: ${BODY.length}\r\n\r\n`

/** Sends the beginning of the upload, and leaves. */
async function cut(port: number, key: string, bytes: number): Promise<void> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  await once(socket, 'connect')
  const part = Buffer.concat([Buffer.from(headOf(key)), BODY.subarray(0, bytes)])
  await new Promise((resolve) => socket.write(part, resolve))
  await wait(random() < 0.5 ? 0 : 20)
  if (random() < 0.5) socket.destroy()
  else socket.resetAndDestroy()
}

async function upload(port: number, key: string): Promise<[number, string, unknown]> {
  const headers = {
    Host: 'shop',
    'Idempotency-Key': key,
    'Content-Type': 'application/json',
    'Content-Length': BODY.length,
  }
  // Not closed after the response: a replay comes before the upload is over.
  const agent = new Agent({ keepAlive: true })
  const req = send({ port, method: 'POST', headers, agent }).end(BODY)
  const [res] = (await once(req, 'response')) as [IncomingMessage]
  let text = ''
  for await (const chunk of res) text += String(chunk)
  if (!req.writableFinished) await once(req, 'finish')
  agent.destroy()
  return [res.statusCode!, text, res.headers['idempotency-replayed']]
}

describe.each(bothEngines())('on the $name engine', ({ open }) => {
  test.each(Object.keys(applications))(
    '%s: an upload of 10 MB that is cut at any byte and sent again has one effect and its own answer',
    async (name) => {
      const effects: Effects = new Map()
      const port = await listening(createServer(applications[name]!(open(), effects)))
      const answer = [201, JSON.stringify({ digest: DIGEST })]
      for (let round = 0; round < 4; round++) {
        const key = `upload-${round}`
        for (let cuts = 1 + Math.floor(random() * 2); cuts > 0; cuts--)
          await cut(port, key, Math.floor(random() * BODY.length))
        // The server may not have noticed yet that the client has left.
        const repeated = await vi.waitFor(
          async () => {
            const [status, text, replayed] = await upload(port, key)
            expect(status, `SEED=${SEED}, ${text}`).not.toBe(409)
            return [status, text, replayed]
          },
          { timeout: 15_000, interval: 50 },
        )
        expect(repeated, `SEED=${SEED}`).toEqual([...answer, undefined])
        expect(await upload(port, key), `SEED=${SEED}`).toEqual([...answer, 'true'])
        expect(effects.get(key)).toBe(1)
      }
    },
    60_000,
  )
})

test('a handler that never answers a cut upload does not keep its key, and is told that the client has left', async () => {
  const tp = forNode({ store: testStore() })
  const guard = tp.idempotency({ scope: () => 'me', maxRequestBytes: 10 })
  const reasons: unknown[] = []
  const port = await listening(
    createServer((req, res) =>
      guard(req, res, () => {
        const { idempotency } = req as unknown as { idempotency: { signal: AbortSignal } }
        idempotency.signal.addEventListener('abort', () =>
          reasons.push((idempotency.signal.reason as { code: string }).code),
        )
        req.resume().on('end', () => res.writeHead(201).end('done'))
      }),
    ),
  )
  await cut(port, 'k', 100_000)
  await vi.waitFor(() => expect(reasons).toEqual(['TP_REQUEST_ABORTED']))
  expect(await upload(port, 'k')).toEqual([201, 'done', undefined])
})

test('a step of a cut upload is refused once its key is released', async () => {
  const tp = forNode({ store: testStore() })
  const guard = tp.idempotency({ scope: () => 'me', maxRequestBytes: 10 })
  const outcomes: string[] = []
  let effects = 0
  const port = await listening(
    createServer((req, res) =>
      guard(req, res, () => {
        const { idempotency } = req as any
        const finish = (): void => {
          idempotency
            .step('charge', () => ++effects)
            .then(
              () => res.writeHead(201).end('done'),
              ({ code }: { code: string }) => outcomes.push(code),
            )
        }
        // It works on, although the upload broke off.
        req
          .resume()
          .on('error', () => setTimeout(finish, 30))
          .on('end', finish)
      }),
    ),
  )
  await cut(port, 'k', 100_000)
  await vi.waitFor(() => expect(outcomes).toEqual(['TP_REQUEST_ABORTED']))
  expect(await upload(port, 'k')).toEqual([201, 'done', undefined])
  expect(effects).toBe(1)
})

test('499 is no answer worth keeping', async () => {
  const tp = forExpress({ store: testStore() })
  const app = express()
  let runs = 0
  app.post('/', tp.idempotency({ scope: () => 'me' }), (_req, res) => {
    res.status(++runs === 1 ? 499 : 201).send(String(runs))
  })
  const port = await listening(createServer(app))
  expect((await upload(port, 'k'))[0]).toBe(499)
  expect((await upload(port, 'k')).slice(0, 2)).toEqual([201, '2'])
})

test('over HTTP/2, an upload that is cut releases its key', async () => {
  const store = testStore()
  const tp = forNode({ store })
  const guard = tp.idempotency({ scope: () => 'me', maxRequestBytes: 10 })
  let runs = 0
  const server = http2.createServer((req, res) => {
    guard(req as never, res as never, (error) => {
      if (error) {
        res.writeHead(400).end()
        return
      }
      runs++
      req.resume()
      req.on('end', () => {
        if (!req.aborted) res.writeHead(201).end('done')
      })
    })
  })
  server.listen(0)
  const session = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  onTestFinished(() => {
    session.destroy()
    server.close()
  })
  const post = (): http2.ClientHttp2Stream =>
    session.request({ ':method': 'POST', 'idempotency-key': 'k' }).on('error', () => {})
  const first = post()
  first.write(Buffer.alloc(1000, 'x'))
  await vi.waitFor(() => expect(runs).toBe(1))
  first.destroy()
  await vi.waitFor(async () => {
    const second = post()
    second.end(Buffer.alloc(1000, 'x'))
    const [head] = (await once(second, 'response')) as [http2.IncomingHttpHeaders]
    second.resume()
    expect(head[':status'] as unknown).toBe(201)
  })
  expect(runs).toBe(2)
})
