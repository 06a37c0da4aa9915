/** What sessions guarantee, on both engines and in every framework. */
import { describe, expect, test } from 'vitest'
import { apps } from '../../support/apps.ts'
import { bothEngines } from '../../support/engines.ts'
import { until } from '../../support/until.ts'
import {
  ageing,
  cookiesOf,
  dataOf,
  gate,
  keysOf,
  pause,
  within,
  SECRET,
  site,
  type SiteOptions,
} from './support.ts'

/** The value of a cookie; itself if it is no encoded value. */
function decoded(value: string): string {
  try {
    return decodeURIComponent(value)
  } catch {
    return value
  }
}

const engines = bothEngines()

describe.each(engines)('sessions on the $name engine', (engine) => {
  const { server } = engine
  const open = ageing(engine)
  describe.each(apps)('$name', (kind) => {
    function start(options: SiteOptions = {}) {
      const opened = open()
      const app = site(kind, opened, options)
      return {
        ...opened,
        app,
        someone: app.browser(),
        keys: () => keysOf(server()!, `${opened.prefix}:session:`),
      }
    }

    test('two writers of different keys, overlapping: both survive', async () => {
      const door = gate()
      const { someone } = start({
        routes: {
          '/slow': async ({ session }) => {
            session.slow = 1
            await door.wait()
            return {}
          },
          '/fast': ({ session }) => {
            session.fast = 1
            return {}
          },
        },
      })
      await someone.get('/set?key=before&value=1')
      await within(someone, '/slow', door, '/fast')
      expect(await someone.json('/')).toEqual({ before: '1', slow: 1, fast: 1 })
    })

    test('a key that one deletes while the other writes another is gone', async () => {
      const door = gate()
      const { someone } = start({
        routes: {
          '/slow': async ({ session }) => {
            delete session.before
            await door.wait()
            return {}
          },
        },
      })
      await someone.get('/set?key=before&value=1')
      await within(someone, '/slow', door, '/set?key=other&value=2')
      expect(await someone.json('/')).toEqual({ other: '2' })
    })

    test('logout during another request’s slow save: the next is anonymous, the key absent', async () => {
      const door = gate()
      const { app, someone, keys } = start({
        routes: {
          '/slow': async ({ session }) => {
            session.cart = 'full'
            await door.wait()
            return {}
          },
        },
      })
      await someone.get('/login')
      const cookies = new Map(someone.jar)
      const events: any[] = []
      app.tp.on('session', (event: any) => events.push(event))
      const slow = someone.get('/slow')
      await door.arrived
      expect(
        (
          await app.get('/logout', {
            Cookie: [...cookies].map((each) => each.join('=')).join('; '),
          })
        ).status,
      ).toBe(200)
      door.open()
      expect((await slow).status).toBe(200)
      expect(events.map(({ type }) => type)).toEqual(['logout', 'dropped'])
      expect(await someone.json('/')).toEqual({})
      if (server()) expect(await keys()).toEqual([])
    })

    test('attack: session fixation: an id from before the login has no user after it', async () => {
      const { app, someone: victim } = start()
      const attacker = app.browser()
      await attacker.get('/set?key=bait&value=1')
      const planted = attacker.cookie()!
      victim.jar.set('sid', planted)
      const before = (await victim.json('/id')).id
      await victim.get('/login')
      expect(victim.cookie()).not.toBe(planted)
      const after = await victim.json('/id')
      expect(after.id).not.toBe(before)
      expect(await victim.json('/')).toMatchObject({ userId: 'ada', bait: '1' })
      expect(await attacker.json('/')).toEqual({ bait: '1' })
    })

    test('the old id ends with its grace, whatever is saved into it', async () => {
      const { app, someone, advance } = start()
      await someone.get('/set?key=cart&value=1')
      const old = app.browser()
      old.jar.set('sid', someone.cookie()!)
      await someone.get('/login')
      await advance('9s')
      expect(await old.json('/')).toEqual({ cart: '1' })
      await old.get('/set?key=more&value=1')
      await advance('2s')
      expect(await old.json('/')).toEqual({})
    })

    test('with any byte of the cookie flipped it is rejected', async () => {
      const { app, someone } = start()
      await someone.get('/set?key=a&value=1')
      const value = someone.cookie()!
      for (let i = 0; i < value.length; i++) {
        for (const bit of /[a-z]/i.test(value[i]!) ? [1, 32] : [1]) {
          const flipped =
            value.slice(0, i) + String.fromCharCode(value.charCodeAt(i) ^ bit) + value.slice(i + 1)
          // %3a means the same as %3A.
          const isSame = decoded(flipped) === decoded(value)
          const { text } = await app.get('/', { Cookie: `sid=${flipped}` })
          expect(text, `byte ${i}, bit ${bit}`).toBe(isSame ? '{"a":"1"}' : '{}')
        }
      }
      expect((await app.get('/', { Cookie: `sid=${value}` })).text).toBe('{"a":"1"}')
    })

    test('what the old secret signed is accepted, and signed anew', async () => {
      const opened = open()
      const before = site(kind, opened, { session: { secret: 'old' } }).browser()
      await before.get('/set?key=a&value=1')
      const after = site(kind, opened, { session: { secret: ['new', 'old'] } }).browser()
      after.jar = before.jar
      const now = site(kind, opened, { session: { secret: ['new', 'old'] } }).browser()
      now.jar.set('sid', before.cookie()!)
      expect(await now.json('/')).toEqual({ a: '1' })
      expect(now.cookie()).not.toBe(before.cookie())
      const later = site(kind, opened, { session: { secret: 'new' } }).browser()
      later.jar.set('sid', now.cookie()!)
      expect(await later.json('/')).toEqual({ a: '1' })
      later.jar.set('sid', before.cookie()!)
      expect(await later.json('/')).toEqual({})
    })

    test('a user’s session from before a rotation is still in the list when the old secret is gone', async () => {
      const opened = open()
      const before = site(kind, opened, { session: { secret: 'old' } }).browser()
      await before.get('/login')
      // It is no further session: with one at most it does not count twice.
      const now = site(kind, opened, {
        session: { secret: ['new', 'old'], maxPerUser: 1, onOverflow: 'deny' },
      })
      const moved = now.browser()
      moved.jar.set('sid', before.cookie()!)
      expect(await moved.json('/')).toMatchObject({ userId: 'ada' })
      const later = site(kind, opened, { session: { secret: 'new' } })
      const still = later.browser()
      still.jar.set('sid', moved.cookie()!)
      expect(await still.json('/')).toMatchObject({ userId: 'ada' })
      expect(await later.tp.sessions.count('ada')).toBe(1)
      await later.tp.sessions.revokeAll('ada')
      expect(await still.json('/')).toEqual({})
    })

    test('attack: prototype pollution: __proto__ and constructor in stored JSON are data', async () => {
      const { someone } = start({
        routes: {
          '/evil': (native) => {
            native.session.nested = JSON.parse(
              '{"__proto__":{"x":1},"constructor":{"prototype":{"x":1}}}',
            )
            Object.defineProperty(native.session, '__proto__', {
              value: { x: 1 },
              enumerable: true,
              configurable: true,
              writable: true,
            })
            native.session.constructor = { prototype: { x: 1 } }
            return {}
          },
          '/look': (native) => ({
            own: Object.keys(dataOf(native.session)).toSorted(),
            x: native.session.x,
            global: ({} as any).x,
            isSession: typeof native.session.regenerate,
            text: JSON.stringify(native.session),
          }),
        },
      })
      await someone.get('/evil')
      await someone.get('/set?key=again&value=1')
      const seen = await someone.json('/look')
      expect(seen.own).toEqual(['__proto__', 'again', 'constructor', 'nested'])
      expect(seen).not.toHaveProperty('x')
      expect(seen).not.toHaveProperty('global')
      expect(seen.isSession).toBe('function')
      expect(seen.text).toContain('"__proto__":{"x":1}')
      expect(({} as any).x).toBeUndefined()
    })

    test('the absolute timeout ends a session however it is used, with the application’s clock off by an hour', async () => {
      const { someone, advance } = start({ session: { ttl: '20m', absoluteTimeout: '1h' } })
      const real = Date.now
      Date.now = () => real() + 3_600_000
      try {
        await someone.get('/set?key=a&value=1')
        for (let minutes = 0; minutes < 55; minutes += 5) {
          await advance('5m')
          expect(await someone.json('/'), `${minutes} min`).toEqual({ a: '1' })
        }
        await advance('6m')
        expect(await someone.json('/')).toEqual({})
      } finally {
        Date.now = real
      }
    })

    test('revokeAll with a save in flight, and after the index was deleted', async () => {
      const door = gate()
      const { app, someone, store, prefix, advance } = start({
        routes: {
          '/slow': async ({ session }) => {
            session.late = 1
            await door.wait()
            return {}
          },
        },
      })
      const other = app.browser()
      await someone.get('/login')
      await advance(1)
      await other.get('/login')
      const slow = someone.get('/slow')
      await door.arrived
      const handle = (await app.tp.sessions.list('ada'))[0]!.handle
      const index = `${prefix}:sessions:{${handle.slice(0, 8)}}`
      if (server()) await server()!.send('DEL', index)
      else (store as any).delete(index)
      expect(await app.tp.sessions.list('ada')).toEqual([])
      await app.tp.sessions.revokeAll('ada')
      door.open()
      await slow
      expect(await someone.json('/')).toEqual({})
      expect(await other.json('/')).toEqual({})
      await advance(1)
      await other.get('/login')
      expect(await other.json('/')).toMatchObject({ userId: 'ada' })
      expect(await app.tp.sessions.count('ada')).toBe(1)
    })

    test('revokeAll but this one', async () => {
      const { app, someone } = start()
      const others = [app.browser(), app.browser()]
      await someone.get('/login')
      for (const each of others) await each.get('/login')
      const { id } = await someone.json('/id')
      expect(await app.tp.sessions.revokeAll('ada', { except: id })).toBe(2)
      for (const each of others) expect(await each.json('/')).toEqual({})
      expect(await someone.json('/')).toMatchObject({ userId: 'ada' })
      await someone.get('/count')
      expect(await someone.json('/')).toMatchObject({ userId: 'ada', count: 1 })
      // In the same millisecond, too, a new login is a new login.
      await others[0]!.get('/login')
      expect(await others[0]!.json('/')).toMatchObject({ userId: 'ada' })
    })

    test('times to live below a second are honoured', async () => {
      const { app, someone, advance } = start({ session: { ttl: 400 } })
      const brief = app.browser()
      await brief.get('/set?key=a&value=1')
      await advance(401)
      expect(await brief.json('/')).toEqual({})
      await someone.get('/set?key=a&value=1')
      await advance(250)
      expect(await someone.json('/')).toEqual({ a: '1' })
      // The touch is in the background.
      await until('touched', async () => (await someone.json('/')).a === '1')
      await advance(250)
      expect(await someone.json('/')).toEqual({ a: '1' })
      await pause(20)
      await advance(401)
      expect(await someone.json('/')).toEqual({})
    })

    test('an unknown but well-signed id is never adopted', async () => {
      const { signId } = await import('../../../src/features/session/signature.ts')
      const { someone } = start()
      const planted = 'x'.repeat(40)
      someone.jar.set('sid', encodeURIComponent(signId(planted, SECRET, 'sid', 'named')))
      await someone.get('/set?key=a&value=1')
      expect((await someone.json('/id')).id).not.toBe(planted)
      expect(await someone.json('/')).toEqual({ a: '1' })
    })

    test('a read neither writes nor sets a cookie', async () => {
      const { someone } = start()
      expect(cookiesOf(await someone.get('/'))).toEqual([])
      await someone.get('/set?key=a&value=1')
      expect(cookiesOf(await someone.get('/'))).toEqual([])
    })
  })
})
