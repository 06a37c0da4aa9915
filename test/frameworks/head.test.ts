import { once } from 'node:events'
import { request } from 'node:http'
import { describe, expect, it } from 'vitest'
import type { HeaderFields } from '../../src/http/exchange.ts'
import { ask, feature, frameworks, hello, lines, type AnyFeature, type Member } from './harness.ts'

const head = (headers: HeaderFields): AnyFeature =>
  feature(async () => ({ headers: () => headers }))

describe.each(frameworks)('head on $name', ({ start }) => {
  const places: [string, (probe: AnyFeature) => Member[]][] = [
    ['alone', (probe) => [probe]],
    ['inside of compression', (probe) => ['compression', probe]],
    ['outside of compression', (probe) => [probe, 'compression']],
  ]
  it.each(places)('adds fields %s', async (_, place) => {
    const app = await start({
      stack: place(head({ RateLimit: '"a";r=1', 'Set-Cookie': ['x=1', 'y=2'], 'X-Plain': 'ours' })),
      handler({ set, send }) {
        set('Set-Cookie', 'own=1')
        set('RateLimit', '"own";r=9')
        set('X-Plain', 'theirs')
        send(200, 'hello')
      },
    })
    const answer = await ask(app, { headers: { 'accept-encoding': 'gzip' } })
    expect(answer.text).toBe('hello')
    expect(lines(answer, 'set-cookie')).toEqual(['own=1', 'x=1', 'y=2'])
    expect(lines(answer, 'ratelimit')).toEqual(['"own";r=9, "a";r=1'])
    expect(answer.headers['x-plain']).toBe('ours')
  })

  it('lets the outermost feature have the last word, and lists grow from the inside', async () => {
    const one = { 'X-Who': 'outer', Vary: 'Accept, Cookie', 'RateLimit-Policy': '"outer"' }
    const two = { 'X-Who': 'inner', Vary: 'cookie', 'RateLimit-Policy': '"inner"' }
    const caches = [head({ 'Cache-Status': 'a; hit' }), head({ 'Cache-Status': 'b; fwd=miss' })]
    const app = await start({ stack: [head(one), head(two), ...caches] })
    const answer = await ask(app)
    expect(answer.headers['x-who']).toBe('outer')
    expect(answer.headers['ratelimit-policy']).toBe('"inner", "outer"')
    expect(answer.headers.vary).toBe('cookie, Accept')
    expect(lines(answer, 'cache-status')).toEqual(['b; fwd=miss, a; hit'])
  })

  it.each([
    ['after work before the end', { beforeEnd: async () => {} }],
    ['after work before the head', { beforeHead: async () => {}, beforeEnd: async () => {} }],
  ])('fails the request, and only it, if fields cannot be computed %s', async (_when, work) => {
    const fields = (): HeaderFields => {
      throw new Error('no such domain')
    }
    const app = await start({
      stack: [head({ 'X-Outer': '1' }), feature(async () => ({ headers: fields, ...work }))],
      handler: hello,
    })
    for (let i = 0; i < 2; i++)
      expect(await ask(app)).toMatchObject({ status: 500, headers: { 'x-outer': '1' } })
  })

  it('survives an error handler that removes every field', async () => {
    const app = await start({
      stack: [head({ RateLimit: '"a";r=1', 'Set-Cookie': 'x=1' })],
      handler: () => Promise.reject(Object.assign(new Error('no'), { status: 418 })),
      onError(error, { res, send }) {
        for (const name of res.getHeaderNames()) res.removeHeader(name)
        send(error.status, 'sorry')
      },
    })
    const answer = await ask(app)
    expect(answer).toMatchObject({ status: 418, text: 'sorry' })
    expect(answer.headers).toMatchObject({ ratelimit: '"a";r=1', 'set-cookie': ['x=1'] })
  })

  it("survives the framework's own error handler", async () => {
    const app = await start({
      stack: [head({ RateLimit: '"a";r=1' })],
      handler: () => Promise.reject(Object.assign(new Error('no'), { status: 503 })),
    })
    expect(await ask(app)).toMatchObject({ status: 503, headers: { ratelimit: '"a";r=1' } })
  })

  const forms: [string, unknown[]][] = [
    ['an object', [201, { 'Set-Cookie': ['own=1', 'two=2'], Vary: 'Origin' }]],
    ['a reason and an object', [201, 'Fine', { 'set-cookie': ['own=1', 'two=2'], Vary: 'Origin' }]],
    ['a list', [201, ['Set-Cookie', 'own=1', 'set-cookie', 'two=2', 'Vary', 'Origin']]],
    ['a reason and a list', [201, 'Fine', ['Set-Cookie', ['own=1', 'two=2'], 'Vary', 'Origin']]],
    [
      'pairs',
      [
        201,
        [
          ['Set-Cookie', 'own=1'],
          ['Set-Cookie', 'two=2'],
          ['Vary', 'Origin'],
        ],
      ],
    ],
  ]
  it.each(forms)('joins fields that writeHead was given as %s', async (_, args) => {
    const app = await start({
      stack: [head({ 'Set-Cookie': 'x=1', Vary: 'Cookie' })],
      handler: ({ raw }) => raw((res) => (res as any).writeHead(...args).end('raw')),
    })
    const answer = await ask(app)
    expect(answer).toMatchObject({ status: 201, text: 'raw', headers: { vary: 'Origin, Cookie' } })
    expect(lines(answer, 'set-cookie')).toEqual(['own=1', 'two=2', 'x=1'])
  })

  it('goes with flushed headers, once', async () => {
    let calls = 0
    const count = feature(() => ({ headers: () => ({ 'X-Calls': String(++calls) }) }))
    const app = await start({
      stack: [count],
      handler: ({ raw }) =>
        raw((res) => {
          res.flushHeaders()
          res.write('one ')
          res.end('two')
        }),
    })
    expect(await ask(app)).toMatchObject({ text: 'one two', headers: { 'x-calls': '1' } })
    expect(calls).toBe(1)
  })

  it('leaves 100 Continue and 103 Early Hints alone', async () => {
    const app = await start({
      stack: [head({ 'X-Ours': 'yes' })],
      handler({ res, send }) {
        res.writeContinue()
        res.writeEarlyHints({ link: '</style.css>; rel=preload' })
        send(200, 'hello')
      },
    })
    const req = request(app.url, { agent: false })
    const informed: unknown[] = []
    req.on('continue', () => informed.push(100))
    req.on('information', ({ statusCode, headers }) => informed.push(statusCode, headers['x-ours']))
    req.end()
    const [res] = await once(req, 'response')
    res.resume()
    expect(informed).toEqual([100, 100, undefined, 103, undefined])
    expect(res.headers['x-ours']).toBe('yes')
  })

  it('leaves what node refuses to node', async () => {
    const app = await start({
      stack: [head({ 'X-Ours': 'yes' })],
      handler: ({ raw }) =>
        raw((res) => {
          expect(() => res.writeHead(99)).toThrow(RangeError)
          expect(() => (res as any).writeHead(200, ['odd'])).toThrow(TypeError)
          res.writeHead(200)
          expect(() => res.writeHead(200)).toThrow(/sent/)
          res.end('fine')
        }),
    })
    expect(await ask(app)).toMatchObject({ text: 'fine', headers: { 'x-ours': 'yes' } })
  })

  it('patches nothing but writeHead', async () => {
    const app = await start({
      stack: [head({ 'X-Ours': 'yes' })],
      handler({ res, send }) {
        send(
          200,
          Object.keys(res)
            .filter((name) => /^(writeHead|write|end)$/.test(name))
            .join(),
        )
      },
    })
    expect((await ask(app)).text).toBe('writeHead')
  })
})
