import { once } from 'node:events'
import { connect } from 'node:net'
import { Readable } from 'node:stream'
import { setTimeout as wait } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import {
  ask,
  feature,
  frameworks,
  signal,
  type Signal,
  type AnyFeature,
  type Handler,
  type Member,
} from './harness.ts'

/** A feature whose work before the end is done when the test says so. */
function slow(): { probe: AnyFeature; called: Promise<number>; done: Signal } {
  const called = signal<number>()
  const done = signal()
  const work = (status: number): Promise<void> => {
    called.resolve(status)
    return done.promise
  }
  return { probe: feature(async () => ({ beforeEnd: work })), called: called.promise, done }
}

function broken(): AnyFeature {
  const work = async (): Promise<never> => {
    throw Object.assign(new Error('not saved'), { status: 503 })
  }
  return feature(async () => ({ headers: () => ({ RateLimit: '"a";r=1' }), beforeEnd: work }))
}

const long = Array.from({ length: 5 }, () => Buffer.alloc(20_000, 'x'))
const text = Buffer.concat(long).toString()

const handlers: [string, Handler, string][] = [
  ['a text', ({ send }) => send(200, 'hello'), 'hello'],
  ['an object', ({ send }) => send(200, { a: 1 }), '{"a":1}'],
  ['a Buffer', ({ send }) => send(200, Buffer.from('bytes')), 'bytes'],
  ['nothing', ({ send }) => send(204, null), ''],
  ['a stream', ({ stream }) => stream(Readable.from(long)), text],
  ['an empty stream', ({ stream }) => stream(Readable.from([])), ''],
  [
    'a stream with its length',
    ({ stream }) => stream(Readable.from(long), { 'Content-Length': '100000' }),
    text,
  ],
  [
    'writeHead and end',
    ({ raw }) => raw((res) => void res.writeHead(200, { 'Content-Length': 3 }).end('raw')),
    'raw',
  ],
  [
    'single bytes and their length',
    ({ raw }) =>
      raw((res) => {
        res.setHeader('Content-Length', 2)
        res.write('a', () => res.write('b', () => res.end()))
      }),
    'ab',
  ],
  [
    'chunks in several encodings',
    ({ raw }) =>
      raw((res) => {
        res.write('YQ==', 'base64')
        res.write(new Uint8Array([98]))
        res.end('63', 'hex')
      }),
    'abc',
  ],
  [
    'flushed headers without a body',
    ({ raw }) =>
      raw((res) => {
        res.setHeader('Content-Length', 0)
        res.flushHeaders()
        res.end()
      }),
    '',
  ],
]
const places: [string, (...probes: AnyFeature[]) => Member[]][] = [
  ['alone', (...probes) => probes],
  ['inside of compression', (...probes) => ['compression', ...probes]],
  ['outside of compression', (...probes) => [...probes, 'compression']],
]
const gzip = { headers: { 'accept-encoding': 'gzip' } }

