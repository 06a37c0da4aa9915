/** Responses in a content coding that the client cannot read, or that cannot be decoded here. */
import { gzipSync } from 'node:zlib'
import { get as httpGet } from 'node:http'
import { describe, expect, test } from 'vitest'
import type { CacheOptions } from '../../../src/index.ts'
import { bothEngines } from '../../support/engines.ts'
import { until } from '../../support/until.ts'
import { counting, kinds, type App, type Handler } from './support.ts'

interface Seen {
  status: number
  coding: string | undefined
  cacheStatus: string
  bytes: Buffer
}

/** Sends a request, and returns the body as it came. */
const seen = async ({ url }: App, headers: Record<string, string>): Promise<Seen> =>
  await new Promise((resolve, reject) => {
    const { hostname, port } = url
    httpGet({ hostname, port, headers, agent: false }, (res) => {
      const chunks: Buffer[] = []
      res.on('data', (chunk: Buffer) => chunks.push(chunk))
      res.on('end', () =>
        resolve({
          status: res.statusCode!,
          coding: res.headers['content-encoding'],
          cacheStatus: String(res.headers['cache-status']),
          bytes: Buffer.concat(chunks),
        }),
      )
    }).on('error', reject)
  })

const BOMB = gzipSync(Buffer.alloc(17 * 1024 * 1024))
const mounts: [string, CacheOptions<any>][] = [
  ['', { ttl: '10s', jitter: 0, staleIfError: '1h', keep: '1h' }],
  [', with a near cache', { ttl: '10s', jitter: 0, staleIfError: '1h', keep: '1h', near: true }],
]

describe.each(bothEngines())('the cache on the $name engine', ({ name, open }) => {
  const some = name === 'Redis' ? kinds.filter(({ name }) => /[53]$/.test(name)) : kinds
  describe.each(some)('$name', ({ start }) => {
    async function app(handler: Handler, cache: CacheOptions<any>) {
      const { store, prefix, advance } = open()
      const options = { store, prefix, requestBudget: '9s' } as const
      const app = await start({ options, handler, cache })
      const stored = async (): Promise<unknown> =>
        await until('it is stored', () => app.tp.cache.stats().stored > 0)
      return { app, advance, stored }
    }

    /** A handler that has one form of its response, and says whether a client has it already. */
    const inOneCoding = (coding: string): ReturnType<typeof counting> =>
      counting(({ header, set, send }) => {
        if (header('x-fail') === '1') throw new Error('on purpose')
        set('Content-Encoding', coding)
        set('ETag', '"v1"')
        send(header('if-none-match') === '"v1"' ? 304 : 200, Buffer.from('as it is'))
      })

    // In a list of codings none can be decoded alone.
    describe.each(['zstd', 'gzip, br'])('a body in %s', (coding) => {
      test.each(mounts)(
        'goes whole to a client that does not read it, before and after it expires%s',
        async (_, cache) => {
          const handler = inOneCoding(coding)
          const it = await app(handler, cache)
          expect((await seen(it.app, { 'accept-encoding': 'zstd' })).status).toBe(200)
          await it.stored()
          for (const time of ['0s', '11s'] as const) {
            if (time === '11s') await it.advance(time)
            for (const more of [{}, { 'if-none-match': '"other"' }]) {
              const answer = await seen(it.app, { 'accept-encoding': 'br', ...more })
              expect(answer).toMatchObject({ status: 200, coding })
              expect(String(answer.bytes)).toBe('as it is')
            }
          }
        },
      )

      test.each(mounts)(
        'that is stale does not stand in for an error where it cannot be read%s',
        async (_, cache) => {
          const it = await app(inOneCoding(coding), cache)
          await seen(it.app, { 'accept-encoding': 'zstd' })
          await it.stored()
          await it.advance('11s')
          const answer = await seen(it.app, { 'accept-encoding': 'br', 'x-fail': '1' })
          expect(answer.status).toBe(500)
          expect(answer.cacheStatus).not.toContain('stale; fwd-status')
        },
      )

      test('is compared with what a client has, although it could not be read', async () => {
        const it = await app(inOneCoding(coding), { ttl: '10s' })
        const headers = { 'accept-encoding': 'br', 'if-none-match': '"v1"' }
        expect((await seen(it.app, headers)).status).toBe(304)
        const other = { ...headers, 'if-none-match': '"other"' }
        expect(String((await seen(it.app, other)).bytes)).toBe('as it is')
      })
    })

    test('zstd is a hit for a client that reads it, and stands in for an error', async () => {
      const handler = inOneCoding('zstd')
      const it = await app(handler, mounts[0]![1])
      const reads = { 'accept-encoding': 'zstd' }
      await seen(it.app, reads)
      await it.stored()
      expect((await seen(it.app, reads)).cacheStatus).toContain('hit')
      await it.advance('11s')
      const answer = await seen(it.app, { ...reads, 'x-fail': '1' })
      expect(answer).toMatchObject({ status: 200, coding: 'zstd' })
      expect(answer.cacheStatus).toContain('fwd=stale; fwd-status=500')
    })

    test.each([
      ['that is none', Buffer.from('no gzip')],
      ['that expands without end', BOMB],
    ])('gzip %s is passed by, also from a near cache', async (_, body) => {
      const handler = counting(({ set, send }) => {
        set('Content-Encoding', 'gzip')
        send(200, body)
      })
      const it = await app(handler, { ttl: '10s', near: true })
      await seen(it.app, { 'accept-encoding': 'gzip' })
      await it.stored()
      // The first hit brings it into the near cache.
      for (let round = 0; round < 2; round++)
        expect((await seen(it.app, { 'accept-encoding': 'gzip' })).cacheStatus).toContain('hit')
      const plain = await seen(it.app, { 'accept-encoding': 'identity' })
      expect(plain.status).toBe(200)
      expect(plain.cacheStatus).toBe('turnpike; fwd=bypass; detail=coding')
      expect(handler.calls).toBe(2)
    })

    test('no-transform keeps a coding as it is, also in a near cache', async () => {
      const body = gzipSync('as it is')
      const handler = counting(({ set, send }) => {
        set('Content-Encoding', 'gzip')
        set('Cache-Control', 'no-transform')
        send(200, body)
      })
      const it = await app(handler, { ttl: '10s', near: true })
      await seen(it.app, { 'accept-encoding': 'gzip' })
      await it.stored()
      await seen(it.app, { 'accept-encoding': 'gzip' })
      const plain = await seen(it.app, { 'accept-encoding': 'identity' })
      expect(plain.coding).toBe('gzip')
      expect(plain.bytes).toEqual(body)
    })
  })
})
