/** express-session's options, as its README documents them, one by one. */
import { createSecretKey, randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { describeSubjects } from './express-session-subjects.ts'
import { cookiesOf, type Route } from './support.ts'

describeSubjects(({ start, cookieWith, isOwn, isReference, isKoa, hasTrustProxy }) => {
  test('name: the name of the cookie', async () => {
    expect(await cookieWith({}, {}, { name: 'shop.sid' })).toMatch(/^shop\.sid=s%3A/)
  })

  test('secret: the cookie is s:<id>.<HMAC-SHA-256>; the first of an array signs, all verify', async () => {
    const { createHmac } = await import('node:crypto')
    const secret = { secret: ['new', 'old'], ...(!isOwn ? {} : { legacySignature: 'write' }) }
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

  test('genid creates the IDs, from the request', async () => {
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
    expect(cookiesOf(await start({ rolling: true, saveUninitialized: false }).get('/'))).toEqual([])
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

  test.each([
    ['a Buffer', randomBytes(32)],
    ['a Uint8Array', new Uint8Array(randomBytes(32))],
    ['a KeyObject', createSecretKey(randomBytes(32))],
    ['a list of them', [createSecretKey(randomBytes(32)), 'a string']],
  ])('secret: %s', async (_name, secret) => {
    const app = start({ secret })
    const someone = app.browser()
    await someone.get('/set?key=a&value=1')
    expect(await someone.json('/')).toEqual({ a: '1' })
  })

  test.each(['apple', '%', '/foo?bar', 'ü and ;'])('genid: the ID %s', async (id) => {
    const someone = start({ genid: () => id }).browser()
    await someone.get('/set?key=a&value=1')
    expect(await someone.json('/id')).toEqual({ id, sessionID: id })
    expect(await someone.json('/')).toEqual({ a: '1' })
  })

  test('proxy: true believes the first of several X-Forwarded-Proto values', async () => {
    const secure = { secure: true }
    const field = await cookieWith(secure, { 'X-Forwarded-Proto': 'https, http' }, { proxy: true })
    expect(field).toContain('; Secure')
    const other = await cookieWith(secure, { 'X-Forwarded-Proto': 'http, https' }, { proxy: true })
    expect(other).toBeUndefined()
  })

  test('proxy: undefined goes by the setting of the framework, if it has one', async () => {
    const https = { 'X-Forwarded-Proto': 'https' }
    const app = start({ cookie: { secure: true } }, { trustProxy: 1 })
    const [field] = cookiesOf(await app.get('/set?key=a&value=1', https))
    if (hasTrustProxy) expect(field).toContain('; Secure')
    else expect(field).toBeUndefined()
    const untrusting = start({ cookie: { secure: true }, proxy: false }, { trustProxy: 1 })
    expect(cookiesOf(await untrusting.get('/set?key=a&value=1', https))).toEqual([])
  })

  test.each([
    ['unset', { unset: 'bogus!' }],
    ['genid', { genid: 'bogus!' }],
    ['secret', { secret: [] }],
  ])('%s: a value that cannot be right is an error at the start', (name, session) => {
    expect(() => start(session)).toThrow(name)
  })

  test('rolling with saveUninitialized: true sends the cookie of a new session', async () => {
    const response = await start({ rolling: true, saveUninitialized: true }).get('/')
    expect(cookiesOf(response)).toHaveLength(1)
  })

  test('resave: false stores what has changed, also deep within', async () => {
    const routes: Record<string, Route> = {
      '/deep': ({ session }) => {
        session.user ??= { cookie: 0 }
        session.user.cookie++
        return {}
      },
    }
    const someone = start({ resave: false }, { routes }).browser()
    for (let i = 0; i < 3; i++) await someone.get('/deep')
    expect(await someone.json('/')).toEqual({ user: { cookie: 3 } })
  })

  test('unset: keep ignores what was changed before', async () => {
    const routes: Record<string, Route> = {
      '/changed': (native) => {
        native.session.b = 2
        native.session = null
        return {}
      },
    }
    const someone = start({ unset: 'keep' }, { routes }).browser()
    await someone.get('/set?key=a&value=1')
    await someone.get('/changed')
    expect(await someone.json('/')).toEqual({ a: '1' })
  })

  test('unset: destroy sends no cookie for a session that nothing stored', async () => {
    expect(cookiesOf(await start({ unset: 'destroy' }).get('/unset'))).toEqual([])
  })

  test('a session that another middleware has put there is left alone', async () => {
    const session = { foreign: true }
    const put = isKoa
      ? (ctx: any, next: any) => ((ctx.session = session), next())
      : (req: any, _res: any, next: any) => ((req.session = session), next())
    const app = start({ saveUninitialized: true }, { before: () => [put] })
    const response = await app.get('/')
    expect(JSON.parse(response.text)).toEqual(session)
    expect(cookiesOf(response)).toEqual([])
  })
})
