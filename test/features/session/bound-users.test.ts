/** `user: (req) => id`: sessions of users whom passport or the application has logged in itself. */
import { describe, expect, test } from 'vitest'
import { apps } from '../../support/apps.ts'
import { bothEngines } from '../../support/engines.ts'
import { ageing, cookiesOf, gate, queryOf, site, type Route, type SiteOptions } from './support.ts'

const engines = bothEngines()
const user = (native: any): unknown => native.session?.passport?.user

/** What passport does at a login, and at a logout. */
const routes: Record<string, Route> = {
  '/in': async (native) => {
    await called(native, 'regenerate')
    native.session.passport = { user: queryOf(native, 'user') ?? 'ada' }
    await called(native, 'save')
    return { id: native.sessionID }
  },
  '/out': async (native) => {
    delete native.session.passport
    await called(native, 'save')
    await called(native, 'regenerate')
    return {}
  },
  '/in-without-regenerate': (native) => {
    native.session.passport = { user: 'ada' }
    return {}
  },
}
const called = (native: any, method: string): Promise<void> =>
  new Promise((resolve, reject) =>
    native.session[method]((error?: Error) => (error ? reject(error) : resolve())),
  )

describe.each(engines)('on the $name engine', (engine) => {
  const open = ageing(engine)

  describe.each(apps)('$name', (kind) => {
    function start(session: object = {}, more: SiteOptions = {}, opened = open()) {
      const app = site(kind, opened, {
        ...more,
        session: { user, ...session },
        routes: { ...routes, ...more.routes },
      })
      return { ...opened, opened, app, someone: app.browser() }
    }

    test('tp.sessions knows whose session it is, from the login on', async () => {
      const { app, someone } = start()
      const events: any[] = []
      app.tp.on('session', ({ type }: any) => events.push(type))
      await someone.get('/set?key=cart&value=1')
      await someone.get('/in', { 'User-Agent': 'A browser' })
      const [session] = await app.tp.sessions.list('ada')
      expect(session).toMatchObject({ user: 'ada', userAgent: 'A browser' })
      expect(events).toEqual(['login'])
      const { id } = await someone.json('/id')
      expect(await app.tp.sessions.list('ada', { current: id })).toMatchObject([{ current: true }])
      await app.tp.sessions.revokeAll('ada')
      expect(await someone.json('/')).toEqual({})
    })

    test('the id is stable after the login', async () => {
      const { someone } = start()
      await someone.get('/in')
      const { id } = await someone.json('/id')
      expect(cookiesOf(await someone.get('/'))).toEqual([])
      await someone.get('/count')
      expect((await someone.json('/id')).id).toBe(id)
    })

    test('maxPerUser counts those logins', async () => {
      const { app, advance } = start({ maxPerUser: 2 })
      const browsers = [app.browser(), app.browser(), app.browser()]
      for (const each of browsers) {
        await each.get('/in')
        await advance(10)
      }
      expect(await app.tp.sessions.count('ada')).toBe(2)
      expect(await browsers[0]!.json('/')).toEqual({})
      expect(await browsers[2]!.json('/')).toMatchObject({ passport: { user: 'ada' } })
    })

    test('maxPerUser with deny: passport is told, and the visitor stays logged out', async () => {
      const { app, someone } = start(
        { maxPerUser: 1, onOverflow: 'deny' },
        {
          routes: {
            '/try': (native) =>
              Promise.resolve(routes['/in']!(native, undefined)).then(
                () => ({ code: 'in' }),
                (error: any) => ({ code: error.code }),
              ),
          },
        },
      )
      await app.browser().get('/in')
      const refused = await someone.get('/try')
      expect([refused.status, refused.text]).toEqual([200, '{"code":"TP_SESSION_LIMIT"}'])
      expect(await someone.json('/')).toEqual({})
      expect(await app.tp.sessions.count('ada')).toBe(1)
    })

    test('a session from before the option was set is bound at its next request, and nobody is logged out', async () => {
      const opened = open()
      const before = site(kind, opened, { routes }).browser()
      await before.get('/in')
      const old = before.cookie()
      const { app } = start({}, {}, opened)
      const all = Array.from({ length: 4 }, () => {
        const browser = app.browser()
        browser.jar.set('sid', old!)
        return browser
      })
      // A page asks for several things at once.
      const seen = await Promise.all(all.map((each) => each.json('/')))
      for (const each of seen) expect(each).toEqual({ passport: { user: 'ada' } })
      expect(await app.tp.sessions.count('ada')).toBe(1)
      expect(new Set(all.map((each) => each.cookie())).size).toBe(1)
      expect(await all[0]!.json('/')).toEqual({ passport: { user: 'ada' } })
      await app.tp.sessions.revokeAll('ada')
      for (const each of all) expect(await each.json('/')).toEqual({})
    })

    test('attack: session fixation: a login without regenerate leaves nothing under the old id', async () => {
      const { app, someone } = start()
      const attacker = app.browser()
      await attacker.get('/set?key=a&value=1')
      const planted = attacker.cookie()!
      someone.jar.set('sid', planted)
      await someone.get('/in-without-regenerate')
      expect(someone.cookie()).not.toBe(planted)
      expect(await someone.json('/')).toEqual({ a: '1', passport: { user: 'ada' } })
      expect(await attacker.json('/')).toEqual({})
      expect(await app.tp.sessions.count('ada')).toBe(1)
    })

    test('another user in the same session: the session changes hands, and the id', async () => {
      const { app, someone } = start()
      await someone.get('/in?user=ada')
      await someone.get('/in?user=bob')
      expect(await app.tp.sessions.count('ada')).toBe(0)
      expect(await app.tp.sessions.count('bob')).toBe(1)
    })

    test('a route that knows no user leaves the session with its user; a logout ends it', async () => {
      let known = true
      const { app, someone } = start({ user: (native: any) => (known ? user(native) : undefined) })
      await someone.get('/in')
      known = false
      await someone.get('/count')
      expect(await app.tp.sessions.count('ada')).toBe(1)
      known = true
      await someone.get('/out')
      expect(await app.tp.sessions.count('ada')).toBe(0)
      expect(await someone.json('/')).toEqual({})
    })

    test('a change during the binding of another request is kept', async () => {
      const opened = open()
      const before = site(kind, opened, { routes }).browser()
      await before.get('/in')
      const door = gate()
      const { app } = start(
        {},
        {
          routes: {
            '/slow': async ({ session }) => {
              session.slow = 1
              await door.wait()
              return {}
            },
          },
        },
        opened,
      )
      const [one, two] = [app.browser(), app.browser()]
      for (const each of [one, two]) each.jar.set('sid', before.cookie()!)
      const slow = one.get('/slow')
      await door.arrived
      await two.get('/')
      door.open()
      await slow
      expect(one.cookie()).toBe(two.cookie())
      expect(await two.json('/')).toEqual({ passport: { user: 'ada' }, slow: 1 })
    })

    test('a user that is no id is an error, and no session is stored for it', async () => {
      const { app, someone } = start({ user: () => ({ id: 1 }) })
      expect((await someone.get('/set?key=a&value=1')).status).toBe(500)
      expect(app.errors.at(-1)?.code).toBe('TP_VALUE')
      expect(cookiesOf(await someone.get('/'))).toEqual([])
      for (const nobody of [undefined, null, false]) {
        const plain = start({ user: () => nobody }).someone
        await plain.get('/set?key=a&value=1')
        expect(await plain.json('/')).toEqual({ a: '1' })
      }
    })

    test('numbers are ids; a visitor with an empty session gets none stored', async () => {
      const { app, someone } = start({ user: () => 7 })
      expect(cookiesOf(await someone.get('/'))).toEqual([])
      await someone.get('/set?key=a&value=1')
      expect(await app.tp.sessions.count(7)).toBe(1)
    })
  })
})
