/**
 * What was reported as failed never takes effect later. A frozen server keeps commands in its
 * sockets, also of connections that were given up, and runs them when it goes on.
 */
import express from 'express'
import { Cluster, Redis } from 'ioredis'
import request from 'supertest'
import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  it,
  onTestFinished,
} from 'vitest'
import { turnpike } from '../../src/express.ts'
import { RequestBudget } from '../../src/request-budget.ts'
import { operation } from '../../src/store/store.ts'
import { startRedis, type RedisServer } from '../../src/testing.ts'
import { startCluster } from '../support/cluster.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { openStore } from '../support/stores.ts'
import { until } from '../support/until.ts'

let server: RedisServer

beforeAll(async () => {
  server = await startRedis()
})
beforeEach(async () => {
  await server.send('FLUSHALL')
})
afterEach(() => server.thaw())
afterAll(() => server.stop())

const append = operation<number>({
  name: 'append',
  lua: `local n = redis.call('INCR', KEYS[1]) redis.call('PEXPIRE', KEYS[1], 60000) return n`,
  memory: () => 0,
})

/** Everything in the database, and what remains of each time to live to the nearest 10 s. */
async function snapshot(): Promise<Record<string, string>> {
  const client = new Redis(server.url)
  const keys = (await client.keys('*')).toSorted()
  const values = await Promise.all(
    keys.map(async (key) => {
      const [dump, ttl] = await Promise.all([client.dumpBuffer(key), client.pttl(key)])
      return [key, `${dump.toString('base64')} ${Math.round(ttl / 10_000)}`] as const
    }),
  )
  client.disconnect()
  return Object.fromEntries(values)
}

/** Resolves when the server has replied to everything that it had received before. */
async function drained(): Promise<void> {
  server.thaw()
  await until('the server has read all it was sent', async () => {
    const clients = await server.send('CLIENT', 'LIST')
    return !/ qbuf=[1-9]\d* .*cmd=(?!client)/.test(clients)
  })
  await server.send('PING')
}

describe('a script whose caller timed out', () => {
  async function opened(options: Partial<Parameters<typeof openStore>[0]> = {}) {
    const open = openStore({ source: server.url, ...options })
    await open.store.ready()
    await open.store.run(append, ['k'], [])
    return open
  }

  it('does not run later', async () => {
    const { store } = await opened()
    server.freeze()
    await expect(store.run(append, ['k'], [])).rejects.toMatchObject({ reason: 'timeout' })
    await drained()
    expect(await server.send('GET', 'k')).toContain('1')
    expect(await store.run(append, ['k'], [])).toBe(2)
  })

  it("does not run later if the request's budget ended before commandTimeout", async () => {
    const { store } = await opened({ commandTimeout: 5000 })
    server.freeze()
    const call = store.run(append, ['k'], [], new RequestBudget(100))
    await expect(call).rejects.toMatchObject({ reason: 'timeout' })
    await drained()
    expect(await server.send('GET', 'k')).toContain('1')
  })

  it('does not run later by EVAL, if the server did not know it', async () => {
    const { store } = await opened()
    await server.send('SCRIPT', 'FLUSH')
    server.freeze()
    await expect(store.run(append, ['k'], [])).rejects.toMatchObject({ reason: 'timeout' })
    await drained()
    expect(await server.send('GET', 'k')).toContain('1')
  })

  it('does not run later if its connection was replaced meanwhile', async () => {
    const { store, events } = await opened()
    server.freeze()
    await until('the connection is replaced', async () => {
      await expect(store.run(append, ['k'], [])).rejects.toMatchObject({ code: 'TP_UNAVAILABLE' })
      return events.replaced.length > 0
    })
    await drained()
    expect(await server.send('GET', 'k')).toContain('1')
  })

  it('does not run later if the caller used a client of its own', async () => {
    const client = new Redis(server.url)
    onTestFinished(() => client.disconnect())
    const { store } = await opened({ source: client, reuse: true })
    server.freeze()
    await expect(store.run(append, ['k'], [])).rejects.toMatchObject({ reason: 'timeout' })
    await drained()
    expect(await server.send('GET', 'k')).toContain('1')
  })

  it('does not run later on a node of a Cluster', async () => {
    await using cluster = await startCluster({ replicas: 0 })
    const { store } = openStore({ source: new Cluster(cluster.startup, { lazyConnect: true }) })
    await store.ready()
    await until('it runs', () => store.run(append, ['k'], []).catch(() => undefined))
    const before = await store.run(append, ['k'], [])
    for (const node of cluster.nodes) node.freeze()
    await expect(store.run(append, ['k'], [])).rejects.toMatchObject({ code: 'TP_UNAVAILABLE' })
    for (const node of cluster.nodes) node.thaw()
    await until('all is well', () => store.status().status === 'ok')
    expect(await store.run(append, ['k'], [])).toBe(before + 1)
  })
})

