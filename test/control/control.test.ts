/** Rules at run time through HTTP, on both engines and in all frameworks. */
import { describe, expect, onTestFinished, test } from 'vitest'
import { turnpike } from '../../src/node.ts'
import { testStore } from '../../src/testing.ts'
import { withoutMessages } from '../extensions/flags/support.ts'
import { apps } from '../support/apps.ts'
import { bothEngines } from '../support/engines.ts'
import { until } from '../support/until.ts'

const WHY = { by: 'ann', reason: 'a test' }
const HERE = '127.0.0.1'

describe.each(bothEngines())('rules on the $name engine', ({ open }) => {
  describe.each(apps)('on $name', ({ start }) => {
    const setUp = (mount: (tp: any) => any[], handle?: () => readonly [number, string]) => {
      const opened = open()
      const { store, prefix } = opened
      const app = start({
        options: { store, prefix },
        mount,
        ...(handle && { handle }),
      })
      return { ...opened, app, control: app.tp.control }
    }

    test('the gate refuses a denied network until the rule is lifted, and says nothing of it', async () => {
      const { app, control } = setUp((tp) => [tp.gate()])
      expect((await app.get()).status).toBe(200)
      expect(await control.deny('127.0.0.99/8', WHY)).toMatchObject({
        target: '127.0.0.0/8',
        changed: true,
      })
      for (const refused of [await app.get('/products'), await app.post()]) {
        expect(refused.status).toBe(403)
        expect(refused.headers).toMatchObject({
          'content-type': 'application/problem+json',
          'cache-control': 'no-store',
        })
        expect(JSON.parse(refused.text)).toEqual({
          title: 'Forbidden',
          status: 403,
          detail: 'Requests from this client are not accepted.',
        })
        expect(refused.headers['retry-after']).toBeUndefined()
      }
      // Another spelling of the same network.
      expect(await control.lift('::ffff:127.0.0.0/104', WHY)).toMatchObject({ changed: true })
      expect((await app.get()).status).toBe(200)
    })

    test('a rule ends after its time', async () => {
      const { app, control, advance } = setUp((tp) => [tp.gate()])
      await control.deny(HERE, { ...WHY, for: '1m' })
      await advance('59s')
      expect((await app.get()).status).toBe(403)
      await advance('1s')
      expect((await app.get()).status).toBe(200)
      expect(await control.rules()).toEqual([])
    })

    test('an allowed address passes, although its network is denied', async () => {
      const { app, control } = setUp((tp) => [tp.gate()])
      await control.deny('0.0.0.0/0', WHY)
      expect((await app.get()).status).toBe(403)
      await control.allow(HERE, WHY)
      expect((await app.get()).status).toBe(200)
    })

    test('a limit refuses who is denied, and counts nothing for who is allowed', async () => {
      const { app, control } = setUp((tp) => [tp.rateLimit({ limit: 1, window: '1h' })])
      const decisions: object[] = []
      app.tp.on('decision', ({ allowed, source }) => decisions.push({ allowed, source }))
      await control.deny(HERE, WHY)
      const refused = await app.get()
      expect(refused.status).toBe(403)
      expect(refused.headers['retry-after']).toBeUndefined()
      await control.allow(HERE, WHY)
      for (let i = 0; i < 3; i++) {
        const { status, headers } = await app.get()
        expect([status, headers['ratelimit']]).toEqual([200, undefined])
      }
      await control.lift(HERE, WHY)
      expect([(await app.get()).status, (await app.get()).status]).toEqual([200, 429])
      expect(decisions).toEqual([
        { allowed: false, source: 'rule' },
        ...Array.from({ length: 3 }, () => ({ allowed: true, source: 'rule' })),
        { allowed: true, source: 'store' },
        { allowed: false, source: 'store' },
      ])
    })

    test('a limit by user heeds the rule for a user', async () => {
      const { app, control } = setUp((tp) => [
        tp.rateLimit({ limit: 1, window: '1h', key: ({ headers }: any) => headers['x-user'] }),
      ])
      await control.deny({ subject: 'ann' }, WHY)
      expect((await app.get('/', { 'x-user': 'ann' })).status).toBe(403)
      expect((await app.get('/', { 'x-user': 'bob' })).status).toBe(200)
      await control.allow({ subject: 'bob' }, WHY)
      expect((await app.get('/', { 'x-user': 'bob' })).status).toBe(200)
      // The address is not more specific than its user.
      await control.deny('127.0.0.0/8', WHY)
      expect((await app.get('/', { 'x-user': 'bob' })).status).toBe(200)
      expect((await app.get('/', { 'x-user': 'eve' })).status).toBe(403)
      await control.deny(HERE, WHY)
      expect((await app.get('/', { 'x-user': 'bob' })).status).toBe(403)
    })

    test('of several keys of a limit one that is denied is enough', async () => {
      const { app, control } = setUp((tp) => [
        tp.rateLimit({
          policies: [
            { name: 'user', limit: 9, window: '1h', key: ({ headers }: any) => headers['x-user'] },
            { name: 'all', limit: 9, window: '1h', key: () => 'all' },
          ],
        }),
      ])
      await control.allow({ subject: 'all' }, WHY)
      await control.deny({ subject: 'ann' }, WHY)
      expect((await app.get('/', { 'x-user': 'ann' })).status).toBe(403)
      expect((await app.get('/', { 'x-user': 'bob' })).status).toBe(200)
    })

    test('a shadow limit refuses nobody, and says what it would have done', async () => {
      const { app, control } = setUp((tp) => [
        tp.rateLimit({ limit: 1, window: '1h', shadow: true }),
      ])
      const shadows: boolean[] = []
      app.tp.on('decision', ({ shadow }) => shadows.push(shadow))
      await control.deny(HERE, WHY)
      expect((await app.get()).status).toBe(200)
      expect(shadows).toEqual([true])
    })

    test('a limit does what its mode says, until it is set to default', async () => {
      const { app, control } = setUp((tp) => [
        tp.rateLimit({
          name: 'api',
          limit: 1,
          window: '1h',
          reply: (_: any, { decision }: any) => ({ body: decision.source }),
        }),
      ])
      const decisions: object[] = []
      app.tp.on('decision', ({ allowed, shadow, source }) =>
        decisions.push({ allowed, shadow, source }),
      )
      const statuses = async (): Promise<number[]> => [
        (await app.get()).status,
        (await app.get()).status,
      ]
      await control.mode('api', 'off', WHY)
      expect(await statuses()).toEqual([200, 200])
      expect(decisions).toEqual([])
      await control.mode('api', 'closed', WHY)
      expect(await statuses()).toEqual([503, 503])
      const closed = await app.get()
      expect([closed.headers['retry-after'], closed.text]).toEqual(['2', 'closed'])
      await control.mode('api', 'shadow', WHY)
      decisions.length = 0
      const first = await app.get()
      expect([first.status, first.headers['ratelimit']]).toEqual([200, undefined])
      expect((await app.get()).status).toBe(200)
      expect(decisions).toEqual([
        { allowed: true, shadow: false, source: 'store' },
        { allowed: false, shadow: true, source: 'store' },
      ])
      await control.mode('api', 'default', WHY)
      const refused = await app.get()
      expect([refused.status, refused.headers['ratelimit']]).toEqual([
        429,
        expect.stringContaining('api'),
      ])
    })

    test('the mode on makes a shadow limit refuse, and ends after its time', async () => {
      const { app, control, advance } = setUp((tp) => [
        tp.rateLimit({ name: 'api', limit: 1, window: '1h', shadow: true }),
      ])
      await control.mode('api', 'on', { ...WHY, for: '1m' })
      expect([(await app.get()).status, (await app.get()).status]).toEqual([200, 429])
      await advance('1m')
      expect((await app.get()).status).toBe(200)
    })

    test('in a pipeline a limit that is off charges nothing', async () => {
      const { app, control } = setUp((tp) => [
        tp.pipeline(
          tp.rateLimit({ name: 'one', limit: 1, window: '1h' }),
          tp.rateLimit({ name: 'two', limit: 9, window: '1h' }),
        ),
      ])
      await control.mode('one', 'off', WHY)
      expect([(await app.get()).status, (await app.get()).status]).toEqual([200, 200])
      await control.mode('one', 'default', WHY)
      expect([(await app.get()).status, (await app.get()).status]).toEqual([200, 429])
    })

    test('a login guard refuses who is denied before the handler runs, and counts no failure of who is allowed', async () => {
      let logins = 0
      const { app, control } = setUp(
        (tp) => [tp.loginGuard({ key: () => 'ann@example.org', limit: 1 })],
        () => [++logins && 401, 'wrong'],
      )
      await control.deny(HERE, WHY)
      expect((await app.post()).status).toBe(403)
      expect(logins).toBe(0)
      await control.allow(HERE, WHY)
      for (let i = 0; i < 3; i++) expect((await app.post()).status).toBe(401)
      await control.lift(HERE, WHY)
      expect((await app.post()).status).toBe(401)
      expect((await app.post()).status).toBe(429)
    })

    test('the gate knows subjects by its option, and the application replies as it likes', async () => {
      const { app, control } = setUp((tp) => [
        tp.gate({
          subject: async ({ headers }: any) => headers['x-user'],
          reply: () => ({ status: 451, body: { sorry: true } }),
        }),
      ])
      await control.deny({ subject: 'ann' }, WHY)
      const refused = await app.get('/', { 'x-user': 'ann' })
      expect([refused.status, JSON.parse(refused.text)]).toEqual([451, { sorry: true }])
      expect((await app.get('/', { 'x-user': 'bob' })).status).toBe(200)
      expect((await app.get()).status).toBe(200)
    })
  })

  test('modes are listed with who set them, apart from rules', async () => {
    const { store, prefix } = open()
    const { control } = turnpike({ store, prefix })
    await control.mode('api', 'closed', { ...WHY, for: '1h' })
    const at = store.now()
    expect(await control.modes()).toEqual([
      { limit: 'api', mode: 'closed', enforce: 100, at, until: at + 3_600_000, ...WHY },
    ])
    expect(await control.rules()).toEqual([])
    expect(await control.mode('api', 'default', WHY)).toMatchObject({ changed: true })
    expect(await control.mode('api', 'default', WHY)).toMatchObject({ changed: false })
    expect((await control.audit()).map(({ action, subject }) => `${action}, ${subject}`)).toEqual([
      'mode default, limit api',
      'mode closed, limit api for 1h',
    ])
  })

  test('all instances have a rule at once, and know who set it', async () => {
    const { store, prefix } = open()
    const [a, b] = [turnpike({ store, prefix }), turnpike({ store, prefix, version: 2 })]
    b.gate()
    const { version } = await a.control.deny('2001:DB8::/32', { ...WHY, for: '1h' })
    await a.control.allow({ subject: ['ann', 'x y'] }, WHY)
    await until('the other has both', async () => (await b.control.rules()).length === 2)
    expect(version).toMatch(/^1\./)
    expect(await b.control.rules()).toEqual(
      expect.arrayContaining([
        {
          effect: 'deny',
          address: '2001:db8::/32',
          subject: undefined,
          tenant: undefined,
          at: store.now(),
          until: store.now() + 3_600_000,
          ...WHY,
        },
        {
          effect: 'allow',
          address: undefined,
          subject: ['ann', 'x y'],
          tenant: undefined,
          at: store.now(),
          until: undefined,
          ...WHY,
        },
      ]),
    )
    expect(await b.control.audit({ limit: 1 })).toEqual([
      { at: store.now(), action: 'allow', subject: 'subject ann:x%20y', ...WHY },
    ])
    expect(await a.control.lift('2001:db8::/33', WHY)).toMatchObject({ changed: false })
    // What changed nothing is not in the audit.
    expect(await a.control.audit()).toHaveLength(2)
  })
})

