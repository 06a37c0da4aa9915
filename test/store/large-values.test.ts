/** Large values travel beside small ones: they delay no reply and are not mistaken for an outage. */
import { Cluster, Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { RequestBudget } from '../../src/request-budget.ts'
import { LARGE_VALUE, operation } from '../../src/store/store.ts'
import { startRedis, type RedisServer } from '../../src/testing.ts'
import { startCluster } from '../support/cluster.ts'
import { startFaultProxy, type FaultProxy } from '../support/fault-proxy.ts'
import { openStore, type OpenedStore } from '../support/stores.ts'
import { expectEveryKeyToExpire } from '../support/ttl.ts'
import { timed, until } from '../support/until.ts'

let server: RedisServer

beforeAll(async () => {
  server = await startRedis()
})
afterEach(async () => {
  server.thaw()
  await expectEveryKeyToExpire(server)
  await server.send('FLUSHALL')
})
afterAll(() => server.stop())

const memory = (): never => {
  throw new Error('only for Redis')
}
const set = operation<number>({
  name: 'set',
  lua: `redis.call('SET', KEYS[1], ARGV[1], 'PX', 60000) return #ARGV[1]`,
  memory,
})
const length = operation<number>({
  name: 'length',
  lua: `return redis.call('STRLEN', KEYS[1])`,
  memory,
})
const getLarge = operation<Buffer | null>({
  name: 'getLarge',
  command: 'GET',
  buffers: true,
  large: true,
  memory,
})

const MEGABYTE = Buffer.alloc(1 << 20, 'x')

async function opened(options: Partial<Parameters<typeof openStore>[0]> = {}) {
  const proxy = await startFaultProxy(server.port)
  onTestFinished(() => proxy.close())
  const open = openStore({ source: proxy.url, ...options })
  await open.store.ready()
  await open.store.run(set, ['k'], ['small'])
  return { proxy, ...open }
}

/** Opens the connection for large values before a test makes it slow. */
async function warm({ store }: OpenedStore): Promise<void> {
  await store.run(set, ['large'], [MEGABYTE])
  expect((await store.run(getLarge, ['large'], []))!.length).toBe(MEGABYTE.length)
}

const small = ({ store }: OpenedStore): Promise<number> => store.run(length, ['k'], [])

const gets = (proxy: FaultProxy): number =>
  proxy.traffic.commands.filter((name) => name === 'GET').length

describe('a large value', () => {
  it('uses a second connection, which is opened for the first one', async () => {
    const open = await opened()
    const { proxy, store } = open
    expect(proxy.traffic.connections).toBe(1)
    await store.run(set, ['k'], ['x'.repeat(LARGE_VALUE)])
    expect(proxy.traffic.connections).toBe(1)
    await warm(open)
    expect(proxy.traffic.connections).toBe(2)
  })

  it.each([
    ['to Redis', ({ store }: OpenedStore) => store.run(set, ['large'], [MEGABYTE])],
    ['from Redis', ({ store }: OpenedStore) => store.run(getLarge, ['large'], [])],
  ])('on its way %s delays no small one', async (_name, transfer) => {
    const open = await opened({ commandTimeout: 2000 })
    await warm(open)
    open.proxy.set({ bandwidth: 2 << 20 })
    let isDone = false
    const transferring = timed<unknown>(transfer(open)).finally(() => (isDone = true))
    const times: number[] = []
    while (!isDone) times.push((await timed(small(open))).ms)
    expect((await transferring).ms).toBeGreaterThan(400)
    expect(times.length).toBeGreaterThan(20)
    expect(Math.max(...times)).toBeLessThan(100)
  })

  it('that takes too long is no outage while its data arrives', async () => {
    const open = await opened({ commandTimeout: 200 })
    await warm(open)
    open.proxy.set({ bandwidth: 2 << 20 })
    for (let i = 0; i < 8; i++)
      await expect(open.store.run(getLarge, ['large'], [])).rejects.toMatchObject({
        code: 'TP_UNAVAILABLE',
      })
    expect(open.events.breaker).toEqual([])
    expect(open.events.replaced).toEqual([])
    expect(open.store.status().status).toBe('ok')
    open.proxy.heal()
    await until('it arrives', () => open.store.run(getLarge, ['large'], []).catch(() => undefined))
  })

  it('whose connection falls silent is an outage of large values only', async () => {
    const open = await opened({ commandTimeout: 100 })
    await warm(open)
    server.freeze()
    await expect(open.store.run(getLarge, ['large'], [])).rejects.toMatchObject({
      reason: 'timeout',
    })
    await until('the breaker opens', async () => {
      await open.store.run(getLarge, ['large'], []).catch(() => {})
      return open.events.breaker.length > 0
    })
    expect(open.events.breaker[0]).toMatchObject({ store: 'redis, large values', state: 'open' })
    expect(open.store.status()).toMatchObject({ status: 'degraded', breaker: 'open' })
    server.thaw()
    await until('all is well', () => open.store.status().status === 'ok')
    expect(await small(open)).toBe(5)
  })

  it('waits in this process while eight others are on their way, not in Redis', async () => {
    const open = await opened({ commandTimeout: 300 })
    await warm(open)
    open.proxy.set({ mode: 'stall' })
    open.proxy.forget()
    const calls = Array.from({ length: 20 }, (_, i) => open.store.run(getLarge, [`large-${i}`], []))
    for (const call of calls)
      await expect(call).rejects.toMatchObject({ code: 'TP_UNAVAILABLE', reason: 'timeout' })
    expect(gets(open.proxy)).toBe(8)
  })

  it('keeps its place until its reply has arrived, although its caller gave up', async () => {
    const open = await opened({ commandTimeout: 100 })
    await warm(open)
    const client = new Redis(server.url)
    for (let i = 0; i < 12; i++) await client.set(`large-${i}`, MEGABYTE, 'PX', 60_000)
    client.disconnect()
    // Slow, but too fast to be taken for silent.
    open.proxy.set({ bandwidth: 4 << 20 })
    open.proxy.forget()
    const calls = Array.from({ length: 12 }, (_, i) => open.store.run(getLarge, [`large-${i}`], []))
    await Promise.allSettled(calls)
    expect(gets(open.proxy)).toBeLessThanOrEqual(9)
    open.proxy.heal()
    await until('its turn comes', () =>
      open.store.run(getLarge, ['large'], []).catch(() => undefined),
    )
  })

  it('is read once for all who request it at the same time, and never earlier than requested', async () => {
    const open = await opened({ commandTimeout: 5000 })
    await warm(open)
    open.proxy.set({ latency: 20 })
    open.proxy.forget()
    const read = (): Promise<Buffer | null> => open.store.run(getLarge, ['large'], [])
    const first = read()
    await until('it is on its way', () => gets(open.proxy) === 1)
    await server.send('SET', 'large', 'newer', 'PX', '60000')
    const later = await Promise.all([read(), read(), read()])
    expect(later.map(String)).toEqual(['newer', 'newer', 'newer'])
    await first
    expect(gets(open.proxy)).toBe(2)
    expect(String(await read())).toBe('newer')
    expect(gets(open.proxy)).toBe(3)
  })

  it("that is shared is waited for no longer than each caller's own budget", async () => {
    const open = await opened({ commandTimeout: 1000 })
    await warm(open)
    open.proxy.set({ latency: 200 })
    const budget = new RequestBudget(100)
    const patient = open.store.run(getLarge, ['large'], [])
    const hurried = await timed(open.store.run(getLarge, ['large'], [], budget))
    expect(hurried.error).toMatchObject({ code: 'TP_UNAVAILABLE', reason: 'timeout' })
    expect(hurried.ms).toBeLessThan(150)
    expect(budget.left(performance.now())).toBeLessThan(2)
    expect((await patient)!.length).toBe(MEGABYTE.length)
  })

  it('is found under the keyPrefix of a client that is used itself', async () => {
    const client = new Redis(server.url, { keyPrefix: 'theirs:' })
    onTestFinished(() => client.disconnect())
    const open = await opened({ source: client, reuse: true })
    await warm(open)
    expect(await open.store.run(length, ['large'], [])).toBe(MEGABYTE.length)
    expect(await server.send('EXISTS', 'theirs:large')).toContain('1')
  })

  it('is found in the database that the client selected', async () => {
    const client = new Redis(server.url)
    onTestFinished(() => client.disconnect())
    await client.select(3)
    const open = await opened({ source: client })
    await warm(open)
    expect(await client.strlen('large')).toBe(MEGABYTE.length)
  })

  it('is found on a Cluster', async () => {
    await using cluster = await startCluster({ replicas: 0 })
    const open = openStore({ source: new Cluster(cluster.startup, { lazyConnect: true }) })
    await open.store.ready()
    await until('it is stored', () =>
      open.store.run(set, ['large'], [MEGABYTE]).catch(() => undefined),
    )
    expect((await open.store.run(getLarge, ['large'], []))!.length).toBe(MEGABYTE.length)
    expect(await open.store.run(length, ['large'], [])).toBe(MEGABYTE.length)
  })
})