describe("Redis's clock", () => {
  it('may be set forward. The next call measures it again and runs once', async () => {
    const proxy = await startFaultProxy(server.port)
    onTestFinished(() => proxy.close())
    let behind = 3600
    // As long as the first replies to TIME are an hour behind, the clock seems to jump afterwards.
    proxy.set({
      rewrite: (piece) =>
        Buffer.from(
          piece.toString('latin1').replace(/^\*2\r\n\$10\r\n(\d{10})/, (_, seconds: string) => {
            return `*2\r\n$10\r\n${Number(seconds) - behind}`
          }),
          'latin1',
        ),
    })
    const { store, events } = openStore({ source: proxy.url })
    await store.ready()
    await until('it was measured', () => Math.abs(store.now() - Date.now()) > 3_000_000)
    behind = 0
    expect(await store.run(append, ['k'], [])).toBe(1)
    expect(await store.run(append, ['k'], [])).toBe(2)
    expect(Math.abs(store.now() - Date.now())).toBeLessThan(1000)
    expect(events.breaker).toEqual([])
  })
})

describe('an operation that the API reported as failed', () => {
  const tp = () => {
    const made = turnpike({ redis: server.url })
    onTestFinished(() => made.close())
    return made
  }
  const limit = { limit: 10, window: '1h' } as const

  const WRITES: Record<string, (instance: ReturnType<typeof tp>) => Promise<unknown>> = {
    'overrides.set': (tp) => tp.overrides.set('ann', { api: 3 }, { ttl: '1h' }),
    'overrides.delete': (tp) => tp.overrides.delete('bob'),
    'limiter.consume': async (tp) => {
      const { allowed } = await tp.limiter('api', { ...limit, fail: 'closed' }).consume('ann')
      if (!allowed) throw new Error('refused')
    },
    'limiter.block': (tp) => tp.limiter('api', limit).block('ann', '1h'),
    'limiter.reset': (tp) => tp.limiter('api', limit).reset('bob'),
    'limiter.refund': (tp) => tp.limiter('api', limit).refund('bob', 1),
    'data.set': (tp) => tp.data.set('new', 1, { ttl: '1h' }),
    'data.delete': (tp) => tp.data.delete('old'),
    'data.expire': (tp) => tp.data.expire('old', '10m'),
    'data.increment': (tp) => tp.data.increment('count', 1, { ttl: '1h' }),
    lock: (tp) => tp.lock('job', { lease: '30s' }, () => {}),
    once: (tp) => tp.once('daily', '1h', () => {}),
    'semaphore.using': (tp) => tp.semaphore('pool', { limit: 2, lease: '30s' }).using(() => {}),
  }

  it.each(Object.keys(WRITES))('%s has no effect when Redis goes on', async (name) => {
    const instance = tp()
    await instance.ready()
    await instance.overrides.set('bob', { api: 5 })
    await instance.limiter('api', limit).consume('bob')
    await instance.data.set('old', 1, { ttl: '1h' })
    // Once before, so that all scripts are known and all connections open.
    const other = turnpike({ redis: server.url, prefix: 'other' })
    onTestFinished(() => other.close())
    await other.ready()
    await WRITES[name]!(other)
    const before = await snapshot()
    server.freeze()
    await expect(WRITES[name]!(instance)).rejects.toThrow()
    await drained()
    expect(await snapshot()).toEqual(before)
  })

  it('a destroyed or changed session has no effect when Redis goes on', async () => {
    const instance = tp()
    await instance.ready()
    const app = express()
    app.use(instance.session({ secret: 'a secret that is long enough 123' }))
    app.get('/start', (req, res) => {
      Object.assign(req.session, { user: 'ann' })
      res.send('started')
    })
    app.get('/change', (req, res) => {
      Object.assign(req.session, { cart: 1 })
      server.freeze()
      res.send('changed')
    })
    app.get('/destroy', (req, res, next) => {
      server.freeze()
      req.session.destroy((error: unknown) => (error ? next(error) : res.send('destroyed')))
    })
    app.use((_error: unknown, _req: any, res: any, _next: any) => res.status(503).end())
    const agent = request.agent(app)
    await agent.get('/start').expect(200)
    const before = await snapshot()
    for (const path of ['/change', '/destroy']) {
      await agent.get(path).expect(503)
      await drained()
      expect(await snapshot()).toEqual(before)
      await until('all is well', () => instance.status().status === 'ok')
    }
  })
})
