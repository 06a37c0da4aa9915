import { once } from 'node:events'
import { request } from 'node:http'
import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { ask, feature, frameworks, signal, witness } from './harness.ts'
import type { AnyFeature, Handler, Member } from './harness.ts'

const chunks = Array.from({ length: 8 }, (_, index) => Buffer.alloc(10_000, String(index)))
const text = String(Buffer.concat(chunks))
const gzip = { headers: { 'accept-encoding': 'gzip' } }

const handlers: [string, Handler, string][] = [
  ['a text', ({ send }) => send(200, 'hello'), 'hello'],
  ['an object', ({ send }) => send(200, { a: [1, 'ü'] }), '{"a":[1,"ü"]}'],
  ['a Buffer', ({ send }) => send(200, Buffer.from([1, 2, 3])), '\u0001\u0002\u0003'],
  ['an empty text', ({ send }) => send(200, ''), ''],
  ['nothing', ({ send }) => send(204, null), ''],
  ['a stream', ({ stream }) => stream(Readable.from(chunks)), text],
  ['a stream of texts', ({ stream }) => stream(Readable.from(['a', 'ü', 'c'])), 'aüc'],
  [
    'a stream with its length',
    ({ stream }) => stream(Readable.from(chunks), { 'Content-Length': '80000' }),
    text,
  ],
  [
    'chunks in several encodings',
    ({ raw }) =>
      raw((res) => {
        res.writeHead(200, ['X-Inside', 'yes', 'Content-Type', 'text/plain'])
        res.write('YQ==', 'base64')
        res.write(new Uint8Array([98]))
        res.write('c')
        res.end('64', 'hex')
      }),
    'abcd',
  ],
]

