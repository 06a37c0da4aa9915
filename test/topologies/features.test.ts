/** Every feature does over each kind of installation what it does over one server. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import express from 'express'
import { Cluster, type Redis } from 'ioredis'
import { Cluster as Cluster5, Redis as Redis5 } from 'ioredis5'
import request from 'supertest'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { turnpike, type Turnpike } from '../../src/express.ts'
import { startRedis, storeContract, type RedisServer } from '../../src/testing.ts'
import { EventBus } from '../../src/events.ts'
import { CONTEXT } from '../../src/extension.ts'
import type { RedisSource } from '../../src/store/redis.ts'
import { RedisStore } from '../../src/store/redis-store.ts'
import {
  counters,
  leaderboard,
  list,
  recent,
  suggestions,
  trending,
} from '../../src/collections.ts'
import { config, flags, maintenance } from '../../src/flags.ts'
import { channels, inbox, presence, progress, subscriptions } from '../../src/realtime.ts'
import { apiKeys, oneTimeTokens, refreshTokens } from '../../src/tokens.ts'
import { startCluster, type TestCluster } from '../support/cluster.ts'
import { startSentinel, type TestSentinel } from '../support/sentinel.ts'
import { expectEveryKeyToExpire } from '../support/ttl.ts'
import { until } from '../support/until.ts'

type App = ReturnType<typeof express>
let standalone: RedisServer
let cluster: TestCluster
let sentinel: TestSentinel
/** A node of a Cluster that has all slots. */
let alone: TestCluster
const ends: (() => void)[] = []

beforeAll(async () => {
  ;[standalone, cluster, sentinel, alone] = await Promise.all([
    startRedis(),
    startCluster(),
    startSentinel(),
    startCluster({ masters: 1, replicas: 0 }),
  ])
}, 60_000)
afterAll(async () => {
  for (const end of ends) end()
  const masters = [standalone, ...cluster.nodes.slice(0, 3), sentinel.master, ...alone.nodes]
  for (const server of masters) await expectEveryKeyToExpire(server)
  await Promise.all([standalone.stop(), cluster.stop(), sentinel.stop(), alone.stop()])
})

function keep<Client extends { disconnect(): void }>(client: Client): Client {
  ends.push(() => client.disconnect())
  return client
}

const sources: { name: string; nodes: number; source(): RedisSource; reuse?: boolean }[] = [
  { name: 'one server', nodes: 1, source: () => standalone.url },
  {
    name: 'one server, with a client of ioredis 5',
    nodes: 1,
    source: () => keep(new Redis5(standalone.url)) as unknown as Redis,
  },
  // As a managed service may show it: nothing tells the client, but a script with keys of two slots is refused.
  { name: 'one address for several servers', nodes: 1, source: () => alone.nodes[0]!.url },
  { name: 'Sentinel', nodes: 1, source: () => sentinel.source },
  {
    name: 'Sentinel, with a client of ioredis 5',
    nodes: 1,
    source: () => keep(new Redis5(sentinel.source)) as unknown as Redis,
  },
  { name: 'a Cluster', nodes: 3, source: () => ({ cluster: cluster.startup }) },
  {
    name: 'a Cluster, with a client of ioredis 6 that reads from replicas',
    nodes: 3,
    source: () => keep(new Cluster(cluster.startup, { scaleReads: 'slave' })),
  },
  {
    name: 'a Cluster, with a client of ioredis 5',
    nodes: 3,
    source: () => keep(new Cluster5(cluster.startup)) as unknown as Cluster,
  },
  {
    name: 'a Cluster, with a client that is used itself',
    nodes: 3,
    source: () => keep(new Cluster(cluster.startup)),
    reuse: true,
  },
]

