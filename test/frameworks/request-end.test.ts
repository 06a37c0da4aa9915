/** The end of a request is known, once, whatever the client does and whatever the response is made of. */
import { IncomingMessage, ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import { connectAdapter } from '../../src/http/connect.ts'
import type { ResponseEnd } from '../../src/http/exchange.ts'
import { cancel, headers, PREFACE } from '../support/http2-frames.ts'
import { until } from '../support/until.ts'
import { feature, frameworks, type AnyFeature, type Handler, type Member } from './harness.ts'

/** Holds something from its turn to the end of the request, as a lease is held. */
function lease(delay?: number): {
  probe: AnyFeature
  ends: ResponseEnd[]
  asked: () => number
  held: () => number
} {
  const ends: ResponseEnd[] = []
  let asked = 0
  let taken = 0
  const plan = () => {
    taken++
    return { onFinish: (end: ResponseEnd) => void ends.push(end) }
  }
  const probe = feature(() => {
    asked++
    return delay === undefined ? plan() : wait(delay).then(plan)
  })
  return { probe, ends, asked: () => asked, held: () => taken - ends.length }
}

/** HEAD / of http://a, in HPACK (RFC 7541). */
const HEAD = Buffer.from([0x02, 0x04, 0x48, 0x45, 0x41, 0x44, 0x84, 0x86, 0x41, 0x01, 0x61])

function client(url: URL): ReturnType<typeof connect> {
  const socket = connect(Number(url.port), '127.0.0.1').on('error', () => {})
  socket.resume()
  onTestFinished(() => void socket.destroy())
  return socket
}

const idle: Handler = () => new Promise(() => {})
const places: [string, (...probes: AnyFeature[]) => Member[]][] = [
  ['alone', (...probes) => probes],
  ['in a pipeline', (...probes) => [probes]],
  ['inside of compression', (...probes) => ['compression', ...probes]],
]

describe.each(frameworks)('on $name', ({ start, kind }) => {
  describe.each(places)('%s', (_, place) => {
    it.each([
      ['both wait', idle],
      ['both are answered', ({ send }) => send(200, 'hello')],
      [
        'the first waits, the second is answered',
        (() => {
          let turn = 0
          return ({ send }) => (turn++ % 2 === 0 ? idle({} as never) : send(200, 'hello'))
        })(),
      ],
    ] as [string, Handler][])('two requests in one packet and a close: %s', async (_, handler) => {
      for (const delay of [undefined, 0, 15]) {
        const { probe, ends, asked, held } = lease(delay)
        const behind = lease()
        const app = await start({ stack: place(probe, behind.probe), handler })
        const socket = client(app.url)
        socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(2))
        await until('both have come', () => asked() === 2)
        await wait(5)
        socket.destroy()
        await until('all is over', () => ends.length === 2)
        await wait(5)
        expect([ends.length, held(), behind.held()]).toEqual([2, 0, 0])
      }
    })

    it('requests one after the other on a connection leave no listener behind', async () => {
      const { probe, ends } = lease(0)
      let listeners = 0
      const app = await start({
        stack: place(probe),
        handler({ req, send }) {
          listeners = req.socket.listenerCount('close')
          send(200, 'hello')
        },
      })
      const socket = client(app.url)
      const counts = []
      for (let turn = 1; turn <= 15; turn++) {
        socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
        await until('all is over', () => ends.length === turn)
        counts.push(listeners)
      }
      expect(new Set(counts).size).toBe(1)
      expect(ends).toEqual(Array.from({ length: 15 }, () => ({ status: 200, finished: true })))
    })

    if (kind === 'express') return
    it('HEADERS and RST_STREAM at once over HTTP/2', async () => {
      for (const delay of [undefined, 0, 15]) {
        const { probe, ends, held } = lease(delay)
        const behind = lease()
        const app = await start({
          stack: place(probe, behind.probe),
          handler: idle,
          isHttp2: true,
        })
        const socket = client(app.url)
        socket.write(
          Buffer.concat([PREFACE, ...[0, 1, 2, 3, 4].flatMap((n) => [headers(n), cancel(n)])]),
        )
        await until('all is over', () => ends.length === 5)
        await wait(5)
        expect([ends.length, held(), behind.held()]).toEqual([5, 0, 0])
        expect(ends.some(({ finished }) => finished)).toBe(false)
      }
    })

    it('HEAD over HTTP/2, cancelled before it is answered', async () => {
      for (const delay of [undefined, 0]) {
        const { probe, ends, asked, held } = lease(delay)
        const app = await start({ stack: place(probe), handler: idle, isHttp2: true })
        const socket = client(app.url)
        socket.write(Buffer.concat([PREFACE, headers(0, HEAD)]))
        await until('the feature has its turn', () => asked() === 1)
        socket.write(cancel(0))
        await until('all is over', () => ends.length === 1)
        expect([ends[0]?.finished, held()]).toEqual([false, 0])
      }
    })

    it('an HTTP/2 connection that ends with requests under way', async () => {
      const { probe, ends, held } = lease()
      const app = await start({ stack: place(probe), handler: idle, isHttp2: true })
      const socket = client(app.url)
      socket.write(Buffer.concat([PREFACE, headers(0), headers(1)]))
      await until('all is over', () => held() === 2)
      socket.destroy()
      await until('all is over', () => ends.length === 2)
      expect(ends.map(({ finished }) => finished)).toEqual([false, false])
    })

    it('an HTTP/2 request that is answered', async () => {
      const { probe, ends } = lease(0)
      const app = await start({ stack: place(probe), isHttp2: true })
      client(app.url).write(Buffer.concat([PREFACE, headers(0)]))
      await until('all is over', () => ends.length === 1)
      expect(ends).toEqual([{ status: 200, finished: true }])
    })
  })

  it('one callback that throws does not keep another from being called', async () => {
    const { probe, ends } = lease()
    const thrown: unknown[] = []
    const listeners = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    process.on('uncaughtException', (error) => thrown.push(error.message))
    const bad = feature(() => ({
      onFinish() {
        throw new Error('bad')
      },
    }))
    const app = await start({ stack: [bad, probe] })
    client(app.url).write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await until('all is over', () => ends.length === 1)
    await wait(1)
    process.removeAllListeners('uncaughtException')
    for (const listener of listeners) process.on('uncaughtException', listener)
    expect(thrown).toEqual(['bad'])
  })
})

