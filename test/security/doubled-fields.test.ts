/** What a request says twice: hosts, keys, credentials, lengths. One effect, or a refusal. */
import type { Server } from 'node:http'
import * as http2 from 'node:http2'
import { connect, type AddressInfo } from 'node:net'
import Koa from 'koa'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { turnpike as forKoa } from '../../src/koa.ts'
import { turnpike as forNode } from '../../src/node.ts'
import { testStore } from '../../src/testing.ts'
import { apps } from '../support/apps.ts'
import { frame, literal, PREFACE } from '../support/http2-frames.ts'

async function portOf(server: Server | http2.Http2Server): Promise<number> {
  if (!server.listening) server.listen(0, '127.0.0.1')
  await vi.waitFor(() => expect(server.listening).toBe(true))
  return (server.address() as AddressInfo).port
}

/** Sends bytes on a connection of its own. Resolves with what the server sent, up to the end of an answer. */
async function exchange(port: number, bytes: Buffer | string): Promise<string> {
  const socket = connect(port, '127.0.0.1').on('error', () => {})
  let received = ''
  const answered = new Promise<void>((resolve) => {
    socket.on('close', resolve)
    socket.on('data', (data) => {
      received += data.toString('latin1')
      // HTTP/1.1 closes the connection. HTTP/2 leaves it open.
      if (/"status":|end of answer/.test(received)) resolve()
    })
  })
  socket.write(bytes)
  await answered
  socket.destroy()
  return received
}
const statusOf = (answer: string): number => Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1])

const KEY = 'Idempotency-Key: k'
const HOST = 'Host: shop'

/** Head lines of POST / that name more than one host, or none that is valid. */
const AMBIGUOUS: Record<string, { line?: string; fields: string[] }> = {
  'two Host fields': { fields: [HOST, 'Host: other'] },
  'the same Host twice': { fields: [HOST, HOST] },
  'the other Host first': { fields: ['Host: other', HOST] },
  'two Host fields, in other cases': { fields: ['HOST: shop', 'hOsT: other'] },
  'a Host with a user': { fields: ['Host: a@shop'] },
  'a Host with a path': { fields: ['Host: shop/x'] },
  'a list of Hosts': { fields: ['Host: shop, other'] },
  'a target with a host of its own': { line: 'POST http://shop/ HTTP/1.1', fields: [HOST] },
}

