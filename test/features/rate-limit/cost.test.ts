/** What a request costs: the size of its body, declared or not. */
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import { turnpike } from '../../../src/node.ts'
import { testStore } from '../../../src/testing.ts'
import { apps } from '../../support/apps.ts'

describe.each(apps)('tp.cost.bodySize(), $name', ({ start }) => {
  function open(options: object) {
    const costs: number[] = []
    const app = start({
      options: { store: testStore() },
      mount: (tp) => [
        tp.rateLimit({
          limit: 1000,
          window: '1d',
          cost: (native: unknown) => {
            const cost = tp.cost.bodySize({ unknown: 400, ...options })(native)
            costs.push(cost)
            return cost
          },
        }),
      ],
    })
    const post = async (body: string | undefined, headers: object): Promise<number> => {
      if (!app.server.listening) await once(app.server, 'listening')
      const { port } = app.server.address() as AddressInfo
      const request = http.request({ port, method: 'POST', headers: { ...headers } })
      if (body !== undefined) request.write(body)
      request.end()
      // A refused upload breaks off.
      request.on('error', () => {})
      const [response] = (await once(request, 'response')) as [http.IncomingMessage]
      response.resume()
      await once(response, 'end')
      return response.statusCode!
    }
    return { app, costs, post }
  }

  test('charges what is declared, and nothing without a body', async () => {
    const { app, costs, post } = open({})
    await post('x'.repeat(300), { 'Content-Length': '300' })
    await post(undefined, { 'Content-Length': '0' })
    await app.get()
    expect(costs).toEqual([300, 0, 0])
  })

  test('attack: a body without Content-Length is not free', async () => {
    const { costs, post } = open({})
    const chunked = { 'Transfer-Encoding': 'chunked' }
    const statuses = []
    for (let i = 0; i < 3; i++) statuses.push(await post('x', chunked))
    expect(costs).toEqual([400, 400, 400])
    expect(statuses).toEqual([200, 200, 429])
  })

  test('charges units, and a part of one as a whole', async () => {
    const { costs, post } = open({ unit: 100 })
    await post('x'.repeat(101), { 'Content-Length': '101' })
    await post('x', { 'Transfer-Encoding': 'chunked' })
    expect(costs).toEqual([2, 4])
  })

  test('refuses a body larger than any limit without a mistake', async () => {
    const { app, costs, post } = open({})
    expect(await post(undefined, { 'Content-Length': '99999999999999', Connection: 'close' })).toBe(
      429,
    )
    expect(costs).toEqual([1e12])
    expect(app.errors).toEqual([])
  })
})

test.each([
  ['without a body', { endStream: true }, {}, 0],
  ['with a length', { endStream: false }, { 'content-length': '3' }, 3],
  ['without a length', { endStream: false }, {}, 400],
])('over HTTP/2 %s', async (_kind, options, headers, expected) => {
  const tp = turnpike({ store: testStore() })
  const cost = tp.cost.bodySize({ unknown: 400 })
  const server = http2.createServer((req, res) => {
    res.end(String(cost(req as never)))
    req.resume()
  })
  server.listen(0)
  const { port } = server.address() as AddressInfo
  const client = http2.connect(`http://localhost:${port}`)
  onTestFinished(() => {
    client.close()
    server.close()
  })
  const stream = client.request({ ':method': 'POST', ...headers }, options)
  if (!options.endStream) stream.end('abc')
  let body = ''
  for await (const chunk of stream.setEncoding('utf8')) body += chunk
  expect(body).toBe(String(expected))
})

test.each([[undefined], [{}], [{ unknown: 0 }], [{ unknown: 1.5 }], [{ unknown: 5, unit: 0 }]])(
  'tp.cost.bodySize(%o) is refused: what is unknown must cost something',
  (options) => {
    const make = () => turnpike({ store: testStore() }).cost.bodySize(options as never)
    expect(make).toThrow(expect.objectContaining({ code: 'TP_OPTION' }))
  },
)
