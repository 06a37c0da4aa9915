/** `req.session`, its methods and those of its store, as express-session's README documents them. */
import { expect, test } from 'vitest'
import { called, describeSubjects, stored } from './express-session-subjects.ts'
import { cookiesOf, dataOf, gate, within, type Route } from './support.ts'

describeSubjects(({ start }) => {
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

  test('touch and resetMaxAge return the session', async () => {
    expect(await start().browser().json('/touch')).toEqual({ same: true, reset: true })
  })

  test('a session ends when its maxAge has passed, and each request renews it', async () => {
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

  test('an ID that is not stored is not adopted', async () => {
    const app = start()
    const someone = app.browser()
    await someone.get('/set?key=a&value=1')
    const planted = someone.cookie()!
    await someone.get('/destroy')
    await someone.get('/set?key=b&value=2')
    expect(someone.cookie()).not.toBe(planted)
  })

  test('req.session.id cannot be changed', async () => {
    const routes: Record<string, Route> = {
      '/rename': ({ session, sessionID }) => {
        session.a = 1
        let isRefused = false
        try {
          session.id = 'another'
        } catch {
          isRefused = true
        }
        return { isRefused, same: session.id === sessionID }
      },
    }
    expect(await start({}, { routes }).browser().json('/rename')).toEqual({
      isRefused: true,
      same: true,
    })
  })

  test('req.sessionID that is no string: nothing is stored, and no cookie is sent', async () => {
    const routes: Record<string, Route> = {
      '/bogus': (native) => {
        native.sessionID = () => {}
        native.session.a = 1
        return {}
      },
    }
    const app = start({}, { routes })
    expect(cookiesOf(await app.get('/bogus'))).toEqual([])
    expect(await app.browser().json('/store/length')).toEqual({ length: 0 })
  })

  test('reload: an error if the session is gone, however often it is tried', async () => {
    const routes: Record<string, Route> = {
      '/gone': async (native) => {
        await stored((done) => native.sessionStore.clear(done))
        let errors = 0
        for (let i = 0; i < 20; i++) {
          await new Promise<void>((resolve) => {
            native.session.reload((error?: Error) => {
              errors += Number(error instanceof Error)
              resolve()
            })
          })
        }
        return { errors }
      },
    }
    const someone = start({}, { routes }).browser()
    await someone.get('/set?key=a&value=1')
    expect(await someone.json('/gone')).toEqual({ errors: 20 })
  })

  test('reload: what another request has stored meanwhile is there', async () => {
    const door = gate()
    const routes: Record<string, Route> = {
      '/slow': async (native) => {
        native.session.mine = 1
        await door.wait()
        await called((done) => native.session.reload(done))
        return dataOf(native.session)
      },
    }
    const someone = start({}, { routes }).browser()
    await someone.get('/set?key=a&value=1')
    const [slow] = await within(someone, '/slow', door, '/set?key=b&value=2')
    expect(JSON.parse(slow!.text)).toEqual({ a: '1', b: '2' })
  })

  test('save: the session is in the store when the callback is called', async () => {
    const routes: Record<string, Route> = {
      '/saved': async (native) => {
        native.session.hit = true
        await called((done) => native.session.save(done))
        const found = await stored<any>((done) => native.sessionStore.get(native.session.id, done))
        return { hit: found.hit }
      },
    }
    expect(await start({}, { routes }).browser().json('/saved')).toEqual({ hit: true })
  })

  test('regenerate and destroy: what was put in the session before is gone', async () => {
    const routes: Record<string, Route> = {
      '/twice': async (native) => {
        native.session.a = 1
        await called((done) => native.session.regenerate(done))
        native.session.b = 2
        await called((done) => native.session.regenerate(done))
        native.session.c = 3
        return { id: native.session.id }
      },
      '/over': async (native) => {
        native.session.d = 4
        await called((done) => native.session.destroy(done))
        return {}
      },
    }
    const app = start({}, { routes })
    const someone = app.browser()
    const { id } = await someone.json('/twice')
    expect(await someone.json('/')).toEqual({ c: 3 })
    expect((await someone.json('/id')).id).toBe(id)
    expect(await app.browser().json('/store/length')).toEqual({ length: 1 })
    await someone.get('/over')
    expect(await app.browser().json('/store/length')).toEqual({ length: 0 })
  })

  test('a session that was destroyed may be followed by another in the same request', async () => {
    const routes: Record<string, Route> = {
      '/again': async (native) => {
        const { session } = native
        await called((done) => session.regenerate(done))
        await called((done) => native.session.destroy(done))
        return { session: native.session ?? null }
      },
    }
    const someone = start({}, { routes }).browser()
    await someone.get('/set?key=a&value=1')
    expect(await someone.json('/again')).toEqual({ session: null })
    expect(await someone.json('/count')).toEqual({ count: 1 })
  })
})