describe.each(frameworks)('body on $name', ({ start, kind, name }) => {
  const places: [string, (probe: AnyFeature) => Member[]][] = [
    ['alone', (probe) => [probe]],
    ['inside of compression', (probe) => ['compression', probe]],
    ['inside of compression, after another', (probe) => [witness().probe, 'compression', probe]],
    [
      'beside work before the end',
      (probe) => [feature(() => ({ beforeEnd: async () => {} })), 'compression', probe],
    ],
    [
      'after a mere head',
      (probe) => [feature(() => ({ headers: () => ({}) })), 'compression', probe],
    ],
  ]
  describe.each(places)('%s', (_, place) => {
    it.each(handlers)('is what the handler sent: %s', async (_, handler, expected) => {
      const { probe, seen, over } = witness()
      const app = await start({
        stack: place(probe),
        handler(tools) {
          tools.set('X-Inside', 'yes')
          return handler(tools)
        },
      })
      expect((await ask(app, gzip)).text).toBe(expected)
      expect(await over).toBe(true)
      expect(seen.map(({ body }) => body.toString())).toEqual([expected])
      expect(seen[0]?.headers).toMatchObject({ 'x-inside': 'yes' })
      expect(seen[0]?.headers).not.toHaveProperty('content-encoding')
    })
  })

  it('is the output of an inner compressor', async () => {
    if (kind === 'koa') return
    const { probe, seen } = witness()
    const app = await start({ stack: [probe, 'compression'] })
    const answer = await ask(app, gzip)
    expect(answer.text).toBe('hello')
    expect(seen[0]?.body).toEqual(answer.bytes)
    expect(seen[0]?.headers).toMatchObject({ 'content-encoding': 'gzip' })
  })

  it('has the fields that inner middlewares set, and no others', async () => {
    const { probe, seen } = witness()
    const app = await start({
      stack: [
        {
          foreign({ set }) {
            set('X-Request-Id', '1')
            set('X-Changed', 'before')
            set('Set-Cookie', ['outer=1'])
          },
        },
        feature(() => ({ headers: () => ({ 'X-Outer': '1', 'Set-Cookie': 'late=1' }) })),
        feature(() => ({ ...plan, headers: () => ({ 'X-Own': '1' }) })),
        feature(() => ({ headers: () => ({ 'X-Inner': '1', 'Set-Cookie': 'inner=1' }) })),
      ],
      handler({ res, set, send }) {
        set('X-Changed', 'after')
        // As `cookies` and appendHeader do it: in place.
        res.appendHeader('Set-Cookie', 'handler=1')
        set('Content-Type', 'text/plain')
        set('Date', 'Thu, 01 Jan 1970 00:00:00 GMT')
        set('Connection', 'close')
        send(203, 'hello')
      },
    })
    const plan = await (probe.handle as any)()
    const answer = await ask(app)
    expect(seen).toHaveLength(1)
    expect(seen[0]?.status).toBe(203)
    expect(seen[0]?.headers).toEqual({
      'x-changed': 'after',
      'x-inner': '1',
      'set-cookie': ['handler=1', 'inner=1'],
      'content-type': expect.stringContaining('text/plain'),
      'content-length': '5',
    })
    expect(answer.headers['set-cookie']).toEqual(['outer=1', 'handler=1', 'inner=1', 'late=1'])
  })

  it('has fields that inner middlewares pass to writeHead', async () => {
    if (kind === 'koa') return
    for (const finalizer of [[], [feature(() => ({ beforeEnd: async () => {} }))]]) {
      const { probe, seen } = witness()
      const app = await start({
        stack: [
          ...finalizer,
          probe,
          {
            foreign({ res }) {
              const { writeHead } = res
              let isFirst = true
              // As on-headers does it, and with it express-session and cookie-session.
              res.writeHead = function (this: any, ...args: any[]) {
                if (isFirst) this.setHeader('Set-Cookie', 'session=1')
                isFirst = false
                return (writeHead as any).apply(this, args)
              }
            },
          },
        ],
      })
      expect((await ask(app)).headers['set-cookie']).toEqual(['session=1'])
      expect(seen[0]?.headers).toMatchObject({ 'set-cookie': ['session=1'] })
    }
  })

  it('is left out when it grows beyond its limit', async () => {
    for (const [, handler, expected] of handlers) {
      const { probe, seen, over } = witness(Buffer.byteLength(expected) - 1)
      const app = await start({ stack: [probe], handler })
      expect((await ask(app)).text).toBe(expected)
      await over
      expect(seen.filter(() => expected !== '')).toEqual([])
    }
  })

  it.each<[string, Handler]>([
    ['a stream', ({ stream }) => stream(Readable.from(['1']), { 'Content-Length': '1' })],
    [
      'write',
      async ({ raw }) => {
        raw((res) => void res.setHeader('Content-Length', 1).write('1'))
        await new Promise(setImmediate)
        raw((res) => void res.end())
      },
    ],
  ])(
    'is whole although its only byte waits for the work before the end: %s',
    async (_, handler) => {
      const { probe, seen, over } = witness()
      const slow = feature(async () => ({
        beforeEnd: () => new Promise((resolve) => setTimeout(resolve, 5)),
      }))
      const app = await start({ stack: [slow, probe], handler })
      expect((await ask(app)).text).toBe('1')
      await over
      expect(seen.map(({ status, body }) => [status, String(body)])).toEqual([[200, '1']])
    },
  )

  it('is left out when it is shorter than its Content-Length', async () => {
    const { probe, seen, over } = witness()
    const app = await start({
      stack: [probe],
      handler: ({ stream }) => stream(Readable.from(['short']), { 'Content-Length': '9' }),
    })
    // The client waits for the rest in vain.
    const req = request(app.url, { agent: false }).end()
    const [res] = await once(req, 'response')
    await once(res, 'data')
    req.destroy()
    await over
    expect(seen).toEqual([])
  })

  it.each(['the client goes away', 'the stream breaks'])('is left out when %s', async (reason) => {
    const { probe, seen, over } = witness()
    const source = new Readable({ read() {} })
    const app = await start({ stack: [probe], handler: ({ stream }) => stream(source) })
    const req = request(app.url, { agent: false }).on('error', () => {})
    req.end()
    source.push('one')
    const [res] = await once(req, 'response')
    res.on('error', () => {})
    await once(res, 'data')
    const gone = new Promise((resolve) => source.once('close', resolve))
    if (reason === 'the stream breaks') source.destroy(new Error('broken'))
    else req.destroy()
    await gone
    // Koa 2 leaves a response open whose stream is broken.
    if (name === 'Koa 2') req.destroy()
    expect(await over).toBe(false)
    expect(seen).toEqual([])
  })

  it('is left out when its writer did not see that the client went away', async () => {
    const { probe, seen, over } = witness()
    const written = signal()
    const app = await start({
      stack: [probe],
      handler: ({ raw }) =>
        raw((res) => {
          res.write('one')
          void over.then(() => {
            res.end('two')
            written.resolve()
          })
        }),
    })
    const req = request(app.url, { agent: false }).on('error', () => {})
    req.end()
    const [res] = await once(req, 'response')
    res.on('error', () => {})
    req.destroy()
    await written.promise
    expect(seen).toEqual([])
  })

  it('leaves the length of a stream where the handler put it', async () => {
    const { probe } = witness()
    const app = await start({
      stack: [probe],
      handler({ send, stream }) {
        // Koa forgets the length when one body takes the place of another.
        if (kind === 'koa') send(200, 'first')
        stream(Readable.from(['second']), { 'Content-Type': 'a/b', 'Content-Length': '6' })
      },
    })
    const { headers } = await ask(app)
    expect(headers).toMatchObject({ 'content-length': '6', 'content-type': 'a/b' })
  })

  it('keeps the backpressure', async () => {
    const { probe } = witness(10)
    let pushed = 0
    const source = new Readable({
      read() {
        pushed += 1
        this.push(Buffer.alloc(65_536))
        if (pushed === 2000) this.push(null)
      },
    })
    const app = await start({ stack: [probe], handler: ({ stream }) => stream(source) })
    const req = request(app.url, { agent: false }).end()
    const [res] = await once(req, 'response')
    res.pause()
    // Waits until all reads have stopped because the client does not read.
    for (let before = -1; before !== pushed;) {
      before = pushed
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    expect(pushed).toBeLessThan(1000)
    let size = 0
    res.on('data', (chunk: Buffer) => (size += chunk.length))
    res.resume()
    await once(res, 'end')
    expect(size).toBe(2000 * 65_536)
  })

  it('is empty for HEAD and 304', async () => {
    for (const [method, status] of [
      ['HEAD', 200],
      ['GET', 304],
    ] as const) {
      const { probe, seen } = witness()
      const app = await start({
        stack: [probe],
        handler({ set, send }) {
          set('ETag', '"1"')
          send(status, status === 304 ? null : 'hello')
        },
      })
      await ask(app, { method })
      expect(seen).toMatchObject([{ status, headers: { etag: '"1"' } }])
      expect(seen[0]?.body).toHaveLength(0)
    }
  })

  it('is a copy: its writer may use its memory again', async () => {
    const { probe, seen } = witness()
    const app = await start({
      stack: [probe],
      handler: ({ raw }) =>
        raw((res) => {
          const chunk = Buffer.from('one ')
          res.write(chunk, () => {
            chunk.write('two ')
            res.end(chunk)
          })
        }),
    })
    await ask(app)
    expect(String(seen[0]?.body)).toBe('one two ')
  })

  it('is not asked of a response to an error in Koa', async () => {
    const { probe, seen, over } = witness()
    const handler = (): Promise<void> => Promise.reject(new Error('no'))
    const app = await start({ stack: [probe], handler })
    expect(await ask(app)).toMatchObject({ status: 500 })
    await over
    expect(seen).toHaveLength(kind === 'koa' ? 0 : 1)
  })
})
