/** What is on the session besides its data, and how a user is logged in and out. */
import type { RequestListener } from 'node:http'
import expressSession from 'express-session'
import { describe, expect, test } from 'vitest'
import { testStore } from '../../../src/testing.ts'
import { apps } from '../../support/apps.ts'
import { bothEngines } from '../../support/engines.ts'
import { ageing, cookiesOf, dataOf, site, type Route, type SiteOptions } from './support.ts'

const engines = bothEngines()
const expressMembers = 'cookie destroy id regenerate reload req resetMaxAge save touch'.split(' ')
const koaMembers = 'externalKey isNew length manuallyCommit maxAge populated toJSON'.split(' ')

/** Every name that leads to something on an object, except those of all objects. */
function membersOf(object: object): string[] {
  const names = new Set<string>()
  for (let at = object; at !== Object.prototype; at = Object.getPrototypeOf(at) as object)
    for (const name of Object.getOwnPropertyNames(at)) names.add(name)
  names.delete('constructor')
  return [...names].toSorted()
}

test('express-session itself has the members that this file lists', async () => {
  const { default: express } = await import('express')
  const { default: request } = await import('supertest')
  const app = express().use(
    expressSession({ secret: 's', resave: false, saveUninitialized: false }),
    (req, res) => void res.json(membersOf(req.session)),
  )
  expect((await request(app as RequestListener).get('/')).body).toEqual(expressMembers)
})

