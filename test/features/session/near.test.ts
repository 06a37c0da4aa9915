/** Sessions that a process has loaded a moment ago: what is exact, what may be late, and by how much. */
import { describe, expect, test } from 'vitest'
import { apps } from '../../support/apps.ts'
import { bothEngines } from '../../support/engines.ts'
import { until } from '../../support/until.ts'
import { nearProcesses, type NearProcess } from './near-support.ts'
import { dataOf, gate, type Browser, type SiteOptions } from './support.ts'

const engines = bothEngines()

/** What ends or changes a session elsewhere, and what the next read of the old cookie must find. */
const CHANGES: readonly [
  string,
  (other: NearProcess, someone: Browser) => Promise<unknown>,
  object,
][] = [
  ['a save', (_other, someone) => someone.get('/set?key=role&value=guest'), { role: 'guest' }],
  ['a logout', (_other, someone) => someone.get('/logout'), {}],
  ['destroy()', (_other, someone) => someone.get('/destroy'), {}],
  ['regenerate()', (_other, someone) => someone.get('/regenerate'), {}],
  ['a login of the same user', (_other, someone) => someone.get('/login'), {}],
  [
    'tp.sessions.revoke()',
    async ({ app }, someone) => app.tp.sessions.revoke((await someone.json('/id')).id),
    {},
  ],
  ['tp.sessions.revokeAll()', ({ app }) => app.tp.sessions.revokeAll('ada'), {}],
  [
    'a login beyond maxPerUser',
    async (other) => {
      await other.browser().get('/login')
      await other.browser().get('/login')
    },
    {},
  ],
]

const ROUTES: NonNullable<SiteOptions['routes']> = {
  '/destroy': async ({ session }) => {
    await session.destroy()
    return {}
  },
  '/regenerate': async (native) => {
    await native.session.regenerate()
    // On Koa the data stays.
    for (const key of Object.keys(native.session)) if (key !== 'cookie') delete native.session[key]
    return {}
  },
  '/reload': async (native) => {
    await native.session.reload()
    // On Express another object has taken its place.
    return dataOf(native.session)
  },
}