describe.each(frameworks)('work before the end on $name', ({ start, kind }) => {
  describe.each(places)('%s', (_, place) => {
    it.each(handlers)(
      'is done before the client sees the end: %s',
      async (_, handler, expected) => {
        const { probe, called, done } = slow()
        const app = await start({ stack: place(probe), handler })
        let isDone = false
        const answer = ask(app, gzip).then((answer) => ({ ...answer, isDone }))
        expect(await called).toBeLessThan(300)
        // Time for the client to see what it must not see yet.
        await wait(20)
        isDone = true
        done.resolve()
        expect(await answer).toMatchObject({ text: expected, isDone: true, complete: true })
      },
    )

    it.each(handlers)('holds nothing back if there is nothing to wait for: %s', async (...each) => {
      const [, handler, expected] = each
      const statuses: number[] = []
      const work = (status: number): undefined => void statuses.push(status)
      const probe = feature(async () => ({
        headers: () => ({ RateLimit: '"a";r=1' }),
        beforeEnd: work,
      }))
      const answer = await ask(await start({ stack: place(probe), handler }), gzip)
      expect(answer).toMatchObject({ text: expected, complete: true })
      expect(answer.headers.ratelimit).toBe('"a";r=1')
      expect(statuses).toEqual([answer.status])
    })

    it('fails the request if it throws at once', async () => {
      const work = (): undefined => {
        throw Object.assign(new Error('not saved'), { status: 503 })
      }
      const app = await start({
        stack: place(feature(async () => ({ beforeEnd: work }))),
        handler: ({ send }) => send(200, 'the page itself'),
      })
      const answer = await ask(app)
      expect(answer).toMatchObject({ status: 503, complete: true })
      expect(answer.text).not.toContain('the page itself')
    })

    it('fails the request, and keeps only fields that do not describe the body', async () => {
      const app = await start({
        stack: place(broken()),
        handler({ set, send }) {
          set('ETag', '"1"')
          set('Cache-Control', 'public, max-age=60')
          send(201, { secret: 'never shown' })
        },
        onError: (error, { send }) => send(error.status, `failed: ${error.message}`),
      })
      const answer = await ask(app)
      expect(answer).toMatchObject({ status: 503, text: 'failed: not saved', complete: true })
      expect(answer.headers.ratelimit).toBe('"a";r=1')
      if (kind !== 'koa') {
        expect(answer.headers).not.toHaveProperty('etag')
        expect(answer.headers).not.toHaveProperty('cache-control')
      }
      expect(app.errors).toHaveLength(1)
    })

    it("fails the request through the framework's own error handler", async () => {
      const handler: Handler = ({ send }) => send(200, 'the page itself')
      const answer = await ask(await start({ stack: place(broken()), handler }))
      expect(answer).toMatchObject({ status: 503, complete: true })
      expect(answer.text).not.toContain('the page itself')
    })

    it('breaks off a response of which a part was sent', async () => {
      const app = await start({
        stack: place(broken()),
        handler: ({ stream }) => stream(Readable.from(long), { 'Content-Length': '100000' }),
      })
      const answer = await ask(app)
      expect(answer).toMatchObject({ status: 200, complete: false })
      expect(answer.bytes.length).toBeLessThan(100_000)
      if (kind !== 'node') expect(app.errors.map(String)).toContain('Error: not saved')
    })

    it('breaks off a chunked response', async () => {
      const app = await start({
        stack: place(broken()),
        handler: ({ stream }) => stream(Readable.from(long)),
      })
      expect(await ask(app, gzip)).toMatchObject({ complete: false })
    })
  })

  it('withdraws a head that was given and not sent', async () => {
    const app = await start({
      stack: [broken()],
      handler: ({ raw }) => raw((res) => void res.writeHead(200, { 'X-Of': 'old' }).end('raw')),
    })
    expect(await ask(app)).toMatchObject({ status: 503, complete: true })
  })

  it('does not take an error without a reason for success', async () => {
    const app = await start({ stack: [feature(() => ({ beforeEnd: () => Promise.reject() }))] })
    expect(await ask(app)).toMatchObject({ status: 500, complete: true })
  })

  it('starts for all features at once, after all captures', async () => {
    const order: string[] = []
    const probe = (name: string): AnyFeature =>
      feature(async () => ({
        capture: { limit: 100, onComplete: () => order.push(`${name} captured`) },
        async beforeEnd() {
          order.push(`${name} begins`)
          await wait(1)
          order.push(`${name} done`)
        },
      }))
    for (const handler of [handlers[0], handlers[4]].map((row) => row?.[1] as Handler)) {
      order.length = 0
      const bodies = [probe('a'), probe('b')].map((one) => one)
      const app = await start({
        stack: [bodies[0] as AnyFeature, 'compression', bodies[1] as AnyFeature],
        handler,
      })
      await ask(app)
      const begins = ['a begins', 'b begins', 'a done', 'b done']
      expect(order.filter((line) => !line.includes('captured'))).toEqual(begins)
      if (handler === handlers[0]?.[1]) {
        expect(order.slice(0, 2).sort()).toEqual(['a captured', 'b captured'])
      }
    }
  })

  it('is called once, with the status that is sent', async () => {
    const statuses: number[] = []
    const probe = feature(() => ({ beforeEnd: async (status) => void statuses.push(status) }))
    const handler: Handler = () => Promise.reject(new Error('odd'))
    const onError = (error: Error, { send }: any) => send(402, error.message)
    await ask(await start({ stack: [probe], handler, onError }))
    await ask(await start({ stack: [probe], handler: ({ send }) => send(201, 'made') }))
    await ask(await start({ stack: [probe, probe], handler: ({ send }) => send(404, 'none') }))
    expect(statuses).toEqual([402, 201, 404, 404])
  })

  it("gives the handler's own error precedence", async () => {
    if (kind !== 'koa') return
    const app = await start({
      stack: [broken()],
      handler: () =>
        Promise.reject(Object.assign(new Error('mine'), { status: 409, expose: true })),
    })
    expect(await ask(app)).toMatchObject({ status: 409, text: 'mine' })
    expect(app.errors.map((error) => error.message)).toEqual(['mine', 'not saved'])
  })

  it("keeps node's rules for end", async () => {
    const { probe, called, done } = slow()
    const events: unknown[] = []
    const finished = signal()
    const app = await start({
      stack: [probe],
      handler: ({ raw }) =>
        raw((res) => {
          res.on('error', () => {})
          expect(res.end('body', 'utf8', () => events.push('callback'))).toBe(res)
          expect(res.writableEnded).toBe(true)
          expect(res.end()).toBe(res)
          res.end(() => events.push('second callback'))
          expect(res.write('more', (error) => events.push((error as any)?.code))).toBe(false)
          res.once('finish', () => finished.resolve())
        }),
    })
    const answer = ask(app)
    await called
    done.resolve()
    await finished.promise
    expect((await answer).text).toBe('body')
    expect(events).toEqual(['ERR_STREAM_WRITE_AFTER_END', 'second callback', 'callback'])
  })

  it('refuses a chunk that is none as node does', async () => {
    const { probe, done } = slow()
    done.resolve()
    const app = await start({
      stack: [probe],
      handler: ({ raw }) =>
        raw((res) => {
          expect(() => res.end(1 as any)).toThrow(TypeError)
          expect(() => res.write(null as any)).toThrow(TypeError)
          res.end('fine')
        }),
    })
    expect((await ask(app)).text).toBe('fine')
  })

  it('is done before HEAD is answered', async () => {
    const { probe, called, done } = slow()
    const app = await start({ stack: [probe] })
    let isDone = false
    const answer = ask(app, { method: 'HEAD' }).then((answer) => ({ ...answer, isDone }))
    await called
    await wait(10)
    isDone = true
    done.resolve()
    expect(await answer).toMatchObject({
      isDone: true,
      text: '',
      headers: { 'content-length': '5' },
    })
  })

  it('resets a connection whose close would mean the end of the body', async () => {
    const { probe, called, done } = slow()
    const app = await start({
      stack: [probe],
      handler: ({ stream }) => stream(Readable.from(['one', 'two'])),
    })
    const socket = connect(Number(app.url.port), '127.0.0.1')
    const failed = once(socket, 'error')
    socket.write('GET / HTTP/1.0\r\n\r\n')
    // libuv takes a reset for an end if it comes together with data.
    await Promise.all([called, once(socket, 'data')])
    done.reject(new Error('not saved'))
    const [error] = await failed
    expect(error.code).toBe('ECONNRESET')
  })
})

