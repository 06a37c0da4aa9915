/** The cookie, as express-session's README documents it: the option `cookie`, and `req.session.cookie`. */
import { expect, test } from 'vitest'
import { describeSubjects } from './express-session-subjects.ts'
import { cookiesOf, type Route } from './support.ts'

describeSubjects(({ start, cookieWith, isKoa }) => {
  test('cookie.maxAge: Expires, and no attribute without it', async () => {
    expect(await cookieWith({ maxAge: 60_000 })).toMatch(
      /; Expires=\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT/,
    )
    expect(await cookieWith({})).not.toMatch(/Expires|Max-Age/)
  })

  test('cookie.HttpOnly unless it is false', async () => {
    expect(await cookieWith({})).toContain('; HttpOnly')
    expect(await cookieWith({ httpOnly: false })).not.toContain('HttpOnly')
  })

  test.each([
    [{ domain: 'example.com' }, '; Domain=example.com'],
    [{ path: '/' }, '; Path=/'],
    [{ path: '/set' }, '; Path=/set'],
    [{ priority: 'low' }, '; Priority=Low'],
    [{ priority: 'medium' }, '; Priority=Medium'],
    [{ priority: 'high' }, '; Priority=High'],
    [{ partitioned: true }, '; Partitioned'],
    [{ expires: new Date(Date.UTC(2037, 0, 1)) }, '; Expires=Thu, 01 Jan 2037 00:00:00 GMT'],
  ])('cookie: %o: the cookie has %s', async (cookie, attribute) => {
    expect(await cookieWith(cookie)).toContain(attribute)
  })

  test.each([{}, { partitioned: false, httpOnly: false, sameSite: false, expires: null }])(
    'cookie: %o: the cookie has no attribute that it does not need',
    async (cookie) => {
      const field = await cookieWith(cookie)
      expect(field).not.toMatch(/Domain|Priority|Partitioned|Expires|Max-Age|Secure/)
    },
  )

  test('cookie.maxAge and cookie.expires: the last one of the object counts', async () => {
    const expires = new Date(Date.UTC(2037, 0, 1))
    expect(await cookieWith({ maxAge: 60_000, expires })).toContain('Expires=Thu, 01 Jan 2037')
    expect(await cookieWith({ expires, maxAge: 60_000 })).not.toContain('2037')
    expect(await cookieWith({ expires, maxAge: null })).not.toContain('Expires')
  })

  test('cookie.path: below another path there is no session', async () => {
    const app = start({ cookie: { path: '/deep', secure: false } })
    expect((await app.browser().json('/deep/path')).has).toBe(true)
    const { status } = await app.get('/kinds')
    expect(status).toBe(500)
  })

  test.each([
    [true, 'Strict'],
    ['strict', 'Strict'],
    ['lax', 'Lax'],
    ['none', 'None'],
  ])('cookie.sameSite: %s', async (sameSite, word) => {
    expect(await cookieWith({ sameSite })).toContain(`; SameSite=${word}`)
  })

  test('cookie.sameSite: false', async () => {
    expect(await cookieWith({ sameSite: false })).not.toContain('SameSite')
  })

  test('cookie.sameSite auto: None over HTTPS, Lax otherwise', async () => {
    const session = { proxy: true, name: 'sid' }
    const https = { 'X-Forwarded-Proto': 'https' }
    const auto = { secure: 'auto', sameSite: 'auto' }
    expect(await cookieWith(auto, {}, session)).toContain('; SameSite=Lax')
    expect(await cookieWith(auto, https, session)).toContain('; SameSite=None')
  })

  test('cookie.secure: the cookie is not sent over HTTP', async () => {
    expect(await cookieWith({ secure: true })).toBeUndefined()
    expect(
      await cookieWith({ secure: true }, { 'X-Forwarded-Proto': 'https' }, { proxy: true }),
    ).toContain('; Secure')
    expect(
      await cookieWith({ secure: true }, { 'X-Forwarded-Proto': 'https' }, { proxy: false }),
    ).toBeUndefined()
    expect(await cookieWith({ secure: true }, { 'X-Forwarded-Proto': 'https' })).toBeUndefined()
  })

  test('cookie.secure auto: Secure where the connection is', async () => {
    const session = { proxy: true, name: 'sid' }
    expect(await cookieWith({ secure: 'auto' }, {}, session)).not.toContain('Secure')
    expect(
      await cookieWith({ secure: 'auto' }, { 'X-Forwarded-Proto': 'https' }, session),
    ).toContain('; Secure')
  })

  test('cookie as a function of the request', async () => {
    const app = start({
      cookie: (native: any) => ({ path: '/', secure: false, domain: native.headers['x-domain'] }),
    })
    const response = await app.get('/set?key=a&value=1', { 'x-domain': 'a.example.com' })
    expect(cookiesOf(response)[0]).toContain('; Domain=a.example.com')
  })

  test('cookie.maxAge is the time left, cookie.originalMaxAge the whole', async () => {
    const app = start({ cookie: { maxAge: 60_000, secure: false }, ttl: '1m' })
    const someone = app.browser()
    await someone.get('/set?key=a&value=1')
    const cookie = await someone.json('/cookie')
    expect(cookie).toMatchObject({ httpOnly: true, path: '/' })
    // express-session reads the clock twice on the way to the whole time.
    expect(cookie.originalMaxAge).toBeGreaterThan(59_000)
    expect(cookie.originalMaxAge).toBeLessThanOrEqual(60_000)
    expect(cookie.maxAge).toBeLessThanOrEqual(cookie.originalMaxAge)
  })

  test('cookie.maxAge: null: the cookie ends with the browser session', async () => {
    const someone = start().browser()
    await someone.get('/set?key=a&value=1')
    expect(await someone.json('/cookie')).toEqual({
      maxAge: null,
      originalMaxAge: null,
      httpOnly: true,
      path: '/',
      expires: null,
    })
  })

  test('cookie.maxAge may be set for one session, and stays with it', async () => {
    const app = start({ ttl: '1m' })
    const [someone, other] = [app.browser(), app.browser()]
    expect(cookiesOf(await someone.get('/remember?ms=3600000'))[0]).toContain('Expires=')
    await other.get('/set?key=a&value=1')
    // express-session reads the clock twice on the way to it.
    expect((await someone.json('/cookie')).originalMaxAge).toBeGreaterThan(3_599_000)
    expect((await other.json('/cookie')).originalMaxAge).toBeNull()
  })

  test('cookie.expires may be set to a date', async () => {
    expect(cookiesOf(await start().get('/expires'))[0]).toContain('Expires=Thu, 01 Jan 2037')
  })

  test('cookie.expires = false: the cookie ends with the browser, and the session stays', async () => {
    const app = start({ cookie: { maxAge: 60_000, secure: false } })
    const someone = app.browser()
    await someone.get('/set?key=a&value=1')
    const response = await someone.get('/unticked')
    expect(response.text).toBe('{"maxAge":false}')
    expect(cookiesOf(response)[0]).toMatch(/^sid=/)
    expect(cookiesOf(response)[0]).not.toContain('Expires')
    await app.advance('2m')
    expect(await someone.json('/')).toMatchObject({ a: '1', remembered: true })
  })

  test('cookie.maxAge counts down, until the end of the request begins it again', async () => {
    const app = start({ cookie: { maxAge: 60_000, secure: false } })
    const someone = app.browser()
    await someone.get('/set?key=a&value=1')
    for (let i = 0; i < 2; i++) {
      await app.advance('30s')
      const { maxAge, originalMaxAge } = await someone.json('/cookie')
      expect(maxAge).toBeGreaterThan(20_000)
      expect(maxAge).toBeLessThanOrEqual(30_000)
      expect(originalMaxAge).toBeGreaterThan(59_000)
      // What another visitor stores follows the renewal, which no request waits for.
      await app.browser().get('/set?key=a&value=1')
    }
  })

  test('cookie.maxAge of more than 24 days is sent as it is', async () => {
    const app = start()
    const field = cookiesOf(await app.get('/remember?ms=3000000000'))[0]
    const expires = Date.parse(/Expires=([^;]+)/.exec(field!)![1]!)
    expect(Math.abs(expires - app.now() - 3_000_000_000)).toBeLessThan(10_000)
  })

  test('cookie.expires and cookie.maxAge say the same', async () => {
    const routes: Record<string, Route> = {
      '/hour': ({ session }) => {
        const hour = 3_600_000
        session.cookie.expires = new Date(app.now() + hour)
        const first = session.cookie.originalMaxAge
        session.cookie.maxAge = hour
        return [first, session.cookie.originalMaxAge].map((ms) => Math.round(ms / 1000))
      },
    }
    const app = start({}, { routes })
    expect(await app.browser().json('/hour')).toEqual([3600, 3600])
  })

  test('cookie.expires in the past: the browser drops the cookie', async () => {
    const routes: Record<string, Route> = {
      '/past': ({ session }) => {
        session.a = 1
        session.cookie.expires = new Date(0)
        return {}
      },
    }
    const field = cookiesOf(await start({}, { routes }).get('/past'))[0]
    expect(field).toContain('Expires=Thu, 01 Jan 1970 00:00:00 GMT')
  })

  test('cookie.httpOnly and cookie.secure may be set for one session', async () => {
    const routes: Record<string, Route> = {
      '/other': ({ session }) => {
        session.a = 1
        session.cookie.httpOnly = false
        session.cookie.secure = true
        return {}
      },
      '/plain': ({ session }) => {
        session.a = 1
        session.cookie.secure = false
        return {}
      },
    }
    const https = { 'X-Forwarded-Proto': 'https' }
    const other = await start({ proxy: true }, { routes }).get('/other', https)
    expect(cookiesOf(other)[0]).toContain('; Secure')
    expect(cookiesOf(other)[0]).not.toContain('HttpOnly')
    const secure = { cookie: { secure: true }, proxy: true }
    expect(cookiesOf(await start(secure, { routes }).get('/plain'))[0]).not.toContain('Secure')
  })

  test('the cookie is an own property of the session, and is JSON as it is stored', async () => {
    const routes: Record<string, Route> = {
      '/own': ({ session }) => {
        session.a = 1
        const names: string[] = []
        for (const name in session) names.push(name)
        return { names, cookie: JSON.parse(JSON.stringify(session.cookie)), copy: { ...session } }
      },
    }
    const app = start({ cookie: { secure: false, sameSite: 'lax' } }, { routes })
    const { names, cookie, copy } = await app.browser().json('/own')
    const expected = { originalMaxAge: null, expires: null, path: '/', httpOnly: true }
    expect(cookie).toEqual({ ...expected, secure: false, sameSite: 'lax' })
    expect([names.toSorted(), copy]).toEqual(
      isKoa ? [['a'], { a: 1 }] : [['a', 'cookie'], { a: 1, cookie }],
    )
  })
})
