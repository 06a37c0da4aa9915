/** `login`, `require`, and `tp.sessions`: list, revoke, revokeAll, count. */
import { describe, expect, test } from 'vitest'
import { apps } from '../../support/apps.ts'
import { bothEngines } from '../../support/engines.ts'
import { ageing, cookiesOf, site, type SiteOptions } from './support.ts'

const engines = bothEngines()

describe.each(engines)('users on the $name engine', (engine) => {
  const { server } = engine
  const open = ageing(engine)

  describe.each(apps)('$name', (kind) => {
    function start(options: SiteOptions = {}) {
      const opened = open()
      const app = site(kind, opened, options)
      return { ...opened, app, someone: app.browser() }
    }

    test('list: who, where, since when; handles are no logins', async () => {
      const { app, someone, advance } = start()
      await someone.get('/login?user=ada', { 'User-Agent': 'A browser' })
      await advance('1h')
      const other = app.browser()
      await other.get('/login?user=ada', { 'User-Agent': 'A telephone' })
      await app.browser().get('/login?user=bob')
      const { id } = await other.json('/id')
      const sessions = await app.tp.sessions.list('ada', { current: id })
      expect(sessions).toHaveLength(2)
      expect(sessions[0]).toMatchObject({
        user: 'ada',
        userAgent: 'A browser',
        ip: expect.stringContaining('127.0.0.1'),
        current: false,
      })
      expect(sessions[1]).toMatchObject({ userAgent: 'A telephone', current: true })
      expect(sessions[1]!.created.getTime() - sessions[0]!.created.getTime()).toBe(3_600_000)
      expect(sessions[1]!.expires.getTime() - sessions[1]!.lastSeen.getTime()).toBe(86_400_000)
      expect(id).not.toContain(sessions[1]!.handle.split('.')[1])
      expect(await app.tp.sessions.count('ada')).toBe(2)
      expect(await app.tp.sessions.count('nobody')).toBe(0)
      expect(await app.tp.sessions.list('nobody')).toEqual([])
    })

    test('revoke: by handle, or by id; the index forgets what is gone', async () => {
      const { app, someone } = start()
      const other = app.browser()
      await someone.get('/login')
      await other.get('/login')
      const { id } = await other.json('/id')
      const [first] = (await app.tp.sessions.list('ada', { current: id })).filter(
        ({ current }: any) => !current,
      )
      expect(await app.tp.sessions.revoke(first!.handle)).toBe(true)
      expect(await app.tp.sessions.revoke(first!.handle)).toBe(false)
      expect(await someone.json('/')).toEqual({})
      expect(await app.tp.sessions.revoke(id)).toBe(true)
      expect(await other.json('/')).toEqual({})
      expect(await app.tp.sessions.count('ada')).toBe(0)
    })

    test('the index holds no expired sessions', async () => {
      const { app, someone, advance } = start({ session: { ttl: '1h' } })
      await someone.get('/login')
      await advance('59m')
      await app.browser().get('/login')
      expect(await app.tp.sessions.count('ada')).toBe(2)
      await advance('2m')
      expect(await app.tp.sessions.count('ada')).toBe(1)
      expect(await app.tp.sessions.list('ada')).toHaveLength(1)
    })

    test('maxPerUser: the session that would end first makes room', async () => {
      const { app, advance } = start({ session: { maxPerUser: 2 } })
      const browsers = [app.browser(), app.browser(), app.browser()]
      for (const each of browsers) {
        await each.get('/login')
        await advance(10)
      }
      expect(await Promise.all(browsers.map((each) => each.json('/')))).toEqual([
        {},
        { userId: 'ada' },
        { userId: 'ada' },
      ])
      expect(await app.tp.sessions.count('ada')).toBe(2)
    })

    test('maxPerUser with deny: the login is refused, and the session from before stays', async () => {
      const { app, someone } = start({ session: { maxPerUser: 1, onOverflow: 'deny' } })
      await app.browser().get('/login')
      await someone.get('/set?key=cart&value=1')
      const refused = await someone.get('/login')
      expect(refused.status).toBe(409)
      expect(app.errors.at(-1).code).toBe('TP_SESSION_LIMIT')
      expect(await someone.json('/')).toEqual({ cart: '1' })
      await app.tp.sessions.revokeAll('ada')
      expect((await someone.get('/login')).status).toBe(200)
    })

    test('login: data is added, what was there stays, and switching users ends the first one’s session at once', async () => {
      const { app, someone } = start({
        routes: {
          '/in': async (native, tp) => {
            await tp.session.login(native, 7, { name: 'Ada' })
            return {}
          },
        },
      })
      await someone.get('/set?key=cart&value=1')
      await someone.get('/in')
      expect(await someone.json('/')).toEqual({ cart: '1', userId: 7, name: 'Ada' })
      const before = app.browser()
      before.jar.set('sid', someone.cookie()!)
      await someone.get('/login?user=bob')
      expect(await before.json('/')).toEqual({})
      expect(await app.tp.sessions.count(7)).toBe(0)
      expect(await app.tp.sessions.count('bob')).toBe(1)
    })

    test('login that nobody awaits still holds up the response', async () => {
      const { someone } = start({
        routes: { '/in': (native, tp) => ({ in: void tp.session.login(native, 'ada') }) },
      })
      expect(cookiesOf(await someone.get('/in'))).toHaveLength(1)
      expect(await someone.json('/')).toEqual({ userId: 'ada' })
    })

    test('logout: the cookie is removed, and what is put into the session afterwards is a new one', async () => {
      const { someone } = start({
        routes: {
          '/bye': async (native, tp) => {
            await tp.session.logout(native)
            native.session.flash = 'bye'
            return {}
          },
        },
      })
      await someone.get('/login')
      const { id } = await someone.json('/id')
      await someone.get('/bye')
      expect(await someone.json('/')).toEqual({ flash: 'bye' })
      expect((await someone.json('/id')).id).not.toBe(id)
      await someone.get('/login')
      await someone.get('/logout')
      expect([...someone.jar]).toEqual([])
    })

    test.each([
      ['', {}],
      [' of a lazy session', { lazy: true }],
    ])('require: 401 without a user, 403 without the permission%s', async (_, session) => {
      const { app, someone } = start({
        session,
        after: (tp) => {
          const [user, write] = [tp.session.require(), tp.session.require('write')]
          const under = (path: string, middleware: any): any =>
            kind.name.startsWith('Koa')
              ? (ctx: any, next: any) => (ctx.path === path ? middleware(ctx, next) : next())
              : (req: any, res: any, next: any) =>
                  req.url === path ? middleware(req, res, next) : next()
          return [under('/user', user), under('/write', write)]
        },
        routes: {
          '/user': () => ({}),
          '/write': () => ({}),
          '/login': async (native, tp) => {
            await tp.session.login(native, 'ada')
            return {}
          },
          '/in': async (native, tp) => {
            await tp.session.login(native, 'ada', { permissions: ['read', 'write'] })
            return {}
          },
        },
      })
      const refused = await someone.get('/user')
      expect(refused.status).toBe(401)
      expect(refused.headers['content-type']).toContain('problem+json')
      await someone.get('/login')
      expect((await someone.get('/user')).status).toBe(200)
      expect((await someone.get('/write')).status).toBe(403)
      await someone.get('/in')
      expect((await someone.get('/write')).status).toBe(200)
      expect(app.errors).toEqual([])
    })

    /** Mounts a middleware of `tp.session.require()` for one path. */
    const guarded =
      (path: string, middlewareOf: (tp: any) => any) =>
      (tp: any): any[] => {
        const middleware = middlewareOf(tp)
        return [
          kind.name.startsWith('Koa')
            ? (ctx: any, next: any) => (ctx.path === path ? middleware(ctx, next) : next())
            : (req: any, res: any, next: any) =>
                new URL(req.url, 'http://x').pathname === path
                  ? middleware(req, res, next)
                  : next(),
        ]
      }

    test('require({ redirect }): a visitor is sent to the login page, and a form too', async () => {
      const { app, someone } = start({
        after: guarded('/account', (tp) => tp.session.require({ redirect: '/login-page' })),
        routes: { '/account': () => ({ in: true }) },
      })
      const page = await someone.get('/account')
      expect([page.status, page.headers['location']]).toEqual([302, '/login-page'])
      expect(page.headers['cache-control']).toBe('no-store')
      const form = await app.post('/account')
      expect([form.status, form.headers['location']]).toEqual([303, '/login-page'])
      await someone.get('/login')
      expect(await someone.json('/account')).toEqual({ in: true })
    })

    test('require({ redirect }) may ask the request; it stays on this host unless it says otherwise', async () => {
      const { app } = start({
        after: guarded('/account', (tp) =>
          tp.session.require('write', {
            redirect: ({ headers }: any) => headers['x-to'] ?? '/in?next=/account ü',
          }),
        ),
        routes: { '/account': () => ({}) },
      })
      const to = async (headers = {}): Promise<unknown> => {
        const { status, headers: fields } = await app.get('/account', headers)
        return status === 302 ? fields['location'] : status
      }
      expect(await to()).toBe('/in?next=/account%20%C3%BC')
      expect(await to({ 'x-to': 'https://sso.example.com/in' })).toBe('https://sso.example.com/in')
      for (const elsewhere of ['//evil.example', '/\\evil.example', 'javascript:alert(1)', ''])
        expect(await to({ 'x-to': elsewhere }), elsewhere).toBe(500)
    })

    test('require({ reply }) phrases 401 and 403', async () => {
      const reply = (_native: unknown, { status, code }: any) => ({ body: { status, code } })
      const { someone } = start({
        after: guarded('/account', (tp) => tp.session.require('write', { reply })),
        routes: { '/account': () => ({}) },
      })
      const anonymous = await someone.get('/account')
      expect([anonymous.status, anonymous.text]).toEqual([
        401,
        '{"status":401,"code":"TP_UNAUTHENTICATED"}',
      ])
      await someone.get('/login')
      expect((await someone.get('/account')).text).toBe('{"status":403,"code":"TP_FORBIDDEN"}')
    })

    test('refusals: next hands them to the error handler', async () => {
      const { app, someone } = start({
        instance: { refusals: 'next' },
        after: guarded('/account', (tp) => tp.session.require()),
        routes: { '/account': () => ({}) },
      })
      expect((await someone.get('/account')).status).toBe(401)
      expect(app.errors.map(({ code }) => code)).toEqual(['TP_UNAUTHENTICATED'])
    })
  })

  test(
    '1,000 sessions of one user: list and revokeAll in bounded batches',
    { timeout: 90_000 },
    async () => {
      const opened = open()
      const app = site(apps[0]!, opened)
      const someone = app.browser()
      await someone.get('/login')
      const runs: { name: string; keys: number; reply: any }[] = []
      const run = opened.store.run.bind(opened.store)
      opened.store.run = async (operation: any, keys: any, ...rest: any[]): Promise<any> => {
        const reply = await (run as any)(operation, keys, ...rest)
        runs.push({ name: operation.name, keys: keys.length, reply })
        return reply
      }
      await Promise.all(Array.from({ length: 999 }, () => app.browser().get('/login')))
      runs.length = 0
      const sessions = await app.tp.sessions.list('ada')
      expect(sessions).toHaveLength(1000)
      expect(new Set(sessions.map(({ handle }: any) => handle)).size).toBe(1000)
      expect(runs.filter(({ name }) => name === 'session.load').map(({ keys }) => keys)).toEqual(
        Array(5).fill(201),
      )
      expect(await app.tp.sessions.list('ada', { offset: 990 })).toHaveLength(10)
      expect(await app.tp.sessions.list('ada', { limit: 7 })).toHaveLength(7)
      const { id } = await someone.json('/id')
      runs.length = 0
      expect(await app.tp.sessions.revokeAll('ada', { except: id })).toBe(999)
      const swept = runs.filter(({ name }) => name === 'session.sweep')
      expect(swept.length).toBeGreaterThanOrEqual(5)
      for (const { reply } of swept) expect(reply[0]).toBeLessThanOrEqual(200)
      expect(await app.tp.sessions.count('ada')).toBe(1)
      expect(await someone.json('/')).toEqual({ userId: 'ada' })
      if (server())
        expect(
          (await server()!.send('KEYS', `${opened.prefix}:session:*`)).startsWith('*1\r\n'),
        ).toBe(true)
    },
  )

  test('tenants: users of one name are different users', async () => {
    const opened = open()
    const app = site(apps[0]!, opened, {
      instance: { tenant: (native: any) => native.headers['x-tenant'] },
    })
    const [red, blue] = [app.browser(), app.browser()]
    await red.get('/login', { 'x-tenant': 'red' })
    await blue.get('/login', { 'x-tenant': 'blue' })
    expect((await red.get('/', { 'x-tenant': 'red' })).text).toBe('{"userId":"ada"}')
    const elsewhere = await app.get('/', { Cookie: `sid=${red.cookie()}`, 'x-tenant': 'blue' })
    expect(elsewhere.text).toBe('{}')
    expect(await app.tp.sessions.count('ada', { tenant: 'red' })).toBe(1)
    await expect(app.tp.sessions.count('ada')).rejects.toMatchObject({ code: 'TP_KEY' })
    expect(await app.tp.sessions.revokeAll('ada', { tenant: 'red' })).toBe(1)
    expect((await red.get('/', { 'x-tenant': 'red' })).text).toBe('{}')
    expect((await blue.get('/', { 'x-tenant': 'blue' })).text).toBe('{"userId":"ada"}')
    expect(() => app.tp.sessionStore()).toThrow(expect.objectContaining({ code: 'TP_OPTION' }))
  })
})

test('tp.sessions says what it needs', async () => {
  const { testStore } = await import('../../../src/testing.ts')
  const { turnpike } = await import('../../../src/node.ts')
  const tp = turnpike({ store: testStore() })
  await expect(tp.sessions.list('ada')).rejects.toMatchObject({ code: 'TP_OPTION' })
  tp.session({ secret: 's' })
  await expect(tp.sessions.list('')).rejects.toMatchObject({ code: 'TP_OPTION' })
  await expect(tp.sessions.revoke('')).rejects.toMatchObject({ code: 'TP_OPTION' })
  await expect(tp.sessions.list('ada', { curent: 'x' } as never)).rejects.toThrow(
    'Did you mean current?',
  )
})