describe.each(frameworks)('the last work before the end in $name', ({ start }) => {
  /** A feature that notes what it is asked to write. */
  function committer(name: string, log: string[], work?: Promise<void>): AnyFeature {
    return feature(async () => ({
      commit(status: number, isFailed: boolean) {
        log.push(`${name} ${isFailed ? 'failed' : status}`)
        return work
      },
    }))
  }

  it('follows the work of all features, outer and inner, and precedes the end', async () => {
    const log: string[] = []
    const { probe, done } = slow()
    const last = signal()
    const { url } = await start({
      stack: [committer('outer', log, last.promise), probe, committer('inner', log)],
    })
    const answer = ask({ url })
    let isAnswered = false
    void answer.then(() => (isAnswered = true))
    await wait(30)
    expect(log).toEqual([])
    done.resolve()
    await wait(30)
    expect(log).toEqual(['outer 200', 'inner 200'])
    expect(isAnswered).toBe(false)
    last.resolve()
    expect((await answer).text).toBe('hello')
  })

  it('is notified that the work of another feature has failed, and that an error replaces the response', async () => {
    const log: string[] = []
    const { url } = await start({
      stack: [committer('outer', log), broken(), committer('inner', log)],
    })
    expect((await ask({ url })).status).toBe(503)
    expect(log).toEqual(['outer failed', 'inner failed'])
  })

  it('fails the request if it fails', async () => {
    const log: string[] = []
    const error = Object.assign(new Error('not stored'), { status: 409 })
    const failing = feature(async () => ({ commit: () => Promise.reject(error) }))
    const { url } = await start({ stack: [committer('outer', log), failing] })
    expect((await ask({ url })).status).toBe(409)
    expect(log).toEqual(['outer 200'])
  })
})
