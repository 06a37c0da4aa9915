/** Every engine keeps the same contract, whichever way its connection came about. */
import { Redis as Redis5 } from 'ioredis5'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { EventBus } from '../../src/events.ts'
import type { RedisStoreOptions } from '../../src/store/redis-store-options.ts'
import { RedisStore } from '../../src/store/redis-store.ts'
import { startRedis, storeContract, testStore, type RedisServer } from '../../src/testing.ts'
import { expectEveryKeyToExpire } from '../support/ttl.ts'

let server: RedisServer
const clients: (Redis | Redis5)[] = []
const stores: RedisStore[] = []

beforeAll(async () => {
  server = await startRedis()
})

afterAll(async () => {
  await Promise.all(stores.map((store) => store.close()))
  for (const client of clients) client.disconnect()
  await expectEveryKeyToExpire(server)
  await server.stop()
})

/** Real time passes on a real server. */
const advance = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

function onRedis(name: string, open: () => Pick<RedisStoreOptions, 'source' | 'reuse'>): void {
  let store: RedisStore | undefined
  storeContract(name, {
    describe: describe.concurrent,
    it,
    async open() {
      if (!store) {
        // The timeout is long, because a loaded machine is slow.
        store = new RedisStore({
          ...open(),
          name,
          commandTimeout: 5000,
          maxInFlight: 5000,
          events: new EventBus(''),
        })
        stores.push(store)
      }
      return { store, advance }
    },
  })
}

function keep<Client extends Redis | Redis5>(client: Client): Client {
  clients.push(client)
  return client
}

storeContract('in process', {
  describe,
  it,
  async open() {
    const store = testStore()
    return { store, advance: (ms) => store.advance(ms) }
  },
})

onRedis('Redis, by URL', () => ({ source: server.url }))
onRedis('Redis, by options', () => ({ source: { host: server.host, port: server.port } }))
onRedis('a client of ioredis 6', () => ({ source: keep(new Redis(server.url)) }))
// The two versions' types differ in commands that turnpike does not use.
onRedis('a client of ioredis 5', () => ({
  source: keep(new Redis5(server.url)) as unknown as Redis,
}))
onRedis('a client with a keyPrefix', () => ({
  source: keep(new Redis(server.url, { keyPrefix: 'theirs:' })),
}))
onRedis('a client that is not connected yet', () => ({
  source: keep(new Redis(server.url, { lazyConnect: true })),
}))
onRedis('a client that is used itself', () => ({
  source: keep(new Redis(server.url)),
  reuse: true,
}))
onRedis('a client of ioredis 5 that is used itself', () => ({
  source: keep(new Redis5(server.url)) as unknown as Redis,
  reuse: true,
}))
onRedis('a client that is used itself, not connected yet, with a keyPrefix', () => ({
  source: keep(new Redis(server.url, { lazyConnect: true, keyPrefix: 'theirs:' })),
  reuse: true,
}))
