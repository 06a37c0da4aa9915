/** What outlives a request is bounded, and its timers end. */
import { describe, expect, test } from 'vitest'
import { BoundedMap } from '../../src/caching/bounded-map.ts'
import { CacheStore } from '../../src/caching/cache-store.ts'
import type { CacheEntry } from '../../src/caching/entry.ts'
import { announcePosition } from '../../src/caching/invalidation-operations.ts'
import { NearCache } from '../../src/caching/near-cache.ts'
import { EventBus } from '../../src/events.ts'
import { createKeySpace } from '../../src/store/keys.ts'
import { testStore, type TestStore } from '../../src/testing.ts'
import { until } from '../support/until.ts'

const entryOf = (more: Partial<CacheEntry>): CacheEntry => ({
  nonce: 'n',
  sequence: 0,
  tags: [],
  name: '/',
  storedAt: 0,
  initialAge: 0,
  freshUntil: Infinity,
  staleUntil: Infinity,
  errorUntil: Infinity,
  keptUntil: Infinity,
  cost: 0,
  extra: {},
  body: Buffer.alloc(0),
  ...more,
})

const cacheStoreOn = (store: TestStore): CacheStore =>
  new CacheStore(store, createKeySpace('tp'), new EventBus(''))

describe('a bounded map', () => {
  test('drops what was set longest ago', () => {
    const map = new BoundedMap<number>(2)
    for (const [i, key] of ['a', 'b', 'a', 'c'].entries()) map.set(key, i)
    expect([map.get('a'), map.get('b'), map.get('c'), map.size]).toEqual([2, undefined, 3, 2])
  })

  test('counts the weight of its values', () => {
    const map = new BoundedMap<string>(10, (value) => value.length)
    for (const key of ['a', 'b', 'c']) map.set(key, 'xxxx')
    expect([map.has('a'), map.has('b'), map.has('c')]).toEqual([false, true, true])
    map.set('d', 'x'.repeat(11))
    expect(map.size).toBe(0)
  })
})

describe('the near cache', () => {
  /** A near cache that has armed itself for a log. */
  async function armed(maxBytes: number) {
    const store = testStore()
    const cacheStore = cacheStoreOn(store)
    const near = new NearCache(store, maxBytes)
    const log = cacheStore.invalidationLog(undefined)
    const { nonce, sequence } = await log.open(1_000)
    const keep = (key: string, more: Partial<CacheEntry>): void =>
      near.keep(
        { entry: key, lease: '', log },
        {
          entry: entryOf({ nonce, sequence, ...more }),
          validUntil: Infinity,
          lease: 'none',
          snapshot: {
            nonce,
            sequence,
            everything: { hard: 0, soft: 0 },
            marks: new Map(),
            patterns: [],
          },
          now: store.now(),
          near: false,
        },
      )
    await until('it is armed', async () => {
      keep('probe', {})
      await store.advance(1)
      return near.size > 0
    })
    return { near, keep, store }
  }

  test('counts names, tags and fields, not only bodies', async () => {
    const { near, keep } = await armed(1_000_000)
    const before = near.bytes
    keep('k', { extra: { fields: [['link', 'x'.repeat(10_000)]] }, tags: ['t'.repeat(5_000)] })
    expect(near.bytes - before).toBeGreaterThan(15_000)
    for (let i = 0; i < 1_000; i++) keep(`k${i}`, { name: '/'.repeat(5_000) })
    expect(near.bytes).toBeLessThanOrEqual(1_000_000)
  })

  test('stops its heartbeat when it is not used', async () => {
    const { near, store } = await armed(1_000_000)
    const run = store.run.bind(store)
    let beats = 0
    store.run = ((operation: any, ...rest: any[]) => {
      if (operation.name === announcePosition.name) beats++
      return (run as any)(operation, ...rest)
    }) as typeof store.run
    for (let i = 0; i < 200; i++) await store.advance(500)
    expect([near.logs, near.size]).toEqual([0, 0])
    beats = 0
    for (let i = 0; i < 200; i++) await store.advance(500)
    expect(beats).toBe(0)
  })
})

describe('made-up tenants', () => {
  test('leave no heartbeat and no log behind', async () => {
    const store = testStore()
    const cacheStore = cacheStoreOn(store)
    const near = cacheStore.near(1_000_000)
    for (let i = 0; i < 5_000; i++) {
      const log = cacheStore.invalidationLog(`made-up-${i}`)
      const { nonce, sequence } = await log.open(1_000)
      near.keep(
        { entry: `k${i}`, lease: '', log },
        {
          entry: entryOf({ nonce, sequence }),
          validUntil: Infinity,
          lease: 'none',
          snapshot: {
            nonce,
            sequence,
            everything: { hard: 0, soft: 0 },
            marks: new Map(),
            patterns: [],
          },
          now: store.now(),
          near: false,
        },
      )
    }
    expect(near.logs).toBeLessThanOrEqual(100)
    expect(cacheStore.logs).toBeLessThanOrEqual(1_000)
  })

  test('that invalidate while Redis is away are bounded, too', async () => {
    const store = testStore()
    const cacheStore = cacheStoreOn(store)
    store.fail()
    for (let i = 0; i < 5_000; i++)
      await cacheStore
        .invalidationLog(`t${i}`)
        .invalidate(['t:a'], 'hard')
        .catch(() => {})
    expect(cacheStore.logs).toBeLessThanOrEqual(2_000)
    // What was asked for first is still known, and made up for.
    expect(cacheStore.invalidationLog('t0').hasPending).toBe(true)
    store.recover()
    await until('it is written', async () => {
      await store.advance(1_000)
      return !cacheStore.invalidationLog('t0').hasPending
    })
  })
})
