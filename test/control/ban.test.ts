/** Clients that are banned because they match too often, on both engines and in all frameworks. */
import { describe, expect, onTestFinished, test } from 'vitest'
import { turnpike } from '../../src/node.ts'
import { testStore } from '../../src/testing.ts'
import { apps } from '../support/apps.ts'
import { bothEngines } from '../support/engines.ts'
import { until } from '../support/until.ts'

const WHY = { by: 'ann', reason: 'a test' }
const NOT_FOUND = { name: 'scanners', statuses: [404], limit: 2, window: '1m' } as const

type Setup = Parameters<(typeof apps)[number]['start']>[0]
const onLast = apps.at(-1)!

/** An application whose clients have the addresses that a test gives them. */
function setUp(
  start: (setup: Setup) => ReturnType<typeof onLast.start>,
  options: Setup['options'],
  mount: Setup['mount'],
  handle: Setup['handle'] = ({ url }) => (url === '/none' ? [404, 'none'] : [200, 'ok']),
) {
  const app = start({ options, mount, handle })
  onTestFinished(() => app.tp.close())
  let client = ''
  app.server.prependListener('connection', (socket) =>
    Object.defineProperty(socket, 'remoteAddress', { get: () => client }),
  )
  const bans: any[] = []
  app.tp.on('ban', (event) => void bans.push(event))
  /** Returns the statuses of requests of a client. */
  const ask = async (address: string, path: string, times = 1, headers = {}): Promise<number[]> => {
    client = address
    const statuses: number[] = []
    for (let i = 0; i < times; i++) statuses.push((await app.get(path, headers)).status)
    return statuses
  }
  const banned = (address: string): Promise<unknown> =>
    until(`${address} is banned`, async () => (await ask(address, '/'))[0] === 403)
  return { app, ask, banned, bans, control: app.tp.control }
}

