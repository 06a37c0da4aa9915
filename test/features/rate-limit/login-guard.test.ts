import { describe, expect, test, vi } from 'vitest'
import { turnpike } from '../../../src/express.ts'
import { testStore } from '../../../src/testing.ts'
import { apps, proxyApps } from '../../support/apps.ts'
import { bothEngines } from '../../support/engines.ts'

const engines = bothEngines()

describe.each(engines)('loginGuard on the $name engine', ({ open, server }) => {
  describe.each(apps)('$name', ({ start, name }) => {
    /** A middleware that calls `act` first. */
    const before = (act: (native: any) => void) =>
      name.startsWith('Koa')
        ? (ctx: any, next: () => Promise<void>) => (act(ctx), next())
        : (req: any, _res: any, next: () => void) => (act(req), next())

    /** An application whose login succeeds with the password 'right'. */
    function shop(guardOptions: object = {}) {
      const opened = open()
      let checked = 0
      let guard: any
      const app = start({
        options: { store: opened.store, prefix: opened.prefix },
        mount: (tp) => [
          (guard = tp.loginGuard({
            key: (native: any) => native.headers['x-email'],
            ...guardOptions,
          })),
        ],
        handle: async (native) => {
          checked++
          await new Promise((resolve) => setImmediate(resolve))
          return native.headers['x-password'] === 'right' ? [200, 'welcome'] : [401, 'no']
        },
        trustProxy: 1,
      })
      const login = (email: string, password = 'wrong', address = '198.51.100.1') =>
        app.post('/', { 'x-email': email, 'x-password': password, 'X-Forwarded-For': address })
      return { ...opened, app, guard, login, checked: () => checked }
    }

    test('five wrong passwords, then 429 with Retry-After, also for the right password', async () => {
      const { login, checked, advance } = shop()
      for (let i = 0; i < 5; i++) expect((await login('a@x.org')).status).toBe(401)
      const refused = await login('a@x.org', 'right')
      expect(refused.status).toBe(429)
      expect(refused.headers['content-type']).toMatch('problem+json')
      expect(refused.headers['retry-after']).toBe('900')
      expect(checked()).toBe(5)
      // Another identity from there is not shut out.
      expect((await login('b@x.org')).status).toBe(401)
      await advance('15m')
      expect((await login('a@x.org', 'right')).status).toBe(200)
    })

    test('attack: a hundred parallel guesses run the handler five times', async () => {
      const { login, checked } = shop()
      const answers = await Promise.all(
        Array.from({ length: 100 }, (_, i) => login('a@x.org', `guess ${i}`)),
      )
      expect(checked()).toBe(5)
      expect(answers.filter(({ status }) => status === 429)).toHaveLength(95)
    })

    test('attack: one password for many accounts from one address', async () => {
      const { login, checked } = shop({ addressLimit: 20 })
      for (let i = 0; i < 30; i++) await login(`user${i}@x.org`)
      expect(checked()).toBe(20)
    })

    test('attack: another spelling of an identity is no new identity', async () => {
      const { login, checked } = shop()
      for (const email of ['A@X.org', 'a@x.org', 'a@X.ORG', 'a@x.oRg', 'A@x.org', 'a@x.Org'])
        await login(email)
      expect(checked()).toBe(5)
    })

    test('attack: refusals of known and unknown accounts do not differ', async () => {
      const { login } = shop()
      for (let i = 0; i < 5; i++) await Promise.all([login('known@x.org'), login('unknown@x.org')])
      const [known, unknown] = [await login('known@x.org', 'right'), await login('unknown@x.org')]
      for (const { headers } of [known, unknown]) delete headers['date']
      expect(known.text).toBe(unknown.text)
      expect(known.headers).toEqual(unknown.headers)
    })

    test('success clears the pair, and refunds the address this one attempt only', async () => {
      const { login } = shop({ addressLimit: 6 })
      for (let i = 0; i < 4; i++) await login('a@x.org')
      expect((await login('a@x.org', 'right')).status).toBe(200)
      // The pair has all five again; the address has used four of six.
      expect((await login('a@x.org')).status).toBe(401)
      expect((await login('a@x.org')).status).toBe(401)
      expect((await login('a@x.org')).status).toBe(429)
    })

    test('a client that names no identity is counted by its address', async () => {
      const { app, checked } = shop({ addressLimit: 6 })
      for (let i = 0; i < 8; i++) await app.post('/', { 'x-password': 'wrong' })
      expect(app.errors).toEqual([])
      expect(checked()).toBe(6)
    })

    test('mounted in front of the body parser it counts addresses, and warns once', async () => {
      const { app, checked } = shop({
        addressLimit: 3,
        key: (native: any) => native.body?.email ?? native.request?.body?.email,
      })
      for (let i = 0; i < 5; i++) await app.post('/', {}, { email: 'a@x.org' })
      expect(checked()).toBe(3)
      expect(app.warnings).toEqual([expect.stringContaining('after the body parser')])
      expect(app.warnings[0]).toContain("app.post('/login', express.json(), guard, handler)")
    })

    test('a parsed body is seen, and a response that is set already is none', async () => {
      for (const isParsed of [true, false]) {
        const app = start({
          options: { store: testStore() },
          mount: (tp) => [
            before((native) => {
              if (isParsed) (native.request ?? native).body = {}
              else if (native.request) native.body = 'to be replaced'
            }),
            tp.loginGuard({ key: () => undefined }),
          ],
        })
        await app.post('/', {}, { email: 'a@x.org' })
        expect(app.warnings).toHaveLength(isParsed ? 0 : 1)
      }
    })

    test('an attempt without a body is no reason to warn of the body parser', async () => {
      const { app, checked } = shop({ addressLimit: 3, key: () => undefined })
      for (let i = 0; i < 5; i++) await app.post('/')
      expect([checked(), app.warnings]).toEqual([3, []])
    })

    test.each([
      ['a list', (email: string) => [email]],
      ['an object', (email: string) => ({ $eq: email })],
      ['100 KB long', () => 'x'.repeat(100_000)],
    ])('attack: an identity that is %s does not reach the handler', async (_kind, identity) => {
      const { login, checked, app } = shop({
        key: (native: any) => identity(native.headers['x-email']),
      })
      expect((await login('a@x.org')).status).toBe(400)
      expect(checked()).toBe(0)
      expect(app.errors[0]).toMatchObject({ code: 'TP_KEY', status: 400 })
    })

    test('attack: refused attempts for many identities write nothing', async () => {
      const { login, checked, store, prefix } = shop({ addressLimit: 5 })
      for (let i = 0; i < 5; i++) await login(`user${i}@x.org`)
      const keys = async (): Promise<string[]> => {
        const found: string[] = []
        for await (const batch of store.scan(`${prefix}*`)) found.push(...batch)
        return [...new Set(found)].toSorted()
      }
      // A pair and an index of addresses for each, and the address.
      await vi.waitFor(async () => expect(await keys()).toHaveLength(11))
      const before = await keys()
      for (let i = 5; i < 60; i++) expect((await login(`user${i}@x.org`)).status).toBe(429)
      expect(checked()).toBe(5)
      await new Promise((resolve) => setTimeout(resolve, 50))
      expect(await keys()).toEqual(before)
    })

    test('an attempt that succeeds leaves nothing of its identity but an index that expires', async () => {
      const { login, guard } = shop()
      await login('a@x.org', 'right')
      expect(await guard.reset('a@x.org')).toBe(false)
    })

    test('the refusal is the application’s to phrase', async () => {
      const { login } = shop({
        limit: 1,
        reply: (_native: unknown, { decision, status, retryAfterMs }: any) => ({
          status: 423,
          body: { allowed: decision.allowed, status, retryAfterMs },
        }),
      })
      await login('a@x.org')
      const refused = await login('a@x.org')
      expect(refused.status).toBe(423)
      expect(JSON.parse(refused.text)).toEqual({
        allowed: false,
        status: 429,
        retryAfterMs: 900_000,
      })
      expect(refused.headers['retry-after']).toBe('900')
    })

    test('each block is twice as long as the one before, and attempts do not extend it', async () => {
      const { login, advance } = shop({ limit: 1, blockFor: '15m', blockMax: '1h' })
      await login('a@x.org')
      for (const seconds of ['900', '1800', '3600', '3600']) {
        expect((await login('a@x.org')).headers['retry-after']).toBe(seconds)
        await advance('1m')
        expect((await login('a@x.org')).headers['retry-after']).toBe(String(Number(seconds) - 60))
        await advance(`${Number(seconds) - 60}s`)
        expect((await login('a@x.org')).status).toBe(401)
      }
    })

    test('reset(identity) clears all addresses it was tried from', async () => {
      const { login, guard } = shop()
      for (const address of ['198.51.100.1', '198.51.100.2', '198.51.100.3']) {
        for (let i = 0; i < 6; i++) await login('a@x.org', 'wrong', address)
        expect((await login('a@x.org', 'right', address)).status).toBe(429)
      }
      expect(await guard.reset(' A@x.org')).toBe(true)
      expect(await guard.reset('a@x.org')).toBe(false)
      for (const address of ['198.51.100.1', '198.51.100.2', '198.51.100.3']) {
        expect((await login('a@x.org', 'right', address)).status).toBe(200)
      }
    })

    test('neither keys nor events contain the identity', async () => {
      const { app, login, prefix } = shop()
      const events: unknown[] = []
      app.tp.on('decision', (event: unknown) => events.push(event))
      await login('secret@x.org')
      await vi.waitFor(() => expect(events).toHaveLength(1))
      expect(JSON.stringify(events)).not.toContain('secret')
      const redis = server()
      if (redis) expect(await redis.send('KEYS', `${prefix}*`)).not.toContain('secret')
    })

    test('outcome decides what a success is', async () => {
      const { login } = shop({
        limit: 2,
        outcome: (_native: unknown, status: number) => status === 401,
      })
      for (let i = 0; i < 5; i++) expect((await login('a@x.org')).status).toBe(401)
    })
  })
})

