/** What docs/migrate/connect-redis.md says, with connect-redis 8 and 9 themselves. */
import { RedisStore as RedisStore8 } from 'connect-redis'
import { RedisStore as RedisStore9 } from 'connect-redis9'
import express, { type RequestHandler } from 'express'
import session, { type SessionData } from 'express-session'
import { Cluster, Redis } from 'ioredis'
import { Redis as Redis5 } from 'ioredis5'
import request, { type Response } from 'supertest'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { turnpike } from '../../src/express.ts'
import { asNodeRedis } from '../../src/index.ts'
import { startRedis, type RedisServer } from '../../src/testing.ts'
import { until } from '../support/until.ts'

const SECRET = 'one secret for both'
let server: RedisServer
let client: Redis
let cluster: { server: RedisServer; client: Cluster }

beforeAll(async () => {
  server = await startRedis()
  client = new Redis(server.url)
  const one = await startRedis({
    args: ['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1'],
  })
  await one.send('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
  await until('the cluster is up', async () =>
    (await one.send('CLUSTER', 'INFO')).includes('cluster_state:ok'),
  )
  cluster = { server: one, client: new Cluster([{ host: one.host, port: one.port }]) }
})
beforeEach(() => client.flushall())
afterAll(async () => {
  client?.disconnect()
  cluster?.client.disconnect()
  await Promise.all([server?.stop(), cluster?.server.stop()])
})

const stores = [
  ['8', () => new RedisStore8({ client })],
  ['9', () => new RedisStore9({ client: asNodeRedis(client) as never })],
] as const

/** An application that is logged in by /login. */
function appOver(middleware: RequestHandler) {
  const app = express().use(middleware)
  app.get('/login', (req, res) => {
    Object.assign(req.session, { userId: 7, cart: ['a', 'ä'] })
    res.json({})
  })
  app.get('/add', (req, res) => {
    const data = req.session as unknown as { count?: number }
    data.count = (data.count ?? 0) + 1
    res.json({})
  })
  app.get('/logout', (req, res, next) => {
    req.session.destroy((error) => (error ? next(error) : res.json({})))
  })
  app.get('/me', (req, res) => {
    res.json({ ...(req.session as object), cookie: undefined })
  })
  let cookie = ''
  return {
    async get(path: string): Promise<Response> {
      const response = await request(app)
        .get(path)
        .set(cookie ? { Cookie: cookie } : {})
      const sent = (response.headers['set-cookie'] as unknown as string[] | undefined)?.[0]
      if (sent !== undefined) cookie = sent.split(';')[0]!
      return response
    },
    takeOver(other: { cookie: string }) {
      cookie = other.cookie
    },
    get cookie() {
      return cookie
    },
  }
}

const before = (store: session.Store) =>
  appOver(session({ secret: SECRET, resave: false, saveUninitialized: false, store }))

function after(options: object = {}) {
  const tp = turnpike({ redis: server.url })
  onTestFinished(() => tp.close())
  return appOver(
    tp.session({
      secret: SECRET,
      name: 'connect.sid',
      cookie: { secure: false },
      legacyPrefix: 'sess:',
      ...options,
    }),
  )
}

describe.each(stores)('from express-session with connect-redis %s', (_version, store) => {
  test('no user is logged out: its sessions are read, and keep their format', async () => {
    const old = before(store())
    await old.get('/login')
    const now = after()
    now.takeOver(old)
    expect((await now.get('/me')).body).toEqual({ userId: 7, cart: ['a', 'ä'] })
    await now.get('/add')
    expect(await client.keys('*')).toHaveLength(1)
    expect((await old.get('/me')).body).toEqual({ userId: 7, cart: ['a', 'ä'], count: 1 })
  })

  test('rewrite: true stores them in the new form, under a cookie of the new form', async () => {
    const old = before(store())
    await old.get('/login')
    const now = after({ rewrite: true })
    now.takeOver(old)
    expect((await now.get('/me')).body).toEqual({ userId: 7, cart: ['a', 'ä'] })
    expect(await client.keys('sess:*')).toEqual([])
    expect(await client.keys('tp:session:*')).toHaveLength(1)
    expect(now.cookie).not.toBe(old.cookie)
    const later = after({ legacyPrefix: undefined })
    later.takeOver(now)
    expect((await later.get('/me')).body).toEqual({ userId: 7, cart: ['a', 'ä'] })
  })

  test('two requests that rewrite one session at once lose nothing; a logout meanwhile stands', async () => {
    const old = before(store())
    await old.get('/login')
    const now = after({ rewrite: true })
    now.takeOver(old)
    await Promise.all([now.get('/add'), now.get('/add')])
    expect((await now.get('/me')).body).toMatchObject({ userId: 7 })
    expect((await now.get('/me')).body.count).toBeGreaterThanOrEqual(1)
    await now.get('/logout')
    expect((await now.get('/me')).body).toEqual({})
    expect(await client.keys('*')).toEqual([])
  })

  test('a session that was not rewritten can be destroyed', async () => {
    const old = before(store())
    await old.get('/login')
    const now = after()
    now.takeOver(old)
    await now.get('/logout')
    expect(await client.keys('*')).toEqual([])
    expect((await old.get('/me')).body).toEqual({})
  })

  test("format: 'connect-redis': both run side by side over the same values", async () => {
    const old = before(store())
    const now = after({ format: 'connect-redis' })
    await now.get('/login')
    old.takeOver(now)
    for (let i = 0; i < 3; i++) {
      await old.get('/add')
      await now.get('/add')
    }
    expect((await old.get('/me')).body).toEqual({ userId: 7, cart: ['a', 'ä'], count: 6 })
    expect((await now.get('/me')).body).toEqual({ userId: 7, cart: ['a', 'ä'], count: 6 })
    expect(await client.keys('*')).toHaveLength(1)
    await old.get('/logout')
    expect((await now.get('/me')).body).toEqual({})
  })

  test("format: 'connect-redis': the same bytes", async () => {
    const options = {
      cookie: { secure: false, path: '/', httpOnly: true, sameSite: 'lax' as const },
    }
    await appOver(
      session({
        secret: SECRET,
        resave: false,
        saveUninitialized: false,
        store: store(),
        ...options,
      }),
    ).get('/login')
    const [theirs] = await client.keys('sess:*')
    const expected = await client.get(theirs!)
    await client.flushall()
    await after({ format: 'connect-redis', ...options }).get('/login')
    const [ours] = await client.keys('sess:*')
    expect(await client.get(ours!)).toBe(expected)
    expect(await client.pttl(ours!)).toBeGreaterThan(86_390_000)
  })

  test("format: 'connect-redis': two requests of ours at once lose nothing", async () => {
    const now = after({
      format: 'connect-redis',
      onConflict: (_base: never, mine: { count: number }, theirs: object) => ({
        ...theirs,
        count: mine.count + 1,
      }),
    })
    await now.get('/login')
    await Promise.all([now.get('/add'), now.get('/add')])
    expect((await now.get('/me')).body.count).toBe(2)
  })
})

describe('asNodeRedis', () => {
  const clients = [
    ['ioredis 6', () => client],
    ['ioredis 5', () => new Redis5(server.url) as unknown as Redis],
    ['ioredis 6 with a keyPrefix', () => new Redis(server.url, { keyPrefix: 'app:' })],
    ['a Cluster', () => cluster.client as unknown as Redis],
  ] as const
  const versions = [
    ['9', (io: Redis) => new RedisStore9({ client: asNodeRedis(io) as never })],
    ['8', (io: Redis) => new RedisStore8({ client: asNodeRedis(io, { scan: 'keys' }) as never })],
  ] as const

  describe.each(clients)('%s', (_client, open) => {
    test.each(versions)('connect-redis %s: every method', async (_version, make) => {
      const io = open()
      if (io !== client && (io as unknown) !== cluster.client) onTestFinished(() => io.disconnect())
      const store = make(io)
      await store.clear()
      const value = { cookie: { originalMaxAge: null }, a: 1 } as unknown as SessionData
      for (let i = 0; i < 250; i++) await store.set(`id${i}`, value)
      expect(await store.get('id7')).toEqual(value)
      await store.touch('id7', value)
      expect(await store.length()).toBe(250)
      expect(((await store.ids()) as string[]).toSorted().slice(0, 2)).toEqual(['id0', 'id1'])
      expect(await store.all()).toHaveLength(250)
      await store.destroy('id7')
      expect(await store.get('id7')).toBeNull()
      await store.clear()
      expect(await store.length()).toBe(0)
    })
  })

  test('times to live and conditions, in the words of node-redis', async () => {
    const node = asNodeRedis(client)
    await node.set('a', '1', { expiration: { type: 'PX', value: 5000 } })
    await node.set('a', '2', { expiration: 'KEEPTTL' })
    expect(await client.pttl('a')).toBeGreaterThan(4000)
    expect(await node.set('a', '3', { condition: 'NX' })).toBeNull()
    await node.set('b', '1', { EX: 9 })
    expect(await client.ttl('b')).toBe(9)
    expect(await node.mGet(['a', 'none', 'b'])).toEqual(['2', null, '1'])
    expect(await node.del(['a', 'b', 'none'])).toBe(2)
  })
})

test('tp.session() on a Cluster: login, list, revokeAll stay within their slots', async () => {
  const tp = turnpike({ redis: cluster.client })
  onTestFinished(() => tp.close())
  await tp.ready()
  const app = express().use(
    tp.session({ secret: SECRET, cookie: { secure: false }, maxPerUser: 2 }),
  )
  app.get('/login', (req, res, next) => {
    tp.session.login(req, 'ada').then(() => res.json({ id: req.sessionID }), next)
  })
  for (let i = 0; i < 4; i++) expect((await request(app).get('/login')).status).toBe(200)
  expect(await tp.sessions.list('ada')).toHaveLength(2)
  expect(await tp.sessions.revokeAll('ada')).toBe(2)
  expect(await tp.sessions.count('ada')).toBe(0)
})