function setUpUnit(options: object = {}) {
  const store = testStore()
  const tp = turnpike({ store, ...options })
  onTestFinished(() => tp.close())
  return { store, tp, control: tp.control as any }
}

describe('mistakes', () => {
  test.each([
    ['an address that is none', '203.0.113.256', /the target must be an address/],
    ['a network that is none', '203.0.113.0/33', /the target must be an address/],
    ['a user without { subject }', 'user-42', /or \{ subject \}/],
    ['an object without a subject', { user: 'ann' }, /or \{ subject \}/],
    ['nothing', undefined, /the target must be an address/],
    ['an unknown member', { subject: 'ann', tennant: 'a' }, /Did you mean tenant/],
  ])('the target is %s', async (_what, target, message) => {
    const { control } = setUpUnit()
    for (const call of ['deny', 'allow', 'lift'])
      await expect(control[call](target, WHY)).rejects.toMatchObject({
        code: 'TP_OPTION',
        message: expect.stringMatching(message),
      })
    expect(await control.audit()).toEqual([])
  })

  test.each([
    [undefined, /the options must be an object/],
    [{}, /by must be a string/],
    [{ by: 'ann' }, /reason must be a string/],
    [{ reason: 'x' }, /by must be a string/],
    [{ by: ' ', reason: 'x' }, /by must be a string/],
    [{ ...WHY, reason: 'x'.repeat(201) }, /reason must be a string/],
    [{ ...WHY, for: '1 hour' }, /for must be a duration.*Did you mean '1h'/],
    [{ ...WHY, for: 0 }, /for must be at least 1 ms/],
    [{ ...WHY, for: '3651d' }, /for must be at most ten years/],
    [{ ...WHY, ttl: '1h' }, /there is no option ttl/],
  ])('the options are %j', async (options, message) => {
    const { control } = setUpUnit()
    await expect(control.deny(HERE, options)).rejects.toMatchObject({
      code: 'TP_OPTION',
      message: expect.stringMatching(message),
    })
  })

  test.each([
    [['api', 'shadows'], /mode must be 'on'.*Did you mean 'shadow'/],
    [['api', undefined], /mode must be 'on'/],
    [['a b', 'off'], /limit must be the name of a limit/],
    [[undefined, 'off'], /limit must be the name of a limit/],
  ])('the mode is %j', async (args, message) => {
    const { control } = setUpUnit()
    await expect(control.mode(...args, WHY)).rejects.toMatchObject({
      code: 'TP_OPTION',
      message: expect.stringMatching(message),
    })
  })

  test('a subject that is no identity, or has no tenant, names no client', async () => {
    const { control } = setUpUnit({ tenant: () => 'acme' })
    await expect(control.deny({ subject: 'ann' }, WHY)).rejects.toMatchObject({ code: 'TP_KEY' })
    await expect(control.deny({ subject: '', tenant: 'acme' }, WHY)).rejects.toMatchObject({
      code: 'TP_KEY',
    })
  })

  test('the options of the gate are checked when it is mounted', () => {
    const { tp } = setUpUnit()
    expect(() => tp.gate({ reply: 403 } as never)).toThrow(/tp.gate\(\): reply must be a function/)
  })
})

