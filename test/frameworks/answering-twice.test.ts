/**
 * Handlers that answer twice, or fail after the answer, while the work before the end is under way.
 * What the client sees is what it sees without that work.
 */
import { connect } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import {
  feature,
  frameworks,
  signal,
  type AnyFeature,
  type Framework,
  type Handler,
  type Member,
} from './harness.ts'
import { askHttp2, http2Client } from './http2-client.ts'

/** Work that takes longer than the handler. */
const slow = (): AnyFeature =>
  feature(async () => ({
    headers: () => ({ 'X-Late': 'yes' }),
    beforeHead: () => wait(2),
    beforeEnd: () => wait(10),
  }))

const reach = async (attempts: (() => unknown)[]): Promise<string[]> => {
  const codes: string[] = []
  for (const attempt of attempts) {
    try {
      await attempt()
      codes.push('none')
    } catch (error: any) {
      codes.push(error.code)
    }
  }
  return codes
}

let codes: string[] = []
const ways: [string, Handler][] = [
  [
    'a missing return',
    ({ send }) => {
      send(200, 'one')
      send(500, 'the second')
    },
  ],
  [
    'a missing return, later',
    async ({ send }) => {
      send(200, 'one')
      await wait(5)
      send(500, 'the second')
    },
  ],
  [
    'an object after a string',
    ({ send, set }) => {
      set('X-First', '1')
      send(201, 'one')
      set('X-First', '2')
      send(200, { two: 2 })
    },
  ],
  [
    'an error after the answer',
    ({ send }) => {
      send(200, 'one')
      throw new Error('after the answer')
    },
  ],
  [
    'a rejection after the answer, later',
    async ({ send }) => {
      send(200, 'one')
      await wait(5)
      throw new Error('after the answer')
    },
  ],
  [
    'an error after an answer that was written in pieces',
    async ({ raw }) => {
      raw((res) => {
        res.setHeader('Content-Length', 6)
        res.write('one')
        res.end('two')
      })
      await wait(1)
      throw new Error('after the answer')
    },
  ],
  [
    'a connection that is destroyed after the answer',
    ({ raw, req }) => {
      raw((res) => void res.end('one'))
      req.socket.destroy()
    },
  ],
  [
    'a response that is destroyed after the answer',
    ({ raw }) => raw((res) => void res.end('one').destroy()),
  ],
  [
    'a status and a reason after the answer',
    ({ raw }) =>
      raw((res) => {
        res.end('one')
        res.statusCode = 500
        if (res.req.httpVersionMajor < 2) res.statusMessage = 'Odd'
      }),
  ],
  [
    'a head after the answer',
    async ({ raw }) => {
      const attempts: (() => unknown)[] = []
      raw((res) => {
        res.end('one')
        attempts.push(
          () => res.setHeader('X-Late-Handler', '1'),
          () => res.appendHeader('X-Late-Handler', '1'),
          () => res.removeHeader('X-Late-Handler'),
          () => res.writeHead(500, { 'X-Late-Handler': '1' }),
          () =>
            expect([res.headersSent, res.writableEnded, res.finished]).toEqual([true, true, true]),
          () => res.flushHeaders(),
        )
      })
      codes = await reach(attempts)
    },
  ],
  [
    'a head after the head',
    async ({ raw }) => {
      const attempts: (() => unknown)[] = []
      raw((res) => {
        res.writeHead(203, { 'X-First': '1' })
        attempts.push(
          () => res.setHeader('X-Late-Handler', '1'),
          () => res.writeHead(500),
          () => expect(res.headersSent).toBe(true),
        )
      })
      codes = await reach(attempts)
      raw((res) => {
        if (res.req.httpVersionMajor < 2) res.statusCode = 500
        res.end('one')
      })
    },
  ],
  [
    'an error after the head',
    ({ raw }) => {
      raw((res) => void res.writeHead(203))
      throw new Error('after the head')
    },
  ],
]
/** Over HTTP/2 these are races without turnpike, too. */
const waysOfHttp1: [string, Handler][] = [
  [
    'a connection that is destroyed after an answer in pieces',
    ({ raw, req }) => {
      raw((res) => {
        res.write('one')
        res.end('two')
      })
      req.socket.destroy()
    },
  ],
  [
    'a response that is destroyed as it ends, a tick after its first piece',
    async ({ raw }) => {
      raw((res) => void res.write('one'))
      await new Promise((resolve) => process.nextTick(resolve))
      raw((res) => {
        res.end('two')
        res.destroy()
      })
    },
  ],
  [
    'a connection that is destroyed as the response ends, a tick after its first piece',
    async ({ raw, req }) => {
      raw((res) => void res.write('one'))
      await new Promise((resolve) => process.nextTick(resolve))
      raw((res) => void res.end('two'))
      req.socket.destroy()
    },
  ],
  [
    'a second end with a callback, later',
    async ({ raw }) => {
      raw((res) => void res.end('one'))
      await wait(15)
      codes = []
      raw((res) => void res.end(() => codes.push('called')))
      await wait(2)
    },
  ],
]
const places: [string, (probe: AnyFeature) => Member[]][] = [
  ['alone', (probe) => [probe]],
  ['inside of compression', (probe) => ['compression', probe]],
  ['outside of compression', (probe) => [probe, 'compression']],
  ['outside of a capture', (probe) => [probe, feature(() => ({ capture }))]],
]
const capture = { limit: 100, onComplete: () => {} }