/** A response that never becomes a socket, as wrappers for AWS Lambda make it. */
class LambdaResponse extends ServerResponse {
  readonly body: string[] = []

  constructor(req: IncomingMessage) {
    super(req)
    this.useChunkedEncodingByDefault = false
    let isHead = true
    const write = (data: string | Buffer, encoding: unknown, done?: () => void): boolean => {
      const callback = typeof encoding === 'function' ? (encoding as () => void) : done
      const text = String(data)
      const start = isHead ? text.indexOf('\r\n\r\n') + 4 : 0
      isHead = false
      this.body.push(text.slice(start))
      callback?.()
      return true
    }
    const nothing = (): void => {}
    const socket = { _writableState: {}, writable: true, on: nothing, removeListener: nothing }
    Object.assign(socket, { destroy: nothing, cork: nothing, uncork: nothing, write })
    this.assignSocket(socket as never)
  }
}

describe('a response that never becomes a socket', () => {
  const request = (): IncomingMessage => {
    const socket = { encrypted: true, readable: false, remoteAddress: '192.0.2.1' }
    const req = new IncomingMessage(Object.assign(socket, { end() {}, destroy() {} }) as never)
    return Object.assign(req, { method: 'GET', url: '/', headers: {}, complete: true })
  }
  const { mount, pipeline } = connectAdapter({ budgetMs: 100, warn: () => {} })

  it.each([undefined, 0])('ends with `finish`, once, and has body and fields', async (delay) => {
    const { probe, ends } = lease(delay)
    const finalizer = feature(async () => ({
      headers: () => ({ 'Set-Cookie': 'sid=1' }),
      beforeEnd: () => wait(1),
    }))
    const middleware = pipeline([mount(probe), mount(finalizer)])
    const req = request()
    const res = new LambdaResponse(req)
    let early: unknown
    middleware(req, res, () => {
      res.setHeader('Content-Type', 'text/plain')
      res.write('hel')
      res.end('lo')
      // A wrapper takes the body as soon as the response looks ended.
      early = [res.writableEnded, res.headersSent]
      res.end('again')
    })
    await until('all is over', () => ends.length > 0)
    await wait(5)
    expect(ends).toEqual([{ status: 200, finished: true }])
    expect(early).toEqual([false, true])
    expect(res.writableEnded).toBe(true)
    expect(res.body.join('')).toBe('hello')
    expect(res.getHeader('set-cookie')).toEqual('sid=1')
  })

  it('ends with `close`, once, where the wrapper gives up without a connection to close', async () => {
    const { probe, ends, held } = lease()
    const res = new LambdaResponse(request())
    mount(probe)(res.req, res, () => {})
    expect(held()).toBe(1)
    // As light-my-request's responses do, which Fastify's and others' tests use.
    res.destroy()
    res.emit('close')
    res.emit('close')
    expect([ends, held()]).toEqual([[{ status: 200, finished: false }], 0])
  })

  it('tells the address and the scheme that the wrapper gives', () => {
    const seen: unknown[] = []
    const look = feature((x) => {
      seen.push(x.ip, x.secure)
      return {}
    })
    const req = request()
    mount(look)(req, new LambdaResponse(req), () => {})
    expect(seen).toEqual(['192.0.2.1', true])
  })
})
