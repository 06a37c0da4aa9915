/**
 * What express-session's README documents, option by option and method by method. The same cases run
 * against `tp.session()` in every framework, against express-session over `tp.sessionStore()`, and
 * against express-session over its own MemoryStore: the reference.
 */
import expressSession from 'express-session'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { durationOption } from '../../../src/duration.ts'
import { testStore } from '../../../src/testing.ts'
import { apps, type AppKind } from '../../support/apps.ts'
import { bothEngines, type Opened } from '../../support/engines.ts'
import {
  ageing,
  cookiesOf,
  queryOf,
  site,
  type Route,
  type Site,
  type SiteOptions,
} from './support.ts'

type Done = (error?: Error) => void
const called = (work: (done: Done) => void): Promise<void> =>
  new Promise((resolve, reject) => work((error) => (error ? reject(error) : resolve())))

/** Routes that work with both, by callbacks. */
const routes: Record<string, Route> = {
  '/regenerate': async (native) => {
    const before = native.sessionID
    await called((done) => native.session.regenerate(done))
    return {
      before,
      after: native.sessionID,
      same: native.session.id === native.sessionID,
      data: { ...native.session, cookie: undefined },
    }
  },
  '/destroy': async (native) => {
    const { session } = native
    const result: { during?: unknown } = {}
    await called((done) => {
      session.destroy(done)
      result.during = native.session ?? null
    })
    return result
  },
  '/reload': async (native) => {
    native.session.unsaved = 1
    await called((done) => native.session.reload(done))
    return { ...native.session, cookie: undefined }
  },
  '/save': async (native) => {
    native.session.saved = 1
    await called((done) => native.session.save(done))
    return {}
  },
  '/touch': (native) => ({
    same: native.session.touch() === native.session,
    reset: native.session.resetMaxAge() === native.session,
  }),
  '/unset': (native) => {
    native.session = null
    return {}
  },
  '/delete': (native) => {
    delete native.session
    return {}
  },
  '/cookie': ({ session }) => {
    const { maxAge, originalMaxAge, httpOnly, path } = session.cookie
    return { maxAge, originalMaxAge, httpOnly, path, expires: session.cookie.expires }
  },
  '/remember': (native) => {
    native.session.remembered = true
    native.session.cookie.maxAge = Number(queryOf(native, 'ms'))
    return {}
  },
  '/expires': (native) => {
    native.session.a = 1
    native.session.cookie.expires = new Date(Date.UTC(2037, 0, 1))
    return {}
  },
  '/store': async (native) => {
    const found: any = await new Promise((resolve, reject) => {
      native.sessionStore.get(native.sessionID, (error: Error | null, value: unknown) =>
        error ? reject(error) : resolve(value),
      )
    })
    return { found: found ? { ...found, cookie: typeof found.cookie } : null }
  },
  '/unticked': ({ session }) => {
    session.remembered = true
    session.cookie.expires = false
    return { maxAge: session.cookie.maxAge }
  },
  '/store/all': async ({ sessionStore }) => {
    const all = await stored<object>((done) => sessionStore.all(done))
    return Object.values(all).map(({ cookie, id: _id, ...data }: any) => [typeof cookie, data])
  },
  '/store/length': async ({ sessionStore }) => ({
    length: await stored<number>((done) => sessionStore.length(done)),
  }),
  '/store/clear': async ({ sessionStore }) => {
    await stored((done) => sessionStore.clear(done))
    return {}
  },
  '/store/destroy': async (native) => {
    await stored((done) => native.sessionStore.destroy(queryOf(native, 'id'), done))
    return {}
  },
  '/store/set': async ({ sessionStore, session }) => {
    const value = { cookie: session.cookie, put: true }
    await stored((done) => sessionStore.set('an-id-of-its-own', value, done))
    const found = await stored<any>((done) => sessionStore.get('an-id-of-its-own', done))
    return { put: found.put }
  },
  '/store/touch': async ({ sessionStore, session, sessionID }) => {
    await stored((done) => sessionStore.touch(sessionID, session, done))
    return {}
  },
  '/kinds': (native) => ({
    id: typeof native.session.id,
    sessionID: typeof native.sessionID,
    store: typeof native.sessionStore.get,
    methods: ['regenerate', 'destroy', 'reload', 'save', 'touch', 'resetMaxAge'].map(
      (name) => typeof native.session[name],
    ),
  }),
  '/deep/path': ({ session }) => ({ has: session !== undefined }),
}

