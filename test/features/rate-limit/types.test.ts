/** Types of options, as the compiler of an application sees them: this file has to compile. */
import { expect, test } from 'vitest'
import type { RateLimitOptions } from '../../../src/express.ts'
import { turnpike, type RouteRequest } from '../../../src/express.ts'
import { turnpike as koaTurnpike } from '../../../src/koa.ts'
import { testStore } from '../../../src/testing.ts'

const open = () => turnpike({ store: testStore() })

test('limit and window from variables need no `as const`', () => {
  const tp = open()
  const config = { limit: 5, window: '1m' }
  tp.rateLimit(config)
  tp.rateLimit({ name: 'a', ...config })
  tp.limiter('b', config)
  tp.loginGuard({ key: (req) => req.body?.email, ...config, blockFor: config.window })
  const window: string = process.env['WINDOW'] ?? '2m'
  tp.rateLimit({ limit: Number(process.env['LIMIT'] ?? 5), window })
  tp.rateLimit({ name: 'c', limit: 5, window: () => window })
  tp.rateLimit({ name: 'd', limit: 5, window: async () => window })
  tp.rateLimit({ name: 'e', policies: [{ ...config, blockFor: window }] })
  tp.limiter('f', { policies: [config] })
  const either = process.env['LONG'] ? '1h' : '3m'
  tp.rateLimit({ limit: 5, window: either })
  const typed: RateLimitOptions<RouteRequest> = { limit: 7, window: '1m' }
  tp.rateLimit(typed)
  koaTurnpike({ store: testStore() }).rateLimit({ ...config, key: (ctx) => ctx.ip })
})

test('strings out of variables are checked at run time', () => {
  const tp = open()
  const window: string = '15 minutes'
  const error = expect.objectContaining({ code: 'TP_OPTION', suggestion: "'15m'" })
  expect(() => tp.rateLimit({ limit: 5, window })).toThrow(error)
  expect(() => tp.limiter('a', { limit: 5, window })).toThrow(error)
  expect(() => tp.loginGuard({ key: () => 'a', window })).toThrow(error)
  expect(() => tp.rateLimit({ limit: 5, window: '1m', blockFor: window })).toThrow(error)
})

test('a wrong literal is an error of the compiler', () => {
  const tp = open()
  const wrong = [
    // @ts-expect-error no unit that a duration has
    () => tp.rateLimit({ limit: 5, window: '15 minutes' }),
    () =>
      tp.rateLimit({
        policies: [
          { limit: 5, window: '1m' },
          // @ts-expect-error no unit that a duration has
          { limit: 5, window: '1hour' },
        ],
      }),
    // @ts-expect-error no unit that a duration has
    () => tp.rateLimit({ limit: 5, window: '1m', blockFor: '1 hour' }),
    // @ts-expect-error no unit that a duration has
    () => tp.limiter('a', { limit: 5, window: '15min' }),
    // @ts-expect-error no unit that a duration has
    () => tp.loginGuard({ key: () => 'a', window: '15min' }),
    // @ts-expect-error only a fixed window has months, and only under this name
    () => tp.limiter('a', { limit: 5, window: 'months' }),
    // @ts-expect-error another name
    () => tp.rateLimit({ limit: 5, window: '1m', algorithm: 'sliding' }),
  ]
  for (const make of wrong) expect(make).toThrow(expect.objectContaining({ code: 'TP_OPTION' }))
  const literal = '15 minutes'
  // @ts-expect-error the compiler knows the text
  expect(() => tp.rateLimit({ limit: 5, window: literal })).toThrow()
  // @ts-expect-error a function that returns no duration
  tp.rateLimit({ limit: 5, window: () => '15 minutes' })
})

test('callbacks receive the request of the framework, and their results are typed', () => {
  const tp = open()
  tp.rateLimit({
    limit: async (req) => (req.get('x-plan') === 'pro' ? 600 : 10),
    window: '1m',
    key: (req) => [req.params.team, req.params['user']],
    cost: (req) => Number(req.query['cost']),
    skip: (req) => req.path === '/live',
    onLimited: (req, { retryAfterMs }) => void [req.ip, retryAfterMs],
    reply: (req, { decision, status }) => ({
      status,
      body: { path: req.path, left: decision.remaining },
    }),
  })
  // @ts-expect-error a key must be an identity
  tp.rateLimit({ limit: 5, window: '2m', key: (req) => req.body === true })
  // @ts-expect-error Koa's context has no headers of node's request in this place
  tp.rateLimit({ limit: 5, window: '3m', key: (ctx) => ctx.state.user.id.missing.toFixed })
})
