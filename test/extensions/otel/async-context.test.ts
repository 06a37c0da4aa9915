/** Spans of an application belong to the request that they are created in, behind every middleware. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startRedis, type RedisServer } from '../../../src/testing.ts'
import { express4App, express5, koa3 } from '../../support/serve.ts'

/** As the context of OpenTelemetry's SDK for Node. */
const storage = new AsyncLocalStorage<string>()
const CLIENTS = 20

let server: RedisServer
beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server.stop())

describe.each([express4App, express5, koa3])(
  'the async context of a request on $name',
  (framework) => {
    it('is its own behind each middleware, after waiting for other requests, and in what it calls', async () => {
      const seen = new Map<string, number>()
      const lost: string[] = []
      const { tp, get } = await framework.serve({
        options: {
          redis: server.url,
          prefix: `context${Math.random()}`,
          commandTimeout: '5s',
          requestBudget: '30s',
          operations: false,
          logger: false,
        },
        routes: (tp) => {
          const secret = 'a-secret-that-is-long-enough-for-sessions'
          const videos = tp.semaphore('videos', { limit: 2 })
          function check(where: string, id: string): void {
            seen.set(where, (seen.get(where) ?? 0) + 1)
            if (storage.getStore() !== id) lost.push(where)
          }
          /** Runs a middleware as an instrumentation of HTTP would, and looks behind it. */
          function within(where: string, middleware: any): any {
            return (native: any, ...rest: any[]) => {
              const id = native.headers['x-id'] as string
              const next = rest.pop() as () => unknown
              return storage.run(id, () => {
                const res = native.res
                // Koa sends outside of its middlewares.
                if (framework !== koa3) res.on('finish', () => check(`the end of ${where}`, id))
                return middleware(native, ...rest, async (error: unknown) => {
                  check(where, id)
                  if (where === 'cache') await sleep(5)
                  check(where, id)
                  return (next as (error: unknown) => unknown)(error)
                })
              })
            }
          }
          const asked = (where: string, ask: () => Promise<unknown>): any =>
            within(where, async (...args: any[]) => {
              await ask()
              return args.at(-1)()
            })
          const limit = { limit: 1000, window: '1m' } as const
          return {
            '/session': within('session', tp.session({ secret })),
            '/limit': within('limit', tp.rateLimit({ ...limit, name: 'api' })),
            '/lease': within('lease', tp.rateLimit({ ...limit, name: 'leased', lease: true })),
            '/cache': within(
              'cache',
              tp.cache({ name: 'pages', ttl: '1s', staleWhileRevalidate: '1s' }),
            ),
            '/near': within('near', tp.cache({ name: 'near', ttl: '1s', near: true })),
            '/pipeline': within(
              'pipeline',
              tp.pipeline(
                tp.session({ secret, name: 'other' }),
                tp.rateLimit({ ...limit, name: 'p' }),
              ),
            ),
            '/lock': asked('lock', () => tp.lock('report', { wait: '30s' }, () => sleep(2))),
            '/semaphore': asked('semaphore', () => videos.using({ wait: '30s' }, () => sleep(2))),
            '/data': asked('data', () => tp.data.getOrFetch('d', () => sleep(5, 'x'))),
          }
        },
      })
      await tp.ready()
      for (const path of [
        'session',
        'limit',
        'lease',
        'cache',
        'near',
        'pipeline',
        'lock',
        'semaphore',
        'data',
      ]) {
        const ids = Array.from({ length: CLIENTS }, (_, i) => `${path}${i}`)
        const answers = await Promise.all(ids.map((id) => get(`/${path}`, { 'x-id': id })))
        expect(
          answers.map(({ status }) => status),
          path,
        ).toEqual(ids.map(() => 200))
        expect(seen.get(path), path).toBeGreaterThan(0)
      }
      expect(seen.get('lock')).toBe(2 * CLIENTS)
      expect(lost).toEqual([])
    }, 60_000)
  },
)
