/** Who is online, on every framework and both engines. */
import { describe, expect, it, onTestFinished } from 'vitest'
import { StoreUnavailable } from '../../../src/errors.ts'
import { readHistory } from '../../../src/extensions/realtime/channels/operations.ts'
import { noteUsers, readOnline } from '../../../src/extensions/realtime/presence/operations.ts'
import { turnpike } from '../../../src/node.ts'
import { channels, presence, type PresenceOptions } from '../../../src/realtime.ts'
import { testStore } from '../../../src/testing.ts'
import type { TurnpikeOptions } from '../../../src/turnpike.ts'
import { apps, type App, type AppKind } from '../../support/apps.ts'
import { bothEngines } from '../../support/engines.ts'
import { until } from '../../support/until.ts'

function create(options: TurnpikeOptions<any>, own: PresenceOptions<any> = {}) {
  const tp = turnpike({ requestBudget: '10s', ...options })
  onTestFinished(() => tp.close())
  const live = channels(tp)
  return { tp, live, users: presence(live, own) }
}

interface Running extends App {
  users: ReturnType<typeof presence<any, any>>
}

function start(kind: AppKind, options: TurnpikeOptions<any>): Running {
  let users!: Running['users']
  const app = kind.start({
    options,
    mount(tp) {
      users = presence(channels(tp), { user: ({ headers }: any) => headers['x-user'] })
      return [users]
    },
  })
  onTestFinished(() => app.tp.close())
  return Object.assign(app, { users })
}

describe.each(bothEngines())('presence, $name', ({ open }) => {
  it.each(apps)('$name: notes the users of requests, and no others', async (kind) => {
    const { advance, prefix, store } = open()
    const [here, there] = [start(kind, { prefix, store }), start(kind, { prefix, store })]
    for (const user of ['bob', 'ann', 'ann', 'cid'])
      expect((await here.get('/', { 'x-user': user })).text).toBe('ok')
    expect((await here.get('/')).text).toBe('ok')
    expect((await here.get('/', { 'x-user': 'x'.repeat(201) })).text).toBe('ok')
    await until('all are online', async () => (await there.users.count()) === 3)
    expect(await there.users.online()).toEqual({ users: ['ann', 'bob', 'cid'], next: undefined })
    expect(await there.users.isOnline('ann')).toBe(true)
    expect(await there.users.isOnline('dan')).toBe(false)
    await advance('4m')
    await there.get('/', { 'x-user': 'ann' })
    await advance('61s')
    await until('the others have left', async () => (await here.users.count()) === 1)
    expect(await here.users.isOnline('bob')).toBe(false)
    expect(await here.users.online()).toEqual({ users: ['ann'], next: undefined })
  })

  it('pages through all users, whoever is seen meanwhile', async () => {
    const { prefix, store } = open()
    const { users } = create({ prefix, store })
    for (let i = 10; i < 35; i++) users.connection(`u${i}`)
    await until('all are online', async () => (await users.count()) === 25)
    const seen: string[] = []
    let cursor: string | undefined
    do {
      const page = await users.online({ cursor, limit: 10 })
      seen.push(...page.users)
      cursor = page.next
      users.connection('u10')
    } while (cursor !== undefined)
    expect(seen).toEqual(Array.from({ length: 25 }, (_, i) => `u${i + 10}`))
  })

  it('publishes who joins and who leaves, once', async () => {
    const { advance, prefix, store } = open()
    const { live, users } = create({ prefix, store }, { ttl: '1m' })
    const changes = live.subscribe<{ type: string; users: string[] }>(users.topic)
    await changes.ready
    users.connection('a"/ü').close()
    users.connection('a"/ü').close()
    const next = async () => (await changes.next()).value?.data
    expect(await next()).toEqual({ type: 'joined', users: ['a"/ü'] })
    await advance('61s')
    expect(await users.count()).toBe(0)
    expect(await next()).toEqual({ type: 'left', users: ['a"/ü'] })
    users.connection('bob').close()
    expect(await next()).toEqual({ type: 'joined', users: ['bob'] })
  })

  it('keeps at most so many users: those who were seen longest ago make room', async () => {
    const { advance, prefix, store } = open()
    const { live, users } = create({ prefix, store }, { max: 2 })
    const changes = live.subscribe<{ type: string; users: string[] }>(users.topic)
    await changes.ready
    for (const user of ['a', 'b', 'c']) {
      users.connection(user).close()
      await until('the user is online', () => users.isOnline(user))
      await advance(10)
    }
    expect((await users.online()).users).toEqual(['b', 'c'])
    const seen: unknown[] = []
    for (let i = 0; i < 4; i++) seen.push((await changes.next()).value?.data)
    expect(seen.at(-1)).toEqual({ type: 'left', users: ['a'] })
  })

  it('finds and publishes all who have left, a thousand in one call', async () => {
    const { advance, prefix, store } = open()
    const keys = ['', ':names', ':topic'].map((sub) => `${prefix}:present:{many}${sub}`)
    const append = [10_000, 60_000, `${prefix}:many`, 7]
    const names = Array.from({ length: 2500 }, (_, i) => `"u${i}"`)
    for (let i = 0; i < names.length; i += 50)
      await store.run(noteUsers, keys, [3000, 10_000, ...append, ...names.slice(i, i + 50)])
    const read = () => store.run(readOnline, keys, [3000, ...append, '', 1])
    expect((await read()).slice(0, 2)).toEqual([0, 2500])
    await advance('4s')
    const replies = [await read(), await read(), await read()]
    expect(replies.map((reply) => reply.slice(0, 2))).toEqual([
      [1, 1500],
      [1, 500],
      [0, 0],
    ])
    const [, , ...entries] = await store.run(readHistory, [keys[2]!], ['0-0', 200, 1e6])
    const left = entries.flatMap((entry) => {
      const { type, users = [] } = entry.startsWith('{') ? JSON.parse(entry) : {}
      return type === 'left' ? users : []
    })
    expect(new Set(left).size).toBe(2500)
    expect(left).toHaveLength(2500)
  })
})