test('a rule for a subject of one tenant leaves the others alone', async () => {
  const { store } = setUpUnit()
  const app = apps.at(-1)!.start({
    options: { store, tenant: ({ headers }: any) => headers['x-tenant'] },
    mount: (tp) => [
      tp.gate({ subject: () => 'ann' }),
      tp.rateLimit({ limit: 1, window: '1h', key: () => 'ann' }),
    ],
  })
  await app.tp.control.deny({ subject: 'ann', tenant: 'acme' }, WHY)
  expect((await app.get('/', { 'x-tenant': 'acme' })).status).toBe(403)
  expect((await app.get('/', { 'x-tenant': 'other' })).status).toBe(200)
})

test('the last rules stay while the store is away, and a change rejects', async () => {
  const store = testStore()
  const app = apps[0]!.start({ options: { store }, mount: (tp) => [tp.gate()] })
  await app.tp.control.deny(HERE, WHY)
  store.fail()
  await store.advance('1m')
  expect((await app.get()).status).toBe(403)
  await expect(app.tp.control.lift(HERE, WHY)).rejects.toMatchObject({ code: 'TP_UNAVAILABLE' })
  expect((await app.get()).status).toBe(403)
  store.recover()
  await app.tp.control.lift(HERE, WHY)
  expect((await app.get()).status).toBe(200)
})

