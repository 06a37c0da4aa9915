/** How long a session and its cookie live: "remember me", browser sessions, and what the application assigns. */
import { describe, expect, test } from 'vitest'
import { apps } from '../../support/apps.ts'
import { bothEngines } from '../../support/engines.ts'
import {
  ageing,
  cookiesOf,
  pause,
  queryOf,
  site,
  SECRET,
  type Route,
  type SiteOptions,
} from './support.ts'

const engines = bothEngines()

/** Each assigns what express-session's README and its users assign. */
const routes: Record<string, Route> = {
  '/unticked': ({ session }) => {
    session.user = 'ada'
    session.cookie.expires = false
    return {}
  },
  '/unticked-by-max-age': ({ session }) => {
    session.user = 'ada'
    session.cookie.maxAge = false
    return {}
  },
  '/null': ({ session }) => {
    session.user = 'ada'
    session.cookie.maxAge = null
    return {}
  },
  '/zero': ({ session }) => {
    session.user = 'ada'
    session.cookie.maxAge = 0
    return {}
  },
  '/ticked': ({ session }) => {
    session.user = 'ada'
    session.cookie.maxAge = 30 * 86_400_000
    return {}
  },
  '/date': (native) => {
    native.session.user = 'ada'
    native.session.cookie.maxAge = new Date(Number(queryOf(native, 'ms')))
    return {}
  },
  '/cookie': ({ session }) => {
    const { expires, originalMaxAge, maxAge } = session.cookie
    return { expires: typeof expires === 'object' ? expires : `${expires}`, originalMaxAge, maxAge }
  },
}