describe.each(bothEngines())('a ban on the $name engine', ({ open }) => {
  describe.each(apps)('on $name', ({ start }) => {
    test('refuses a client whose responses had a status too often, each time for longer', async () => {
      const { store, prefix, advance } = open()
      const { ask, banned, bans, control } = setUp(start, { store, prefix }, (tp) => [
        tp.ban({ ...NOT_FOUND, for: '10m', max: '30m' }),
      ])
      for (const minutes of [10, 20, 30, 30]) {
        expect(await ask('203.0.113.7', '/none', 3)).toEqual([404, 404, 404])
        await banned('203.0.113.7')
        expect(await ask('203.0.113.8', '/')).toEqual([200])
        const [rule] = await control.rules()
        expect(rule).toMatchObject({ address: '203.0.113.7', effect: 'deny', ban: 'scanners' })
        expect(rule!.until! - rule!.at).toBe(minutes * 60_000)
        await until('it is reported', () => bans.length > 0)
        expect(bans.splice(0)).toEqual([
          {
            name: 'scanners',
            type: 'banned',
            address: '203.0.113.7',
            forMs: minutes * 60_000,
            reason: undefined,
          },
        ])
        await advance(`${minutes}m`)
        expect(await ask('203.0.113.7', '/')).toEqual([200])
      }
      expect(await control.audit({ bans: true, limit: 1 })).toMatchObject([
        { action: 'ban', by: 'ban scanners', subject: '203.0.113.7 for 30m' },
      ])
      expect(await control.audit()).toEqual([])
    })

    test('counts matches within its window, for the network of an IPv6 address', async () => {
      const { store, prefix, advance } = open()
      const { ask, banned, control } = setUp(start, { store, prefix }, (tp) => [
        tp.ban({
          name: 'probes',
          match: (native: any) => native.url.startsWith('/wp-'),
          limit: 2,
          window: '1m',
          for: '1h',
        }),
      ])
      expect(await ask('2001:db8:1:200::1', '/wp-login', 2)).toEqual([200, 200])
      // Requests do not wait for the count. What was asked before is counted before.
      await ask('203.0.113.9', '/wp-login', 3)
      await banned('203.0.113.9')
      await control.lift('203.0.113.9', WHY)
      await advance('1m')
      expect(await ask('2001:db8:1:200::1', '/wp-login', 2)).toEqual([200, 200])
      expect(await control.rules()).toEqual([])
      expect(await ask('2001:db8:1:2ff::9', '/wp-login')).toEqual([200])
      await banned('2001:db8:1:200::1')
      expect(await ask('2001:db8:1:300::1', '/')).toEqual([200])
      expect((await control.rules())[0]).toMatchObject({ address: '2001:db8:1:200::/56' })
    })

    test('is made of what a login guard refuses', async () => {
      const { store, prefix } = open()
      const { ask, banned, control } = setUp(
        start,
        { store, prefix },
        (tp) => [
          tp.ban({ name: 'logins', on: 'loginGuard', limit: 1, window: '1m', for: '1h' }),
          tp.loginGuard({ limit: 1, key: ({ headers }: any) => headers.u }),
        ],
        ({ headers }) => (headers.u === undefined ? [200, 'ok'] : [401, 'wrong']),
      )
      expect(await ask('203.0.113.7', '/', 3, { u: 'ada' })).toEqual([401, 429, 429])
      await banned('203.0.113.7')
      expect(await control.rules()).toMatchObject([{ ban: 'logins', address: '203.0.113.7' }])
    })
  })

  const startOne = (options: object = {}) => {
    const { store, prefix, advance } = open()
    const mount: Setup['mount'] = (tp) => [
      tp.ban({ ...NOT_FOUND, limit: 1, for: '1h', ...options }),
    ]
    return { ...setUp(onLast.start, { store, prefix }, mount), advance, store, prefix }
  }

  test('never is for a private, loopback, link-local, shared or wrapping address', async () => {
    const { ask, banned, control } = startOne()
    for (const address of [
      '127.0.0.1',
      '127.8.8.8',
      '::1',
      '10.1.2.3',
      '172.16.0.1',
      '172.31.255.255',
      '192.168.1.1',
      '169.254.1.1',
      '100.64.0.1',
      '100.127.255.255',
      '0.0.0.0',
      '255.255.255.255',
      '224.0.0.1',
      'fd00::1',
      'fc00::1',
      'fe80::1',
      'fe80::1%eth0',
      '::',
      'ff02::1',
      '::ffff:10.0.0.1',
      '::ffff:7f00:1',
      '::ffff:0:10.0.0.1',
      '64:ff9b::a00:1',
      '2002:a00:1::1',
      '2001:0:4136:e378::1',
      '',
      'invalid',
      '10.0.0.1/8',
    ])
      expect(await ask(address, '/none', 4)).toEqual([404, 404, 404, 404])
    // What was asked before is counted before.
    await ask('203.0.113.7', '/none', 2)
    await banned('203.0.113.7')
    expect(await control.rules()).toHaveLength(1)
  })

  test('never is for a client that a person allows, before or after', async () => {
    const { ask, banned, control } = startOne()
    await control.allow('203.0.113.0/24', WHY)
    await ask('203.0.113.7', '/none', 5)
    await ask('198.51.100.7', '/none', 2)
    await banned('198.51.100.7')
    expect((await control.rules()).map(({ address }) => String(address)).toSorted()).toEqual([
      '198.51.100.7',
      '203.0.113.0/24',
    ])
    // The network of a banned client is allowed afterwards.
    await control.allow('198.51.100.0/24', WHY)
    expect(await ask('198.51.100.7', '/')).toEqual([200])
    await control.lift('198.51.100.0/24', WHY)
    expect(await ask('198.51.100.7', '/')).toEqual([403])
    await control.deny('198.51.100.0/24', WHY)
    expect(await ask('198.51.100.7', '/')).toEqual([403])
    await control.allow('198.51.100.7', WHY)
    expect(await ask('198.51.100.7', '/none', 4)).toEqual([404, 404, 404, 404])
    expect(await control.rules()).toContainEqual(
      expect.objectContaining({ address: '198.51.100.7', effect: 'allow', ban: undefined }),
    )
  })

  test('after sixty within a minute is only reported, in all processes together', async () => {
    const { ask, app, bans, advance, store, prefix, control } = startOne()
    const other = setUp(onLast.start, { store, prefix }, (tp) => [
      tp.ban({ ...NOT_FOUND, limit: 1, for: '1h' }),
    ])
    await other.control.refresh()
    for (let i = 0; i < 62; i++) await (i % 2 === 0 ? ask : other.ask)(`203.0.113.${i}`, '/none', 2)
    await until('all are reported', () => bans.length + other.bans.length === 62)
    const shadows = [...bans, ...other.bans].filter(({ type }) => type === 'shadow')
    expect(shadows).toHaveLength(2)
    expect(shadows[0]).toMatchObject({ reason: 'too-many', forMs: 3_600_000 })
    expect(await control.rules()).toHaveLength(60)
    expect([...app.warnings, ...other.app.warnings].join()).toContain('60 clients were banned')
    await advance('61s')
    await ask('203.0.113.100', '/none', 2)
    await until('it is banned', async () => (await control.rules()).length === 61)
  })
})

test('while the store is away nothing is counted, requests pass, and one event tells of it', async () => {
  const store = testStore()
  const { app, ask, banned } = setUp(onLast.start, { store }, (tp) => [
    tp.ban({ ...NOT_FOUND, for: '1h' }),
  ])
  const events: object[] = []
  app.tp.on('unavailable', ({ feature, name, rule }) => void events.push({ feature, name, rule }))
  await ask('203.0.113.7', '/none', 3)
  await banned('203.0.113.7')
  store.fail()
  expect(await ask('203.0.113.8', '/none', 5)).toEqual([404, 404, 404, 404, 404])
  await until('it is told', () => events.length > 0)
  expect(events).toContainEqual({ feature: 'ban', name: 'scanners', rule: 'skip' })
  // Bans that are in force stay.
  expect(await ask('203.0.113.7', '/')).toEqual([403])
})

