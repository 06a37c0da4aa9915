/** A response that breaks off must not look whole. Over HTTP/2, only a reset says so (RFC 9113, 8.1). */
import { once } from 'node:events'
import { connect } from 'node:net'
import { Readable } from 'node:stream'
import { setTimeout } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { until } from '../support/until.ts'
import { feature, frameworks, type AnyFeature } from './harness.ts'
import { askHttp2, http2Client } from './http2-client.ts'

const NGHTTP2_INTERNAL_ERROR = 2
const failing = feature(async () => ({ beforeEnd: () => Promise.reject(new Error('not stored')) }))
const broken = (): Readable =>
  Readable.from(
    (async function* () {
      yield 'one'
      await setTimeout(20)
      throw new Error('the source broke')
    })(),
  )
const reply: AnyFeature = feature(async () => ({ reply: { status: 200, body: broken() } }))

describe.each(frameworks.filter(({ kind }) => kind !== 'express'))(
  'over HTTP/2 on $name',
  ({ start, kind }) => {
    it.each(['a body of unknown length', 'a body of known length'])(
      'is reset if the work before the end fails: %s',
      async (what) => {
        const app = await start({
          stack: [failing],
          isHttp2: true,
          handler: ({ raw }) =>
            raw((res) => {
              if (what.includes('known')) res.setHeader('Content-Length', 6)
              res.write('one', () => res.end('two'))
            }),
        })
        const client = http2Client(app.url)
        const { status, rstCode } = await askHttp2(client)
        expect({ status, rstCode }).toEqual({ status: 200, rstCode: NGHTTP2_INTERNAL_ERROR })
        // The connection lives on.
        expect(client.destroyed).toBe(false)
      },
    )

    it('is reset if the stream of a reply breaks', async () => {
      // Koa sends the streams of its bodies itself.
      if (kind === 'koa') return
      const app = await start({ stack: [reply], isHttp2: true })
      const { status, rstCode, text } = await askHttp2(http2Client(app.url))
      expect({ status, rstCode, text }).toEqual({
        status: 200,
        rstCode: NGHTTP2_INTERNAL_ERROR,
        text: 'one',
      })
    })

    it('is whole where nothing failed', async () => {
      const app = await start({
        stack: [feature(async () => ({ beforeEnd: async () => {} }))],
        isHttp2: true,
        handler: ({ stream }) => stream(Readable.from(['one', 'two'])),
      })
      const { rstCode, text } = await askHttp2(http2Client(app.url))
      expect({ rstCode, text }).toEqual({ rstCode: 0, text: 'onetwo' })
    })
  },
)

// Express's last error handler destroys the connection itself, whatever comes before.
describe.each(frameworks.filter(({ kind }) => kind !== 'express'))('on $name', ({ start }) => {
  it('cuts the connection when its turn comes, behind the response before it', async () => {
    let answer = (): void => {}
    let failures = 0
    const ends: boolean[] = []
    const app = await start({
      stack: [
        feature(async ({ url }) => ({
          beforeEnd: async () => {
            if (url !== '/second') return
            failures++
            throw new Error('not stored')
          },
          onFinish: ({ finished }) => void ends.push(finished),
        })),
      ],
      handler: ({ req, raw }) =>
        raw((res) => {
          if (req.url === '/first') answer = () => res.end('whole')
          else {
            // Node takes the head for sent, although the response waits for its turn.
            res.write('a part')
            setImmediate(() => res.end())
          }
        }),
    })
    const socket = connect(Number(app.url.port), '127.0.0.1').on('error', () => {})
    let received = ''
    socket.on('data', (bytes) => (received += bytes.toString()))
    const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`
    socket.write(get('/first') + get('/second') + get('/third'))
    await until('the second has failed', () => failures === 1)
    // What was put off to the next turn of the event loop is done.
    await setTimeout(10)
    expect(socket.destroyed).toBe(false)
    answer()
    await once(socket, 'close')
    expect(received).toContain('whole')
    expect(received).not.toContain('a part')
    await until('what they hold is given back', () => ends.length === 3)
    expect(ends.filter((isFinished) => isFinished)).toEqual([true])
  })
})