describe.each(engines)('on the $name engine', (engine) => {
  const open = ageing(engine)

  describe.each(apps)('$name', (kind) => {
    function start(options: SiteOptions = {}, opened = open()) {
      const app = site(kind, opened, { ...options, routes: { ...routes, ...options.routes } })
      return { ...opened, opened, app, someone: app.browser() }
    }
    const days = (count: number): object => ({ cookie: { maxAge: `${count}d`, secure: false } })

    test.each(['/unticked', '/unticked-by-max-age', '/null'])(
      'remember me unticked (%s): the cookie ends with the browser, and nobody is logged out before',
      async (path) => {
        const { someone, advance } = start({ session: days(30) })
        const [field] = cookiesOf(await someone.get(path))
        expect(field).toMatch(/^sid=/)
        expect(field).not.toContain('Expires')
        for (let hours = 0; hours < 60; hours += 20) {
          expect(await someone.json('/'), `after ${hours} hours`).toEqual({ user: 'ada' })
          // The session is renewed in the background.
          await pause(20)
          await advance('20h')
        }
        await advance('25h')
        expect(await someone.json('/')).toEqual({})
      },
    )

    test('remember me ticked: the cookie and the session live as long as that', async () => {
      const { someone, advance } = start()
      const [field] = cookiesOf(await someone.get('/ticked'))
      expect(field).toContain('; Expires=')
      await advance('29d')
      expect(await someone.json('/')).toEqual({ user: 'ada' })
      await advance('31d')
      expect(await someone.json('/')).toEqual({})
    })

    test('unticked after it was ticked, the browser is told, and the other way round', async () => {
      const { someone, advance } = start()
      await someone.get('/ticked')
      const [unticked] = cookiesOf(await someone.get('/unticked'))
      expect(unticked).toMatch(/^sid=/)
      expect(unticked).not.toContain('Expires')
      expect(cookiesOf(await someone.get('/ticked'))[0]).toContain('Expires')
      await advance('29d')
      expect(await someone.json('/')).toEqual({ user: 'ada' })
    })

    test('cookie.maxAge = 0 ends the session with this response', async () => {
      const { someone } = start()
      await someone.get('/set?key=a&value=1')
      const before = someone.cookie()!
      await someone.get('/zero')
      someone.jar.set('sid', before)
      expect(await someone.json('/')).toEqual({})
    })

    test('cookie.maxAge = a Date is the moment of expiry', async () => {
      const { someone, advance, store } = start()
      await someone.get(`/date?ms=${store.now() + 3_600_000}`)
      await advance('59m')
      expect(await someone.json('/')).toEqual({ user: 'ada' })
      await advance('61m')
      expect(await someone.json('/')).toEqual({})
    })

    test.each([
      ['maxAge: false', { maxAge: false }],
      ['maxAge: null', { maxAge: null }],
      ['expires: false', { expires: false }],
      ['expires: null', { expires: null }],
    ])('the option cookie.%s: a browser session', async (_name, cookie) => {
      const { someone, advance } = start({ session: { cookie: { ...cookie, secure: false } } })
      expect(cookiesOf(await someone.get('/set?key=a&value=1'))[0]).not.toContain('Expires')
      await advance('20h')
      expect(await someone.json('/')).toEqual({ a: '1' })
    })

    test('a session that express-session stored with expires = false stays a browser session', async () => {
      const { someone, store, advance } = start({
        session: { ...days(30), legacyPrefix: 'sess:', name: 'connect.sid' },
      })
      const { signId } = await import('../../../src/features/session/signature.ts')
      const { connectRedisSave } =
        await import('../../../src/features/session/operations/connect-redis.ts')
      const id = `unticked-${Math.random()}`
      const cookie = { originalMaxAge: false, expires: false, httpOnly: true, path: '/' }
      const value = JSON.stringify({ cookie, user: 'ada' })
      await store.run(connectRedisSave, [`sess:${id}`], ['', 86_400_000, value])
      someone.jar.set('connect.sid', encodeURIComponent(signId(id, SECRET, '', 'express')))
      expect(await someone.json('/cookie')).toMatchObject({ expires: 'false' })
      await someone.get('/count')
      await advance('20h')
      expect(await someone.json('/')).toEqual({ user: 'ada', count: 1 })
      expect(await someone.json('/cookie')).toMatchObject({ expires: 'false' })
    })

    test('a stored cookie that cannot be right does not fail the request', async () => {
      const { someone, store } = start({
        session: { legacyPrefix: 'sess:', name: 'connect.sid' },
      })
      const { signId } = await import('../../../src/features/session/signature.ts')
      const { connectRedisSave } =
        await import('../../../src/features/session/operations/connect-redis.ts')
      const odd = [
        { originalMaxAge: 'x', expires: 'never' },
        { originalMaxAge: 1e300, expires: {} },
        { originalMaxAge: null, domain: 'a; Secure', path: 5, sameSite: 'x', priority: [] },
        JSON.parse('{"originalMaxAge":null,"__proto__":{"maxAge":1}}'),
      ]
      for (const [i, cookie] of odd.entries()) {
        const id = `odd-${i}-${Math.random()}`
        const value = JSON.stringify({ cookie, user: 'ada' })
        await store.run(connectRedisSave, [`sess:${id}`], ['', 86_400_000, value])
        someone.jar.set('connect.sid', encodeURIComponent(signId(id, SECRET, '', 'express')))
        expect(await someone.json('/count'), value).toEqual({ count: 1 })
        expect(await someone.json('/'), value).toEqual({ user: 'ada', count: 1 })
      }
    })

    test('cookie.maxAge beyond every calendar is the last date there is; a date that is none is an error', async () => {
      const { someone } = start({
        routes: {
          '/forever': ({ session }) => {
            session.user = 'ada'
            session.cookie.maxAge = Number.MAX_SAFE_INTEGER
            return {}
          },
          '/none': ({ session }) => {
            session.cookie.expires = new Date('no date')
            return {}
          },
        },
      })
      expect(cookiesOf(await someone.get('/forever'))[0]).toContain('9999')
      expect(await someone.json('/')).toEqual({ user: 'ada' })
      expect((await someone.get('/none')).status).toBe(500)
    })
  })
})
