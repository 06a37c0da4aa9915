import { describe, expect, test } from 'vitest'
import { fillEntry, lookupEntry } from '../../../src/caching/entry-operations.ts'
import type { DataCache } from '../../../src/index.ts'
import { turnpike } from '../../../src/node.ts'
import type { OperationArgument, Operation } from '../../../src/store/store.ts'
import { testStore } from '../../../src/testing.ts'
import { signal } from '../../frameworks/harness.ts'
import { bothEngines } from '../../support/engines.ts'
import { until } from '../../support/until.ts'

describe.each(bothEngines())('tp.data on the $name engine', ({ open, server }) => {
  function setup() {
    const opened = open()
    const make = (options = {}) =>
      turnpike({ store: opened.store, prefix: opened.prefix, ...options })
    const tp = make()
    return { ...opened, make, tp, data: tp.data }
  }

  test('keeps strings, bytes and values as they are, for their time', async () => {
    const { data, advance } = setup()
    const bytes = Buffer.from([0, 255, 13, 10])
    const long = { text: 'x'.repeat(5000) }
    await data.setMany(
      { text: 'für', bytes, value: { a: [1, null] }, nothing: null, long, zero: 0 },
      { ttl: '10s' },
    )
    const keys = ['text', 'bytes', 'value', 'nothing', 'long', 'zero', 'none']
    expect(await data.getMany(keys)).toEqual([
      'für',
      bytes,
      { a: [1, null] },
      null,
      long,
      0,
      undefined,
    ])
    expect(await data.exists('text')).toBe(true)
    await advance('10s')
    expect(await data.get('text')).toBeUndefined()
    expect(await data.exists('text')).toBe(false)
    await expect(data.set('x', undefined)).rejects.toMatchObject({ code: 'TP_VALUE' })
    await expect(data.get('')).rejects.toMatchObject({ code: 'TP_OPTION' })
  })

  test('deletes, and says whether there was something', async () => {
    const { data } = setup()
    await data.set('a', 1)
    expect([await data.delete('a'), await data.delete('a'), await data.get('a')]).toEqual([
      true,
      false,
      undefined,
    ])
  })

  test('counts, and gives another time to live', async () => {
    const { data, advance } = setup()
    expect([
      await data.increment('n'),
      await data.increment('n', 5),
      await data.increment('n', -2),
    ]).toEqual([1, 6, 4])
    expect(await data.get('n')).toBe(4)
    expect(await data.exists('n')).toBe(true)
    await data.set('text', 'x')
    await expect(data.increment('text')).rejects.toMatchObject({ code: 'TP_COMMAND' })
    await expect(data.increment('n', 0.5)).rejects.toMatchObject({ code: 'TP_VALUE' })
    expect(await data.expire('text', '3h')).toBe(true)
    await advance('2h')
    expect(await data.get('text')).toBe('x')
    await advance('1h')
    expect(await data.get('text')).toBeUndefined()
    expect(await data.expire('nothing', '1h')).toBe(false)
  })

  test('loads once for all who ask at the same time, in all processes', async () => {
    const { data, make } = setup()
    let loads = 0
    const load = async () => {
      loads++
      await new Promise((resolve) => setTimeout(resolve, 50))
      return { n: loads }
    }
    const other = make().data
    const all = await Promise.all(
      Array.from({ length: 100 }, (_, i) =>
        (i % 2 ? data : other).getOrFetch('key', load, { ttl: '1m' }),
      ),
    )
    expect(loads).toBe(1)
    expect(all.every(({ n }) => n === 1)).toBe(true)
    expect(new Set(all).size, 'no two callers share an object').toBeGreaterThan(90)
    expect(await other.getOrFetch('key', load)).toEqual({ n: 1 })
  })

  test('a loader that throws keeps nothing, and everybody who waited learns of it', async () => {
    const { data } = setup()
    let loads = 0
    const fail = async () => {
      loads++
      await new Promise((resolve) => setTimeout(resolve, 20))
      throw new Error(`no ${loads}`)
    }
    const all = await Promise.allSettled(
      Array.from({ length: 10 }, () => data.getOrFetch('key', fail)),
    )
    expect(all.every(({ status }) => status === 'rejected')).toBe(true)
    expect(loads).toBe(1)
    expect(await data.getOrFetch('key', () => 'good')).toBe('good')
    expect(await data.getOrFetch('none', () => undefined)).toBeUndefined()
    expect(await data.exists('none')).toBe(false)
  })

  test.each(['set', 'delete', 'invalidate', 'pattern'] as const)(
    'what was being loaded does not undo a %s',
    async (how) => {
      const { data } = setup()
      const [reading, goOn] = [signal(), signal()]
      const loading = data.getOrFetch(
        'thing:1',
        async () => {
          reading.resolve()
          await goOn.promise
          return 'OLD'
        },
        { tags: ['thing'] },
      )
      await reading.promise
      if (how === 'set') await data.set('thing:1', 'NEW')
      else if (how === 'delete') await data.delete('thing:1')
      else if (how === 'invalidate') await data.invalidate({ tags: ['thing'] })
      else await data.invalidatePattern('thing:*')
      const meanwhile = data.getOrFetch('thing:1', () => 'NEW')
      goOn.resolve()
      expect([await loading, await meanwhile]).toEqual(['OLD', 'NEW'])
      expect(await data.getOrFetch('thing:1', () => 'NEW')).toBe('NEW')
    },
  )

  test('what was fresh when it was invalidated is kept again once it is loaded', async () => {
    const { data, make } = setup()
    const other = make().data
    let loads = 0
    const get = (from: typeof data) =>
      from.getOrFetch('thing:1', () => ++loads, { tags: ['thing'], ttl: '1h' })
    await get(other)
    await expect.poll(() => other.exists('thing:1')).toBe(true)
    await other.invalidate({ tags: ['thing'] })
    // This process has never seen the tag.
    expect(await get(data)).toBe(2)
    await expect.poll(() => data.get('thing:1')).toBe(2)
    expect([await get(data), await get(other)]).toEqual([2, 2])
  })

  test('an old value is returned while it is loaded again, and when the loader throws', async () => {
    const { data, advance } = setup()
    let n = 0
    const options = { ttl: '10s', staleWhileRevalidate: '10s', staleIfError: '1m' } as const
    expect(await data.getOrFetch('a', () => ++n, options)).toBe(1)
    await expect.poll(() => data.get('a')).toBe(1)
    await advance('11s')
    expect(await data.getOrFetch('a', () => ++n, options)).toBe(1)
    await expect.poll(() => data.get('a')).toBe(2)
    await advance('25s')
    const fail = () => {
      throw new Error('down')
    }
    expect(await data.getOrFetch('a', fail, options)).toBe(2)
    await advance('2m')
    await expect(data.getOrFetch('a', fail, options)).rejects.toThrow('down')
  })

  test('one load that hangs does not keep an old value beyond its lease', async () => {
    const { data, advance } = setup()
    const options = { ttl: '10s', staleWhileRevalidate: '1d', lease: '5s' } as const
    let n = 0
    const load = () => (++n === 2 ? new Promise<number>(() => {}) : n)
    expect(await data.getOrFetch('a', load, options)).toBe(1)
    await expect.poll(() => data.get('a')).toBe(1)
    await advance('11s')
    expect(await data.getOrFetch('a', load, options)).toBe(1)
    await expect.poll(() => n).toBe(2)
    await advance('4s')
    expect([await data.getOrFetch('a', load, options), n]).toEqual([1, 2])
    await advance('2s')
    expect(await data.getOrFetch('a', load, options)).toBe(1)
    await expect.poll(() => data.get('a')).toBe(3)
  })

  test('wraps functions: by their arguments, whatever the order of properties', async () => {
    const { data } = setup()
    const calls: unknown[] = []
    const search = data.wrap(
      (query: { a: number; b?: Date }) => (calls.push(query), `result ${calls.length}`),
      { name: 'search', ttl: '1m', tags: ['search'] },
    )
    const day = new Date(0)
    expect(await search({ a: 1, b: day })).toBe('result 1')
    expect(await search({ b: day, a: 1 })).toBe('result 1')
    expect(await search({ a: 2 })).toBe('result 2')
    await data.invalidate({ tags: ['search'] })
    expect(await search({ a: 1, b: day })).toBe('result 3')
    expect(() => data.wrap(() => 1)).toThrow(/name/)
    expect(data.hash({ a: 1, b: 2 })).toBe(data.hash({ b: 2, a: 1 }))
    expect(data.hash([1, '1', null, undefined, NaN, 1n])).not.toBe(
      data.hash([1, 1, null, null, null, 1]),
    )
    expect(() => data.hash({ f() {} })).toThrow(/key/)
  })

  test('namespaces and tenants never meet', async () => {
    const { data, make } = setup()
    const users = data.namespace('user', { ttl: '10s' })
    await users.set('1', 'ann')
    await data.set('1', 'one')
    expect([
      await users.get('1'),
      await data.get('1'),
      await data.namespace('team').get('1'),
    ]).toEqual(['ann', 'one', undefined])
    const theirs = make({ tenant: () => 'x' }).data
    await expect(theirs.get('1')).rejects.toMatchObject({ code: 'TP_KEY' })
    await theirs.set('1', 'acme', { tenant: 'acme', tags: ['t'] })
    await theirs.set('1', 'other', { tenant: 'other', tags: ['t'] })
    await theirs.invalidate({ tags: ['t'], tenant: 'acme' })
    expect([
      await theirs.get('1', { tenant: 'acme' }),
      await theirs.get('1', { tenant: 'other' }),
      await data.get('1'),
    ]).toEqual([undefined, 'other', 'one'])
  })

  test('patterns find keys whatever stands in them, and remove them', async () => {
    const { data } = setup()
    const keys = ['user:1', 'user:2', 'user:[x]', 'user:a b/ü', 'other:1', 'userx']
    for (const key of keys) await data.set(key, key)
    expect((await data.keys('user:*')).toSorted()).toEqual(keys.slice(0, 4).toSorted())
    expect(await data.invalidatePattern('user:*', { dryRun: true })).toBe(4)
    expect(await data.get('user:1')).toBe('user:1')
    expect(await data.invalidatePattern('user:?')).toBe(2)
    expect(await data.keys('*')).toHaveLength(4)
    expect(await data.namespace('n').keys()).toEqual([])
    expect(await data.invalidatePattern('*')).toBe(4)
  })

  test('a serializer of one’s own', async () => {
    const { data } = setup()
    const dates = data.namespace('dates', {
      serializer: {
        serialize: (value) => String((value as Date).getTime()),
        deserialize: (bytes) => new Date(Number(bytes.toString())),
      },
    })
    await dates.set('day', new Date(5))
    expect(await dates.get('day')).toEqual(new Date(5))
  })

  test('hot values are kept in this process, and forgotten when another one writes them', async () => {
    const { make, advance } = setup()
    const [a, b] = [make(), make()].map((tp) => tp.data.namespace('hot', { near: true })) as [
      DataCache,
      DataCache,
    ]
    await a.set('k', 1)
    // The first look tells the process to listen.
    await expect
      .poll(async () => {
        await a.get('k')
        await advance('1s')
        return await a.get('k')
      })
      .toBe(1)
    await b.set('k', 2)
    await expect.poll(() => a.get('k')).toBe(2)
    await b.delete('k')
    await expect.poll(() => a.get('k')).toBeUndefined()
  })

  test('no key without a time to live', async () => {
    const { data, prefix } = setup()
    await data.set('a', 1, { ttl: '40d' })
    await data.increment('n')
    await data.getOrFetch('b', () => 1)
    const redis = server()
    if (redis) expect(await redis.send('PTTL', `${prefix}:inv:{log}`)).not.toContain('-1')
  })
})

