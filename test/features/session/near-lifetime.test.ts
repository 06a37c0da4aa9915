/** How long a near copy of a session lives, and how many there are. */
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { turnpike } from '../../../src/express.ts'
import { testStore } from '../../../src/testing.ts'
import { apps } from '../../support/apps.ts'
import { bothEngines } from '../../support/engines.ts'
import { until } from '../../support/until.ts'
import { nearProcesses } from './near-support.ts'
import type { SiteOptions } from './support.ts'

const engines = bothEngines()
const [kind] = apps as [(typeof apps)[number]]

describe.each(engines)('near copies on the $name engine', (engine) => {
  const start = (options?: SiteOptions, other?: SiteOptions) =>
    nearProcesses(kind, engine, options, other)

  test('a copy ends with the time to live of its session, which is not used', async () => {
    const { here, advance } = start({ session: { ttl: '5s' } })
    const someone = here.browser()
    await someone.get('/set?key=a&value=1')
    await here.warm(someone)
    await advance('5s')
    expect(await someone.json('/')).toEqual({})
  })

  test('a copy ends with the absolute lifetime of its session, however much it is used', async () => {
    const { here, advance } = start({ session: { absoluteTimeout: '8s' } })
    const someone = here.browser()
    await someone.get('/login')
    await here.warm(someone)
    for (let second = 0; second < 7; second++) {
      await advance('1s')
      expect(await someone.json('/')).toEqual({ userId: 'ada' })
    }
    await advance('1s')
    expect(await someone.json('/')).toEqual({})
  })

  test('a copy ends with its session where another mount makes its time to live shorter', async () => {
    const shorter = { session: { ttl: '3s', touchAfter: 0 } }
    const { here, elsewhere, advance } = start({ session: { ttl: '1h' } }, shorter)
    const someone = here.browser()
    await someone.get('/set?key=a&value=1')
    await here.warm(someone)
    await elsewhere.browser(someone.cookie()).get('/')
    await until('the copy has gone', async () => (await here.cost(someone)).length > 0)
    await advance('3s')
    expect(await here.browser(someone.cookie()).json('/')).toEqual({})
  })

  test('a session in use lives on: near reads renew its time to live, each time that it is due', async () => {
    const { here, advance } = start({ session: { ttl: '10s', touchAfter: '2s' } })
    const someone = here.browser()
    await someone.get('/set?key=a&value=1')
    await here.warm(someone)
    here.operations.length = 0
    for (let second = 0; second < 30; second++) {
      await advance('1s')
      expect(await someone.json('/')).toEqual({ a: '1' })
    }
    const touches = here.operations.filter((name) => name === 'session.touch')
    // One after each `touchAfter`, not one for each request.
    expect(touches).toHaveLength(15)
    await advance('10s')
    expect(await someone.json('/')).toEqual({})
  })

  test('a renewal finds out that the session has ended, if the message of that was lost', async () => {
    const { here, elsewhere, advance, loseMessages } = start({ session: { touchAfter: '2s' } })
    const someone = here.browser()
    await someone.get('/login')
    await here.warm(someone)
    loseMessages()
    await elsewhere.app.tp.sessions.revoke((await someone.json('/id')).id)
    await advance('2s')
    await someone.get('/')
    await until('the copy has gone', async () => (await someone.get('/')).text === '{}')
  })

  test('the copies of one mount take `maxBytes` at most: the oldest make room', async () => {
    const { here } = start({ session: { near: { for: '1m', maxBytes: 20_000 } } })
    const first = here.browser()
    await first.get('/set?key=a&value=1')
    await here.warm(first)
    for (let i = 0; i < 30; i++) {
      const other = here.browser()
      await other.get(`/set?key=n&value=${i}`)
      await here.warm(other)
    }
    expect(await here.cost(first)).toContain('session.load')
    expect(await here.cost(first)).toEqual([])
  })

  test('a session of more than an eighth of `maxBytes` is not kept', async () => {
    const { here } = start({ session: { near: { for: '1m', maxBytes: 20_000 } } })
    const small = here.browser()
    await small.get('/set?key=a&value=1')
    await here.warm(small)
    const large = here.browser()
    await large.get(`/set?key=a&value=${'x'.repeat(2_000)}`)
    for (let i = 0; i < 3; i++) expect(await here.cost(large)).toContain('session.load')
    expect(await here.cost(small)).toEqual([])
  })

  test('a copy that is too old by the clock of the machine is not read: it may have slept', async () => {
    const { here } = start()
    const someone = here.browser()
    await someone.get('/set?key=a&value=1')
    await here.warm(someone)
    const awakeAt = here.store.wallClock() + 60_000
    const clock = vi.spyOn(here.store, 'wallClock').mockReturnValue(awakeAt)
    onTestFinished(() => clock.mockRestore())
    expect(await here.cost(someone)).toContain('session.load')
  })

  test('attack: cookie tossing: with two valid cookies no session is read near', async () => {
    const { here } = start()
    const [victim, attacker] = [here.browser(), here.browser()]
    await victim.get('/login?user=ada')
    await attacker.get('/login?user=mallory')
    for (const each of [victim, attacker]) await here.warm(each)
    const both = `sid=${attacker.cookie()}; sid=${victim.cookie()}`
    here.operations.length = 0
    expect((await here.app.get('/', { Cookie: both })).text).toBe('{}')
    expect(here.operations.filter((name) => name === 'session.load')).toHaveLength(2)
  })

  test('a session that does not exist is asked for each time', async () => {
    const { here } = start()
    const someone = here.browser()
    await someone.get('/set?key=a&value=1')
    await here.warm(someone)
    const gone = here.browser(someone.cookie())
    await someone.get('/set?key=a&value=2')
    await here.app.tp.sessions.revoke((await someone.json('/id')).id)
    for (let i = 0; i < 3; i++) expect(await here.cost(gone)).toContain('session.load')
  })

  test('the old ID of a session that was replaced is asked for each time', async () => {
    const { here } = start({ session: { grace: '10s' } })
    const someone = here.browser()
    await someone.get('/set?key=a&value=1')
    await here.warm(someone)
    const old = here.browser(someone.cookie())
    await someone.get('/login')
    await until('the old session is replaced', async () => (await old.get('/')).text !== '{}')
    for (let i = 0; i < 3; i++) expect(await here.cost(old)).toContain('session.load')
  })

  test('encrypted sessions are read near, and stay encrypted in the store', async () => {
    const encrypt = 'at least 32 characters, chosen at random'
    const { here, elsewhere } = start({ session: { encrypt } })
    const someone = here.browser()
    await someone.get('/set?key=a&value=secret')
    await here.warm(someone)
    expect(await someone.json('/')).toEqual({ a: 'secret' })
    await elsewhere.browser(someone.cookie()).get('/set?key=b&value=2')
    await until('the change arrives', async () => (await someone.get('/')).text.includes('"b"'))
  })

  test('a mount does not read the copies of another mount, which may decrypt what it cannot', async () => {
    const encrypt = 'at least 32 characters, chosen at random'
    const { here, elsewhere } = start(
      { session: { encrypt } },
      { session: { encrypt: 'x'.repeat(32) } },
    )
    const someone = here.browser()
    await someone.get('/set?key=a&value=secret')
    await here.warm(someone)
    expect(await elsewhere.browser(someone.cookie()).json('/')).toEqual({})
  })

  test('with lazy: true and in a pipeline a warm read asks the store nothing', async () => {
    const { here } = start({
      session: { lazy: true },
      mount: (tp, options) =>
        tp.pipeline(tp.session(options), tp.rateLimit({ limit: 1e6, window: '1h' })),
      routes: { '/lazy': async (native) => ({ a: (await native.getSession()).a }) },
    })
    const someone = here.browser()
    await someone.get('/login')
    await here.warm(someone, '/lazy')
  })
})

const SECRET = 'only for tests'

describe('the option', () => {
  const tp = turnpike({ store: testStore() })

  test.each([
    [{ near: '2 seconds' }, /near/],
    [{ near: 0 }, /near/],
    [{ near: -1 }, /near/],
    [{ near: true }, /near/],
    [{ near: '61s' }, /at most '1m'/],
    [{ near: {} }, /near/],
    [{ near: { for: '2s', maxBytes: 0 } }, /maxBytes/],
    [{ near: { for: '2s', size: 1 } }, /near/],
    [{ near: '2s', format: 'connect-redis' }, /near.*connect-redis/s],
  ])('%j is refused with what is wrong', (options, message) => {
    expect(() => tp.session({ secret: SECRET, ...options } as never)).toThrow(message)
  })

  test.each([{ near: '2s' }, { near: 500 }, { near: { for: '1m' } }, { near: undefined }])(
    '%j is accepted',
    (options) => {
      expect(() => tp.session({ secret: SECRET, ...options } as never)).not.toThrow()
    },
  )

  test('is no option of tp.sessionStore(), which cannot tell a reload from a load', () => {
    expect(() => tp.sessionStore({ near: '2s' } as never)).toThrow(/reload/)
  })
})