/** The result of a method of a store. */
const stored = <Value>(
  call: (done: (error: Error | null, value?: Value) => void) => void,
): Promise<Value> =>
  new Promise((resolve, reject) =>
    call((error, value) => (error ? reject(error) : resolve(value as Value))),
  )

interface Subject {
  name: string
  kind: AppKind
  mount: SiteOptions['mount']
}

const own: Subject[] = apps.map((kind) => ({
  name: `tp.session() in ${kind.name}`,
  kind,
  mount: undefined,
}))
const theirs: Subject[] = apps.slice(0, 2).map((kind) => ({
  name: `express-session over tp.sessionStore() in ${kind.name}`,
  kind,
  mount: (tp, { ttl, touchAfter, ...options }: any) =>
    expressSession({
      name: 'sid',
      resave: false,
      saveUninitialized: false,
      ...options,
      store: tp.sessionStore({
        ...(ttl && { ttl }),
        ...(touchAfter !== undefined && { touchAfter }),
      }),
    }),
}))

const memory: Subject[] = apps.slice(0, 2).map((kind) => ({
  name: `express-session over its MemoryStore in ${kind.name}`,
  kind,
  mount: (_tp, options: any) =>
    expressSession({
      name: 'sid',
      resave: false,
      saveUninitialized: false,
      ...options,
      store: new expressSession.MemoryStore(),
    }),
}))

/** MemoryStore goes by the clock of the process. */
const openReference = (): Opened => {
  const turn = async (ms: number): Promise<void> => void vi.setSystemTime(Date.now() + ms)
  return {
    store: testStore(),
    prefix: 'tp',
    advance: (time) => turn(durationOption(time, 'advance()', 'time')),
    back: (time) => turn(-durationOption(time, 'back()', 'time')),
  }
}

const grounds = bothEngines().map((engine) => ({
  name: `the ${engine.name} engine`,
  open: ageing(engine),
  subjects: [...own, ...theirs],
}))
const reference = { name: 'the reference', open: openReference, subjects: memory }

