import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import type { Refusal, ReplyFunction } from '../../src/http/refusal.ts'
import { ask, feature, frameworks, lines, type AnyFeature } from './harness.ts'

const limited: Refusal = {
  status: 429,
  code: 'TP_LIMITED',
  detail: 'The limit is used up.',
  type: 'https://example.com/limited',
  members: { 'violated-policies': ['1m'] },
  headers: { RateLimit: '"1m";r=0;t=3' },
  retryAfterMs: 2_001,
}
const refusing = (replyWith?: ReplyFunction<any>, refusal = limited): AnyFeature =>
  feature(async () => ({ refusal, replyWith }))
const never = (): never => expect.unreachable('the handler ran')

describe.each(frameworks)('a refusal on $name', ({ start, kind }) => {
  it.each([
    ['at once', feature(() => ({ refusal: limited }))],
    ['after a promise', refusing()],
  ])('is answered with problem+json (%s)', async (_, probe) => {
    const app = await start({ stack: [probe], handler: never })
    const answer = await ask(app)
    expect(answer).toMatchObject({ status: 429, complete: true })
    expect(answer.headers).toMatchObject({
      'content-type': 'application/problem+json',
      'cache-control': 'no-store',
      'retry-after': '3',
      ratelimit: '"1m";r=0;t=3',
    })
    expect(JSON.parse(answer.text)).toEqual({
      type: 'https://example.com/limited',
      title: 'Too Many Requests',
      status: 429,
      detail: 'The limit is used up.',
      'violated-policies': ['1m'],
    })
    expect(app.errors).toEqual([])
  })

  it('is plain text for a client that prefers it', async () => {
    const app = await start({ stack: [refusing()], handler: never })
    const answer = await ask(app, { headers: { Accept: 'text/plain' } })
    expect(answer).toMatchObject({ status: 429, text: 'Too Many Requests\nThe limit is used up.' })
  })

  it('stops a pipeline: later members are discarded', async () => {
    const order: string[] = []
    const prepared = feature(() => (order.push('ran'), {}), {
      prepare: () => 'early',
      discard: () => void order.push('discarded'),
    })
    for (const refusals of ['reply', 'next'] as const) {
      const app = await start({ stack: [[refusing(), prepared]], handler: never, refusals })
      expect((await ask(app)).status).toBe(429)
    }
    expect(order).toEqual(['discarded', 'discarded'])
  })

  describe("with the application's own reply", () => {
    const replies: [string, ReplyFunction<any>, object, string][] = [
      [
        'an object',
        (_, { status, retryAfterMs }) => ({ body: { no: status, in: retryAfterMs } }),
        { status: 429, type: 'application/json; charset=utf-8' },
        '{"no":429,"in":2001}',
      ],
      [
        'a string, later',
        async () => (await delay(1), { status: 418, body: 'slow down' }),
        { status: 418, type: 'text/plain; charset=utf-8' },
        'slow down',
      ],
      [
        'bytes with a type of its own',
        () => ({ headers: { 'content-type': 'image/gif' }, body: Buffer.from('GIF') }),
        { status: 429, type: 'image/gif' },
        'GIF',
      ],
      ['no body', () => ({ status: 302, headers: { Location: '/login' } }), { status: 302 }, ''],
    ]
    it.each(replies)('answers %s', async (_, replyWith, { status, type }: any, text) => {
      const app = await start({ stack: [refusing(replyWith)], handler: never })
      const answer = await ask(app)
      expect(answer).toMatchObject({ status, text, complete: true })
      expect(answer.headers['content-type']).toBe(type)
      expect(answer.headers).toMatchObject({ 'retry-after': '3', ratelimit: '"1m";r=0;t=3' })
      expect(answer.headers['cache-control']).toBe('no-store')
      expect(lines(answer, 'content-type')).toHaveLength(type === undefined ? 0 : 1)
    })

    it('passes the request as the framework knows it', async () => {
      const app = await start({
        stack: [
          feature((x) => ({
            refusal: limited,
            replyWith: (native) => ({ body: String(native === x.native) }),
          })),
        ],
        handler: never,
      })
      expect((await ask(app)).text).toBe('true')
    })

    it.each([
      ['undefined', () => undefined],
      ['undefined, later', async () => undefined],
    ])('falls back to the default reply for %s', async (_, replyWith) => {
      const app = await start({ stack: [refusing(replyWith)], handler: never })
      const { text, status } = await ask(app)
      expect(status).toBe(429)
      expect(JSON.parse(text)).toMatchObject({ detail: 'The limit is used up.' })
    })

    it.each([
      ['throws', () => expect.unreachable('no')],
      ['rejects', () => Promise.reject(new Error('no'))],
      ['returns a string', () => 'no' as never],
      ['returns a field that is none', () => ({ headers: { 'a b': 'c' } })],
      ['returns a status that is none', () => ({ status: 7 })],
    ])('fails the request if it %s', async (_, replyWith) => {
      for (const probe of [refusing(replyWith), feature(() => ({ refusal: limited, replyWith }))]) {
        const app = await start({ stack: [probe], handler: never })
        expect((await ask(app)).status).toBe(500)
        expect(app.errors).toHaveLength(1)
      }
    })

    it('leaves a response alone that the application answered itself', async () => {
      const app = await start({
        stack: [
          {
            foreign: ({ req, send }) => {
              req.own = () => send(403, 'mine')
            },
          },
          refusing((native) => {
            const own = kind === 'koa' ? undefined : native.own
            own?.()
            return kind === 'koa' ? { status: 403, body: 'mine' } : undefined
          }),
        ],
        handler: never,
      })
      expect(await ask(app)).toMatchObject({ status: 403, text: 'mine' })
      expect(app.errors).toEqual([])
    })
  })

  describe("with refusals: 'next'", () => {
    const refusals = 'next'

    it("reaches the application's error handler once, as an error that says all", async () => {
      const app = await start({
        stack: [refusing()],
        handler: never,
        refusals,
        onError: (error, { send }) => send(error.status, { code: error.code }),
      })
      const answer = await ask(app)
      expect(answer).toMatchObject({ status: 429, text: '{"code":"TP_LIMITED"}' })
      expect(answer.headers).toMatchObject({ 'retry-after': '3', ratelimit: '"1m";r=0;t=3' })
      expect(app.errors).toHaveLength(1)
      expect(app.errors[0]).toMatchObject({
        name: 'RefusalError',
        status: 429,
        code: 'TP_LIMITED',
        expose: true,
        message: 'The limit is used up.',
        headers: { 'Retry-After': '3', RateLimit: '"1m";r=0;t=3' },
        refusal: limited,
      })
    })

    it("keeps its fields through the framework's default error handler", async () => {
      const app = await start({ stack: [refusing()], handler: never, refusals })
      const answer = await ask(app)
      expect(answer.status).toBe(429)
      expect(lines(answer, 'retry-after')).toEqual(['3'])
      expect(lines(answer, 'ratelimit')).toEqual(['"1m";r=0;t=3'])
    })

    it('replies all the same where the mount has a reply of its own', async () => {
      const app = await start({
        stack: [refusing(() => ({ body: 'mine' }))],
        handler: never,
        refusals,
      })
      expect(await ask(app)).toMatchObject({ status: 429, text: 'mine' })
      expect(app.errors).toEqual([])
    })
  })
})
