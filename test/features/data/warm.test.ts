/** Warming values: a few loads at a time, each value loaded by one process. */
import { describe, expect, onTestFinished, test } from 'vitest'
import { turnpike } from '../../../src/node.ts'
import { testStore } from '../../../src/testing.ts'
import { signal } from '../../frameworks/harness.ts'
import { bothEngines } from '../../support/engines.ts'
import { until } from '../../support/until.ts'

describe.each(bothEngines())('tp.data.warm on the $name engine', ({ open }) => {
  function setUp() {
    const { store, prefix, advance } = open()
    const make = () => turnpike({ store, prefix })
    return { advance, make, data: make().data }
  }

  test('values are loaded a few at a time, with their options', async () => {
    const { advance, data } = setUp()
    let [current, most] = [0, 0]
    const full = signal()
    const entries = Array.from({ length: 10 }, (_, i) => ({
      key: `item:${i}`,
      ttl: i === 0 ? ('1s' as const) : ('1m' as const),
      tags: ['items'],
      load: async () => {
        most = Math.max(most, ++current)
        if (current === 3) full.resolve()
        await full.promise
        current--
        return { i }
      },
    }))
    expect(await data.warm(entries, { concurrency: 3 })).toBe(10)
    expect(most).toBe(3)
    await until('all are stored', async () => (await data.keys('item:*')).length === 10)
    expect(await data.get('item:9')).toEqual({ i: 9 })
    await advance('2s')
    expect(await data.get('item:0')).toBeUndefined()
    await data.invalidate({ tags: ['items'] })
    expect(await data.get('item:9')).toBeUndefined()
  })

  test('what is stored is not loaded again', async () => {
    const { data } = setUp()
    await data.set('a', 'old')
    expect(await data.warm([{ key: 'a', load: () => 'new' }])).toBe(1)
    expect(await data.get('a')).toBe('old')
  })

  test('what another process is loading is waited for', async () => {
    const { make } = setUp()
    const [a, b] = [make().data, make().data]
    const gate = signal()
    let loads = 0
    const load = async () => {
      loads++
      await gate.promise
      return 'loaded'
    }
    const entry = { key: 'a', load, wait: '30s', lease: '30s' } as const
    const first = a.warm([entry])
    await until('it loads', () => loads === 1)
    const second = b.warm([entry])
    // The other process has time to begin, too.
    await b.get('other')
    gate.resolve()
    expect(await Promise.all([first, second])).toEqual([1, 1])
    expect(loads).toBe(1)
  })

  test('a loader that throws is reported, and the others go on', async () => {
    const { make } = setUp()
    const tp = make()
    const errors: unknown[] = []
    tp.on('error', ({ error }) => errors.push(error))
    const failure = new Error('no database')
    const load = async () => {
      throw failure
    }
    const entries = [
      { key: 'a', load },
      { key: 'b', load: () => 1 },
      { key: 'c', load: () => undefined },
    ]
    expect(await tp.data.warm(entries, { concurrency: 1 })).toBe(1)
    expect(errors).toEqual([failure])
  })

  test('a namespace warms its own keys', async () => {
    const { data } = setUp()
    const users = data.namespace('user')
    expect(await users.warm([{ key: '1', load: () => 'Ann' }])).toBe(1)
    await until('it is stored', async () => (await users.get('1')) === 'Ann')
    expect(await data.get('1')).toBeUndefined()
  })
})

test('what cannot be used is refused before anything is loaded', async () => {
  const tp = turnpike({ store: testStore() })
  onTestFinished(() => tp.close())
  let loads = 0
  const good = { key: 'a', load: () => ++loads }
  const given: [unknown, unknown][] = [
    ['a', undefined],
    [[good, null], undefined],
    [[good, { key: 'b' }], undefined],
    [[good, { key: '', load: good.load }], undefined],
    [[good, { ...good, ttl: 'soon' }], undefined],
    [[good, { ...good, expires: '1m' }], undefined],
    [[good], { concurrency: 0 }],
    [[good], { concurrency: 1e6 }],
    [[good], { parallel: 2 }],
  ]
  for (const [entries, options] of given)
    await expect(tp.data.warm(entries as never, options as never)).rejects.toMatchObject({
      code: 'TP_OPTION',
    })
  expect(loads).toBe(0)
  expect(await tp.data.warm([])).toBe(0)
})

test('each value of tenants names its own', async () => {
  const tp = turnpike({ store: testStore(), tenant: () => 'a' })
  onTestFinished(() => tp.close())
  const entry = { key: 'plan', load: () => 'gold' }
  await expect(tp.data.warm([entry])).rejects.toMatchObject({ code: 'TP_KEY' })
  expect(await tp.data.warm([{ ...entry, tenant: 'acme' }])).toBe(1)
  const read = () => tp.data.get('plan', { tenant: 'acme' })
  await until('it is stored', async () => (await read()) === 'gold')
  expect(await tp.data.get('plan', { tenant: 'other' })).toBeUndefined()
})

test('while Redis is away each process loads, and after close() none', async () => {
  const store = testStore()
  const tp = turnpike({ store })
  store.fail()
  expect(await tp.data.warm([{ key: 'a', load: () => 1 }])).toBe(1)
  let loads = 0
  const load = () => {
    if (++loads === 2) void tp.close()
    return loads
  }
  const entries = Array.from({ length: 50 }, (_, i) => ({ key: `b${i}`, load }))
  expect(await tp.data.warm(entries, { concurrency: 1 })).toBeLessThan(50)
  expect(loads).toBeLessThan(50)
})
