/** What docs/migrate/cache-manager.md says, old and new side by side. */
import { createCache } from 'cache-manager'
import { describe, expect, test } from 'vitest'
import { turnpike } from '../../src/node.ts'
import { testStore } from '../../src/testing.ts'
import { signal } from '../frameworks/harness.ts'

function both() {
  const old = createCache({ ttl: 60_000 })
  const cache = turnpike({ store: testStore() }).data.namespace('app', { ttl: '1m' })
  return {
    old: {
      get: (key: string) => old.get<unknown>(key),
      set: (key: string, value: unknown) => old.set(key, value, 10_000),
      load: (key: string, load: () => Promise<unknown>) => old.wrap(key, load, 10_000),
      many: (keys: string[]) => old.mget<unknown>(keys),
      delete: (key: string) => old.del(key),
    },
    tp: {
      get: (key: string) => cache.get(key),
      set: (key: string, value: unknown) => cache.set(key, value, { ttl: '10s' }),
      load: (key: string, load: () => Promise<unknown>) =>
        cache.getOrFetch(key, load, { ttl: '10s' }),
      many: (keys: string[]) => cache.getMany(keys),
      delete: (key: string) => cache.delete(key),
    },
  }
}

test('alike: set, get, many, delete, and loading once for callers at the same time', async () => {
  for (const cache of Object.values(both())) {
    await cache.set('a', { n: 1 })
    expect(await cache.get('a')).toEqual({ n: 1 })
    expect(await cache.many(['a', 'none'])).toEqual([{ n: 1 }, undefined])
    await cache.delete('a')
    expect(await cache.get('a')).toBeUndefined()
    let loads = 0
    const load = async () => {
      await new Promise((resolve) => setTimeout(resolve, 20))
      return ++loads
    }
    expect(await Promise.all([cache.load('b', load), cache.load('b', load)])).toEqual([1, 1])
  }
})

describe('different on purpose', () => {
  test('a set while a value is loaded is overwritten there, and stays here', async () => {
    const results: unknown[] = []
    for (const cache of Object.values(both())) {
      const goOn = signal()
      const started = signal()
      const loading = cache.load('c', async () => {
        started.resolve()
        await goOn.promise
        return 'old'
      })
      await started.promise
      await cache.set('c', 'new')
      goOn.resolve()
      await loading
      await new Promise((resolve) => setTimeout(resolve, 10))
      results.push(await cache.get('c'))
    }
    expect(results).toEqual(['old', 'new'])
  })

  test('two processes load once each there, once together here', async () => {
    let loads = 0
    const load = async () => {
      await new Promise((resolve) => setTimeout(resolve, 20))
      return ++loads
    }
    const store = testStore()
    const [a, b] = [turnpike({ store }).data, turnpike({ store }).data]
    await Promise.all([a.getOrFetch('d', load), b.getOrFetch('d', load)])
    expect(loads).toBe(1)
  })
})
