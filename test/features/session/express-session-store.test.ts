/** The methods of a session store, as express-session's README documents them. */
import { expect, test } from 'vitest'
import { called, describeSubjects, stored } from './express-session-subjects.ts'
import { dataOf, type Route } from './support.ts'

describeSubjects(({ start }) => {
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

  test('req.sessionStore: get returns what is stored', async () => {
    const someone = start().browser()
    expect(await someone.json('/store')).toEqual({ found: null })
    await someone.get('/set?key=a&value=1')
    expect(await someone.json('/store')).toEqual({ found: { a: '1', cookie: 'object' } })
  })

  test('store.set replaces what is stored under an ID', async () => {
    const routes: Record<string, Route> = {
      '/replace': async ({ sessionStore, session: { cookie } }) => {
        const id = 'an-id-of-its-own'
        await stored((done) => sessionStore.set(id, { cookie, a: 1, b: 1 }, done))
        await stored((done) => sessionStore.set(id, { cookie, b: 2 }, done))
        const found = await stored<any>((done) => sessionStore.get(id, done))
        // A session that was read may be stored as it was changed.
        found.c = 3
        await stored((done) => sessionStore.set(id, found, done))
        return dataOf(await stored<any>((done) => sessionStore.get(id, done)))
      },
    }
    expect(await start({}, { routes }).browser().json('/replace')).toEqual({ b: 2, c: 3 })
  })

  test('a store does what it is asked for an ID that it does not know', async () => {
    const routes: Record<string, Route> = {
      '/unknown': async ({ sessionStore, session }) => {
        const found = await stored((done) => sessionStore.get('unknown', done))
        await stored((done) => sessionStore.destroy('unknown', done))
        await stored((done) => sessionStore.touch('unknown', session, done))
        await stored((done) => sessionStore.clear(done))
        return { found: found ?? null, length: await stored((done) => sessionStore.length(done)) }
      },
    }
    const { found, length } = await start({}, { routes }).browser().json('/unknown')
    expect({ found, length }).toEqual({ found: null, length: 0 })
  })

  test('the callbacks of a store may be left out', async () => {
    const routes: Record<string, Route> = {
      '/silent': ({ sessionStore, session }) => {
        sessionStore.set('an-id-of-its-own', { cookie: session.cookie, a: 1 })
        sessionStore.touch('an-id-of-its-own', session)
        return {}
      },
      '/silently': ({ sessionStore }) => {
        sessionStore.destroy('an-id-of-its-own')
        sessionStore.clear()
        return {}
      },
    }
    const app = start({}, { routes })
    const length = (): Promise<unknown> => app.browser().json('/store/length')
    await app.get('/silent')
    await expect.poll(length).toEqual({ length: 1 })
    await app.get('/silently')
    await expect.poll(length).toEqual({ length: 0 })
  })

  test('store.all, store.length: a session that has expired is none', async () => {
    const app = start({ cookie: { maxAge: 60_000, secure: false } })
    await app.browser().get('/set?key=a&value=1')
    expect(await app.browser().json('/store/length')).toEqual({ length: 1 })
    await app.advance('61s')
    expect(await app.browser().json('/store/all')).toEqual([])
    expect(await app.browser().json('/store/length')).toEqual({ length: 0 })
  })

  test('a store is an EventEmitter, and loads and creates sessions', async () => {
    const routes: Record<string, Route> = {
      '/emitter': async ({ sessionStore, sessionID }) => {
        let events = 0
        sessionStore.on('connect', () => events++)
        sessionStore.emit('connect')
        const loaded = await stored<any>((done) => sessionStore.load(sessionID, done))
        return { events, id: loaded.id === sessionID, a: loaded.a, save: typeof loaded.save }
      },
    }
    const someone = start({}, { routes }).browser()
    await someone.get('/set?key=a&value=1')
    const expected = { events: 1, id: true, a: '1', save: 'function' }
    expect(await someone.json('/emitter')).toEqual(expected)
  })

  test('stored data that has the name of a member leaves the member alone', async () => {
    const routes: Record<string, Route> = {
      '/reserved': async ({ sessionStore, sessionID }) => {
        const found = await stored<any>((done) => sessionStore.get(sessionID, done))
        found.save = 'nope'
        await stored((done) => sessionStore.set(sessionID, found, done))
        return {}
      },
      '/works': async ({ session }) => {
        await called((done) => session.save(done))
        return { a: session.a }
      },
    }
    const someone = start({}, { routes }).browser()
    await someone.get('/set?key=a&value=1')
    await someone.get('/reserved')
    expect(await someone.json('/works')).toEqual({ a: '1' })
  })

  test('store.get, store.set: a session keeps the lifetime of its cookie', async () => {
    const routes: Record<string, Route> = {
      '/worker': async ({ sessionStore, sessionID }) => {
        const found = await stored<any>((done) => sessionStore.get(sessionID, done))
        found.n = 1
        await stored((done) => sessionStore.set(sessionID, found, done))
        const { originalMaxAge, expires } = found.cookie
        return { originalMaxAge, left: new Date(expires).getTime() - Date.now() }
      },
      '/left': ({ session }) => ({ n: session.n, originalMaxAge: session.cookie.originalMaxAge }),
    }
    const app = start({ cookie: { maxAge: 600_000, secure: false }, ttl: '1m' }, { routes })
    const someone = app.browser()
    await someone.get('/set?key=a&value=1')
    const { originalMaxAge, left } = await someone.json('/worker')
    // express-session reads the clock twice on the way to it.
    expect(originalMaxAge).toBeGreaterThan(599_000)
    expect(left).toBeGreaterThan(590_000)
    expect(left).toBeLessThanOrEqual(600_000)
    await app.advance('5m')
    const after = await someone.json('/left')
    expect(after.n).toBe(1)
    expect(after.originalMaxAge).toBeGreaterThan(599_000)
  })
})