test('ten thousand rules are the most, and those that have ended make room', async () => {
  const { control, store } = setUpUnit()
  for (let i = 0; i < 10_000; i++)
    await control.deny({ subject: `s${i}` }, { ...WHY, ...(i === 0 && { for: '1s' }) })
  await expect(control.deny(HERE, WHY)).rejects.toMatchObject({
    code: 'TP_VALUE',
    message: expect.stringContaining('10000 rules'),
  })
  // A rule that is there can still be changed.
  await control.allow({ subject: 's5' }, WHY)
  await store.advance('1s')
  expect(await control.deny(HERE, WHY)).toMatchObject({ changed: true })
  expect(await control.rules()).toHaveLength(10_000)
})

test('with the default pause a rule is in force in twelve processes within 12 s, although no message comes', async () => {
  const store = testStore()
  const processes = Array.from({ length: 12 }, () =>
    apps[0]!.start({ options: { store: withoutMessages(store) }, mount: (tp) => [tp.gate()] }),
  )
  const statuses = async (): Promise<number[]> =>
    await Promise.all(processes.map(async ({ get }) => (await get()).status))
  for (const { tp } of processes) await tp.control.refresh()
  await processes[0]!.tp.control.deny(HERE, WHY)
  expect(new Set((await statuses()).slice(1))).toEqual(new Set([200]))
  await store.advance('12s')
  await until('all have compared', async () => (await statuses()).every((each) => each === 403))
})
