import { once } from 'node:events'
import { request } from 'node:http'
import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import type { Reply } from '../../src/http/exchange.ts'
import { ask, feature, frameworks, lines, signal, type AnyFeature, type Member } from './harness.ts'

const answer = (reply: Reply): AnyFeature => feature(async () => ({ reply }))
const never = (): never => expect.unreachable('the handler was asked')

describe.each(frameworks)('reply on $name', ({ start, name }) => {
  const places: [string, (probe: AnyFeature) => Member[]][] = [
    ['alone', (probe) => [probe]],
    ['inside of compression', (probe) => ['compression', probe]],
    [
      'after work before the end',
      (probe) => [feature(() => ({ beforeEnd: async () => {} })), probe],
    ],
  ]
  const bodies: [string, () => Reply['body'], string][] = [
    ['a text', () => 'slöw down', 'slöw down'],
    ['bytes', () => Buffer.from('bytes'), 'bytes'],
    ['a stream', () => Readable.from(['one ', 'two']), 'one two'],
    ['nothing', () => undefined, ''],
  ]
  describe.each(places)('%s', (_, place) => {
    it.each(bodies)('answers instead of the handler: %s', async (_, body, expected) => {
      const reply: Reply = {
        status: 429,
        headers: { 'Content-Type': 'text/x-probe' },
        body: body()!,
      }
      const app = await start({ stack: place(answer(reply)), handler: never })
      const seen = await ask(app, { headers: { 'accept-encoding': 'gzip' } })
      expect(seen).toMatchObject({ status: 429, text: expected, complete: true })
      expect(seen.headers['content-type']).toBe('text/x-probe')
    })
  })

  it.each(bodies)('answers HEAD without a body: %s', async (_, body, expected) => {
    const source = body()
    const reply: Reply = { status: 200, headers: { 'X-Ours': 'yes' }, body: source! }
    const app = await start({ stack: [answer(reply)], handler: never })
    const seen = await ask(app, { method: 'HEAD' })
    expect(seen).toMatchObject({ status: 200, text: '', headers: { 'x-ours': 'yes' } })
    const isMeasured = source !== undefined && !(source instanceof Readable)
    const length = isMeasured ? String(Buffer.byteLength(expected)) : undefined
    expect(seen.headers['content-length']).toBe(length)
    if (source instanceof Readable) expect(source.destroyed).toBe(true)
  })

  it('answers HEAD at once though its stream has no end', async () => {
    const source = new Readable({ read() {} })
    const app = await start({ stack: [answer({ status: 200, body: source })], handler: never })
    expect(await ask(app, { method: 'HEAD' })).toMatchObject({ status: 200, complete: true })
    expect(source.destroyed).toBe(true)
  })

  it('keeps the length that a stored HEAD response had', async () => {
    const reply: Reply = {
      status: 200,
      headers: { 'content-length': '1234', 'content-type': 'a/b' },
    }
    const app = await start({ stack: [answer(reply)], handler: never })
    const { headers } = await ask(app, { method: 'HEAD' })
    expect(headers).toMatchObject(reply.headers as object)
  })

  it.each([204, 304])('has no body with status %i', async (status) => {
    const reply: Reply = { status, headers: { ETag: '"1"' }, body: 'never sent' }
    const app = await start({ stack: [answer(reply)], handler: never })
    const seen = await ask(app)
    expect(seen).toMatchObject({ status, text: '', complete: true, headers: { etag: '"1"' } })
    expect(seen.headers).not.toHaveProperty('content-length')
  })

  it("carries earlier features' fields", async () => {
    const app = await start({
      stack: [
        feature(() => ({ headers: () => ({ RateLimit: '"a";r=1', 'Set-Cookie': 'a=1' }) })),
        { foreign: ({ set }) => set('Set-Cookie', 'foreign=1') },
        answer({ status: 429, headers: { RateLimit: '"b";r=0', 'Set-Cookie': 'b=1' } }),
      ],
      handler: never,
    })
    const seen = await ask(app)
    expect(seen.headers.ratelimit).toBe('"b";r=0, "a";r=1')
    expect(lines(seen, 'set-cookie')).toEqual(['foreign=1', 'b=1', 'a=1'])
  })

  it('is seen by captures and seals further out', async () => {
    const seen: unknown[] = []
    const app = await start({
      stack: [
        feature(() => ({
          capture: { limit: 10, onComplete: ({ body }) => seen.push(String(body)) },
          beforeEnd: async (status) => void seen.push(status),
        })),
        answer({ status: 409, body: 'no' }),
      ],
      handler: never,
    })
    await ask(app)
    expect(seen).toEqual(['no', 409])
  })

  it('lets go of its stream when the client goes away', async () => {
    const source = new Readable({ read() {} })
    source.push('one')
    const app = await start({ stack: [answer({ status: 200, body: source })], handler: never })
    const req = request(app.url, { agent: false }).on('error', () => {})
    req.end()
    const [res] = await once(req, 'response')
    res.on('error', () => {})
    await once(res, 'data')
    const gone = new Promise((resolve) => source.once('close', resolve))
    source.on('error', () => {})
    req.destroy()
    await gone
    expect(source.destroyed).toBe(true)
  })

  it('fails if its stream breaks before anything was sent', async () => {
    // Koa 3 sends streams with stream.pipeline(), which breaks the connection then.
    if (name === 'Koa 3') return
    const source = new Readable({
      read() {
        this.destroy(Object.assign(new Error('gone'), { status: 502 }))
      },
    })
    const reply: Reply = {
      status: 200,
      headers: { ETag: '"1"', 'Content-Length': '9' },
      body: source,
    }
    const app = await start({ stack: [answer(reply)], handler: never })
    const seen = await ask(app)
    expect(seen).toMatchObject({ status: 502, complete: true })
    expect(seen.headers).not.toHaveProperty('etag')
  })

  it('lets go of its stream when the client had gone before', async () => {
    const source = new Readable({ read() {} })
    const asked = signal()
    const gone = signal()
    const end = signal()
    const app = await start({
      stack: [
        feature(() => ({ onFinish: () => gone.resolve() })),
        feature(async () => {
          asked.resolve()
          await gone.promise
          end.resolve()
          return { reply: { status: 200, body: source } }
        }),
      ],
      handler: never,
    })
    const req = request(app.url, { agent: false }).on('error', () => {})
    req.end()
    await asked.promise
    req.destroy()
    await end.promise
    await once(source, 'close')
  })
})