describe('reset(identity, { address })', () => {
  test.each([
    ['2001:db8:1:2::7', '2001:db8:1::99'],
    ['2001:db8:1:2::7', '2001:db8:1::/56'],
    ['::ffff:203.0.113.7', '203.0.113.7'],
  ])('of requests from %s takes %s', async (from, given) => {
    const [express] = proxyApps
    let guard: any
    const app = express!.start({
      options: { store: testStore() },
      mount: (tp) => [(guard = tp.loginGuard({ key: (native: any) => native.headers['x-email'] }))],
      handle: () => [401, 'no'],
      trustProxy: 1,
    })
    const login = () => app.post('/', { 'x-email': 'a@x.org', 'X-Forwarded-For': from })
    for (let i = 0; i < 6; i++) await login()
    expect((await login()).status).toBe(429)
    expect(await guard.reset('a@x.org', { address: '198.51.100.1' })).toBe(false)
    expect(await guard.reset('a@x.org', { address: given })).toBe(true)
    expect((await login()).status).toBe(401)
  })

  test('needs an identity, and the tenant where there are tenants', async () => {
    const guard = turnpike({ store: testStore() }).loginGuard({ key: () => 'a' })
    for (const identity of ['', undefined, ['a'], 'x'.repeat(300)])
      await expect(guard.reset(identity as string)).rejects.toMatchObject({ code: 'TP_KEY' })
    const shared = turnpike({ store: testStore(), tenant: () => 't' }).loginGuard({
      key: () => 'a',
    })
    await expect(shared.reset('a')).rejects.toMatchObject({ code: 'TP_KEY' })
    expect(await shared.reset('a', { tenant: 't' })).toBe(false)
  })
})

describe('while the store is away', () => {
  test.each(apps)(
    '$name: this process counts, and refuses with 503 when it is full',
    async ({ start }) => {
      const store = testStore()
      store.fail()
      const app = start({
        options: { store, fallbackMaxKeys: 4 },
        mount: (tp) => [tp.loginGuard({ key: (native: any) => native.headers['x-email'] })],
        handle: () => [401, 'no'],
      })
      const login = (email: string) => app.post('/', { 'x-email': email })
      for (let i = 0; i < 5; i++) expect((await login('a')).status).toBe(401)
      expect((await login('a')).status).toBe(429)
      // Two more pairs fill the fallback of four keys. A further identity cannot be counted.
      expect((await login('b')).status).toBe(401)
      expect((await login('c')).status).toBe(401)
      const refused = await login('d')
      expect(refused.status).toBe(503)
      expect(refused.headers['retry-after']).toBe('2')
      expect(refused.headers['content-type']).toMatch('problem+json')
      store.recover()
      expect((await login('d')).status).toBe(401)
    },
  )
})