describe.each(sources)('$name', ({ name, nodes, source, reuse = false }) => {
  /** A long timeout, because a loaded machine is slow. */
  const options = { commandTimeout: 5000, requestBudget: 10_000, reuse } as const
  let given: RedisSource
  let prefix = ''
  let count = 0
  beforeAll(() => {
    given = source()
    prefix = `t${sources.findIndex((each) => each.name === name)}`
  })

  let store: RedisStore | undefined
  const isNew = nodes > 1 || name === 'Sentinel'
  // What holds for one server is in test/store/contract.test.ts.
  const suite: (name: string, body: () => void) => unknown = isNew ? describe.concurrent : () => {}
  storeContract(name, {
    describe: suite,
    it,
    async open() {
      store ??= new RedisStore({
        source: given,
        reuse,
        name,
        commandTimeout: 5000,
        maxInFlight: 5000,
        events: new EventBus(''),
      })
      return { store, advance: (ms) => new Promise((resolve) => setTimeout(resolve, ms)) }
    },
  })
  afterAll(() => store?.close())

  /** An instance of its own, whose warnings and errors fail the test. */
  async function connected(own = `${prefix}-${count++}`): Promise<Turnpike<any, any>> {
    const tp = turnpike({ ...options, redis: given, prefix: own })
    const trouble: unknown[] = []
    tp.on('warning', ({ message }) => trouble.push(message))
    tp.on('error', ({ error }) => trouble.push(error))
    onTestFinished(async () => {
      await tp.close()
      expect(trouble.filter((each) => !/reuse: true/.test(String(each)))).toEqual([])
    })
    await tp.ready()
    return tp
  }

  it('limits: three windows in one decision, and what it admits is exact', async () => {
    const tp = await connected()
    const app = express()
    const windows = [
      { name: 'second', limit: 50, window: '1m' },
      { name: 'minute', limit: 60, window: '5m' },
      { name: 'hour', limit: 1000, window: '1h' },
    ] as const
    app.use(tp.rateLimit({ policies: windows, key: (req) => String(req.headers['x-user']) }))
    app.get('/', (_req, res) => void res.send('ok'))
    const statuses = await Promise.all(
      ['ann', 'bob', 'cleo', 'dan'].flatMap((user) =>
        Array.from({ length: 60 }, async () => {
          const { status } = await request(app).get('/').set('x-user', user)
          return `${user} ${status}`
        }),
      ),
    )
    for (const user of ['ann', 'bob', 'cleo', 'dan']) {
      expect(statuses.filter((each) => each === `${user} 200`)).toHaveLength(50)
      expect(statuses.filter((each) => each === `${user} 429`)).toHaveLength(10)
    }
  })

  it('leased limits: units are granted, and a block and a reset by another process apply', async () => {
    const own = `${prefix}-leased`
    const [tp, other] = [await connected(own), await connected(own)]
    for (const algorithm of ['sliding-window', 'fixed-window', 'gcra'] as const) {
      const options = { limit: 100, window: '1m', lease: true, algorithm } as const
      const [leasing, blocking] = [
        tp.limiter(algorithm, options),
        other.limiter(algorithm, options),
      ]
      const sources = new Set<string>()
      for (const subject of ['ann', 'bob', 'cy', 'dan']) {
        for (let i = 0; i < 4; i++) sources.add((await leasing.consume(subject)).source)
        await blocking.block(subject, '1m')
        await until('it is blocked', async () => !(await leasing.consume(subject)).allowed)
        await blocking.reset(subject)
        await until('it is free', async () => (await leasing.consume(subject)).allowed)
      }
      expect(sources).toContain('lease')
    }
  })

  it('limits by two subjects at once, which may be on two nodes', async () => {
    const tp = await connected()
    const app = express()
    const everybody = { name: 'all', limit: 20, window: '1m', key: () => 'everybody' } as const
    const each = { name: 'each', limit: 3, window: '1m' } as const
    const key = (req: express.Request): string => String(req.headers['x-user'])
    app.use(tp.rateLimit({ policies: [everybody, each], key }))
    app.get('/', (_req, res) => void res.send('ok'))
    let admitted = 0
    for (let i = 0; i < 10; i++)
      for (let n = 0; n < 4; n++) {
        const { status } = await request(app).get('/').set('x-user', `user${i}`)
        if (status === 200) admitted++
      }
    expect(admitted).toBe(20)
  })

  it('slows down guessing, and forgets it when asked', async () => {
    const tp = await connected()
    const app = express()
    const guard = tp.loginGuard({ limit: 3, window: '1m', key: (req) => req.body.email })
    app.post('/login', express.json(), guard, (_req, res) => void res.status(401).send('no'))
    const login = async (email: string): Promise<number> =>
      (await request(app).post('/login').send({ email })).status
    for (let i = 0; i < 3; i++) expect(await login('ann@example.org')).toBe(401)
    expect(await login('ann@example.org')).toBe(429)
    expect(await guard.reset('ann@example.org')).toBe(true)
    expect(await login('ann@example.org')).toBe(401)
  })

  it('keeps sessions, lists them, and ends all of a user', async () => {
    const tp = await connected()
    const app = express()
    app.use(tp.session({ secret: 'a secret', cookie: { secure: false }, maxPerUser: 20 }))
    app.get('/in/:user', (req, res, next) => {
      tp.session.login(req, req.params.user).then(() => res.send('in'), next)
    })
    app.get('/me', (req, res) => void res.send(String((req.session as { userId?: string }).userId)))
    const cookieOf = async (user: string): Promise<string> => {
      const { headers } = await request(app).get(`/in/${user}`)
      return headers['set-cookie']![0]!.split(';')[0]!
    }
    const me = async (cookie: string): Promise<string> =>
      (await request(app).get('/me').set('Cookie', cookie)).text
    const anns = await Promise.all(Array.from({ length: 10 }, () => cookieOf('ann')))
    const others = await Promise.all(Array.from({ length: 10 }, (_, i) => cookieOf(`user${i}`)))
    expect(await Promise.all(anns.map(me))).toEqual(anns.map(() => 'ann'))
    expect(await Promise.all(others.map(me))).toEqual(others.map((_, i) => `user${i}`))
    expect(await tp.sessions.count('ann')).toBe(10)
    expect(await tp.sessions.list('ann')).toHaveLength(10)
    expect(await tp.sessions.revokeAll('ann')).toBe(10)
    expect(new Set(await Promise.all(anns.map(me)))).toEqual(new Set(['undefined']))
    expect(await Promise.all(others.map(me))).toEqual(others.map((_, i) => `user${i}`))
  })

  it('reads sessions near, and hears of a session that another process has ended', async () => {
    const own = `${prefix}-near-sessions`
    const [tp, other] = [await connected(own), await connected(own)] as const
    const options = { secret: 'a secret', cookie: { secure: false }, near: '1m' } as const
    const near = (each: typeof tp): number => {
      const [loads] = each[CONTEXT]('session').events.counts.rows('sessionLoad')
      return loads!.values[loads!.outcomes.indexOf('near')]!
    }
    const [here, elsewhere] = [tp, other].map((each) => {
      const app = express().use(each.session(options))
      app.get('/in/:user', (req, res, next) => {
        each.session.login(req, req.params.user).then(() => res.send('in'), next)
      })
      app.get('/me', (req, res) => {
        res.send(String((req.session as { userId?: string }).userId))
      })
      return app
    }) as [App, App]
    // Sessions of these users are in all hash slots.
    for (let i = 0; i < 5; i++) {
      const { headers } = await request(elsewhere).get(`/in/ann${i}`)
      const cookie = headers['set-cookie']![0]!.split(';')[0]!
      const me = async (): Promise<string> =>
        (await request(here).get('/me').set('Cookie', cookie)).text
      const before = near(tp)
      await until('a near read', async () => (await me()) === `ann${i}` && near(tp) > before)
      const [session] = await other.sessions.list(`ann${i}`)
      if (i % 2 === 0) await other.sessions.revokeAll(`ann${i}`)
      else await other.sessions.revoke(session!.handle)
      await until('the revocation arrives', async () => (await me()) === 'undefined')
    }
  })

  /** An application that caches products; `made` counts how often the origin was asked. */
  function shop(tp: Turnpike<any, any>, near: boolean): { app: App; made: Map<string, number> } {
    const made = new Map<string, number>()
    const app = express()
    app.get(
      '/products/:id',
      tp.cache({ ttl: '5m', near, tags: (req) => ['products', `product:${req.params.id}`] }),
      (req, res) => {
        const { id } = req.params
        const count = (made.get(id) ?? 0) + 1
        made.set(id, count)
        setTimeout(() => res.json({ id, count }), 20)
      },
    )
    app.put(
      '/products/:id',
      tp.invalidate({ tags: (req) => [`product:${req.params.id}`] }),
      (_req, res) => void res.send('saved'),
    )
    return { app, made }
  }
  const ids = Array.from({ length: 12 }, (_, i) => String(i))

  it('caches, one origin call for many, and invalidates by tag, URL and pattern on every node', async () => {
    const tp = await connected()
    const { app, made } = shop(tp, false)
    const server = app.listen(0)
    onTestFinished(() => void server.close())
    const counts = async (): Promise<number[]> =>
      await Promise.all(
        ids.map(async (id) => (await request(server).get(`/products/${id}`)).body.count),
      )
    await Promise.all(Array.from({ length: 5 }, counts))
    expect([...made.values()]).toEqual(ids.map(() => 1))
    await until('all are stored', () => tp.cache.stats().stored === ids.length)
    expect((await request(server).get('/products/1')).headers['cache-status']).toContain('hit')

    await request(server).put('/products/1')
    expect(await counts()).toEqual(ids.map((id) => (id === '1' ? 2 : 1)))
    await tp.cache.purge('/products/2')
    expect((await counts())[2]).toBe(2)
    expect(await tp.cache.invalidatePattern('/products/*', { dryRun: true })).toBe(ids.length)
    expect(await tp.cache.invalidatePattern('/products/*')).toBe(ids.length)
    expect(await counts()).toEqual(ids.map((id) => (id === '1' || id === '2' ? 3 : 2)))
    await tp.cache.invalidate({ tags: ['products'] })
    expect(await counts()).toEqual(ids.map((id) => (id === '1' || id === '2' ? 4 : 3)))
    await tp.cache.clear()
    expect(await counts()).toEqual(ids.map((id) => (id === '1' || id === '2' ? 5 : 4)))
  })

  it('keeps hot entries near, and receives the invalidations of another process', async () => {
    const own = `${prefix}-near`
    const [tp, other] = [await connected(own), await connected(own)]
    const { app } = shop(tp, true)
    const server = app.listen(0)
    onTestFinished(() => void server.close())
    const get = async (id: string): Promise<number> =>
      (await request(server).get(`/products/${id}`)).body.count
    await until('entries are near', async () => {
      await Promise.all(ids.map(get))
      return tp.cache.stats().near >= ids.length
    })
    await other.cache.invalidate({ tags: ['product:3'] })
    await until('it is filled again', async () => (await get('3')) === 2)
    expect(await get('4')).toBe(1)
  })

  it('keeps plain values over all slots', async () => {
    const tp = await connected()
    const values = Object.fromEntries(ids.map((id) => [`user:${id}`, { id }]))
    await tp.data.setMany(values, { tags: ['users'] })
    expect(await tp.data.getMany(Object.keys(values))).toEqual(Object.values(values))
    expect((await tp.data.keys('user:*')).toSorted()).toEqual(Object.keys(values).toSorted())
    expect(await tp.data.invalidatePattern('user:1*')).toBe(3)
    expect(await tp.data.getMany(['user:1', 'user:2', 'user:11'])).toEqual([
      undefined,
      { id: '2' },
      undefined,
    ])
    await tp.data.invalidate({ tags: ['users'] })
    expect(await tp.data.get('user:2')).toBeUndefined()
    let loads = 0
    const load = (): number => ++loads
    expect(
      await Promise.all(ids.map(() => tp.data.getOrFetch('loaded', load, { ttl: '1m' }))),
    ).toEqual(ids.map(() => 1))
    expect(await Promise.all(ids.map(() => tp.data.increment('counter')))).toHaveLength(12)
    expect(await tp.data.get('counter')).toBe(12)
  })

  it('gives a repeated request its first answer', async () => {
    const tp = await connected()
    const app = express()
    let orders = 0
    app.post('/orders', tp.idempotency({ wait: '5s', scope: () => 'ann' }), (_req, res) => {
      const order = ++orders
      setTimeout(() => res.status(201).json({ order }), 20)
    })
    const server = app.listen(0)
    onTestFinished(() => void server.close())
    const answers = await Promise.all(
      ids.flatMap((id) =>
        Array.from({ length: 4 }, async () => {
          const { status, body } = await request(server).post('/orders').set('Idempotency-Key', id)
          return { id, status, order: body.order }
        }),
      ),
    )
    expect(orders).toBe(ids.length)
    for (const id of ids) {
      const own = answers.filter((answer) => answer.id === id)
      expect(new Set(own.map(({ order }) => order)).size).toBe(1)
      expect(new Set(own.map(({ status }) => status))).toEqual(new Set([201]))
    }
  })

  it('locks: one holder at a time, woken when it is given back', async () => {
    const own = `${prefix}-locks`
    const both = [await connected(own), await connected(own)]
    const inside = new Map<string, number>()
    let most = 0
    let runs = 0
    const work = (tp: Turnpike<any, any>, name: string, fair: boolean): Promise<unknown> =>
      tp.lock(name, { wait: '10s', fair }, async () => {
        inside.set(name, (inside.get(name) ?? 0) + 1)
        most = Math.max(most, inside.get(name)!)
        await new Promise((resolve) => setTimeout(resolve, 5))
        inside.set(name, inside.get(name)! - 1)
        runs++
      })
    await Promise.all(
      both.flatMap((tp) =>
        ['a', 'b', 'c', 'd'].flatMap((name) => [
          work(tp, name, false),
          work(tp, name, false),
          work(tp, `fair-${name}`, true),
          work(tp, `fair-${name}`, true),
        ]),
      ),
    )
    expect({ most, runs }).toEqual({ most: 1, runs: 32 })
    await both[0]!.lock.all(['a', 'b', 'c', 'd'], { wait: '1s' }, async () => {
      await expect(both[1]!.lock('c', {}, () => 1)).rejects.toMatchObject({ code: 'TP_LOCKED' })
    })
    expect(await both[1]!.once('nightly', '1m', () => 1)).toEqual({ ran: true, value: 1 })
    expect(await both[0]!.once('nightly', '1m', () => 2)).toEqual({ ran: false })
  })

  it('semaphores: never more than the limit inside', async () => {
    const tp = await connected()
    let [inside, most] = [0, 0]
    const videos = tp.semaphore('videos', { limit: 3 })
    await Promise.all(
      Array.from({ length: 12 }, () =>
        videos.using({ wait: '10s' }, async () => {
          most = Math.max(most, ++inside)
          await until('the limit is reached', () => most >= 3)
          inside--
        }),
      ),
    )
    expect(most).toBe(3)
  })

  it('tokens: codes are right once, families end whole, a revoked key is refused elsewhere', async () => {
    const own = `${prefix}-tokens`
    const [tp, other] = [await connected(own), await connected(own)]
    const codes = [tp, other].map((each) =>
      oneTimeTokens(each, { purpose: 'verify', format: 'letters:32', cooldown: 0 }),
    )
    const address = '192.0.2.1'
    for (const id of ids) {
      const { code } = await codes[0]!.issue(id, { address })
      const uses = [0, 1, 0, 1].map((at) => codes[at]!.consume(id, code, { address }))
      const settled = await Promise.allSettled(uses)
      expect(settled.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    }

    const [refresh, elsewhere] = [tp, other].map((each) => refreshTokens(each))
    for (const id of ids) {
      const { token } = await refresh!.issue(id)
      const next = await Promise.all([refresh!.rotate(token), elsewhere!.rotate(token)])
      expect(next[0].token).toBe(next[1].token)
      await refresh!.issue(id)
      expect(await refresh!.list(id)).toHaveLength(2)
      expect(await elsewhere!.revokeUser(id)).toBe(2)
      await expect(refresh!.rotate(next[0].token)).rejects.toMatchObject({
        code: 'TP_TOKEN_INVALID',
      })
    }

    const keys = [tp, other].map((each) =>
      apiKeys(each, { lookup: () => ({ user: 'ann' }), checksum: false, near: '1m' }),
    )
    const app = express().use(keys[0])
    app.get('/', (_req, res) => void res.send('ok'))
    const status = async (): Promise<number> =>
      (await request(app).get('/').set('x-api-key', 'k')).status
    expect(await status()).toBe(200)
    await keys[1]!.revoke(keys[1]!.digest('k'))
    await until('the revocation arrives', async () => (await status()) === 401)
  })

  it('collections: counted, ranked, completed and capped on every node', async () => {
    const own = `${prefix}-collections`
    const [tp, other] = [await connected(own), await connected(own)]
    const [stats, elsewhere] = [tp, other].map((each) => counters(each, 'campaign'))
    for (const id of ids) for (let i = 0; i < 10; i++) stats!.add(id, { clicks: 1 })
    await stats!.flush()
    for (const id of ids) expect(await elsewhere!.get(id)).toEqual({ clicks: 10 })

    for (const id of ids) {
      const board = leaderboard(tp, `board-${id}`, { max: 2 })
      for (const user of ['ann', 'bob', 'cat']) await board.add(user, user === 'bob' ? 2 : 1)
      expect((await board.around('bob', 5)).map((each) => each.id)).toEqual(['bob', 'ann'])
      const tags = trending(tp, `tags-${id}`, { max: 1 })
      await tags.hit('tea')
      await tags.hit('coffee', { weight: 2 })
      expect(await tags.top(5)).toMatchObject([{ id: 'coffee' }])
      const words = suggestions(tp, `words-${id}`, { max: 1 })
      await words.add('Tea')
      await words.add('Té')
      expect(await words.complete('te', 5)).toEqual(['Té'])
      const [searches, chat] = [recent(tp, 'searches'), list(tp, 'chat', { max: 2 })]
      await Promise.all(ids.map((query) => searches.push(id, query)))
      await Promise.all(ids.map((message) => chat.append(id, message)))
      expect(await searches.list(id)).toHaveLength(10)
      expect(await chat.last(id, 2)).toHaveLength(2)
    }
  })

  it('realtime: published, followed and continued on every node', async () => {
    const own = `${prefix}-realtime`
    const [live, elsewhere] = [channels(await connected(own)), channels(await connected(own))]
    const subscriptions = ids.map((id) => elsewhere.subscribe<number>(`topic-${id}`))
    await Promise.all(subscriptions.map(({ ready }) => ready))
    const first = await Promise.all(ids.map((id) => live.publish(`topic-${id}`, 1)))
    await Promise.all(ids.map((id) => live.publish(`topic-${id}`, 2)))
    for (const [i, subscription] of subscriptions.entries()) {
      expect((await subscription.next()).value).toMatchObject({ data: 1, gap: false })
      expect((await subscription.next()).value).toMatchObject({ data: 2, gap: false })
      const resumed = live.subscribe(`topic-${ids[i]}`, { after: first[i]! })
      expect((await resumed.next()).value).toMatchObject({ data: 2, gap: false })
    }
  })

  it('realtime: inboxes, presence, progress and subscriptions, changed and read on every node', async () => {
    const own = `${prefix}-users`
    const [tp, other] = [await connected(own), await connected(own)]
    const [live, elsewhere] = [channels(tp), channels(other)]
    const [mails, there] = [inbox(live), inbox(elsewhere)]
    const [tasks, seen] = [progress(live), progress(elsewhere)]
    const [followed, listed] = [subscriptions(tp), subscriptions(other)]
    await mails.announce('hello', { id: 'hello' })
    for (const id of ids) {
      const changes = elsewhere.subscribe(there.topicOf(id))
      await changes.ready
      await mails.push(id, 'first', { id: 'm1' })
      await mails.push(id, 'second', { id: 'm2' })
      await there.read(id, 'm1')
      await there.readAnnouncements(id)
      expect(await mails.unread(id)).toEqual({ messages: 1, announcements: 0 })
      expect(await there.delete(id, 'm1')).toBe(1)
      expect((await mails.page(id)).messages).toMatchObject([{ id: 'm2', read: false }])
      expect((await changes.next()).value?.data).toMatchObject({ type: 'push', unread: 1 })

      const task = tasks.of(id, { total: 2 })
      await task.start()
      await task.step('half')
      expect(await seen.of(id).get()).toMatchObject({ percent: 50, step: 'half' })
      await followed.add(id, ['a', 'b'])
      await followed.remove(id, 'a')
      expect(await listed.list(id)).toEqual(['b'])
    }
    const [users, online] = [presence(live), presence(elsewhere)]
    const joined = elsewhere.subscribe(online.topic)
    await joined.ready
    const connections = ids.map((id) => users.connection(id))
    await until('all are online', async () => (await online.count()) === ids.length)
    expect((await online.online({ limit: ids.length })).users).toEqual(ids.toSorted())
    expect((await joined.next()).value?.data).toMatchObject({ type: 'joined' })
    for (const connection of connections) connection.close()
  })

  it('flags, maintenance and configuration: changed in every process', async () => {
    const own = `${prefix}-flags`
    const [tp, other] = [await connected(own), await connected(own)]
    for (const id of ids) {
      // Each name has a slot of its own.
      const options = { name: `f${id}`, defaults: { on: false } }
      const [feature, elsewhere] = [flags(tp, options), flags(other, options)]
      await Promise.all([feature.set('on', { users: ['ann'] }), elsewhere.set('on', true)])
      await Promise.all([feature.refresh(), elsewhere.refresh()])
      await feature.set('on', { users: [id] })
      await until('the change arrives', () => elsewhere.enabled('on', { user: id }))
      expect(await elsewhere.audit()).toHaveLength(3)
    }
    const [closed, there] = [maintenance(tp), maintenance(other)]
    await closed.on()
    await until('the other process is switched', () => there.status().on)
    let version = 1
    const [settings, remote] = [tp, other].map((each) =>
      config(each, 'system', { load: () => version }),
    )
    await Promise.all([settings!.get(), remote!.get()])
    version = 2
    await settings!.reload()
    await until('the other process has loaded it', () => remote!.current === 2)
  })

  it('notifies other processes of resets, and reports its health', async () => {
    const own = `${prefix}-health`
    const [tp, other] = [await connected(own), await connected(own)]
    const limit = { limit: 1, window: '1m' } as const
    const denying = tp.limiter('deny', { ...limit, denyCache: true })
    const resetting = other.limiter('deny', limit)
    for (let i = 0; i < 2; i++) await denying.consume('ann')
    expect((await denying.consume('ann')).source).toBe('deny-cache')
    await until('a reset arrives', async () => {
      await resetting.reset('ann')
      return (await denying.consume('ann')).source === 'store'
    })
    const app = express()
    app.use('/health', tp.health())
    const server = app.listen(0)
    onTestFinished(() => void server.close())
    await once(server, 'listening').catch(() => {})
    const { port } = server.address() as AddressInfo
    const health = await fetch(`http://127.0.0.1:${port}/health`)
    expect(await health.json()).toMatchObject({ status: 'healthy', connected: true })
    expect(tp.status()).toMatchObject({
      status: 'ok',
      breaker: 'closed',
      topology: nodes === 3 ? 'cluster' : name.startsWith('Sentinel') ? 'sentinel' : 'standalone',
    })
  })
})