describe.each(engines)('near sessions on the $name engine', (engine) => {
  describe.each(apps)('$name', (kind) => {
    const start = (options: SiteOptions = {}, other?: SiteOptions) =>
      nearProcesses(kind, engine, { routes: ROUTES, ...options }, other)

    test('a read within `near` of a load asks the store nothing', async () => {
      const { here, advance } = start()
      const someone = here.browser()
      await someone.get('/set?key=a&value=1')
      await here.warm(someone)
      await advance('59s')
      expect(await here.cost(someone)).toEqual([])
      expect(await someone.json('/')).toEqual({ a: '1' })
      await advance('1s')
      // When the session expires is known since its first load.
      expect(await here.cost(someone)).toEqual(['session.load'])
      expect(await here.cost(someone)).toEqual([])
    })

    test('requests do not share the data, and an unsaved change stays with its request', async () => {
      const door = gate()
      const { here } = start({
        routes: {
          '/set-nested': ({ session }) => (session.cart = { items: ['book'] }),
          '/change-nested': async (native) => {
            native.session.cart.items.push('pen')
            native.session.cart.owner = 'mallory'
            await door.wait()
            await native.session.reload()
            return dataOf(native.session)
          },
        },
      })
      const someone = here.browser()
      await someone.get('/set-nested')
      await here.warm(someone)
      const changing = someone.json('/change-nested')
      await door.arrived
      expect(await here.cost(someone)).toEqual([])
      expect(await someone.json('/')).toEqual({ cart: { items: ['book'] } })
      door.open()
      expect(await changing).toEqual({ cart: { items: ['book'] } })
      expect(await someone.json('/')).toEqual({ cart: { items: ['book'] } })
    })

    test('what this process has done is exact: saves, logins, logouts', async () => {
      const { here } = start()
      const someone = here.browser()
      await someone.get('/set?key=a&value=1')
      for (const value of ['2', '3', '4']) {
        await here.warm(someone)
        await someone.get(`/set?key=a&value=${value}`)
        expect(await someone.json('/')).toEqual({ a: value })
      }
      await here.warm(someone)
      const before = here.browser(someone.cookie())
      await someone.get('/login')
      expect(await someone.json('/')).toEqual({ a: '4', userId: 'ada' })
      await here.warm(someone)
      const stolen = here.browser(someone.cookie())
      expect(await stolen.json('/')).toEqual({ a: '4', userId: 'ada' })
      await someone.get('/logout')
      expect(await stolen.json('/')).toEqual({})
      expect(await before.json('/')).toEqual({})
    })

    test.each(CHANGES)('%s elsewhere arrives by message', async (name, change, expected) => {
      const isOverflow = name.includes('maxPerUser')
      const { here, elsewhere, advance } = start({ session: isOverflow ? { maxPerUser: 2 } : {} })
      const someone = here.browser()
      if (name === 'a save') await someone.get('/set?key=role&value=admin')
      else await someone.get('/login')
      await here.warm(someone)
      // The session that expires first makes room.
      await advance('1s')
      const old = here.browser(someone.cookie())
      await change(elsewhere, elsewhere.browser(someone.cookie()))
      await until('the change is seen', async () => {
        const { text } = await old.get('/')
        return text === JSON.stringify(expected)
      })
    })

    test.each(CHANGES.filter(([, , expected]) => Object.keys(expected).length === 0))(
      'attack: after %s elsewhere, the first message ends the session here: the next read is refused',
      async (name, change) => {
        const isOverflow = name.includes('maxPerUser')
        const { here, elsewhere, advance } = start({ session: isOverflow ? { maxPerUser: 2 } : {} })
        const someone = here.browser()
        await someone.get('/login')
        await here.warm(someone)
        await advance('1s')
        const thief = here.browser(someone.cookie())
        here.changes.length = 0
        await change(elsewhere, elsewhere.browser(someone.cookie()))
        await until('a message arrives', () => here.changes.length > 0)
        expect(await thief.json('/')).toEqual({})
      },
    )

    test('attack: a cookie stolen before a logout elsewhere is worth nothing after `near`, if messages are lost', async () => {
      const { here, elsewhere, advance, loseMessages } = start()
      const someone = here.browser()
      await someone.get('/login')
      await here.warm(someone)
      const thief = here.browser(someone.cookie())
      loseMessages()
      await elsewhere.browser(someone.cookie()).get('/logout')
      // The documented window: as long as `near`, counted from the load.
      expect(await thief.json('/')).toEqual({ userId: 'ada' })
      await advance('59s')
      expect(await thief.json('/')).toEqual({ userId: 'ada' })
      await advance('1s')
      expect(await thief.json('/')).toEqual({})
    })

    test('a revoked session that is read again and again does not live beyond `near`, if messages are lost', async () => {
      const { here, elsewhere, advance, loseMessages } = start()
      const someone = here.browser()
      await someone.get('/login')
      await here.warm(someone)
      loseMessages()
      await elsewhere.app.tp.sessions.revokeAll('ada')
      for (let second = 0; second < 60; second += 10) {
        expect(await someone.json('/')).toEqual({ userId: 'ada' })
        await advance('10s')
      }
      expect(await someone.json('/')).toEqual({})
    })

    test('a save after a near read that is outdated loses nothing', async () => {
      const { here, elsewhere, loseMessages } = start()
      const someone = here.browser()
      await someone.get('/set?key=before&value=1')
      await here.warm(someone)
      loseMessages()
      const other = elsewhere.browser(someone.cookie())
      await other.get('/set?key=theirs&value=1')
      expect(await someone.json('/')).toEqual({ before: '1' })
      await someone.get('/set?key=mine&value=1')
      const all = { before: '1', theirs: '1', mine: '1' }
      expect(await someone.json('/')).toEqual(all)
      expect(await elsewhere.browser(someone.cookie()).json('/reload')).toEqual(all)
    })

    test('a save after a near read brings back no session that has ended elsewhere', async () => {
      const { here, elsewhere, loseMessages } = start()
      const someone = here.browser()
      await someone.get('/login')
      await here.warm(someone)
      loseMessages()
      await elsewhere.browser(someone.cookie()).get('/logout')
      await here.browser(someone.cookie()).get('/set?key=a&value=1')
      expect(await here.browser(someone.cookie()).json('/')).toEqual({})
      expect(await elsewhere.browser(someone.cookie()).json('/')).toEqual({})
    })

    test('attack: session fixation: a near copy of the planted session never gets the user', async () => {
      const { here, elsewhere, loseMessages } = start()
      const attacker = elsewhere.browser()
      await attacker.get('/set?key=bait&value=1')
      await elsewhere.warm(attacker)
      const victim = here.browser(attacker.cookie())
      await here.warm(victim)
      loseMessages()
      await victim.get('/login')
      expect(victim.cookie()).not.toBe(attacker.cookie())
      expect(await victim.json('/')).toEqual({ bait: '1', userId: 'ada' })
      expect(await attacker.json('/')).toEqual({ bait: '1' })
      expect(await here.browser(attacker.cookie()).json('/')).toEqual({ bait: '1' })
    })

    test('reload() asks the store', async () => {
      const { here, elsewhere, loseMessages } = start()
      const someone = here.browser()
      await someone.get('/set?key=a&value=1')
      await here.warm(someone)
      loseMessages()
      await elsewhere.browser(someone.cookie()).get('/set?key=a&value=2')
      expect(await someone.json('/')).toEqual({ a: '1' })
      expect(await someone.json('/reload')).toEqual({ a: '2' })
    })
  })
})