test('while Redis is away values are loaded, once for all who ask at the same time', async () => {
  const store = testStore()
  const { data } = turnpike({ store })
  store.fail()
  let loads = 0
  const load = async () => {
    loads++
    await new Promise((resolve) => setTimeout(resolve, 20))
    return 'x'
  }
  expect(await Promise.all(Array.from({ length: 10 }, () => data.getOrFetch('k', load)))).toEqual(
    Array(10).fill('x'),
  )
  expect(loads).toBe(1)
  await expect(data.get('k')).rejects.toMatchObject({ code: 'TP_UNAVAILABLE' })
  await expect(data.set('k', 1)).rejects.toMatchObject({ code: 'TP_UNAVAILABLE' })
})

test('a value that is loaded before a lookup from its time is replied to is not loaded again', async () => {
  const store = testStore()
  const run = store.run.bind(store)
  const [looked, loaded, over] = [signal(), signal(), signal()]
  let [late, kept] = [0, false]
  store.run = (async (
    operation: Operation,
    keys: string[],
    args: OperationArgument[],
    ...more: any[]
  ) => {
    const reply = await (run as any)(operation, keys, args, ...more)
    if (operation.name === fillEntry.name) kept = true
    if (operation.name !== lookupEntry.name || reply[1] !== 2 || late === 10) return reply
    if (++late === 10) looked.resolve()
    await over.promise
    return reply
  }) as typeof store.run
  const { data } = turnpike({ store })
  let loads = 0
  const load = async () => {
    loads++
    await loaded.promise
    return 'x'
  }
  const asked = data.getOrFetch('k', load)
  await until('it is loading', () => loads === 1)
  const waiting = Promise.all(Array.from({ length: 10 }, () => data.getOrFetch('k', load)))
  await looked.promise
  loaded.resolve()
  await asked
  await until('it is kept', () => kept)
  over.resolve()
  expect(await waiting).toEqual(Array(10).fill('x'))
  expect(loads).toBe(1)
})
