/** No old ID brings back a session that has ended, and no user gets what is another's. */
import { describe, expect, test } from 'vitest'
import { apps } from '../../support/apps.ts'
import { bothEngines } from '../../support/engines.ts'
import { ageing, gate, queryOf, site, type SiteOptions } from './support.ts'

const engines = bothEngines()

describe.each(engines)('on the $name engine', (engine) => {
  const open = ageing(engine)

  describe.each(apps)('$name', (kind) => {
    function start(options: SiteOptions = {}, opened = open()) {
      const app = site(kind, opened, options)
      return { ...opened, opened, app, someone: app.browser() }
    }
    /** Another browser with this cookie. */
    const withCookie = (app: ReturnType<typeof site>, cookie: string | undefined) => {
      const browser = app.browser()
      browser.jar.set('sid', cookie!)
      return browser
    }

    test('after the secret was rotated the old id leads to the session, and is dead with it', async () => {
      const opened = open()
      const old = site(kind, opened, { session: { secret: 'old' } }).browser()
      await old.get('/login')
      const before = old.cookie()
      const app = site(kind, opened, { session: { secret: ['new', 'old'] } })
      const now = withCookie(app, before)
      expect(await now.json('/')).toEqual({ userId: 'ada' })
      expect(now.cookie()).not.toBe(before)
      // The response with the new id may be lost: the browser asks once more, and changes something.
      const again = withCookie(app, before)
      expect(await again.json('/count')).toEqual({ count: 1 })
      expect(again.cookie()).toBe(now.cookie())
      expect(await now.json('/')).toEqual({ userId: 'ada', count: 1 })
      expect(await app.tp.sessions.count('ada')).toBe(1)
      await now.get('/logout')
      expect(await withCookie(app, before).json('/')).toEqual({})
    })

    test('requests that come at once after a rotation agree on one session', async () => {
      const opened = open()
      const old = site(kind, opened, { session: { secret: 'old' } }).browser()
      await old.get('/login')
      const app = site(kind, opened, { session: { secret: ['new', 'old'] } })
      const all = await Promise.all(
        Array.from({ length: 5 }, async (_, i) => {
          const browser = withCookie(app, old.cookie())
          await browser.get(`/set?key=k${i}&value=${i}`)
          return browser.cookie()
        }),
      )
      expect(new Set(all).size).toBe(1)
      const data = await withCookie(app, all[0]).json('/')
      expect(data).toEqual({ userId: 'ada', k0: '0', k1: '1', k2: '2', k3: '3', k4: '4' })
      expect(await app.tp.sessions.count('ada')).toBe(1)
    })

    test.each(['revokeAll', 'maxPerUser'])(
      'an old id is dead with its successor: %s',
      async (how) => {
        const opened = open()
        const old = site(kind, opened, { session: { secret: 'old' } }).browser()
        await old.get('/login')
        const session = { secret: ['new', 'old'], maxPerUser: 1 }
        const app = site(kind, opened, { session })
        const now = withCookie(app, old.cookie())
        await now.json('/')
        if (how === 'revokeAll') await app.tp.sessions.revokeAll('ada')
        else await app.browser().get('/login')
        expect(await now.json('/')).toEqual({})
        expect(await withCookie(app, old.cookie()).json('/')).toEqual({})
      },
    )

    test('the id from before a login is dead with the login', async () => {
      const { app, someone } = start()
      await someone.get('/set?key=cart&value=1')
      const before = someone.cookie()
      await someone.get('/login')
      expect(await withCookie(app, before).json('/')).toEqual({ cart: '1' })
      await someone.get('/logout')
      expect(await withCookie(app, before).json('/')).toEqual({})
    })

    test('what a request in progress saves under the old id during the grace is dropped', async () => {
      const door = gate()
      const { app, someone } = start({
        routes: {
          '/slow': async ({ session }) => {
            session.late = 1
            await door.wait()
            return {}
          },
        },
      })
      await someone.get('/set?key=cart&value=1')
      const before = withCookie(app, someone.cookie())
      const slow = before.get('/slow')
      await door.arrived
      await someone.get('/login')
      door.open()
      expect((await slow).status).toBe(200)
      expect(await before.json('/')).toEqual({ cart: '1' })
      expect(await someone.json('/')).toEqual({ cart: '1', userId: 'ada' })
    })

    test('attack: regenerate and destroy leave no old id behind', async () => {
      const { app, someone } = start({
        routes: {
          '/regenerate': async (native) => {
            await new Promise<void>((resolve) => native.session.regenerate(() => resolve()))
            native.session.fresh = true
            return {}
          },
        },
      })
      await someone.get('/login')
      const before = someone.cookie()
      await someone.get('/regenerate')
      expect(await withCookie(app, before).json('/')).toEqual({})
      expect(await someone.json('/')).toEqual({ fresh: true })
    })

    test('attack: a handler that saves its variable from before regenerate gives the old id nothing', async () => {
      const call = (session: any, method: string): Promise<unknown> =>
        new Promise((resolve) => session[method](resolve))
      const { app, someone } = start({
        routes: {
          '/regenerate': async (native) => {
            const { session } = native
            await call(session, 'regenerate')
            native.session.user = 'ada'
            session.lost = 1
            const method = queryOf(native, 'then')!
            return { error: Boolean(await call(session, method)) }
          },
        },
      })
      for (const method of ['save', 'reload']) {
        await someone.get('/set?key=a&value=1')
        const before = someone.cookie()
        const error = await someone.json(`/regenerate?then=${method}`)
        // Nothing is stored yet when `reload` is called.
        expect(error).toEqual({ error: method === 'reload' })
        expect(someone.cookie()).not.toBe(before)
        expect(await someone.json('/')).toEqual({ user: 'ada' })
        expect(await withCookie(app, before).json('/')).toEqual({})
      }
    })

    test('attack: a handler that saves its variable from before destroy brings nothing back', async () => {
      const { app, someone } = start({
        routes: {
          '/destroy': async ({ session }) => {
            await session.destroy()
            session.lost = 1
            const error = await session.save().catch(({ code }: { code: string }) => code)
            return { error }
          },
        },
      })
      await someone.get('/login')
      const before = someone.cookie()
      expect(await someone.json('/destroy')).toEqual({ error: 'TP_SESSION_GONE' })
      expect(await withCookie(app, before).json('/')).toEqual({})
    })

    test('attack: login with another user’s session: the data of a different user never carries over', async () => {
      const { app, someone } = start({
        routes: {
          '/card': ({ session }) => {
            session.card = '4111'
            return {}
          },
        },
      })
      await someone.get('/set?key=cart&value=1')
      await someone.get('/login?user=ada')
      await someone.get('/card')
      await someone.get('/login?user=ada')
      expect(await someone.json('/')).toEqual({ cart: '1', card: '4111', userId: 'ada' })
      const ada = someone.cookie()
      await someone.get('/login?user=bob')
      expect(await someone.json('/')).toEqual({ userId: 'bob' })
      expect(await withCookie(app, ada).json('/')).toEqual({})
      expect(await app.tp.sessions.count('ada')).toBe(0)
    })

    test('attack: the same for a session whose user the application had put there itself', async () => {
      const { someone } = start({
        routes: {
          '/own': (native) => {
            native.session.userId = queryOf(native, 'user')
            native.session.secret = 'of ada'
            return {}
          },
        },
      })
      await someone.get('/own?user=ada')
      await someone.get('/login?user=bob')
      expect(await someone.json('/')).toEqual({ userId: 'bob' })
    })

    test('deny at maxPerUser does not count the session that logs in again', async () => {
      const { app, someone } = start({ session: { maxPerUser: 1, onOverflow: 'deny' } })
      await someone.get('/login')
      for (let i = 0; i < 3; i++) expect((await someone.get('/login')).status).toBe(200)
      expect(await someone.json('/')).toEqual({ userId: 'ada' })
      expect(await app.tp.sessions.count('ada')).toBe(1)
      expect((await app.browser().get('/login')).status).toBe(409)
      expect(await someone.json('/')).toEqual({ userId: 'ada' })
    })

    test('evict-oldest ends no other session for one that logs in again', async () => {
      const { app, someone, advance } = start({ session: { maxPerUser: 2 } })
      const other = app.browser()
      await other.get('/login')
      await advance(1)
      await someone.get('/login')
      await advance(1)
      await someone.get('/login')
      expect(await other.json('/')).toEqual({ userId: 'ada' })
      expect(await app.tp.sessions.count('ada')).toBe(2)
    })

    test('a login after destroy in the same request begins with nothing', async () => {
      const { someone } = start({
        routes: {
          '/switch': async (native, tp) => {
            await native.session.destroy()
            await tp.session.login(native, 'bob')
            return {}
          },
        },
      })
      await someone.get('/set?key=a&value=1')
      await someone.get('/switch')
      expect(await someone.json('/')).toEqual({ userId: 'bob' })
    })
  })
})
