/** What protects sessions: from strangers, from their own size, from each other, and from what is in the store. */
import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import request from 'supertest'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { testStore } from '../../../src/testing.ts'
import { turnpike } from '../../../src/node.ts'
import { apps } from '../../support/apps.ts'
import { bothEngines } from '../../support/engines.ts'
import {
  ageing,
  cookiesOf,
  dataOf,
  gate,
  keysOf,
  queryOf,
  site,
  within,
  type SiteOptions,
} from './support.ts'

const engines = bothEngines()

describe.each(engines)('on the $name engine', (engine) => {
  const { server } = engine
  const open = ageing(engine)

  describe.each(apps)('$name', (kind) => {
    function start(options: SiteOptions = {}, opened = open()) {
      const app = site(kind, opened, options)
      return { ...opened, opened, app, someone: app.browser() }
    }

    test('cookie defaults: __Host-sid, HttpOnly, Secure, SameSite=Lax over HTTPS; sid with one warning otherwise', async () => {
      const { app } = start({ session: { cookie: undefined, proxy: true } })
      const https = await app.get('/set?key=a&value=1', { 'X-Forwarded-Proto': 'https' })
      expect(cookiesOf(https)[0]).toMatch(
        /^__Host-sid=s%3A[^;]+; Path=\/; HttpOnly; Secure; SameSite=Lax$/,
      )
      expect(app.warnings).toEqual([])
      for (let i = 0; i < 2; i++) {
        const http = await app.get('/set?key=a&value=1')
        expect(cookiesOf(http)[0]).toMatch(/^sid=s%3A[^;]+; Path=\/; HttpOnly; SameSite=Lax$/)
      }
      expect(app.warnings).toHaveLength(1)
      expect(app.warnings[0]).toContain('without Secure')
    })

    test('a plain sid is not believed over HTTPS', async () => {
      const { app, someone } = start({ session: { cookie: undefined, proxy: true } })
      await someone.get('/set?key=a&value=1')
      expect([...someone.jar.keys()]).toEqual(['sid'])
      expect(
        (await app.get('/', { Cookie: `sid=${someone.cookie()}`, 'X-Forwarded-Proto': 'https' }))
          .text,
      ).toBe('{}')
    })

    test('behind a proxy that the framework trusts the cookie is Secure', async () => {
      if (kind.name === 'node:http') return
      const { app } = start({ session: { cookie: undefined }, trustProxy: 1 })
      const https = await app.get('/set?key=a&value=1', { 'X-Forwarded-Proto': 'https' })
      expect(cookiesOf(https)[0]).toMatch(/^__Host-sid=.*Secure/)
    })

    test('attack: cookie tossing: of two different valid cookies of one name neither is believed', async () => {
      const { app } = start()
      const [victim, attacker] = [app.browser(), app.browser()]
      await victim.get('/set?key=a&value=victim')
      await attacker.get('/set?key=a&value=attacker')
      const events: any[] = []
      app.tp.on('session', (event: any) => events.push(event))
      for (const order of [
        [victim, attacker],
        [attacker, victim],
      ]) {
        const { text } = await app.get('/', {
          Cookie: order.map((each) => `sid=${each.cookie()}`).join('; '),
        })
        expect(text).toBe('{}')
      }
      const event = { name: 'sid', type: 'two-cookies', handle: undefined }
      expect(events).toEqual([event, event])
      // The same one twice, or one beside a forged one, is one.
      expect(
        (await app.get('/', { Cookie: `sid=${victim.cookie()}; sid=${victim.cookie()}` })).text,
      ).toContain('victim')
      expect(
        (await app.get('/', { Cookie: `sid=s%3Aforged.AAAA; sid=${victim.cookie()}` })).text,
      ).toContain('victim')
    })

    test('neither a key nor a value holds the id', async () => {
      const { someone, prefix } = start()
      await someone.get('/login')
      const { id } = await someone.json('/id')
      const redis = server()
      if (!redis) return
      for (const key of await keysOf(redis, prefix)) {
        expect(key).not.toContain(id.slice(8))
        expect(await redis.send('DUMP', key)).not.toContain(id.slice(8))
      }
    })

    test('encrypt: nothing in the store can be read, keys rotate, and a value moved elsewhere is none', async () => {
      const [first, second] = [randomBytes(32), 'k'.repeat(40)]
      const { someone, opened, prefix } = start({ session: { encrypt: first } })
      await someone.get('/set?key=word&value=confidential')
      await someone.get('/login?user=ada-lovelace')
      expect(await someone.json('/')).toEqual({ word: 'confidential', userId: 'ada-lovelace' })
      const redis = server()
      if (redis) {
        for (const key of await keysOf(redis, `${prefix}:session:`)) {
          const value = await redis.send('GET', key)
          expect(value).not.toContain('confidential')
          expect(value).not.toContain('ada-lovelace')
        }
      }
      const rotated = start({ session: { encrypt: [second, first] } }, opened)
      rotated.someone.jar.set('sid', someone.cookie()!)
      expect(await rotated.someone.json('/count')).toEqual({ count: 1 })
      expect((await rotated.app.tp.sessions.list('ada-lovelace'))[0]).toMatchObject({
        user: 'ada-lovelace',
      })
      const later = start({ session: { encrypt: [second] } }, opened)
      later.someone.jar.set('sid', someone.cookie()!)
      expect(await later.someone.json('/')).toMatchObject({ word: 'confidential', count: 1 })
      const without = start({ session: { encrypt: 'another key, which is long enough' } }, opened)
      without.someone.jar.set('sid', someone.cookie()!)
      expect(await without.someone.json('/')).toEqual({})
      if (redis) {
        const other = later.app.browser()
        await other.get('/set?key=mine&value=1')
        const keys = await keysOf(redis, `${prefix}:session:`)
        const values = new Map<string, string>()
        for (const key of keys) values.set(key, (await redis.send('GET', key)).split('\r\n')[1]!)
        for (const [i, key] of keys.entries()) {
          await redis.send('SET', key, values.get(keys[(i + 1) % keys.length]!)!, 'PX', '60000')
        }
        expect(await other.json('/')).toEqual({})
      }
    })

    test('encrypt refuses what is stored in plaintext, unless a transition allows it', async () => {
      const { someone, opened, prefix } = start()
      await someone.get('/set?key=word&value=confidential')
      const strict = start({ session: { encrypt: 'k'.repeat(32) } }, opened)
      strict.someone.jar.set('sid', someone.cookie()!)
      const events: any[] = []
      strict.app.tp.on('session', (event: any) => events.push(event.type))
      expect(await strict.someone.json('/')).toEqual({})
      expect(events).toEqual(['corrupt'])
      expect(strict.app.warnings).toEqual([expect.stringContaining("plaintext: 'read'")])
      const moving = { encrypt: 'k'.repeat(32), plaintext: 'read' }
      const now = start({ session: moving }, opened)
      now.someone.jar.set('sid', someone.cookie()!)
      expect(await now.someone.json('/count')).toEqual({ count: 1 })
      expect(await someone.json('/')).toEqual({ word: 'confidential', count: 1 })
      const rewriting = start({ session: { ...moving, rewrite: true } }, opened)
      rewriting.someone.jar.set('sid', someone.cookie()!)
      expect(await rewriting.someone.json('/')).toEqual({ word: 'confidential', count: 1 })
      const redis = server()
      if (redis) {
        const [key] = await keysOf(redis, `${prefix}:session:`)
        expect(await redis.send('GET', key!)).not.toContain('confidential')
      }
      strict.someone.jar.set('sid', someone.cookie()!)
      expect(await strict.someone.json('/')).toEqual({ word: 'confidential', count: 1 })
    })

    test('changing only the cookie saves the session', async () => {
      const { someone } = start({
        routes: {
          '/longer': ({ session }) => {
            session.cookie.maxAge = 3_600_000
            return {}
          },
          '/cookie': ({ session }) => ({ whole: session.cookie.originalMaxAge }),
        },
      })
      await someone.get('/set?key=a&value=1')
      expect(cookiesOf(await someone.get('/longer'))[0]).toContain('Expires=')
      expect(await someone.json('/cookie')).toEqual({ whole: 3_600_000 })
    })

    test('events tell of a login and a logout, by handles and without secrets', async () => {
      const { app, someone } = start()
      const events: any[] = []
      app.tp.on('session', (event: any) => events.push(event))
      await someone.get('/login')
      const [{ handle } = { handle: '' }] = await app.tp.sessions.list('ada')
      const { id } = await someone.json('/id')
      await someone.get('/logout')
      expect(events).toEqual([
        { name: 'sid', type: 'login', handle, ms: expect.any(Number) },
        { name: 'sid', type: 'logout', handle, ms: expect.any(Number) },
      ])
      expect(JSON.stringify(events)).not.toContain(id.slice(8))
    })

    test('maxBytes: a save beyond it fails with TP_SESSION_SIZE, and the old value is kept', async () => {
      const { app, someone } = start({
        session: { maxBytes: 1000 },
        routes: { '/big': ({ session }) => ({ length: (session.big = 'x'.repeat(1000)).length }) },
      })
      await someone.get('/set?key=a&value=1')
      expect((await someone.get('/big')).status).toBe(500)
      if (kind.name !== 'node:http')
        expect(app.errors.at(-1)?.code ?? 'TP_SESSION_SIZE').toBe('TP_SESSION_SIZE')
      expect(await someone.json('/')).toEqual({ a: '1' })
    })

    test('a value that no serializer can hold: the error names it, and the old value is kept', async () => {
      const deep = (levels: number): unknown =>
        JSON.parse(`${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`)
      const circle: { cart?: unknown } = {}
      circle.cart = { circle }
      const values: Record<string, unknown> = {
        'nested as deep as a client likes': deep(100_000),
        // JSON.stringify writes it, but JSON.parse with a reviver cannot read it.
        'nested so deep that only writing works': deep(3500),
        'an object that contains itself': circle,
        'toJSON that throws': {
          toJSON() {
            throw new Error('no JSON')
          },
        },
      }
      for (const serializer of ['json', 'rich'] as const) {
        for (const [what, value] of Object.entries(values)) {
          let told: any
          const { app, someone } = start({
            session: { serializer },
            routes: {
              '/keep': ({ session }) => ({ kept: (session.cart = value) !== undefined }),
              '/save': async ({ session }) => {
                session.cart = value
                // As in express-session's callbacks: an error that is thrown here ends the process.
                told = await new Promise((resolve) => setImmediate(() => session.save(resolve)))
                return {}
              },
            },
          })
          await someone.get('/set?key=a&value=1')
          const kept = await someone.get('/keep')
          await someone.get('/save')
          expect([what, kept.status, told.code]).toEqual([what, 500, 'TP_SESSION_SIZE'])
          expect(told.message).toMatch(/^session\.cart cannot be serialized: /)
          if (kind.name !== 'node:http') expect(app.errors[0].message).toBe(told.message)
          expect([what, await someone.json('/')]).toEqual([what, { a: '1' }])
        }
      }
    })

    test('attack: a cookie with a domain or path out of the request fails the request, and nothing else', async () => {
      const { app, someone } = start({
        routes: {
          '/go': (native) => {
            native.session.a = 1
            native.session.cookie[queryOf(native, 'set')!] = queryOf(native, 'to')
            return {}
          },
        },
      })
      for (const [set, to] of [
        ['domain', 'shop.example%0d%0aX: y'],
        ['domain', '%C3%BC.example'],
        ['path', '/a; Domain=example.com'],
        ['sameSite', 'maybe'],
      ])
        expect([set, (await someone.get(`/go?set=${set}&to=${to}`)).status]).toEqual([set, 500])
      expect(await app.get('/')).toMatchObject({ status: 200 })
      const [field] = cookiesOf(await someone.get('/go?set=sameSite&to=None'))
      expect(field).toContain('; SameSite=None')
    })

    test('data as deep as sessions may be is kept whatever the serializer', async () => {
      for (const serializer of ['json', 'rich'] as const) {
        const { someone } = start({
          session: { serializer },
          routes: {
            '/keep': ({ session }) => {
              session.form = JSON.parse(`${'['.repeat(1900)}"[{"${']'.repeat(1900)}`)
              return {}
            },
            '/look': ({ session }) => ({ bytes: JSON.stringify(session.form).length }),
          },
        })
        await someone.get('/keep')
        expect(await someone.json('/look')).toEqual({ bytes: 3804 })
      }
    })

    test('serializer: rich keeps dates, maps, sets and big integers, and takes nothing else for them', async () => {
      const { someone } = start({
        session: { serializer: 'rich' },
        routes: {
          '/put': ({ session }) => {
            session.date = new Date(5)
            session.invalid = new Date(NaN)
            session.map = new Map([['a', new Set([1n])]])
            session.odd = { $turnpike: 'date', value: 5, deep: { $turnpike: 'map' } }
            return {}
          },
          '/look': ({ session: { date, invalid, map, odd } }) => ({
            date: date instanceof Date && date.getTime(),
            invalid: invalid instanceof Date && String(invalid),
            map: [...map].map(([key, set]: any) => [key, [...set].map(String)]),
            odd,
          }),
        },
      })
      await someone.get('/put')
      const expected = {
        date: 5,
        invalid: 'Invalid Date',
        map: [['a', ['1']]],
        odd: { $turnpike: 'date', value: 5, deep: { $turnpike: 'map' } },
      }
      expect(await someone.json('/look')).toEqual(expected)
      await someone.get('/set?key=a&value=1')
      expect(await someone.json('/look')).toEqual(expected)
    })

    test.each([
      ['merge', { a: 'slow', b: 'fast', c: 'slow' }],
      ['last-write-wins', { a: 'slow', c: 'slow' }],
      [
        (_base: any, mine: any, theirs: any) => ({
          mine: Object.keys(mine).length,
          theirs: Object.keys(theirs).length,
        }),
        { mine: 2, theirs: 2 },
      ],
    ])('onConflict: %s', async (onConflict, expected) => {
      const door = gate()
      const { someone } = start({
        session: { onConflict },
        routes: {
          '/slow': async ({ session }) => {
            Object.assign(session, { a: 'slow', c: 'slow' })
            await door.wait()
            return {}
          },
          '/fast': ({ session }) => {
            Object.assign(session, { a: 'fast', b: 'fast' })
            return {}
          },
        },
      })
      await someone.get('/set?key=a&value=first')
      await within(someone, '/slow', door, '/fast')
      expect(await someone.json('/')).toEqual(expected)
    })

    test('onConflict: reject: the later one fails with 409', async () => {
      const door = gate()
      const { app, someone } = start({
        session: { onConflict: 'reject' },
        routes: {
          '/slow': async ({ session }) => {
            session.a = 'slow'
            await door.wait()
            return {}
          },
        },
      })
      await someone.get('/set?key=a&value=first')
      const [slow, fast] = await within(someone, '/slow', door, '/set?key=b&value=fast')
      expect([slow?.status, fast?.status]).toEqual([409, 200])
      expect(await someone.json('/')).toEqual({ a: 'first', b: 'fast' })
      expect(app.errors.every(({ code }) => code === 'TP_SESSION_CONFLICT')).toBe(true)
    })

    test('a save in the middle of a request merges too, and the next one does not undo it', async () => {
      const door = gate()
      const { someone } = start({
        routes: {
          '/slow': async ({ session }) => {
            session.one = 1
            await door.wait()
            await session.save()
            session.two = session.other
            return {}
          },
        },
      })
      await someone.get('/set?key=a&value=1')
      await within(someone, '/slow', door, '/set?key=other&value=2')
      expect(await someone.json('/')).toEqual({ a: '1', one: 1, other: '2', two: '2' })
    })

    test.each([
      'not ours',
      '{"broken',
      'J-00000100',
      `J-${'0'.repeat(45)}no line`,
      `J-${'0'.repeat(45)}\n[1]`,
      `J-${'0'.repeat(45)}\nnull`,
    ])(
      'a corrupt value (%s) is a new session and one event; with onCorrupt: error a 500',
      async (value) => {
        const { app, someone, opened, prefix } = start()
        await someone.get('/set?key=a&value=1')
        const redis = server()
        if (redis) {
          const [key] = await keysOf(redis, `${prefix}:session:`)
          await redis.send('SET', key!, value, 'PX', '60000')
        } else {
          const { loadSessions } = await import('../../../src/features/session/operations/load.ts')
          const run = opened.store.run.bind(opened.store)
          opened.store.run = async (operation: any, ...rest: any[]) =>
            operation === loadSessions ? [value, null] : (run as any)(operation, ...rest)
        }
        const events: any[] = []
        app.tp.on('session', (event: any) => events.push(event))
        expect(await someone.json('/')).toEqual({})
        expect(events.map(({ type }) => type)).toEqual(['corrupt'])
        const strict = start({ session: { onCorrupt: 'error' } }, opened)
        strict.someone.jar.set('sid', someone.cookie()!)
        expect((await strict.someone.get('/')).status).toBe(500)
      },
    )

    test('a value of another type is no session, one event, and left alone; with onCorrupt: error a 500', async () => {
      const redis = server()
      if (!redis) return
      const { app, someone, opened, prefix } = start()
      await someone.get('/set?key=a&value=1')
      const [key] = await keysOf(redis, `${prefix}:session:`)
      await redis.send('DEL', key!)
      await redis.send(
        'EVAL',
        `redis.call('LPUSH', KEYS[1], 'x') return redis.call('PEXPIRE', KEYS[1], 60000)`,
        '1',
        key!,
      )
      const events: any[] = []
      app.tp.on('session', (event: any) => events.push(event.type))
      expect(await someone.json('/')).toEqual({})
      // Nobody waits for it to be noticed.
      await expect.poll(() => events).toEqual(['corrupt'])
      expect(await redis.send('TYPE', key!)).toContain('list')
      const strict = start({ session: { onCorrupt: 'error' } }, opened)
      strict.someone.jar.set('sid', someone.cookie()!)
      expect((await strict.someone.get('/')).status).toBe(500)
    })

    test('revokeAll() ends the sessions of all secrets, also where deleting one of them fails', async () => {
      const redis = server()
      if (!redis) return
      const { someone, opened, prefix } = start({ session: { secret: 'old' } })
      await someone.get('/login?user=ann')
      expect(await someone.json('/')).toMatchObject({ userId: 'ann' })
      const [former] = await keysOf(redis, `${prefix}:session:`)
      const after = start({ session: { secret: ['new', 'old'] } }, opened)
      await after.someone.get('/login?user=ann')
      const all = await keysOf(redis, `${prefix}:session:`)
      for (const key of all.filter((each) => each !== former)) {
        await redis.send('DEL', key)
        await redis.send(
          'EVAL',
          `redis.call('LPUSH', KEYS[1], 'x') return redis.call('PEXPIRE', KEYS[1], 60000)`,
          '1',
          key,
        )
      }
      await expect(after.app.tp.sessions.revokeAll('ann')).rejects.toThrow('WRONGTYPE')
      expect((await someone.json('/')).userId).toBeUndefined()
    })

    test('skip and lazy: no session is read unless it is asked for', async () => {
      const store = testStore()
      let runs = 0
      const run = store.run.bind(store)
      store.run = (async (...args: Parameters<typeof run>) => {
        runs++
        return run(...args)
      }) as typeof run
      const opened = { store, prefix: 'tp' }
      const someone = site(kind, opened).browser()
      await someone.get('/set?key=a&value=1')
      const app = site(kind, opened, {
        session: { skip: (native: any) => (native.originalUrl ?? native.url) === '/skipped' },
        routes: { '/skipped': ({ session }) => ({ none: session === undefined }) },
      })
      runs = 0
      expect(
        JSON.parse((await app.get('/skipped', { Cookie: `sid=${someone.cookie()}` })).text),
      ).toEqual({ none: true })
      expect(runs).toBe(0)
      const lazily = site(kind, opened, {
        session: { lazy: true },
        routes: {
          '/none': ({ session }) => ({ none: session === undefined }),
          '/some': async (native) => {
            const session = await native.getSession()
            session.b = 2
            return { ...dataOf(native.session), same: native.session === session }
          },
        },
      })
      runs = 0
      const headers = { Cookie: `sid=${someone.cookie()}` }
      expect(JSON.parse((await lazily.get('/none', headers)).text)).toEqual({ none: true })
      expect(runs).toBe(0)
      expect(JSON.parse((await lazily.get('/some', headers)).text)).toEqual({
        a: '1',
        b: 2,
        same: true,
      })
      expect(runs).toBe(2)
      expect(await someone.json('/')).toEqual({ a: '1', b: 2 })
    })

    test('ctx.session = null and ctx.session = { … }, as in koa-session', async () => {
      const { someone } = start({
        session: { unset: 'destroy' },
        routes: {
          '/replace': (native) => {
            native.session = { other: 1 }
            return {}
          },
          '/null': (native) => {
            native.session = null
            return {}
          },
        },
      })
      await someone.get('/set?key=a&value=1')
      await someone.get('/replace')
      expect(await someone.json('/')).toEqual({ other: 1 })
      await someone.get('/null')
      expect(await someone.json('/')).toEqual({})
    })
  })
})