describe.each([...grounds, reference])('$name', ({ open, subjects }) => {
  const isReference = open === openReference
  beforeEach(() => {
    if (isReference) vi.useFakeTimers({ toFake: ['Date'] })
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  describe.each(subjects)('$name', ({ kind, mount }) => {
    const start = (
      session: object = {},
      more: SiteOptions = {},
    ): Site & { advance: (time: any) => Promise<void> } => {
      const opened = open()
      const options: SiteOptions = { ...more, session, routes: { ...routes, ...more.routes } }
      if (mount) options.mount = mount
      return Object.assign(site(kind, opened, options), { advance: opened.advance })
    }
    /** The first Set-Cookie field of a new session. */
    const cookieWith = async (
      cookie: object,
      headers: Record<string, string> = {},
      session: object = {},
    ): Promise<string | undefined> =>
      cookiesOf(
        await start({ cookie: { secure: false, ...cookie }, ...session }).get(
          '/set?key=a&value=1',
          headers,
        ),
      )[0]

    test('req.session: what is put there is there on the next request', async () => {
      const someone = start().browser()
      await someone.get('/set?key=a&value=1')
      expect(await someone.json('/count')).toEqual({ count: 1 })
      expect(await someone.json('/count')).toEqual({ count: 2 })
      expect(await someone.json('/')).toMatchObject({ a: '1', count: 2 })
    })

    test('req.session.id, req.sessionID, req.sessionStore and the methods are there', async () => {
      expect(await start().browser().json('/kinds')).toEqual({
        id: 'string',
        sessionID: 'string',
        store: 'function',
        methods: Array(6).fill('function'),
      })
    })

    test('req.sessionID stays the same from request to request', async () => {
      const someone = start().browser()
      await someone.get('/set?key=a&value=1')
      const { id, sessionID } = await someone.json('/id')
      expect(id).toBe(sessionID)
      expect((await someone.json('/id')).id).toBe(id)
    })

    test('name: the name of the cookie', async () => {
      expect(await cookieWith({}, {}, { name: 'shop.sid' })).toMatch(/^shop\.sid=s%3A/)
    })

    test('secret: the cookie is s:<id>.<HMAC-SHA-256>; the first of an array signs, all verify', async () => {
      const { createHmac } = await import('node:crypto')
      const secret = { secret: ['new', 'old'], ...(mount ? {} : { legacySignature: 'write' }) }
      const field = await cookieWith({}, {}, secret)
      const value = decodeURIComponent(/^sid=([^;]+)/.exec(field!)![1]!)
      const [id, mac] = [
        value.slice(2, value.lastIndexOf('.')),
        value.slice(value.lastIndexOf('.') + 1),
      ]
      expect(mac).toBe(createHmac('sha256', 'new').update(id).digest('base64').replace(/=+$/, ''))
      const app = start(secret)
      const someone = app.browser()
      await someone.get('/set?key=a&value=1')
      const sid = (await someone.json('/id')).id
      const oldMac = createHmac('sha256', 'old').update(sid).digest('base64').replace(/=+$/, '')
      expect(
        (await app.get('/', { Cookie: `sid=${encodeURIComponent(`s:${sid}.${oldMac}`)}` })).text,
      ).toContain('"a":"1"')
    })

    test('cookie.maxAge: Expires, and no attribute without it', async () => {
      expect(await cookieWith({ maxAge: 60_000 })).toMatch(
        /; Expires=\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT/,
      )
      expect(await cookieWith({})).not.toMatch(/Expires|Max-Age/)
    })

    test('cookie.httpOnly: true unless false is said', async () => {
      expect(await cookieWith({})).toContain('; HttpOnly')
      expect(await cookieWith({ httpOnly: false })).not.toContain('HttpOnly')
    })

    test('cookie.path, cookie.domain, cookie.priority, cookie.partitioned', async () => {
      const field = await cookieWith({
        path: '/',
        domain: 'example.com',
        priority: 'high',
        partitioned: true,
      })
      for (const each of ['; Path=/', '; Domain=example.com', '; Priority=High', '; Partitioned'])
        expect(field).toContain(each)
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

    test('genid: makes the ids', async () => {
      let made = 0
      const app = start({
        genid: (native: any) => `${native.headers['x-who']}-${'0'.repeat(30)}${++made}`,
      })
      const response = await app.get('/id', { 'x-who': 'ada' })
      expect(JSON.parse(response.text).id).toMatch(/^ada-0+\d$/)
    })

    test('saveUninitialized: false sends and stores nothing for a session that was not touched', async () => {
      const app = start({ saveUninitialized: false })
      expect(cookiesOf(await app.get('/'))).toEqual([])
    })

    test('saveUninitialized: true sends and stores every new session', async () => {
      const someone = start({ saveUninitialized: true }).browser()
      expect(cookiesOf(await someone.get('/'))).toHaveLength(1)
      expect((await someone.json('/store')).found).toEqual({ cookie: 'object' })
      expect(cookiesOf(await someone.get('/'))).toEqual([])
    })

    // MemoryStore has no time to live without a maxAge, and touches with every request.
    if (!isReference)
      test('resave: false leaves an unchanged session as it is; true stores it again', async () => {
        for (const resave of [false, true]) {
          const app = start({ resave, ttl: '10m', touchAfter: '1h' })
          const someone = app.browser()
          await someone.get('/set?key=a&value=1')
          await app.advance('6m')
          await someone.get('/')
          await app.advance('6m')
          const data = await someone.json('/')
          expect(data.a, `resave: ${resave}`).toBe(resave ? '1' : undefined)
        }
      })

    test('rolling: the cookie is sent with each response, and its time begins anew', async () => {
      const app = start({ rolling: true, cookie: { maxAge: 60_000, secure: false } })
      const someone = app.browser()
      await someone.get('/set?key=a&value=1')
      expect(cookiesOf(await someone.get('/'))).toHaveLength(1)
      const still = start({ rolling: false, cookie: { maxAge: 60_000, secure: false } }).browser()
      await still.get('/set?key=a&value=1')
      expect(cookiesOf(await still.get('/'))).toEqual([])
    })

    test('rolling with saveUninitialized: false sends no cookie for an uninitialized session', async () => {
      expect(cookiesOf(await start({ rolling: true, saveUninitialized: false }).get('/'))).toEqual(
        [],
      )
    })

    test('a changed session with a maxAge sends its cookie again; without one it does not', async () => {
      const lasting = start({ cookie: { maxAge: 60_000, secure: false } }).browser()
      await lasting.get('/count')
      expect(cookiesOf(await lasting.get('/count'))).toHaveLength(1)
      const passing = start().browser()
      await passing.get('/count')
      expect(cookiesOf(await passing.get('/count'))).toEqual([])
    })

    test('unset: keep ignores changes and the end of the session', async () => {
      const someone = start({ unset: 'keep' }).browser()
      await someone.get('/set?key=a&value=1')
      await someone.get('/unset')
      expect(await someone.json('/')).toMatchObject({ a: '1' })
    })

    test('unset: destroy destroys the session when req.session is deleted or null', async () => {
      for (const path of ['/unset', '/delete']) {
        const someone = start({ unset: 'destroy' }).browser()
        await someone.get('/set?key=a&value=1')
        await someone.get(path)
        expect(await someone.json('/')).not.toHaveProperty('a')
      }
    })

    test('regenerate: a new id, no data, and the old session is gone', async () => {
      const app = start()
      const someone = app.browser()
      await someone.get('/set?key=a&value=1')
      const old = app.browser()
      old.jar.set('sid', someone.cookie()!)
      const { before, after, same, data } = await someone.json('/regenerate')
      expect(after).not.toBe(before)
      expect(same).toBe(true)
      expect(data).toEqual({})
      expect((await someone.json('/id')).id).toBe(after)
      expect(await old.json('/')).not.toHaveProperty('a')
    })

    test('destroy: req.session is unset at once, and the session is gone', async () => {
      const someone = start().browser()
      await someone.get('/set?key=a&value=1')
      expect(await someone.json('/destroy')).toEqual({ during: null })
      expect(await someone.json('/')).not.toHaveProperty('a')
    })

    test('reload: the stored data replaces what was changed', async () => {
      const someone = start().browser()
      await someone.get('/set?key=a&value=1')
      expect(await someone.json('/reload')).toEqual({ a: '1' })
      expect(await someone.json('/')).not.toHaveProperty('unsaved')
    })

    test('save: stores now, and the end of the response not again', async () => {
      const someone = start().browser()
      await someone.get('/save')
      expect(await someone.json('/')).toMatchObject({ saved: 1 })
    })

    test('touch and resetMaxAge give the session back', async () => {
      expect(await start().browser().json('/touch')).toEqual({ same: true, reset: true })
    })

    test('cookie.maxAge is the time left, cookie.originalMaxAge the whole; touching renews', async () => {
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

    test('cookie.maxAge: null means until the browser is closed', async () => {
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

    test('a session ends when its maxAge has passed, and each request begins it anew', async () => {
      const app = start({ cookie: { maxAge: 60_000, secure: false } })
      const someone = app.browser()
      await someone.get('/set?key=a&value=1')
      for (let i = 0; i < 3; i++) {
        await app.advance('40s')
        expect(await someone.json('/')).toMatchObject({ a: '1' })
        // The renewal may be in the background.
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      await app.advance('61s')
      expect(await someone.json('/')).not.toHaveProperty('a')
    })

    test('store.all, store.length: every session that is stored', async () => {
      const app = start()
      expect(await app.browser().json('/store/length')).toEqual({ length: 0 })
      const [one, two] = [app.browser(), app.browser()]
      await one.get('/set?key=a&value=1')
      await two.get('/set?key=a&value=2')
      expect(await app.browser().json('/store/length')).toEqual({ length: 2 })
      const all = await app.browser().json('/store/all')
      expect(all.toSorted((x: any, y: any) => x[1].a - y[1].a)).toEqual([
        ['object', { a: '1' }],
        ['object', { a: '2' }],
      ])
    })

    test('store.clear: deletes all sessions', async () => {
      const app = start()
      const [one, two] = [app.browser(), app.browser()]
      await one.get('/set?key=a&value=1')
      await two.get('/set?key=a&value=2')
      await app.browser().get('/store/clear')
      expect(await one.json('/')).not.toHaveProperty('a')
      expect(await two.json('/')).not.toHaveProperty('a')
      expect(await app.browser().json('/store/length')).toEqual({ length: 0 })
    })

    test('store.destroy: deletes a session by its id', async () => {
      const app = start()
      const someone = app.browser()
      await someone.get('/set?key=a&value=1')
      const { id } = await someone.json('/id')
      await app.browser().get(`/store/destroy?id=${encodeURIComponent(id)}`)
      expect(await someone.json('/')).not.toHaveProperty('a')
    })

    test('store.set stores a session under an id, store.touch renews one', async () => {
      const someone = start().browser()
      expect(await someone.json('/store/set')).toEqual({ put: true })
      await someone.get('/set?key=a&value=1')
      expect((await someone.get('/store/touch')).status).toBe(200)
      expect(await someone.json('/')).toMatchObject({ a: '1' })
    })

    test('req.sessionStore: get gives what is stored', async () => {
      const someone = start().browser()
      expect(await someone.json('/store')).toEqual({ found: null })
      await someone.get('/set?key=a&value=1')
      expect(await someone.json('/store')).toEqual({ found: { a: '1', cookie: 'object' } })
    })

    test('a forged, unsigned or truncated cookie is no session', async () => {
      const app = start()
      const someone = app.browser()
      await someone.get('/set?key=a&value=1')
      const { id } = await someone.json('/id')
      for (const value of [
        id,
        `s%3A${id}`,
        `s%3A${id}.`,
        `s%3A${id}.AAAA`,
        's%3A',
        '',
        '%',
        '%E0%A4%A',
      ]) {
        expect((await app.get('/', { Cookie: `sid=${value}` })).text, value).not.toContain('"a"')
      }
    })

    test('an id that is not stored is not taken up', async () => {
      const app = start()
      const someone = app.browser()
      await someone.get('/set?key=a&value=1')
      const planted = someone.cookie()!
      await someone.get('/destroy')
      await someone.get('/set?key=b&value=2')
      expect(someone.cookie()).not.toBe(planted)
    })

    test('a second session middleware leaves the first one’s session alone', async () => {
      const app = start(
        {},
        {
          after: (tp) => [tp.session({ secret: 'other', name: 'other', saveUninitialized: true })],
        },
      )
      const someone = app.browser()
      await someone.get('/set?key=a&value=1')
      expect([...someone.jar.keys()]).toEqual(['sid'])
    })
  })
})
