/** What may be passed as `redis`, and what is refused before ioredis sees it. */
import { createRequire } from 'node:module'
import { Cluster, Redis } from 'ioredis'
import { Redis as Redis5 } from 'ioredis5'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { turnpike } from '../../src/node.ts'
import { startRedis, type RedisServer } from '../../src/testing.ts'

// The client that node-redis is made of comes with ioredis.
const fromIoredis = createRequire(createRequire(import.meta.url).resolve('ioredis'))
const nodeRedis = fromIoredis('@redis/client') as {
  createClient(): object
  createCluster(options: object): object
}

let server: RedisServer
beforeAll(async () => {
  server = await startRedis()
})
afterEach(() => server.send('FLUSHALL'))
afterAll(() => server.stop())

function refusal(redis: unknown, options: object = {}): Error {
  try {
    void turnpike({ redis: redis as string, ...options }).close()
  } catch (error) {
    expect(error).toMatchObject({ code: 'TP_OPTION' })
    return error as Error
  }
  throw new Error('it was accepted')
}

const limit = { limit: 5, window: '1m' } as const

/** The databases in which a limiter over this client leaves keys. */
async function databasesOf(redis: Redis): Promise<string[]> {
  const tp = turnpike({ redis, commandTimeout: '2s' })
  onTestFinished(() => tp.close())
  await tp.ready()
  expect((await tp.limiter('used', limit).consume('me')).source).toBe('store')
  const keyspace = await server.send('INFO', 'keyspace')
  return [...keyspace.matchAll(/^db(\d+):/gm)].map(([, db]) => db!)
}

describe('what is no ioredis client is refused, with what to pass', () => {
  it.each([
    [
      'a client of node-redis',
      () => nodeRedis.createClient(),
      /a client of node-redis.*new Redis\(url\)/,
    ],
    [
      'a cluster client of node-redis',
      () => nodeRedis.createCluster({ rootNodes: [] }),
      /Pass the URL, or a client of ioredis/,
    ],
    ['a promise of a client', () => Promise.resolve(1), /it is a promise\. Pass/],
    ['the class itself', () => Redis, /it is a function/],
    [
      'a store of another package',
      () =>
        new (class RedisStore {
          get() {}
          set() {}
        })(),
      /an instance of RedisStore/,
    ],
    ['a list', () => [{ host: 'a' }], /it is a list/],
    ['a cluster without nodes', () => ({ cluster: [] }), /redis\.cluster must be a list of nodes/],
    [
      'a cluster that is one node',
      () => ({ cluster: { host: 'a' } }),
      /redis\.cluster must be a list of nodes/,
    ],
    ['a URL object', () => new URL('redis://localhost'), /a URL object\. Pass its href/],
    ['options with a url that is none', () => ({ url: 5 }), /redis\.url must be a string/],
    ['a port that cannot be', () => 'redis://localhost:99999', /cannot be parsed/],
  ])('%s', (_name, create, message) => {
    expect(refusal(create()).message).toMatch(message)
    expect(() => turnpike({ redis: 'memory', stores: { cache: { redis: create() } } })).toThrow(
      /stores\.cache\.redis/,
    )
  })

  it.each([
    ['ioredis 6', () => new Redis(server.url, { lazyConnect: true, stringNumbers: true })],
    ['ioredis 5', () => new Redis5(server.url, { lazyConnect: true, stringNumbers: true })],
    [
      'a Cluster',
      () =>
        new Cluster([{ host: server.host, port: server.port }], {
          lazyConnect: true,
          redisOptions: { stringNumbers: true },
        }),
    ],
  ])('a client with stringNumbers that is to be used itself, %s', (_name, create) => {
    const client = create()
    onTestFinished(() => client.disconnect())
    expect(refusal(client, { reuse: true }).message).toMatch(/reuse must be false .* stringNumbers/)
  })
})

describe('a client', () => {
  function client(): Redis {
    const made = new Redis(server.url)
    onTestFinished(() => made.disconnect())
    return made
  }

  it('with stringNumbers is duplicated without them', async () => {
    const made = new Redis(server.url, { stringNumbers: true })
    onTestFinished(() => made.disconnect())
    expect(await databasesOf(made)).toEqual(['0'])
  })

  it('on which select() was called keeps its database', async () => {
    const made = client()
    await made.select(3)
    expect(await databasesOf(made)).toEqual(['3'])
  })

  it('on which select() was called before it was connected keeps it, too', async () => {
    const made = client()
    const selected = made.select(4)
    expect(await databasesOf(made)).toEqual(['4'])
    await selected
  })

  it('of ioredis 5 keeps it, too', async () => {
    const made = new Redis5(server.url)
    onTestFinished(() => made.disconnect())
    void made.select(2)
    await made.select(5)
    expect(await databasesOf(made as unknown as Redis)).toEqual(['5'])
  })
})
