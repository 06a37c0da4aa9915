/** Work before the head of a response whose end is not known yet, for example storing a session. */
import { once } from 'node:events'
import { request } from 'node:http'
import { Readable } from 'node:stream'
import { setTimeout as wait } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import {
  ask,
  feature,
  frameworks,
  signal,
  witness,
  type AnyFeature,
  type Handler,
} from './harness.ts'
import { askHttp2, http2Client } from './http2-client.ts'

/** A feature that stores something before the head goes out, and again before the end. */
function store(log: string[], work: () => Promise<void> = () => wait(5)): AnyFeature {
  return feature(async () => ({
    headers: () => ({ 'X-Stored': String(log.length) }),
    async beforeHead(status) {
      log.push(`head ${status}`)
      await work()
      log.push('head stored')
    },
    async beforeEnd() {
      log.push('end')
      await wait(1)
      log.push('end stored')
    },
  }))
}

const pieces = ['one ', 'two ', 'three']
const streams: [string, Handler][] = [
  ['a stream', ({ stream }) => stream(Readable.from(pieces))],
  [
    'a stream of known length',
    ({ stream }) => stream(Readable.from(pieces), { 'Content-Length': '13' }),
  ],
  [
    'writes',
    async ({ raw }) => {
      const { promise, resolve } = signal()
      raw((res) => {
        expect(res.write('one ', () => resolve())).toBe(false)
        expect(res.headersSent).toBe(true)
        expect(() => res.setHeader('X-Late', '1')).toThrow(/sent|initiated/)
      })
      await promise
      raw((res) => {
        res.write('two ')
        res.end('three')
      })
    },
  ],
  [
    'writes and an end at once',
    ({ raw }) =>
      raw((res) => {
        res.write('one ')
        res.write(Buffer.from('two '))
        res.end('three')
        expect(res.writableEnded).toBe(true)
        expect(res.write('late')).toBe(false)
        res.end('late')
      }),
  ],
  [
    'flushed headers',
    async ({ raw }) => {
      raw((res) => res.flushHeaders())
      await wait(10)
      raw((res) => void res.end('one two three'))
    },
  ],
  [
    'a head and writes',
    ({ raw }) =>
      raw((res) => {
        res.writeHead(200, { 'X-First': '1' })
        res.write('one ')
        res.end('two three')
      }),
  ],
]

