/** The contract of every engine: a suite for any test runner. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { operation, type Operation, type OperationReply, type Store } from '../store/store.ts'

/** A store under test. */
export interface ContractSubject {
  /** The store. Each test uses keys of its own. */
  store: Store
  /** Moves the engine's clock forward, in ms. */
  advance(ms: number): Promise<void>
}

/** What `storeContract()` needs to know. */
export interface ContractOptions {
  /** The runner's `describe` and `it` (vitest, node:test, mocha, jest). */
  describe(name: string, suite: () => void): unknown
  /** The runner's `it` or `test`. */
  it(name: string, test: () => Promise<void>): unknown
  /** Opens the store for one test. It may be the same for all. */
  open(): Promise<ContractSubject>
}

const set: Operation<number> = operation({
  name: 'contract.set',
  lua: `redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1`,
  memory(database, [key], [value, ttl]) {
    database.set(key!, String(value), Number(ttl))
    return 1
  },
})

const get: Operation<string | null> = operation({
  name: 'contract.get',
  lua: `return redis.call('GET', KEYS[1])`,
  memory: (database, [key]) => database.get<string>(key!) ?? null,
})

const read: Operation<(string | null)[]> = operation({
  name: 'contract.read',
  command: 'MGET',
  memory: (database, keys) => keys.map((key) => database.get<string>(key) ?? null),
})

const increment: Operation<number> = operation({
  name: 'contract.increment',
  lua: `local n = redis.call('INCR', KEYS[1]) redis.call('PEXPIRE', KEYS[1], 60000) return n`,
  memory(database, [key]) {
    const count = Number(database.get<string>(key!) ?? 0) + 1
    database.set(key!, String(count), 60_000)
    return count
  },
})

const clock: Operation<number> = operation({
  name: 'contract.clock',
  lua: 'return now',
  memory: (_database, _keys, _args, now) => now,
})

const publish: Operation<number> = operation({
  name: 'contract.publish',
  lua: `redis.call('PUBLISH', ARGV[1], ARGV[2]) return 1`,
  memory(database, _keys, [channel, message]) {
    database.publish(String(channel), String(message))
    return 1
  },
})

const shapes: Operation<OperationReply[]> = operation({
  name: 'contract.shapes',
  lua: `return { 1, 'text', { 2, { 'deep' } }, false }`,
  memory: () => [1, 'text', [2, ['deep']], null],
})

const wrong: Operation<number> = operation({
  name: 'contract.wrong',
  lua: `return redis.call('LPUSH', KEYS[1], 'x')`,
  memory() {
    throw Object.assign(new Error('wrong type'), { code: 'TP_COMMAND' })
  },
})

/** Declares the suite. Ends with the stores as they were: it closes none. */
export function storeContract(name: string, { describe, it, open }: ContractOptions): void {
  const key = (): string => `contract:{${randomUUID()}}`

  describe(`the contract of a store: ${name}`, () => {
    it('keeps a value for its time to live, and no longer', async () => {
      const { store, advance } = await open()
      const own = key()
      await store.run(set, [own], ['value', 1500])
      assert.equal(await store.run(get, [own], []), 'value')
      await advance(1600)
      assert.equal(await store.run(get, [own], []), null)
    })

    it('carries out a plain command as it does a script', async () => {
      const { store, advance } = await open()
      const own = key()
      await store.run(set, [own], ['value', 1500])
      assert.deepEqual(await store.run(read, [own, `${own}:none`], []), ['value', null])
      await advance(1600)
      assert.deepEqual(await store.run(read, [own], []), [null])
    })

    it('carries out one operation after the other: none is lost, none runs twice', async () => {
      const { store } = await open()
      const own = key()
      const counts = await Promise.all(
        Array.from({ length: 100 }, () => store.run(increment, [own], [])),
      )
      assert.deepEqual(
        counts.toSorted((a, b) => a - b),
        Array.from({ length: 100 }, (_, i) => i + 1),
      )
    })

    it('passes its own clock to its operations, and it moves forward', async () => {
      const { store, advance } = await open()
      const before = await store.run(clock, [key()], [])
      await advance(1100)
      const after = await store.run(clock, [key()], [])
      assert.ok(after - before >= 1000, `${after - before} ms`)
    })

    it('answers numbers, texts, lists and nothing in the same shapes', async () => {
      const { store } = await open()
      assert.deepEqual(await store.run(shapes, [key()], []), [1, 'text', [2, ['deep']], null])
    })

    it('tells subscribers what operations publish, until they leave', async () => {
      const { store } = await open()
      const channel = key()
      const messages: string[] = []
      const leave = store.subscribe(channel, (message) => messages.push(message))
      // A subscription takes a moment on a server: publish until one arrives.
      for (let i = 0; messages.length === 0 && i < 200; i++) {
        await store.run(publish, [key()], [channel, 'hello'])
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
      assert.equal(messages[0], 'hello')
      leave()
      const count = messages.length
      await store.run(publish, [key()], [channel, 'anybody?'])
      assert.equal(messages.length, count)
    })

    it('lets a wrong command surface as what it is, not as an outage', async () => {
      const { store } = await open()
      const own = key()
      await store.run(set, [own], ['text', 60_000])
      await assert.rejects(store.run(wrong, [own], []), { code: 'TP_COMMAND' })
    })

    it('says how it is without being asked twice', async () => {
      const { store } = await open()
      await store.ready(5000)
      assert.equal(store.status().status, 'ok')
      assert.equal(store.unavailable(), undefined)
    })
  })
}
