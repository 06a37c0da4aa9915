import type { EventMap } from '../../../src/events.ts'
import { describe, expect, test } from 'vitest'
import { turnpike } from '../../../src/node.ts'
import { apiKeys, type ApiKeyOptions } from '../../../src/tokens.ts'
import { testStore } from '../../../src/testing.ts'
import { apps } from '../../support/apps.ts'
import { bothEngines } from '../../support/engines.ts'
import { until } from '../../support/until.ts'

type Keys = ReturnType<typeof apiKeys<any, any, any>>
type Row = Record<string, unknown>

const problem = (text: string): { status: number; detail: string } => JSON.parse(text)

describe.each(bothEngines())('the $name engine', ({ open }) => {
  describe.each(apps)('API keys on $name', ({ start }) => {
    function setUp(options: Partial<ApiKeyOptions<any, any>> = {}, more: any = {}) {
      const opened = open()
      const rows = new Map<string, Row>()
      const lookups: string[] = []
      const lookup = async (digest: string): Promise<Row | undefined> => {
        lookups.push(digest)
        await new Promise((resolve) => setTimeout(resolve, 2))
        return rows.get(digest)
      }
      const make = () => {
        let keys!: Keys
        const app = start({
          options: {
            store: opened.store,
            prefix: opened.prefix,
            requestBudget: '10s',
            ...more.instance,
          },
          mount(tp) {
            keys = apiKeys(tp, { lookup, ...options })
            return [keys, ...(more.mount?.(tp, keys) ?? [])]
          },
          handle(native) {
            const exposed = native.apiKey ?? native.state?.apiKey
            return [200, { key: exposed ?? null, same: exposed === keys.of(native) }]
          },
        })
        return { app, keys }
      }
      const first = make()
      /** A new key, in the database. */
      const create = (row: Row = { user: 'ann' }): string => {
        const { key, digest } = first.keys.generate()
        rows.set(digest, row)
        return key
      }
      const bearer = (key: string) => ({ authorization: `Bearer ${key}` })
      return { ...opened, ...first, make, rows, lookups, create, bearer }
    }

    test('one lookup that hangs hangs no other request for the same key', async () => {
      const key = 'a-key-of-another-form'
      let lookups = 0
      const { advance, app, bearer } = setUp({
        checksum: false,
        lookupTimeout: '100ms',
        lookup: () => (lookups++ === 0 ? new Promise(() => {}) : { user: 'ann' }),
      })
      const first = app.get('/', bearer(key))
      first.catch(() => {})
      await until('the first lookup hangs', () => lookups === 1)
      await advance('1s')
      const others = await Promise.all([1, 2, 3].map(() => app.get('/', bearer(key))))
      expect(others.map(({ status }) => status)).toEqual([200, 200, 200])
      expect(lookups).toBe(2)
    })

    test('a key in either field is accepted, and its record is on the request', async () => {
      const { app, create, bearer, lookups } = setUp()
      const key = create({ user: 'ann', plan: 'pro' })
      for (const headers of [
        bearer(key),
        { authorization: `bearer  ${key}` },
        { 'x-api-key': key },
        { 'x-api-key': ` ${key} `, ...bearer(key) },
        { 'x-api-key': key, authorization: 'Basic YTpi' },
        { 'x-api-key': key, authorization: 'Bearer ey.a.jwt' },
      ]) {
        const { status, text } = await app.get('/', headers)
        expect([status, JSON.parse(text)]).toEqual([
          200,
          { key: { user: 'ann', plan: 'pro' }, same: true },
        ])
      }
      expect(lookups).toHaveLength(1)
    })

    test('an event says how long a key was searched for', async () => {
      const { app, create, keys, bearer } = setUp({ near: 0 })
      const times: string[] = []
      app.tp.on('token', ({ type, ms }: EventMap['token']) => times.push(`${type} ${typeof ms}`))
      const known = bearer(create())
      for (const headers of [known, known, bearer(keys.generate().key)]) await app.get('/', headers)
      expect(times).toEqual(['accepted number', 'accepted number', 'refused number'])
    })

    test('no key, a wrong one and one that is none: 401 with a challenge', async () => {
      const { app, create, keys, bearer, lookups } = setUp()
      const none = await app.get('/')
      expect(none.status).toBe(401)
      expect(none.headers['content-type']).toBe('application/problem+json')
      expect(none.headers['www-authenticate']).toBe('Bearer realm="api"')
      const unknown = await app.get('/', bearer(keys.generate().key))
      expect(unknown.status).toBe(401)
      expect(unknown.headers['www-authenticate']).toBe('Bearer realm="api", error="invalid_token"')
      expect(lookups).toHaveLength(1)
      const key = create()
      const typo = key.slice(0, -8) + (key.at(-8) === 'a' ? 'b' : 'a') + key.slice(-7)
      for (const odd of [typo, key.slice(0, -1), `${key}x`, 'x'.repeat(5000), `${key},${key}`, 'é'])
        expect((await app.get('/', { 'x-api-key': odd })).status).toBe(401)
      const behind = `${key}${' '.repeat(600)}another`
      for (const headers of [{ 'x-api-key': behind }, bearer(behind)])
        expect((await app.get('/', headers)).status).toBe(401)
      expect((await app.get('/', { authorization: 'Basic YTpi' })).status).toBe(401)
      expect(
        problem((await app.get('/', { 'x-api-key': key, ...bearer(create()) })).text),
      ).toMatchObject({
        status: 401,
        detail: 'The request carries two different API keys.',
      })
      // Nothing of that was asked for.
      expect(lookups).toHaveLength(1)
    })

    test('required: false lets requests without a key pass, not those with a wrong one', async () => {
      const { app, keys, bearer } = setUp({ required: false })
      expect(JSON.parse((await app.get('/')).text).key).toBeNull()
      expect((await app.get('/', bearer('ey.a.jwt'))).status).toBe(200)
      expect((await app.get('/', bearer(keys.generate().key))).status).toBe(401)
      expect((await app.get('/', bearer(keys.generate().key.slice(0, -2)))).status).toBe(401)
    })

    test('100 requests over two instances with a key that nobody knows yet: one lookup', async () => {
      const { app, make, create, bearer, lookups } = setUp()
      const other = make()
      const key = create()
      const answers = await Promise.all(
        Array.from({ length: 100 }, (_, i) => (i % 2 ? app : other.app).get('/', bearer(key))),
      )
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
      expect(lookups).toHaveLength(1)
    })

    test('what is known lasts for ttl; that there is no key, shortly', async () => {
      const { app, keys, rows, create, bearer, lookups, advance } = setUp({
        ttl: '1h',
        missTtl: '10s',
      })
      const key = create()
      await app.get('/', bearer(key))
      await advance('59m')
      await app.get('/', bearer(key))
      expect(lookups).toHaveLength(1)
      await advance('2m')
      await app.get('/', bearer(key))
      expect(lookups).toHaveLength(2)
      const late = keys.generate()
      expect((await app.get('/', bearer(late.key))).status).toBe(401)
      rows.set(late.digest, { user: 'bob' })
      expect((await app.get('/', bearer(late.key))).status).toBe(401)
      expect(lookups).toHaveLength(3)
      await advance('11s')
      expect((await app.get('/', bearer(late.key))).status).toBe(200)
    })

    test('a revoked key is refused at once, here and in another process', async () => {
      const { app, make, keys, rows, create, bearer, lookups, advance } = setUp()
      const other = make()
      const key = create()
      const digest = keys.digest(key)
      for (const each of [app, other.app])
        expect((await each.get('/', bearer(key))).status).toBe(200)
      rows.delete(digest)
      expect(await keys.revoke(digest)).toBe(true)
      expect((await app.get('/', bearer(key))).status).toBe(401)
      await until(
        'the other process has heard of it',
        async () => (await other.app.get('/', bearer(key))).status === 401,
      )
      expect(lookups).toHaveLength(1)
      // It stays refused when the near caches are empty again.
      await advance('30m')
      expect((await app.get('/', bearer(key))).status).toBe(401)
    })

    test('a key that is revoked while it is looked up is refused', async () => {
      let begun = (): void => {}
      let go = (_row: Row): void => {}
      const started = new Promise<void>((resolve) => (begun = resolve))
      const row = new Promise<Row>((resolve) => (go = resolve))
      const { app, keys, bearer } = setUp({
        lookup: () => {
          begun()
          return row
        },
      })
      const { key, digest } = keys.generate()
      const answer = app.get('/', bearer(key)).then(({ status }) => status)
      await started
      await keys.revoke(digest)
      go({ user: 'ann' })
      expect(await answer).toBe(401)
      expect((await app.get('/', bearer(key))).status).toBe(401)
    })

    test('a changed record is seen after invalidate, also when it changed during the lookup', async () => {
      const { app, keys, rows, create, bearer } = setUp()
      const key = create({ plan: 'free' })
      const digest = keys.digest(key)
      const planOf = async (): Promise<unknown> =>
        JSON.parse((await app.get('/', bearer(key))).text).key.plan
      expect(await planOf()).toBe('free')
      rows.set(digest, { plan: 'pro' })
      expect(await planOf()).toBe('free')
      expect(await keys.invalidate(digest)).toBe(true)
      expect(await planOf()).toBe('pro')
      await keys.revoke(digest)
      expect((await app.get('/', bearer(key))).status).toBe(401)
      await keys.invalidate(digest)
      expect(await planOf()).toBe('pro')
    })

    test('a record that says when it expires is refused from then on, whatever the caches hold', async () => {
      const { app, create, bearer, advance, store } = setUp({ near: '1h' })
      const key = create({ expiresAt: new Date(store.now() + 60_000) })
      const other = create({ expiresAt: store.now() + 60_000 })
      const ended = create({ expiresAt: new Date(store.now() - 1).toISOString() })
      expect((await app.get('/', bearer(ended))).status).toBe(401)
      for (const each of [key, other]) expect((await app.get('/', bearer(each))).status).toBe(200)
      await advance('60s')
      for (const each of [key, other]) expect((await app.get('/', bearer(each))).status).toBe(401)
      // A date that is none does not mean for ever.
      expect((await app.get('/', bearer(create({ expiresAt: 'never' })))).status).toBe(500)
    })

    test.each([
      ['a date that is none', new Date(Number.NaN)],
      ['NaN', Number.NaN],
      ['the past without an end', -Infinity],
      ['a function', () => new Date()],
      ['what turns into nothing', { toJSON: () => null }],
    ])('a key that expires at %s does not live for ever: it is refused', async (_name, at) => {
      const { app, create, bearer } = setUp()
      const key = create({ expiresAt: at })
      // Also once the outcome of the first request is known.
      for (let i = 0; i < 2; i++) expect((await app.get('/', bearer(key))).status).toBe(500)
      expect(app.errors[0]).toMatchObject({ code: 'TP_VALUE' })
    })

    test('a hit and a miss give the same record, and no request can change another one’s', async () => {
      const { app, create, bearer, make } = setUp({}, {})
      const key = create({ since: new Date(0), none: undefined, nested: { list: [1] } })
      const first = JSON.parse((await app.get('/', bearer(key))).text)
      const again = JSON.parse((await make().app.get('/', bearer(key))).text)
      expect(first).toEqual(again)
      expect(first.key).toEqual({ since: '1970-01-01T00:00:00.000Z', nested: { list: [1] } })
    })

    test('permissions: 401 without a key, 403 without the permission, wildcards count', async () => {
      const { app, create, bearer } = setUp(
        { required: false },
        { mount: (_tp: unknown, keys: Keys) => [keys.require('orders:write')] },
      )
      expect((await app.get('/')).status).toBe(401)
      const refused = await app.get('/', bearer(create({ permissions: ['orders:read'] })))
      expect(refused.status).toBe(403)
      expect(refused.headers['www-authenticate']).toBe(
        'Bearer realm="api", error="insufficient_scope", scope="orders:write"',
      )
      for (const row of [{}, { permissions: 'orders:write' }, { permissions: null }])
        expect((await app.get('/', bearer(create(row)))).status).toBe(403)
      for (const row of [
        { permissions: ['orders:write'] },
        { scopes: ['orders:*'] },
        { permissions: ['x', '*'] },
      ])
        expect((await app.get('/', bearer(create(row)))).status).toBe(200)
    })

    test('a key of one mount has no permission of another', async () => {
      const { app, create, bearer } = setUp(
        {},
        {
          mount: (tp: any) => {
            const admin = apiKeys(tp, {
              name: 'admin',
              lookup: () => undefined,
              required: false,
              header: 'x-admin-key',
            })
            return [admin.require('orders:write')]
          },
        },
      )
      expect((await app.get('/', bearer(create({ permissions: ['*'] })))).status).toBe(401)
    })

    test('each key has its own limit', async () => {
      const { app, create, bearer } = setUp(
        {},
        {
          mount: (tp: any, keys: Keys) => [
            tp.rateLimit({ key: keys.subject, limit: keys.limit(2), window: '1m' }),
          ],
        },
      )
      const statuses = async (key: string): Promise<number[]> => {
        const all: number[] = []
        for (let i = 0; i < 4; i++) all.push((await app.get('/', bearer(key))).status)
        return all
      }
      expect(await statuses(create())).toEqual([200, 200, 429, 429])
      expect(await statuses(create({ limit: 3 }))).toEqual([200, 200, 200, 429])
      expect(await statuses(create({ limit: 1 }))).toEqual([200, 429, 429, 429])
    })

    test('the use of a key is noted once a minute, over all processes', async () => {
      const uses: string[] = []
      const { app, make, keys, create, bearer, advance, store } = setUp({
        onUsed: (digest, at) => void uses.push(`${digest} ${at.getTime()}`),
      })
      const other = make()
      const key = create()
      const digest = keys.digest(key)
      expect(await keys.lastUsed(digest)).toBeUndefined()
      const at = store.now()
      for (let i = 0; i < 5; i++)
        for (const each of [app, other.app]) await each.get('/', bearer(key))
      await until('it is noted', () => uses.length > 0)
      expect(await keys.lastUsed(digest)).toEqual(new Date(at))
      await advance('61s')
      await other.app.get('/', bearer(key))
      await until('it is noted again', () => uses.length > 1)
      expect(uses).toEqual([`${digest} ${at}`, `${digest} ${at + 61_000}`])
    })

    test('made-up keys of one address are not looked up without an end', async () => {
      const { app, keys, create, bearer, lookups, advance } = setUp({ missLimit: 10 })
      const known = create()
      await app.get('/', bearer(known))
      const statuses = await Promise.all(
        Array.from(
          { length: 50 },
          async () => (await app.get('/', bearer(keys.generate().key))).status,
        ),
      )
      expect(lookups.length).toBeLessThanOrEqual(11)
      expect(statuses.filter((status) => status === 401)).toHaveLength(lookups.length - 1)
      const refused = await app.get('/', bearer(keys.generate().key))
      expect(refused.status).toBe(429)
      expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
      // What Redis knows is answered all the same, also when this process does not know it.
      await advance('6s')
      expect((await app.get('/', bearer(known))).status).toBe(200)
      await advance('60s')
      expect((await app.get('/', bearer(create()))).status).toBe(200)
    })

    test('a lookup that fails is an error, and the next request tries again', async () => {
      let fails = true
      const { app, keys, bearer } = setUp({
        lookup: () => {
          if (fails) throw Object.assign(new Error('the database is away'), { status: 502 })
          return { user: 'ann' }
        },
      })
      const { key } = keys.generate()
      expect((await app.get('/', bearer(key))).status).toBe(502)
      fails = false
      await until(
        'it is tried again',
        async () => (await app.get('/', bearer(key))).status === 200,
        1000,
      )
    })

    test.each([[['a list']], ['a string'], [7], [true], [{ big: 'x'.repeat(9000) }]])(
      'a lookup that returns %j is a mistake of the application: the request fails, and no one is let in',
      async (row) => {
        const { app, keys, bearer } = setUp({ lookup: () => row as never })
        expect((await app.get('/', bearer(keys.generate().key))).status).toBe(500)
        expect(app.errors).toMatchObject([{ code: 'TP_VALUE' }])
      },
    )

    test('keys of another form, in a field of the application’s own', async () => {
      const rows = new Map<string, Row>()
      const { app, keys } = setUp({
        lookup: (digest) => rows.get(digest),
        header: 'X-Acme-Key',
        checksum: false,
      })
      rows.set(keys.digest('old key form'.replaceAll(' ', '-')), { user: 'ann' })
      expect((await app.get('/', { 'x-acme-key': 'old-key-form' })).status).toBe(200)
      for (const odd of ['old key form', 'x'.repeat(300), 'a,b', 'unknown']) {
        const refused = await app.get('/', { 'x-acme-key': odd })
        expect(refused.status).toBe(401)
        expect(refused.headers['www-authenticate']).toMatch(/^ApiKey realm="api"/)
      }
      expect((await app.get('/', { authorization: 'Bearer old-key-form' })).status).toBe(401)
    })

    test('tenants do not share keys, unless that is said', async () => {
      const tenant = (native: any) => native.headers['x-tenant']
      const seen: unknown[] = []
      const lookup = (
        _digest: string,
        { tenant }: { tenant: string | undefined },
      ): Row | undefined => {
        seen.push(tenant)
        return tenant === 'globex' ? undefined : { user: 'ann' }
      }
      const { app, keys, bearer } = setUp({ lookup }, { instance: { tenant } })
      const { key, digest } = keys.generate()
      const get = async (name: string) =>
        (await app.get('/', { ...bearer(key), 'x-tenant': name })).status
      expect([await get('acme'), await get('globex'), await get('acme')]).toEqual([200, 401, 200])
      expect(seen).toEqual(['acme', 'globex'])
      await expect(keys.revoke(digest)).rejects.toMatchObject({ code: 'TP_KEY' })
      expect(await keys.revoke(digest, { tenant: 'acme' })).toBe(true)
      expect(await get('acme')).toBe(401)
      const shared = setUp({ lookup, acrossTenants: true }, { instance: { tenant } })
      const { key: other, digest: its } = shared.keys.generate()
      for (const name of ['acme', 'globex'])
        expect((await shared.app.get('/', { ...bearer(other), 'x-tenant': name })).status).toBe(200)
      expect(await shared.keys.revoke(its)).toBe(true)
      expect((await shared.app.get('/', bearer(other))).status).toBe(401)
    })

    test('the cache and idempotency keys know a key in a field of the application’s own', async () => {
      const { app, create } = setUp(
        { header: 'x-acme-key', near: 0 },
        {
          mount: (tp: any) => [tp.cache({ ttl: '1m' }), tp.idempotency()],
        },
      )
      const [ann, bob] = [create({ user: 'ann' }), create({ user: 'bob' })]
      const users = []
      for (const key of [ann, bob])
        users.push(JSON.parse((await app.get('/', { 'x-acme-key': key })).text).key.user)
      expect(users).toEqual(['ann', 'bob'])
      const posts = []
      for (const key of [ann, bob, ann])
        posts.push(
          JSON.parse((await app.post('/', { 'x-acme-key': key, 'idempotency-key': 'k' })).text).key
            .user,
        )
      expect(posts).toEqual(['ann', 'bob', 'ann'])
      expect(app.warnings.filter((text) => text.includes('address'))).toEqual([])
    })
  })
})