describe.each(frameworks)('on $name', ({ start, kind }) => {
  it.each(streams)('is done before the head of %s, and again at the end', async (_, handler) => {
    const log: string[] = []
    const app = await start({ stack: [store(log)], handler })
    const answer = await ask(app)
    expect(answer).toMatchObject({ status: 200, text: 'one two three', complete: true })
    expect(answer.headers['x-stored']).toBe('2')
    expect(log).toEqual(['head 200', 'head stored', 'end', 'end stored'])
  })

  it('is not asked where the head goes out with the end', async () => {
    const log: string[] = []
    const app = await start({ stack: [store(log)] })
    expect((await ask(app)).text).toBe('hello')
    expect(log).toEqual(['end', 'end stored'])
  })

  it('holds nothing back where there is nothing to wait for', async () => {
    const app = await start({
      stack: [feature(async () => ({ beforeHead: () => undefined, beforeEnd: () => undefined }))],
      handler: ({ raw }) =>
        raw((res) => {
          expect(res.write('one')).toBe(true)
          res.end()
        }),
    })
    expect((await ask(app)).text).toBe('one')
  })

  it.each(streams)(
    'fails the request if it fails, before anything was sent: %s',
    async (_, handler) => {
      const failing = store([], () =>
        Promise.reject(Object.assign(new Error('no'), { status: 503 })),
      )
      const reported: unknown[] = []
      const commits: boolean[] = []
      const commit = (_: number, isFailed: boolean): undefined => void commits.push(isFailed)
      const app = await start({
        stack: [feature(() => ({ commit })), failing],
        handler,
        onError(error, { res, send }) {
          reported.push(error.message)
          if (!res.headersSent) send(error.status, 'failed')
        },
      })
      const answer = await ask(app)
      expect(answer).toMatchObject({ status: 503, complete: true })
      expect(answer.text).not.toContain('one')
      if (kind !== 'node') expect(app.errors.map(({ message }) => message)).toContain('no')
      expect(commits).toHaveLength(1)
    },
  )

  it.each(streams)('a capture further inside has the whole response: %s', async (_, handler) => {
    const { probe, seen } = witness()
    const app = await start({ stack: [store([], () => wait(10)), probe], handler })
    const answer = await ask(app)
    expect(seen.map(({ body }) => String(body))).toEqual([answer.text])
    expect(seen[0]?.status).toBe(answer.status)
  })

  it('keeps the backpressure, and says when there is room again', async () => {
    let isDrained = false
    const stored = signal()
    const app = await start({
      stack: [store([], () => stored.promise)],
      handler: ({ raw }) =>
        raw((res) => {
          expect(res.write('one ')).toBe(false)
          res.once('drain', () => {
            isDrained = true
            res.end('two')
          })
          setTimeout(() => {
            expect(isDrained).toBe(false)
            stored.resolve()
          }, 10)
        }),
    })
    expect((await ask(app)).text).toBe('one two')
    expect(isDrained).toBe(true)
  })

  it('does no harm if the client goes away meanwhile', async () => {
    const over = signal<boolean>()
    const begun = signal()
    const app = await start({
      stack: [
        feature(() => ({ onFinish: ({ finished }) => over.resolve(finished) })),
        store([], async () => {
          begun.resolve()
          await wait(20)
        }),
      ],
      handler: ({ raw }) => raw((res) => void res.write('one')),
    })
    const req = request(app.url, { agent: false }).on('error', () => {})
    req.end()
    await begun.promise
    req.destroy()
    expect(await over.promise).toBe(false)
    await wait(30)
  })

  it('is asked when server-sent events begin, and lets each event out at once', async () => {
    const log: string[] = []
    const seen = signal()
    const app = await start({
      stack: [store(log)],
      async handler({ raw }) {
        raw((res) => {
          res.writeHead(200, { 'Content-Type': 'text/event-stream' })
          res.write('data: 1\n\n')
        })
        await seen.promise
        raw((res) => void res.end('data: 2\n\n'))
      },
    })
    const req = request(app.url, { agent: false }).end()
    const [res] = await once(req, 'response')
    const [chunk] = await once(res, 'data')
    expect(String(chunk)).toBe('data: 1\n\n')
    expect(log).toEqual(['head 200', 'head stored'])
    seen.resolve()
    const [[last]] = await Promise.all([once(res, 'data'), once(res, 'end')])
    expect(String(last)).toBe('data: 2\n\n')
    expect(log).toEqual(['head 200', 'head stored', 'end', 'end stored'])
  })
})

describe.each(frameworks.filter(({ kind }) => kind !== 'express'))(
  'over HTTP/2 on $name',
  ({ start }) => {
    it.each(streams)('is done before the head of %s, and again at the end', async (_, handler) => {
      const log: string[] = []
      const app = await start({ stack: [store(log)], handler, isHttp2: true })
      const answer = await askHttp2(http2Client(app.url))
      expect(answer).toMatchObject({ status: 200, text: 'one two three', rstCode: 0 })
      expect(answer.headers['x-stored']).toBe('2')
      expect(log).toEqual(['head 200', 'head stored', 'end', 'end stored'])
    })

    it('lets a head go that is written alone: a client may wait for it', async () => {
      const log: string[] = []
      const app = await start({
        stack: [store(log)],
        isHttp2: true,
        handler: ({ raw }) => raw((res) => void res.writeHead(200)),
      })
      const stream = http2Client(app.url).request({ ':path': '/' })
      const [headers] = (await once(stream, 'response')) as [Record<string, unknown>]
      expect(headers[':status']).toBe(200)
      expect(log).toEqual(['head 200', 'head stored'])
    })
  },
)