test('node:http: what the warning of a cookie without Secure says to set makes it Secure', async () => {
  const emitWarning = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  const tp = turnpike({ store: testStore() })
  const session = tp.session({ secret: 'only for this test' })
  const server = createServer((req, res) => {
    if (req.headers['x-forwarded-proto'] === 'https') Object.assign(req, { secure: true })
    session(req, res, () => {
      Object.assign((req as never as { session: object }).session, { seen: true })
      res.end()
    })
  })
  onTestFinished(async () => {
    emitWarning.mockRestore()
    server.close()
    await tp.close()
  })
  const plain = await request(server).get('/').expect(200)
  expect(plain.headers['set-cookie']![0]).toMatch(/^sid=.*; HttpOnly; SameSite=Lax$/)
  expect(emitWarning.mock.calls[0]?.[0]).toContain('req.secure = true')
  const secure = await request(server).get('/').set('X-Forwarded-Proto', 'https').expect(200)
  expect(secure.headers['set-cookie']![0]).toMatch(
    /^__Host-sid=.*; HttpOnly; Secure; SameSite=Lax$/,
  )
})

describe('options', () => {
  const tp = turnpike({ store: testStore() })
  const made = (options: object) => () => tp.session(options as never)
  test.each([
    [{}, 'secret must be'],
    [{ secret: [] }, 'secret must be'],
    [{ secret: '' }, 'secret must be'],
    [{ secret: 's', tll: '1h' }, 'Did you mean ttl?'],
    [{ secret: 's', ttl: '15 minutes' }, "Did you mean '15m'?"],
    [{ secret: 's', cookie: { samesite: 'lax' } }, 'Did you mean sameSite?'],
    [{ secret: 's', cookie: { maxAge: '1 hour' } }, "Did you mean '1h'?"],
    [{ secret: 's', encrypt: 'short' }, 'at least 32'],
    [{ secret: 's', name: 'a b' }, "a cookie's name"],
    [{ secret: 's', store: {} }, 'tp.sessionStore()'],
    [{ secret: 's', format: 'connect-redis', encrypt: 'k'.repeat(32) }, "format: 'connect-redis'"],
    [{ secret: 's', unset: 'delete' }, 'unset must be'],
    [{ secret: 's', cookie: { maxAge: '40000d' } }, 'cookie.maxAge must be at most'],
    [{ secret: 's', cookie: { maxAge: 1e300 } }, 'cookie: maxAge must be'],
    [{ secret: 's', cookie: { maxAge: 0 } }, 'cookie.maxAge must be at least 1 ms'],
    [{ secret: 's', ttl: '40000d' }, 'ttl must be at most'],
    [{ secret: 's', absoluteTimeout: Number.MAX_SAFE_INTEGER }, 'absoluteTimeout must be at most'],
    [
      { secret: 's', cookie: { expires: new Date(0) } },
      'cookie.expires must be a Date in the future',
    ],
    [
      { secret: 's', cookie: { expires: new Date('x') } },
      'cookie.expires must be a Date in the future',
    ],
    [
      { secret: 's', cookie: { maxAge: new Date(0) } },
      'cookie.maxAge must be a Date in the future',
    ],
    [{ secret: 's', name: '__Host-sid', cookie: { domain: 'example.com' } }, 'without domain'],
    [{ secret: 's', name: ['sid', '__Host-sid'], cookie: { path: '/app' } }, "cookie.path '/'"],
    [{ secret: 's', name: '__Secure-sid', cookie: { secure: false } }, 'requires cookie.secure'],
    [{ secret: 's', name: [] }, 'name must be'],
    [{ secret: 's', plaintext: 'read' }, 'plaintext must be absent without encrypt'],
    [{ secret: 's', legacySignature: true }, 'legacySignature must be'],
  ])('%o: %s', (options, message) => {
    expect(made(options)).toThrow(message)
    expect(made(options)).toThrow(expect.objectContaining({ code: 'TP_OPTION' }))
  })

  test.each([
    [{ redirect: 'login' }, 'redirect must be'],
    [{ redirect: '//evil.example' }, 'redirect must be'],
    [{ redirct: '/login' }, 'Did you mean redirect?'],
    [{ reply: 'no' }, 'reply must be'],
  ])('require: %o: %s', (options, message) => {
    expect(() => tp.session.require(options as never)).toThrow(message)
    expect(() => tp.session.require('write', options as never)).toThrow(message)
  })

  test('require: a permission that is no string', () => {
    expect(() => tp.session.require(5 as never)).toThrow('permission must be a string')
  })

  test('a secret is in no message', () => {
    expect(made({ secret: ['a very secret text', 5] })).toThrow(/^(?!.*very secret)/)
  })
})
