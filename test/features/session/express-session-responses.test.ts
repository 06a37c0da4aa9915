/** What express-session's users rely on besides its README: other patches of the response, addresses, and what is sent when. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { expect, test } from 'vitest'
import { describeSubjects } from './express-session-subjects.ts'
import { cookiesOf, type Route, type SiteOptions } from './support.ts'

type Write = (res: ServerResponse, native: any) => void

const LASTING = { cookie: { maxAge: 60_000, secure: false } }

describeSubjects(({ start, isOwn, isKoa, isReference, hasTrustProxy }) => {
  /** An application that answers /raw on the response itself. */
  const raw = (write: Write, more: SiteOptions = {}): SiteOptions => ({
    ...more,
    after: () => [
      isKoa
        ? (ctx: any, next: any) => {
            if (ctx.path !== '/raw') return next()
            ctx.respond = false
            return write(ctx.res, ctx)
          }
        : (req: any, res: any, next: any) => (req.url === '/raw' ? write(res, req) : next()),
    ],
  })
  /** A middleware outside of the session that changes request and response. */
  const outside = (change: (req: IncomingMessage, res: ServerResponse) => void): SiteOptions => ({
    before: () => [
      isKoa
        ? (ctx: any, next: any) => (change(ctx.req, ctx.res), next())
        : (req: any, res: any, next: any) => (change(req, res), next()),
    ],
  })
  const changed: Write = (_res, native) => void (native.session.a = '1')

  test.each<[string, Write, string]>([
    ['end', (res) => void res.end('hello'), 'hello'],
    ['end with null', (res) => void res.end(null), ''],
    [
      'end twice',
      (res) => {
        res.end('hello')
        res.end()
      },
      'hello',
    ],
    ['an empty body with its length', (res) => void res.setHeader('Content-Length', 0).end(), ''],
    [
      'pieces of a known length',
      (res) => {
        res.setHeader('Content-Length', 10)
        res.write('hello')
        res.end('hello')
      },
      'hellohello',
    ],
    [
      'a length that is written with the head',
      (res) => void res.writeHead(200, { 'Content-Length': 5 }).end('hello'),
      'hello',
    ],
  ])('a changed session is stored when the client has the response: %s', async (_, write, body) => {
    const answer: Write = (res, native) => {
      changed(res, native)
      write(res, native)
    }
    const someone = start({}, raw(answer)).browser()
    const response = await someone.get('/raw')
    expect(response.text ?? '').toBe(body)
    expect(await someone.json('/')).toEqual({ a: '1' })
  })

  /** Writes in capitals, as a middleware that transforms bodies does. */
  const patch = (res: any): void => {
    const { write, end } = res
    const loud = (chunk: unknown): unknown =>
      typeof chunk === 'string' ? chunk.toUpperCase() : chunk
    res.write = (chunk: unknown, ...rest: unknown[]) => write.call(res, loud(chunk), ...rest)
    res.end = (chunk: unknown, ...rest: unknown[]) => end.call(res, loud(chunk), ...rest)
  }
  const inPieces: Write = (res, native) => {
    changed(res, native)
    res.write('hello, ')
    res.end('world')
  }

  test('write and end may be patched before the session', async () => {
    const someone = start(
      {},
      raw(
        inPieces,
        outside((req, res) => void (req.url === '/raw' && patch(res))),
      ),
    ).browser()
    expect((await someone.get('/raw')).text).toBe('HELLO, WORLD')
    expect(await someone.json('/')).toEqual({ a: '1' })
  })

  test('write and end may be patched behind the session', async () => {
    const behind: Write = (res, native) => {
      patch(res)
      inPieces(res, native)
    }
    const someone = start({}, raw(behind)).browser()
    expect((await someone.get('/raw')).text).toBe('HELLO, WORLD')
    expect(await someone.json('/')).toEqual({ a: '1' })
  })

  test.each<[string, Write]>([
    ['setHeader', (res) => void res.setHeader('Set-Cookie', 'previous=1')],
    ['writeHead', (res) => void res.writeHead(200, { 'Set-Cookie': 'previous=1' })],
    ['writeHead with a list', (res) => void res.writeHead(200, ['Set-Cookie', 'previous=1'])],
  ])('a cookie that the handler sets by %s is sent beside the session’s', async (_, set) => {
    const write: Write = (res, native) => {
      changed(res, native)
      set(res, native)
      res.end()
    }
    const names = cookiesOf(await start({}, raw(write)).get('/raw')).map((field) =>
      field.slice(0, field.indexOf('=')),
    )
    expect(names.sort()).toEqual(['previous', 'sid'])
  })

  // Over another store, express-session's cookies go by the clock of the process.
  if (isOwn || isReference)
    test('rolling: a response that is written slowly has the cookie, and the next one a later', async () => {
      const slowly: Write = (res, native) => {
        changed(res, native)
        res.write('hello, ')
        setTimeout(() => res.end('world'), 10)
      }
      const app = start({ ...LASTING, rolling: true }, raw(slowly))
      const someone = app.browser()
      const expires = async (): Promise<number> =>
        Date.parse(/Expires=([^;]+)/.exec(cookiesOf(await someone.get('/raw'))[0]!)![1]!)
      const first = await expires()
      await app.advance('5s')
      expect((await expires()) - first).toBeGreaterThanOrEqual(4_000)
    })

  test('rolling with saveUninitialized: false: a changed session is stored, and its cookie sent', async () => {
    const someone = start({ rolling: true, saveUninitialized: false }).browser()
    expect(cookiesOf(await someone.get('/set?key=a&value=1'))).toHaveLength(1)
    expect(await someone.json('/')).toEqual({ a: '1' })
  })

  test('cookie.path is compared with the address that the client requested', async () => {
    const session = { cookie: { path: '/foo/bar', secure: false }, saveUninitialized: true }
    // As a router does that is mounted at /foo.
    const mounted = outside((req: any) => {
      req.originalUrl ??= req.url
      req.url = req.url.replace(/^\/foo/, '') || '/'
    })
    const status = async (path: string, options: SiteOptions, host = 'a'): Promise<boolean> =>
      cookiesOf(await start(session, options).get(path, { host })).length > 0
    const routes: Record<string, Route> = Object.fromEntries(
      ['/foo/bar', '/foo/bar/baz', '/foo/foo/bar', '/bar'].map((path) => [path, () => ({})]),
    )
    expect(await status('/foo/bar', { routes })).toBe(true)
    expect(await status('/foo/bar/baz', { routes })).toBe(true)
    expect(await status('/bar', { routes })).toBe(false)
    expect(await status('/bar', { routes }, 'http://foo/bar')).toBe(false)
    // Koa and routers keep the original address themselves.
    if (isKoa) return
    expect(await status('/foo/bar', { ...mounted, routes })).toBe(true)
    expect(await status('/foo/foo/bar', { ...mounted, routes })).toBe(false)
  })

  test('secret: a cookie that the first secret has signed is none where only the second is known', async () => {
    const [first, second] = ['one secret of the tests', 'another secret of the tests']
    const signed = start({ secret: [first, second] }).browser()
    await signed.get('/set?key=a&value=1')
    const other = start({ secret: second })
    const response = await other.get('/', { Cookie: `sid=${signed.cookie()}` })
    expect(JSON.parse(response.text)).toEqual({})
  })

  // On Koa, null ends the session, as with koa-session.
  if (!isKoa)
    test('unset is keep by default: the session without which a request ends is there again', async () => {
      const someone = start().browser()
      await someone.get('/set?key=a&value=1')
      await someone.get('/unset')
      expect(await someone.json('/')).toMatchObject({ a: '1' })
    })

  test('cookie.expires = null: no Expires, and no other cookie for what changes later', async () => {
    const routes: Record<string, Route> = {
      '/passing': ({ session }) => {
        session.cookie.expires = null
        session.count = (session.count ?? 0) + 1
        return {}
      },
    }
    const someone = start(LASTING, { routes }).browser()
    const [field] = cookiesOf(await someone.get('/passing'))
    expect(field).not.toContain('Expires')
    expect(cookiesOf(await someone.get('/passing'))).toEqual([])
    expect((await someone.json('/')).count).toBe(2)
  })

  test('cookie.secure = false of one session overrides the option', async () => {
    const routes: Record<string, Route> = {
      '/plain': ({ session }) => {
        session.a = 1
        session.cookie.secure = false
        return {}
      },
    }
    const app = start({ cookie: { secure: true, httpOnly: false, path: '/plain' } }, { routes })
    const [field] = cookiesOf(await app.get('/plain'))
    expect(field).toContain('Path=/plain')
    expect(field).not.toMatch(/Secure|HttpOnly/)
  })

  test('a new session that is destroyed leaves neither a cookie nor req.session', async () => {
    const routes: Record<string, Route> = {
      '/gone': async (native) => {
        await new Promise<void>((resolve) => native.session.destroy(() => resolve()))
        return { session: typeof native.session }
      },
    }
    const response = await start({ saveUninitialized: true }, { routes }).get('/gone')
    expect(cookiesOf(response)).toEqual([])
    expect(JSON.parse(response.text).session).toMatch(/undefined|object/)
  })

  test('regenerate with each request sends another ID each time', async () => {
    const someone = start({ saveUninitialized: true }).browser()
    const sent = new Set<string>()
    for (let i = 0; i < 3; i++) {
      const cookies = cookiesOf(await someone.get('/regenerate'))
      expect(cookies).toHaveLength(1)
      sent.add(cookies[0]!.split(';')[0]!)
    }
    expect(sent.size).toBe(3)
  })

  test('save after reload stores, and what follows is stored at the end', async () => {
    const routes: Record<string, Route> = {
      '/again': async ({ session }: any) => {
        const call = (name: string): Promise<void> =>
          new Promise((resolve, reject) =>
            session[name]((error?: Error) => (error ? reject(error) : resolve())),
          )
        await call('reload')
        return {}
      },
      '/saved': async (native) => {
        await new Promise<void>((resolve) => native.session.reload(() => resolve()))
        native.session.b = '2'
        await new Promise<void>((resolve) => native.session.save(() => resolve()))
        native.session.c = '3'
        return {}
      },
    }
    const someone = start({}, { routes }).browser()
    await someone.get('/set?key=a&value=1')
    await someone.get('/again')
    await someone.get('/saved')
    expect(await someone.json('/')).toEqual({ a: '1', b: '2', c: '3' })
  })

  // Express routes no request without a path.
  if (isKoa || !hasTrustProxy)
    test('a request without a path has a session', async () => {
      // Frameworks do not route an empty address: the session is all that is looked at.
      const seen: string[] = []
      const put = (req: any, session: () => unknown, next: () => unknown): unknown => {
        const result = next()
        seen.push(typeof session())
        req.url = '/kinds'
        return result
      }
      const app = start(
        { saveUninitialized: true },
        {
          ...outside((req) => void (req.url = '')),
          after: () => [
            isKoa
              ? (ctx: any, next: any) => put(ctx.req, () => ctx.session, next)
              : (req: any, _res: any, next: any) => put(req, () => req.session, next),
          ],
        },
      )
      const { status } = await app.get('/kinds')
      expect(seen).toEqual(['object'])
      expect(status).toBeLessThan(500)
      expect(isReference || app.errors.length === 0).toBe(true)
    })
})