describe.each(apps)('API keys on $name while Redis is away', ({ start }) => {
  function setUp(options: object) {
    const store = testStore()
    let count = 0
    let keys!: Keys
    const known = new Set<string>()
    const app = start({
      options: { store },
      mount(tp) {
        keys = apiKeys(tp, {
          lookup: (digest) => (count++, known.has(digest) ? {} : undefined),
          ...options,
        })
        return [keys]
      },
    })
    const { key, digest } = keys.generate()
    known.add(digest)
    const get = async (sent = key) => {
      const { status, headers } = await app.get('/', { 'x-api-key': sent })
      return [status, headers['retry-after']]
    }
    return { store, app, keys, get, count: () => count, key, digest }
  }

  test('the database is asked, once for each key and near', async () => {
    const { store, app, keys, get, count } = setUp({ near: '5s' })
    const unavailable: object[] = []
    app.tp.on('unavailable', (event) => unavailable.push(event))
    store.fail()
    for (let i = 0; i < 5; i++) expect((await get())[0]).toBe(200)
    expect((await get(keys.generate().key))[0]).toBe(401)
    expect(count()).toBe(2)
    expect(unavailable[0]).toMatchObject({ feature: 'apiKeys', rule: 'lookup' })
    await store.advance('6s')
    await get()
    expect(count()).toBe(3)
  })

  test("fail: 'closed' answers 503; what this process knows it answers", async () => {
    const { store, get, keys } = setUp({ fail: 'closed', near: '5s' })
    await get()
    store.fail()
    expect((await get())[0]).toBe(200)
    expect(await get(keys.generate().key)).toEqual([503, '2'])
    await store.advance('6s')
    expect(await get()).toEqual([503, '2'])
    store.recover()
    expect((await get())[0]).toBe(200)
  })

  test('a revocation that did not reach Redis is an error, not a success', async () => {
    const { store, keys, digest } = setUp({})
    store.fail()
    await expect(keys.revoke(digest)).rejects.toMatchObject({ code: 'TP_UNAVAILABLE' })
  })
})

test('two mounts of one name must look up alike: a customer’s key must not open the admin routes', () => {
  const tp = turnpike({ store: testStore() })
  const lookup = () => undefined
  apiKeys(tp, { lookup })
  apiKeys(tp, { lookup, required: false })
  expect(() => apiKeys(tp, { lookup: () => ({ admin: true }) })).toThrow(
    /has the name 'default' and another lookup/,
  )
  apiKeys(tp, { lookup: () => ({ admin: true }), name: 'admin' })
})