test('a ban leaves room for the rules of people', async () => {
  const store = testStore()
  const { ask, bans, control } = setUp(onLast.start, { store }, (tp) => [
    tp.ban({ ...NOT_FOUND, limit: 1, for: '1h' }),
  ])
  for (let i = 0; i < 9_001; i++) await control.deny({ subject: `s${i}` }, WHY)
  await ask('203.0.113.7', '/none', 2)
  await until('it is reported', () => bans.length === 1)
  expect(bans[0]).toMatchObject({ type: 'shadow', reason: 'full' })
  expect(await control.deny('203.0.113.7', WHY)).toMatchObject({ changed: true })
})

test.each([
  [{}, 'name'],
  [{ name: 'a b', match: () => true, limit: 1, window: '1m', for: '1m' }, 'name'],
  [{ name: 'x', limit: 1, window: '1m', for: '1m' }, 'exactly one of'],
  [{ ...NOT_FOUND, match: () => true, for: '1m' }, 'exactly one of'],
  [{ ...NOT_FOUND, statuses: [], for: '1m' }, 'statuses'],
  [{ ...NOT_FOUND, statuses: ['404'], for: '1m' }, 'statuses'],
  [{ ...NOT_FOUND, statuses: 404, for: '1m' }, 'statuses'],
  [{ ...NOT_FOUND, limit: 0, for: '1m' }, 'limit'],
  [{ ...NOT_FOUND, limit: 1001, for: '1m' }, 'limit'],
  [{ ...NOT_FOUND, window: '2d', for: '1m' }, 'at most a day'],
  [{ ...NOT_FOUND }, 'for'],
  [{ ...NOT_FOUND, for: '1h', max: '1m' }, 'longest ban'],
  [{ ...NOT_FOUND, for: '400d' }, 'at most a year'],
  [
    { name: 'x', on: 'loginguard', limit: 1, window: '1m', for: '1m' },
    "Did you mean 'loginGuard'?",
  ],
  [{ ...NOT_FOUND, for: '1h', status: [404] }, 'status'],
])('the ban %j is refused when it is made', (options, message) => {
  const tp = turnpike()
  onTestFinished(() => tp.close())
  expect(() => tp.ban(options as never)).toThrow(message)
})

test('metrics show the rules, their version, modes of mounted limits and bans', async () => {
  const store = testStore()
  const { app, ask, banned, control } = setUp(onLast.start, { store }, (tp) => [
    tp.ban({ ...NOT_FOUND, for: '1h' }),
    tp.rateLimit({ name: 'api', limit: 100, window: '1m' }),
  ])
  const metrics = app.tp.metrics()
  await ask('203.0.113.7', '/none', 3)
  await banned('203.0.113.7')
  await control.mode('api', 'shadow', WHY)
  await control.mode('unknown', 'off', WHY)
  await control.policy('api', { limit: 7 }, WHY)
  const values = Object.fromEntries(
    (await metrics.snapshot()).flatMap(({ name, samples }: any) => [[name, samples]]),
  )
  expect(values).toMatchObject({
    turnpike_bans_total: [{ labels: { ban: 'scanners', outcome: 'banned' }, value: 1 }],
    turnpike_rules: [{ value: 4 }],
    turnpike_control_version: [{ value: 4 }],
    turnpike_mount_mode: [{ labels: { limit: 'api', mode: 'shadow' }, value: 1 }],
  })
})

test('events tell each process of a change, of who made it, and of rules that were read at once', async () => {
  const store = testStore()
  const [writer, reader] = [turnpike({ store }), turnpike({ store })]
  onTestFinished(async () => void (await Promise.all([writer.close(), reader.close()])))
  const events: any[] = []
  await writer.control.deny('203.0.113.0/24', WHY)
  reader.on('control', (event) => void events.push(event))
  await reader.control.refresh()
  const has = (type: string): boolean => events.some((event) => event.type === type)
  await until('they are read', () => has('loaded'))
  await writer.control.mode('api', 'off', WHY)
  await until('the mode came', () => has('set'))
  await writer.control.lift('203.0.113.0/24', WHY)
  await until('the rule went', () => has('lifted'))
  expect(events[0]).toMatchObject({ type: 'loaded', target: undefined, rules: 1 })
  expect(events.filter(({ type }) => type !== 'loaded')).toMatchObject([
    { type: 'set', target: 'limit:api', effect: 'off', by: 'ann', reason: 'a test', rules: 2 },
    { type: 'lifted', target: '203.0.113.0/24', effect: undefined, by: undefined, rules: 1 },
  ])
})