/** What a client receives on one connection for two requests, and whether the connection stays open. */
async function transcript({ start }: Framework, stack: Member[], handler: Handler) {
  let isFirst = true
  const handled = signal()
  const app = await start({
    stack,
    async handler(tools) {
      if (!isFirst) return tools.send(200, 'next')
      isFirst = false
      try {
        await handler(tools)
      } finally {
        handled.resolve()
      }
    },
  })
  const socket = connect(Number(app.url.port), '127.0.0.1').on('error', () => {})
  let text = ''
  socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  const until = async (isThere: RegExp): Promise<void> => {
    for (let turn = 0; turn < 100 && !isThere.test(text) && !socket.closed; turn++) await wait(2)
  }
  const request = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'
  socket.write(request)
  await until(/(one|two|second|Error|}|\r\n0\r\n\r\n)$/)
  await handled.promise
  await wait(12)
  if (socket.writable) socket.write(request)
  await until(/next(\r\n0\r\n\r\n)?$/)
  const isClosed = socket.closed
  socket.destroy()
  return { text: text.replace(/^(Date|X-Late): .*\r\n/gim, ''), isClosed }
}

describe.each(frameworks)('on $name', (framework) => {
  describe.each(places)('%s', (_, place) => {
    it.each([...ways, ...waysOfHttp1])(
      '%s: the first answer goes out whole',
      async (_, handler) => {
        const bare = await transcript(framework, place(feature(async () => ({}))), handler)
        const bareCodes = codes
        const ours = await transcript(framework, place(slow()), handler)
        expect(ours).toEqual(bare)
        expect(codes).toEqual(bareCodes)
      },
    )
  })
})

describe.each(frameworks.filter(({ kind }) => kind !== 'express'))(
  'over HTTP/2 on $name',
  ({ start }) => {
    it.each(ways)('%s: the first answer goes out whole', async (_, handler) => {
      const seen = []
      for (const probe of [feature(async () => ({})), slow()]) {
        const app = await start({ stack: [probe], handler, isHttp2: true })
        const client = http2Client(app.url)
        const { headers, text, rstCode, status } = await askHttp2(client)
        delete headers.date
        delete headers['x-late']
        seen.push({ headers: { ...headers }, text, rstCode, status, codes })
      }
      expect(seen[1]).toEqual(seen[0])
    })
  },
)