describe.each(engines)('on the $name engine', (engine) => {
  const open = ageing(engine)

  describe.each(apps)('$name', (kind) => {
    const isKoa = kind.name.startsWith('Koa')
    function start(options: SiteOptions = {}, opened = open()) {
      const app = site(kind, opened, options)
      return { ...opened, opened, app, someone: app.browser() }
    }

    test('the session has the members of express-session (on Koa also of koa-session), and no others', async () => {
      const { someone } = start({ routes: { '/members': ({ session }) => membersOf(session) } })
      const expected = isKoa ? [...expressMembers, ...koaMembers].toSorted() : expressMembers
      expect(await someone.json('/members')).toEqual(expected)
    })

    test('an application that asks `if (req.session.login)` lets no stranger in', async () => {
      const { someone } = start({
        routes: {
          '/inside': ({ session }) => ({ inside: Boolean(session.login), out: !!session.logout }),
          '/in': ({ session }) => {
            Object.assign(session, { login: 'ada', logout: 'later', user: 7 })
            return {}
          },
        },
      })
      expect(await someone.json('/inside')).toEqual({ inside: false, out: false })
      await someone.get('/in')
      expect(await someone.json('/')).toEqual({ login: 'ada', logout: 'later', user: 7 })
    })

    test.each(['id', 'req', 'touch', 'resetMaxAge', 'save', 'reload', 'regenerate', 'destroy'])(
      'data cannot be called %s: an error when it is set',
      async (name) => {
        const assign: Route = ({ session }) => {
          session[name] = 'data'
          return {}
        }
        const { app, someone } = start({ routes: { '/assign': assign } })
        expect((await someone.get('/assign')).status).toBe(500)
        expect(app.errors.at(-1)).toMatchObject({
          code: 'TP_VALUE',
          message: expect.stringContaining(`session.${name} is a member`),
        })
      },
    )

    test('data that replaces the session, or comes with a login, cannot have the name of a member', async () => {
      const { app, someone } = start({
        routes: {
          '/replace': (native) => {
            native.session = { a: 1, save: 'data' }
            return {}
          },
          '/in': async (native, tp) => {
            await tp.session.login(native, 'ada', { destroy: true })
            return {}
          },
        },
      })
      await someone.get('/set?key=kept&value=1')
      for (const path of ['/replace', '/in']) {
        expect((await someone.get(path)).status, path).toBe(500)
        expect(app.errors.at(-1)?.code, path).toBe('TP_VALUE')
      }
      expect(await someone.json('/')).toEqual({ kept: '1' })
      expect(await app.tp.sessions.count('ada')).toBe(0)
    })

    test('a method may be replaced by another, as tests and instrumentation do', async () => {
      const { someone } = start({
        routes: {
          '/patched': async ({ session }) => {
            const { save } = session
            let calls = 0
            session.save = (...args: unknown[]) => {
              calls++
              return save.apply(session, args)
            }
            session.a = 1
            await session.save()
            return { calls, keys: Object.keys(dataOf(session)) }
          },
        },
      })
      expect(await someone.json('/patched')).toEqual({ calls: 1, keys: ['a'] })
      expect(await someone.json('/')).toEqual({ a: 1 })
    })

    test('stored data that has the name of a member: an event, and the member works', async () => {
      const { app, someone, store } = start({
        session: { legacyPrefix: 'sess:', name: 'connect.sid' },
        routes: {
          '/works': async ({ session }) => {
            await session.save()
            return { ...dataOf(session), save: typeof session.save }
          },
        },
      })
      const { signId } = await import('../../../src/features/session/signature.ts')
      const { connectRedisSave } =
        await import('../../../src/features/session/operations/connect-redis.ts')
      const id = `from-another-store-${Math.random()}`
      const value = JSON.stringify({ cookie: { originalMaxAge: null }, save: 'data', a: 1 })
      await store.run(connectRedisSave, [`sess:${id}`], ['', 60_000, value])
      someone.jar.set(
        'connect.sid',
        encodeURIComponent(signId(id, 'a secret of the tests', '', 'express')),
      )
      const events: any[] = []
      app.tp.on('session', (event: any) => events.push(event.type))
      expect(await someone.json('/works')).toEqual({ a: 1, save: 'function' })
      expect(events).toEqual(['reserved-name'])
    })

    test('a login that fails and is handled does not fail the response', async () => {
      const { app, someone } = start({
        session: { maxPerUser: 1, onOverflow: 'deny' },
        routes: {
          '/try': async (native, tp) => {
            try {
              await tp.session.login(native, 'ada')
              return { in: true }
            } catch (error: any) {
              native.session.tried = true
              return { code: error.code }
            }
          },
        },
      })
      await app.browser().get('/login')
      const refused = await someone.get('/try')
      expect([refused.status, refused.text]).toEqual([200, '{"code":"TP_SESSION_LIMIT"}'])
      expect(await someone.json('/')).toEqual({ tried: true })
    })

    test('a login that is not awaited fails the response if it fails', async () => {
      const { app } = start({
        session: { maxPerUser: 1, onOverflow: 'deny' },
        routes: {
          '/forgotten': (native, tp) => {
            void tp.session.login(native, 'ada')
            return {}
          },
        },
      })
      expect((await app.browser().get('/forgotten')).status).toBe(200)
      const refused = await app.browser().get('/forgotten')
      expect(refused.status).toBe(409)
      expect(cookiesOf(refused)).toEqual([])
    })

    test('login and logout say what is missing', async () => {
      const { app } = start({
        session: { skip: (native: any) => (native.originalUrl ?? native.url) === '/skipped' },
        routes: {
          '/skipped': async (native, tp) => {
            const code = async (work: Promise<void>): Promise<string> =>
              work.then(
                () => 'done',
                (error: any) => `${error.code}: ${error.message.includes('no session')}`,
              )
            return [
              await code(tp.session.login(native, 'ada')),
              await code(tp.session.logout(native)),
              await code(tp.session.logout()),
            ]
          },
          '/user': async (native, tp) => {
            const refused = []
            for (const user of ['', undefined, null, {}, Number.NaN, Infinity, true])
              refused.push(await tp.session.login(native, user).catch((error: any) => error.code))
            return refused
          },
        },
      })
      const missing = 'TP_OPTION: true'
      expect(JSON.parse((await app.get('/skipped')).text)).toEqual([missing, missing, missing])
      expect(JSON.parse((await app.get('/user')).text)).toEqual(Array(7).fill('TP_OPTION'))
    })

    test('with lazy: true a login loads the session first', async () => {
      const { someone, opened } = start()
      await someone.get('/set?key=cart&value=1')
      const lazily = site(kind, opened, {
        session: { lazy: true },
        routes: {
          '/in': async (native, tp) => {
            await tp.session.login(native, 'ada')
            return {}
          },
          '/not-awaited': (native, tp) => {
            void tp.session.login(native, 'bob')
            return {}
          },
        },
      })
      const browser = lazily.browser()
      browser.jar.set('sid', someone.cookie()!)
      await browser.get('/in')
      someone.jar.set('sid', browser.cookie()!)
      expect(await someone.json('/')).toEqual({ cart: '1', userId: 'ada' })
      expect(await lazily.tp.sessions.count('ada')).toBe(1)
      const other = lazily.browser()
      await other.get('/not-awaited')
      someone.jar.set('sid', other.cookie()!)
      expect(await someone.json('/')).toEqual({ userId: 'bob' })
    })

    test('with fail: open nobody is told that a login or logout has worked', async () => {
      const store = testStore()
      const call =
        (work: (native: any, tp: any) => Promise<void>): Route =>
        async (native, tp) => {
          store.recover()
          return { code: await work(native, tp).then(String, (error: any) => error.code) }
        }
      const app = site(
        kind,
        { store, prefix: 'tp' },
        {
          session: { fail: 'open' },
          routes: {
            '/in': call((native, tp) => tp.session.login(native, 'ada')),
            '/out': call((native, tp) => tp.session.logout(native)),
            '/destroyed': call((native) => native.session.destroy()),
            '/saved': call((native) => native.session.save()),
          },
        },
      )
      const someone = app.browser()
      await someone.get('/login?user=bob')
      for (const path of ['/in', '/out', '/destroyed', '/saved']) {
        store.fail()
        expect(await someone.json(path), path).toEqual({ code: 'TP_UNAVAILABLE' })
      }
      store.recover()
      expect(await someone.json('/')).toEqual({ userId: 'bob' })
      expect(await app.tp.sessions.count('ada')).toBe(0)
    })
  })

  describe.each(apps.filter(({ name }) => name.startsWith('Koa')))('$name', (kind) => {
    const routes: Record<string, Route> = {
      '/look': ({ session }) => ({
        isNew: session.isNew,
        populated: session.populated,
        length: session.length,
        maxAge: session.maxAge,
        key: session.externalKey === session.id,
        json: session.toJSON(),
      }),
    }

    test('isNew, populated, length, maxAge, externalKey and toJSON, as in koa-session', async () => {
      const opened = open()
      const someone = site(kind, opened, {
        routes,
        session: { cookie: { maxAge: '1d', secure: false } },
      }).browser()
      const fresh = { isNew: true, populated: false, length: 0, key: true, json: {} }
      expect(await someone.json('/look')).toEqual({ ...fresh, maxAge: 86_400_000 })
      await someone.get('/set?key=a&value=1')
      expect(await someone.json('/look')).toEqual({
        isNew: false,
        populated: true,
        length: 1,
        maxAge: 86_400_000,
        key: true,
        json: { a: '1' },
      })
    })

    test('maxAge = ms and maxAge = "session" change the cookie', async () => {
      const someone = site(kind, open(), {
        routes: {
          '/hour': ({ session }) => ({ maxAge: (session.maxAge = 3_600_000) }),
          '/browser': ({ session }) => ({ maxAge: (session.maxAge = 'session') }),
          ...routes,
        },
      }).browser()
      await someone.get('/set?key=a&value=1')
      expect(cookiesOf(await someone.get('/hour'))[0]).toContain('; Expires=')
      expect((await someone.json('/look')).maxAge).toBe(3_600_000)
      const [field] = cookiesOf(await someone.get('/browser'))
      expect(field).toMatch(/^sid=/)
      expect(field).not.toContain('Expires')
      expect((await someone.json('/look')).maxAge).toBe('session')
    })

    test('manuallyCommit stores a changed session; regenerate() keeps the data under a new id', async () => {
      const opened = open()
      const app = site(kind, opened, {
        routes: {
          '/commit': async ({ session }) => {
            session.a = 1
            await session.manuallyCommit()
            return {}
          },
          '/regenerate': async (ctx) => {
            const before = ctx.session.id
            const same = ctx.session
            await ctx.session.regenerate()
            return { changed: before !== ctx.session.id, same: same === ctx.session }
          },
        },
      })
      const someone = app.browser()
      await someone.get('/commit')
      await someone.get('/login')
      const before = app.browser()
      before.jar.set('sid', someone.cookie()!)
      expect(await someone.json('/regenerate')).toEqual({ changed: true, same: true })
      expect(await someone.json('/')).toEqual({ a: 1, userId: 'ada' })
      expect(await before.json('/')).toEqual({})
      expect(await app.tp.sessions.count('ada')).toBe(1)
    })

    test('ctx.session = null ends the session and removes its cookie', async () => {
      const someone = site(kind, open(), {
        routes: {
          '/null': (ctx) => {
            ctx.session = null
            return {}
          },
        },
      }).browser()
      await someone.get('/set?key=a&value=1')
      const before = someone.cookie()!
      await someone.get('/null')
      expect([...someone.jar]).toEqual([])
      someone.jar.set('sid', before)
      expect(await someone.json('/')).toEqual({})
    })
  })
})
