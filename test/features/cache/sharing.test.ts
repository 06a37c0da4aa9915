/** Who shares a response with whom: what is not provably the same for every client is not shared. */
import Koa from 'koa'
import session from 'koa-session'
import request from 'supertest'
import { describe, expect, test } from 'vitest'
import { turnpike } from '../../../src/koa.ts'
import { testStore } from '../../../src/testing.ts'
import { bothEngines } from '../../support/engines.ts'
import { counting, kinds, statusOf, type Handler, type Setup, type Tools } from './support.ts'

const engines = bothEngines()

/** Answers with the number of the call, so that a shared response is recognised. */
const numbered = (answer: (tools: Tools) => void = () => {}) => {
  const handler = counting((tools) => {
    answer(tools)
    tools.send(200, `number ${handler.calls}`)
  })
  return handler
}

describe.each(engines)('the cache on the $name engine', ({ open }) => {
  describe.each(kinds)('$name', (kind) => {
    async function app(handler: Handler, rest: Omit<Setup, 'handler' | 'options'> = {}) {
      const { store, prefix, advance } = open()
      const options = { store, prefix, requestBudget: '9s' } as const
      return { ...(await kind.start({ options, handler, ...rest })), store, advance }
    }
    const isKoa = kind.name.startsWith('Koa')
    const isExpress = kind.name.startsWith('Express')

    test.each<[string, Record<string, string>, string]>([
      ['a bearer token', { authorization: 'Bearer a' }, 'authorization'],
      ['an API key', { 'x-api-key': 'a' }, 'api-key'],
      ['a gateway’s user', { 'x-forwarded-user': 'ann' }, 'api-key'],
      ['a session header', { 'x-session': 'abc' }, 'api-key'],
      [
        'a session cookie, also before the session is loaded',
        { cookie: 'connect.sid=s%3Aabc' },
        'cookie',
      ],
      ['an unknown cookie beside those of analytics', { cookie: '_ga=1; theme=dark' }, 'cookie'],
      ['a cookie without a name', { cookie: '=x' }, 'cookie'],
    ])(
      'a visitor with %s does not get the anonymous page, and leaves none',
      async (_what, fields, reason) => {
        const handler = numbered()
        const { get } = await app(handler)
        expect((await get('/', fields)).text).toBe('number 1')
        expect((await get()).text).toBe('number 2')
        expect(statusOf(await get())).toMatch(/hit|collapsed/)
        const personal = await get('/', fields)
        expect([personal.text, statusOf(personal)]).toEqual([
          'number 3',
          `turnpike; fwd=bypass; detail=${reason}`,
        ])
      },
    )

    const middlewares: [string, (native: any, tools: Tools) => void, string][] = [
      [
        'passport: req.user, ctx.state.user',
        (native) => void ((isKoa ? native.state : native).user = { id: 1 }),
        'user',
      ],
      ['express-jwt: req.auth', (native) => void (native.auth = { sub: '1' }), 'user'],
      [
        'express-openid-connect: req.oidc',
        (native) => void (native.oidc = { isAuthenticated: () => true, user: {} }),
        'user',
      ],
      [
        'a session that holds data',
        (native) => void (native.session = { cookie: {}, cart: 1 }),
        'session',
      ],
    ]
    if (isExpress)
      middlewares.push([
        'res.locals.user',
        (_native, { res }) => void ((res as any).locals.user = { id: 1 }),
        'user',
      ])
    test.each(middlewares)(
      'what a middleware knows of the sender counts: %s',
      async (_what, know, reason) => {
        const handler = numbered()
        const { get } = await app(handler, {
          outer: (tools) => tools.header('x-known') && know(tools.native, tools),
        })
        await get()
        const personal = await get('/', { 'x-known': '1' })
        expect([personal.text, statusOf(personal)]).toEqual([
          'number 2',
          `turnpike; fwd=bypass; detail=${reason}`,
        ])
        // The same, where the middleware runs behind the cache.
        const inner = numbered(({ header, native, ...tools }) => {
          if (header('x-known')) know(native, { header, native, ...tools })
        })
        const behind = await app(inner)
        const first = await behind.get('/', { 'x-known': '1' })
        expect(statusOf(first)).toBe(`turnpike; fwd=miss; detail=${reason}`)
        expect((await behind.get()).text).toBe('number 2')
      },
    )

    test.each<[string, (native: any) => void]>([
      [
        'express-openid-connect without a login',
        (native) => void (native.oidc = { isAuthenticated: () => false }),
      ],
      ['a session without data', (native) => void (native.session = { cookie: { path: '/' } })],
      [
        'a session whose data was removed',
        (native) => void (native.session = { cookie: {}, user: undefined }),
      ],
    ])('an anonymous visitor is served from the cache: %s', async (_what, know) => {
      const { get } = await app(numbered(), { outer: ({ native }) => know(native) })
      await get()
      expect((await get()).text).toBe('number 1')
    })

    test('visitors with nothing but cookies of analytics share a response, whose handler does not see them', async () => {
      const seen: unknown[] = []
      const handler = numbered(({ header, native }) => {
        seen.push(header('cookie'), native.cookies?.a)
      })
      const { get } = await app(handler)
      const first = await get('/', {
        cookie: '_ga=GA1.2.3; _gid=x; _hjSession_1=y; mp_abc_mixpanel=z',
      })
      const second = await get('/', { cookie: '_fbp=other' })
      expect([first.text, second.text, (await get()).text]).toEqual(Array(3).fill('number 1'))
      expect(seen[0]).toBeUndefined()
      // A name of one's own.
      const own = await app(numbered(), { cache: { ttl: '1m', cookies: { ignore: ['promo_*'] } } })
      await own.get('/', { cookie: 'promo_1=a; _ga=b' })
      expect((await own.get('/', { cookie: 'promo_2=a' })).text).toBe('number 1')
      expect((await own.get('/', { cookie: 'promo=a' })).text).toBe('number 2')
    })

    test('a response that varies by Cookie is one for all who have only ignored cookies', async () => {
      const { get } = await app(numbered(({ set }) => set('Vary', 'Cookie')))
      await get('/', { cookie: '_ga=1' })
      expect((await get('/', { cookie: '_ga=2' })).text).toBe('number 1')
    })

    test('`public: true` and `scope` share as they say', async () => {
      const shared = await app(
        numbered(({ cookie }) => cookie('seen', '1')),
        {
          cache: { ttl: '1m', public: true },
        },
      )
      const first = await shared.get('/', { cookie: 'sid=1' })
      const second = await shared.get('/', { authorization: 'Bearer a' })
      expect([first.text, second.text]).toEqual(['number 1', 'number 1'])
      // The cookie goes to the client that it was set for.
      expect([first.headers['set-cookie']?.length, second.headers['set-cookie']]).toEqual([
        1,
        undefined,
      ])
      const scoped = await app(numbered(), {
        cache: { ttl: '1m', scope: (native: any) => native.headers['x-user'] },
      })
      const of = async (user: string) =>
        (await scoped.get('/', { 'x-user': user, cookie: `sid=${user}` })).text
      expect([await of('a'), await of('b'), await of('a')]).toEqual([
        'number 1',
        'number 2',
        'number 1',
      ])
      // Without an owner, cookies count again.
      expect((await scoped.get('/', { cookie: 'sid=c' })).text).toBe('number 3')
      expect((await scoped.get('/', { cookie: 'sid=d' })).text).toBe('number 4')
    })

    test('`vary` makes a credential a part of the key', async () => {
      const handler = numbered()
      const { get } = await app(handler, { cache: { ttl: '1m', vary: ['X-Api-Key'] } })
      const of = async (key: string, more = {}) =>
        (await get('/', { 'x-api-key': key, ...more })).text
      expect([await of('a'), await of('b'), await of('a')]).toEqual([
        'number 1',
        'number 2',
        'number 1',
      ])
      // A second credential is none of the key's.
      expect(await of('a', { authorization: 'Bearer x' })).toBe('number 3')
      expect(await of('a', { cookie: 'sid=x' })).toBe('number 4')
    })

    test('a user with nothing but cookies of analytics gets no page of the key that they are in', async () => {
      const { get } = await app(numbered(), {
        cache: { ttl: '1m', vary: ['Cookie'] },
        outer: ({ header, native }) => {
          if (header('x-login')) (isKoa ? native.state : native).user = { id: header('x-login') }
        },
      })
      const cookie = '_ga=1'
      const personal = await get('/', { cookie, 'x-login': 'ann' })
      expect([personal.text, statusOf(personal)]).toEqual([
        'number 1',
        'turnpike; fwd=bypass; detail=user',
      ])
      expect((await get('/', { cookie })).text).toBe('number 2')
      expect((await get('/', { cookie, 'x-login': 'bob' })).text).toBe('number 3')
      // A session's cookie tells who the user is.
      const known = { cookie: 'sid=1', 'x-login': 'ann' }
      expect([(await get('/', known)).text, (await get('/', known)).text]).toEqual([
        'number 4',
        'number 4',
      ])
    })

    test('a response that says `public` is shared with personal requests, and one that does not say so any more is not', async () => {
      let control = 'public, max-age=60'
      const { get, tp } = await app(numbered(({ set }) => set('Cache-Control', control)))
      const ann = { authorization: 'Bearer ann' }
      const bob = { cookie: 'sid=bob' }
      // The first one tells that it may be looked up.
      expect((await get('/', ann)).text).toBe('number 1')
      expect((await get('/', bob)).text).toBe('number 2')
      expect((await get('/', ann)).text).toBe('number 2')
      expect((await get()).text).toBe('number 2')
      await tp.cache.clear()
      control = 'max-age=60'
      expect((await get('/', ann)).text).toBe('number 3')
      expect((await get('/', bob)).text).toBe('number 4')
      expect((await get()).text).toBe('number 5')
      expect((await get('/', ann)).text).toBe('number 6')
      expect((await get()).text).toBe('number 5')
    })

    test.each<[string, NonNullable<Setup['outer']>]>([
      ['a cookie', ({ cookie }) => cookie('visitor', '1')],
      [
        'a nonce in its Content-Security-Policy',
        ({ set }) => set('Content-Security-Policy', "script-src 'nonce-abc'"),
      ],
      [
        'a nonce that is only reported',
        ({ set }) => set('Content-Security-Policy-Report-Only', "script-src 'self' 'nonce-abc'"),
      ],
    ])('a response with %s is not stored, whoever has set it', async (_what, give) => {
      for (const where of ['outside', 'inside']) {
        const handler = numbered((tools) => where === 'inside' && give(tools))
        const { get } = await app(handler, where === 'outside' ? { outer: give } : {})
        const first = await get()
        expect([where, statusOf(first)]).toEqual([
          where,
          `turnpike; fwd=miss; detail=${first.headers['set-cookie'] ? 'set-cookie' : 'nonce'}`,
        ])
        expect((await get()).text).toBe('number 2')
      }
    })

    test('a response whose cookie is set by a session further outside is not stored', async () => {
      const { get } = await app(numbered(), {
        cache: (tp) => [
          tp.session({ secret: 'a secret of the tests', cookie: { secure: false } }),
          (native: any, res: any, next: any) => {
            const session = native.session
            if (native.url === '/flash') session.flash = 'x'
            return (next ?? res)()
          },
          tp.cache({ ttl: '1m', jitter: 0 }),
        ],
      })
      await get()
      expect((await get()).text).toBe('number 1')
      expect(statusOf(await get('/flash'))).toContain('detail=session')
      expect((await get('/flash')).text).toBe('number 3')
    })

    test.each<[string, object]>([
      ['an empty scope', { scope: () => '' }],
      ['NaN as a scope', { scope: () => NaN }],
      ['an object as a scope', { scope: () => ({ id: 1 }) }],
      ['true as a scope', { scope: () => true }],
      ['no key', { key: () => undefined }],
      ['an empty key', { key: () => '' }],
      ['an empty list as a key', { key: () => [] }],
      ['a key with an empty part', { key: () => ['user', ''] }],
      ['a key with NaN', { key: () => ['user', NaN] }],
      ['an object as a key', { key: () => ({}) }],
    ])(
      '%s is no identity: the request fails, and no two clients share an entry',
      async (_what, options) => {
        const handler = numbered()
        const { get, errors } = await app(handler, { cache: { ttl: '1m', ...options } as any })
        const answer = await get()
        expect([answer.status, handler.calls, errors[0]?.code]).toEqual([500, 0, 'TP_KEY'])
      },
    )

    test('numbers are identities', async () => {
      const { get, tp } = await app(numbered(), {
        cache: { ttl: '1m', key: () => ['product', 7], scope: () => 0 } as any,
      })
      await get()
      expect((await get('/other')).text).toBe('number 1')
      await tp.cache.purge({ key: ['product', '7'] })
      expect((await get()).text).toBe('number 2')
    })
  })
})

test('koa-session’s empty session is empty, and one that holds data is not', async () => {
  const tp = turnpike({ store: testStore() })
  const app = new Koa()
  app.keys = ['a']
  app.use(session({}, app))
  app.use(tp.cache({ ttl: '1m' }))
  let calls = 0
  app.use((ctx: any) => {
    void ctx.session.user
    if (ctx.path === '/login') ctx.session.user = 'ann'
    ctx.body = `number ${++calls}`
  })
  const listener = app.callback()
  const get = (path: string) => request(listener).get(path)
  await get('/')
  expect((await get('/')).text).toBe('number 1')
  expect((await get('/login')).headers['cache-status']).toBe('turnpike; fwd=miss; detail=session')
})