it('a user whom Redis did not get is noted by the next request', async () => {
  const store = testStore()
  const app = start(apps[0]!, { store, logger: false })
  let hasFailed = false
  const run = store.run.bind(store) as (...call: any[]) => any
  Object.assign(store, {
    async run(operation: { name: string }, ...rest: any[]) {
      if (operation.name !== 'presence.beat' || hasFailed) return run(operation, ...rest)
      hasFailed = true
      throw new StoreUnavailable('late', true)
    },
  })
  await app.get('/', { 'x-user': 'ann' })
  await until('the write has failed', () => hasFailed)
  expect(await app.users.isOnline('ann')).toBe(false)
  await app.get('/', { 'x-user': 'ann' })
  await until('the user is online', () => app.users.isOnline('ann'))
})

it('connections keep their user online until they close, or their process ends', async () => {
  const store = testStore()
  const { users } = create({ store }, { ttl: '1m' })
  const other = create({ store }, { ttl: '1m' })
  const [first, second] = [users.connection('ann'), users.connection('ann')]
  other.users.connection('bob')
  await until('both are online', async () => (await users.count()) === 2)
  for (let i = 0; i < 8; i++) await store.advance('20s')
  expect((await users.online()).users).toEqual(['ann', 'bob'])
  first.close()
  first.close()
  for (let i = 0; i < 8; i++) await store.advance('20s')
  expect(await users.isOnline('ann')).toBe(true)
  second.close()
  for (let i = 0; i < 4; i++) await store.advance('20s')
  expect((await users.online()).users).toEqual(['bob'])
})

it('at most one write for a user in a third of the time to live', async () => {
  const store = testStore()
  const app = start(apps[0]!, { store })
  let writes = 0
  const run = store.run.bind(store) as (...call: any[]) => any
  Object.assign(store, {
    run(operation: { name: string }, ...rest: any[]) {
      if (operation.name === 'presence.beat') writes++
      return run(operation, ...rest)
    },
  })
  for (let i = 0; i < 5; i++) await app.get('/', { 'x-user': 'ann' })
  expect(writes).toBe(1)
  await store.advance('101s')
  await app.get('/', { 'x-user': 'ann' })
  expect(writes).toBe(2)
})

describe.each(apps)('$name', (kind) => {
  it('two tenants with the same user: nothing crosses', async () => {
    const tenant = ({ headers }: any): string => headers['x-tenant']
    const app = start(kind, { store: testStore(), tenant })
    await app.get('/', { 'x-user': 'ann', 'x-tenant': 'a' })
    await until('the user is online', () => app.users.isOnline('ann', { tenant: 'a' }))
    expect(await app.users.count({ tenant: 'b' })).toBe(0)
    await expect(app.users.count()).rejects.toMatchObject({ code: 'TP_KEY' })
  })

  it('while Redis is away no request waits or fails', async () => {
    const app = start(kind, { redis: 'redis://127.0.0.1:1', logger: false })
    const reply = await app.get('/', { 'x-user': 'ann' })
    expect([reply.status, reply.text]).toEqual([200, 'ok'])
    await expect(app.users.count()).rejects.toMatchObject({ code: 'TP_UNAVAILABLE' })
  })
})

describe('mistakes', () => {
  it.each([
    ['ttl', { ttl: '1s' }],
    ['ttl', { ttl: '2d' }],
    ['max', { max: 0 }],
    ['user', { user: 'ann' }],
  ])('%s that cannot be used: %j', (option, options) => {
    const tp = turnpike({ store: testStore() })
    onTestFinished(() => tp.close())
    expect(() => presence(channels(tp), options as never)).toThrow(
      expect.objectContaining({ code: 'TP_OPTION', option }),
    )
  })

  it('users that are none', async () => {
    const { users } = create({ store: testStore() })
    for (const user of ['', 'x'.repeat(201), '\ud800', Number.NaN, undefined]) {
      expect(() => users.connection(user as string)).toThrow(
        expect.objectContaining({ code: 'TP_KEY' }),
      )
      await expect(users.isOnline(user as string)).rejects.toMatchObject({ code: 'TP_KEY' })
    }
  })
})