describe.each(apps)('$name', ({ start }) => {
  function shop(options: object = { scope: () => 'me' }, isInPipeline = false) {
    let effects = 0
    const app = start({
      options: { store: testStore() },
      mount(tp) {
        const idempotency = tp.idempotency(options)
        return [isInPipeline ? tp.pipeline(idempotency) : idempotency]
      },
      handle: () => [201, `effect ${++effects}`],
    })
    const post = async (fields: string[], line = 'POST / HTTP/1.1'): Promise<string> => {
      const head = [line, ...fields, 'Content-Length: 0', 'Connection: close']
      return await exchange(await portOf(app.server), `${head.join('\r\n')}\r\n\r\n`)
    }
    return { post, effects: () => effects }
  }

  test.each(Object.entries(AMBIGUOUS))(
    'attack: a second effect for one idempotency key by %s: refused',
    async (_name, { line, fields }) => {
      for (const isInPipeline of [false, true]) {
        const { post, effects } = shop({ scope: () => 'me' }, isInPipeline)
        expect(statusOf(await post([HOST, KEY]))).toBe(201)
        const answer = await post([...fields, KEY], line)
        expect(statusOf(answer)).toBe(400)
        expect(statusOf(await post([HOST, KEY]))).toBe(201)
        expect(effects()).toBe(1)
      }
    },
  )

  test('attack: two Idempotency-Key fields, also in other cases, are refused without an effect', async () => {
    const { post, effects } = shop()
    for (const second of [KEY, 'Idempotency-Key: other', 'IDEMPOTENCY-KEY: k', 'idempotency-key:'])
      expect(statusOf(await post([HOST, KEY, second]))).toBe(400)
    expect(effects()).toBe(0)
  })

  test('attack: another case of a field name, or blanks around a value, is the same key', async () => {
    const { post, effects } = shop()
    for (const field of [
      KEY,
      'idempotency-key: k',
      'IDEMPOTENCY-KEY:  k  ',
      'Idempotency-Key: "k"',
    ])
      expect(statusOf(await post([HOST, field]))).toBe(201)
    expect(effects()).toBe(1)
  })

  test('attack: a folded Idempotency-Key is no other key', async () => {
    const { post, effects } = shop()
    expect(statusOf(await post([HOST, KEY]))).toBe(201)
    for (const folded of ['Idempotency-Key: k\r\n 2', 'Idempotency-Key:\r\n k', 'X: a\r\n\tb'])
      expect([201, 400]).toContain(
        statusOf(await post([HOST, folded, ...(folded[0] === 'X' ? [KEY] : [])])),
      )
    expect(effects()).toBe(1)
  })

  test('attack: a second Authorization field does not change whose key it is', async () => {
    const { post, effects } = shop({})
    const ann = 'Authorization: Bearer ann'
    expect(await post([HOST, ann, KEY])).toContain('effect 1')
    expect(await post([HOST, ann, 'Authorization: Bearer bob', KEY])).toContain('effect 1')
    expect(effects()).toBe(1)
  })

  test('attack: two lengths, or a length and chunks, reach no handler', async () => {
    const { post, effects } = shop()
    for (const field of ['Content-Length: 1', 'Content-Length: 0', 'Transfer-Encoding: chunked'])
      expect(statusOf(await post([HOST, KEY, field]))).toBe(400)
    expect(effects()).toBe(0)
  })

  test('attack: the cookies of two sessions in two Cookie fields: neither is believed', async () => {
    const app = start({
      options: { store: testStore() },
      mount: (tp) => [tp.session({ secret: 'a secret that is long enough 123', name: 'sid' })],
      handle(native) {
        native.session.name ??= native.headers['x-name'] ?? 'nobody'
        return [200, native.session.name]
      },
    })
    const cookieOf = async (name: string): Promise<string> =>
      (await app.get('/', { 'X-Name': name })).headers['set-cookie']![0]!.split(';')[0]!
    const [ann, bob] = [await cookieOf('ann'), await cookieOf('bob')]
    const get = async (...cookies: string[]): Promise<string> => {
      const lines = ['GET / HTTP/1.1', HOST, ...cookies, 'Connection: close']
      return await exchange(await portOf(app.server), `${lines.join('\r\n')}\r\n\r\n`)
    }
    expect(await get(`Cookie: ${ann}`)).toContain('\r\n\r\nann')
    for (const order of [
      [ann, bob],
      [bob, ann],
    ])
      expect(await get(...order.map((each) => `Cookie: ${each}`))).toMatch(
        /\r\n\r\nnobody|^HTTP\/1.1 4/,
      )
  })
})

/** Applications over HTTP/2, which Express cannot serve. */
const overHttp2: Record<string, (options: object, handle: () => string) => any> = {
  'node:http2'(options, handle) {
    const middleware = forNode(options).idempotency({ scope: () => 'me' })
    return (req: any, res: any) => middleware(req, res, () => res.end(handle()))
  },
  'Koa over HTTP/2'(options, handle) {
    const app = new Koa()
    app.silent = true
    app.use(forKoa(options).idempotency({ scope: () => 'me' }))
    app.use((ctx) => {
      ctx.body = handle()
    })
    return app.callback()
  },
}

describe.each(Object.entries(overHttp2))('%s', (_name, create) => {
  test('attack: a second effect for one idempotency key by another host beside :authority: refused', async () => {
    let effects = 0
    const server = http2.createServer(
      create({ store: testStore() }, () => `effect ${++effects}; end of answer`),
    )
    onTestFinished(() => void server.close())
    const port = await portOf(server)
    const post = (...fields: [string, string][]): Promise<string> => {
      // POST / over http, in HPACK (RFC 7541).
      const block = [Buffer.from([0x83, 0x84, 0x86]), ...fields.map(([n, v]) => literal(n, v))]
      return exchange(port, Buffer.concat([PREFACE, frame(1, 5, 1, Buffer.concat(block))]))
    }
    const key: [string, string] = ['idempotency-key', 'k']
    const authority: [string, string] = [':authority', 'shop']
    expect(await post(authority, key)).toContain('effect 1')
    expect(await post(authority, ['host', 'shop'], key)).toContain('effect 1')
    expect(await post(['host', 'shop'], key)).toContain('effect 1')
    for (const fields of [
      [authority, ['host', 'other'], key],
      [[':authority', 'other'], ['host', 'shop'], key],
      [authority, key, key],
      [authority, key, ['idempotency-key', 'other']],
    ] as [string, string][][])
      expect(await post(...fields)).not.toContain('effect')
    expect(effects).toBe(1)
  })
})
