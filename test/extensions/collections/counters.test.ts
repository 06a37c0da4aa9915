import { describe, expect, test } from 'vitest'
import { once } from 'node:events'
import { setImmediate } from 'node:timers/promises'
import { counters, type CountersOptions } from '../../../src/collections.ts'
import { CONTEXT } from '../../../src/extension.ts'
import { jobs } from '../../../src/jobs.ts'
import { turnpike } from '../../../src/node.ts'
import { testStore } from '../../../src/testing.ts'
import { bothEngines } from '../../support/engines.ts'
import { until } from '../../support/until.ts'

describe.each(bothEngines())('counters on the $name engine', ({ open }) => {
  function setUp(options: CountersOptions<any, any> = {}) {
    const { store, prefix, advance } = open()
    const instance = () => turnpike({ store, prefix })
    return {
      tp: instance(),
      stats: counters(instance(), 'campaign', options),
      elsewhere: counters(instance(), 'campaign', options),
      advance,
    }
  }

  test('increments are summed here, and are seen elsewhere after flush', async () => {
    const { stats, elsewhere, advance } = setUp({ flush: '1s' })
    for (let i = 0; i < 10; i++) stats.add('summer', { clicks: 1, impressions: 10 })
    elsewhere.add('summer', { clicks: -2 })
    expect(await elsewhere.get('summer')).toEqual({ clicks: -2 })
    await advance('1s')
    await stats.flush()
    expect(await elsewhere.get('summer')).toEqual({ clicks: 8, impressions: 100 })
    expect(await stats.get('winter')).toEqual({})
  })

  test('a process reads what it has added itself at once', async () => {
    const { stats } = setUp({ flush: '1h' })
    stats.add(7, { clicks: 1 })
    const reads = await Promise.all([stats.get(7), stats.get('7')])
    expect(reads).toEqual([{ clicks: 1 }, { clicks: 1 }])
    stats.add(7, { clicks: 1 })
    expect(await stats.get(7)).toEqual({ clicks: 2 })
  })

  test('flush: 0 writes at once', async () => {
    const { stats, elsewhere } = setUp({ flush: 0 })
    for (let i = 0; i < 20; i++) stats.add('a', { n: 1 })
    await until('all are written', async () => (await elsewhere.get('a'))['n'] === 20)
  })

  test('fields are 0 at first, and derived values are computed when read', async () => {
    const { stats } = setUp({
      fields: ['clicks', 'impressions'],
      derived: { rate: ({ clicks, impressions }: any) => (100 * clicks) / impressions },
    })
    expect(await stats.get('a')).toEqual({ clicks: 0, impressions: 0, rate: 0 })
    stats.add('a', { clicks: 1, impressions: 8 })
    expect(await stats.get('a')).toEqual({ clicks: 1, impressions: 8, rate: 12.5 })
    expect(() => stats.add('a', { clics: 1 })).toThrow(/there is no field "clics"/)
  })

  test('reset removes what is written and what is not', async () => {
    const { stats, elsewhere } = setUp()
    stats.add('a', { n: 1 })
    await stats.flush()
    stats.add('a', { n: 1 })
    expect(await stats.reset('a')).toBe(true)
    await stats.flush()
    expect(await elsewhere.get('a')).toEqual({})
    expect(await stats.reset('a')).toBe(false)
  })

  test('100,000 adds over two processes: the sum is exact', async () => {
    const { stats, elsewhere } = setUp({ flush: '1s' })
    for (let i = 0; i < 50_000; i++) {
      stats.add(i % 100, { n: 1 })
      elsewhere.add(i % 100, { n: 1 })
      if (i % 5000 === 0) await Promise.all([stats.flush(), elsewhere.flush(), stats.get(0)])
    }
    await Promise.all([stats.flush(), elsewhere.flush()])
    const all = await Promise.all(Array.from({ length: 100 }, (_, i) => stats.get(i)))
    expect(new Set(all.map((counts) => counts['n']))).toEqual(new Set([1000]))
  })

  test('a total stops at the largest safe integer', async () => {
    const { stats } = setUp()
    for (let i = 0; i < 10_000; i++) stats.add('a', { n: 1e12, m: -1e12 })
    const most = Number.MAX_SAFE_INTEGER
    expect(await stats.get('a')).toEqual({ n: most, m: -most })
  })

  test('an item has at most 64 fields, and one warning says so', async () => {
    const { store, prefix } = open()
    const tp = turnpike({ store, prefix })
    const warnings: string[] = []
    tp.on('warning', ({ message }) => warnings.push(message))
    const stats = counters(tp, 'campaign', { flush: 0 })
    for (let i = 0; i < 70; i++) {
      stats.add('a', { [`field${i}`]: 1 })
      await stats.flush()
    }
    expect(Object.keys(await stats.get('a'))).toHaveLength(64)
    expect(warnings.filter((each) => each.includes('more than 64 counters'))).toHaveLength(1)
  })

  test.each(['__proto__', 'constructor', 'toString'])(
    'a field may have the name %s',
    async (field) => {
      const { stats } = setUp()
      stats.add('a', JSON.parse(`{"${field}":3}`))
      expect(Object.entries(await stats.get('a'))).toEqual([[field, 3]])
    },
  )

  test('what is no item or no increment is refused at once', () => {
    const { stats } = setUp()
    const code = (work: () => unknown): unknown => {
      try {
        return work()
      } catch (error) {
        return (error as { code: string }).code
      }
    }
    for (const id of ['', {}, undefined, Number.NaN, 'x'.repeat(257)])
      expect(code(() => stats.add(id as string, { n: 1 }))).toBe('TP_KEY')
    for (const by of [0.5, Number.NaN, 1e13, '1', null])
      expect(code(() => stats.add('a', { n: by as number }))).toBe('TP_VALUE')
    for (const increments of [undefined, 5, [1], { 'a b': 1 }, { '': 1 }])
      expect(code(() => stats.add('a', increments as Record<string, number>))).toBe('TP_VALUE')
  })
})

describe('while Redis is away', () => {
  function setUp(options: CountersOptions = {}) {
    const store = testStore()
    const tp = turnpike({ store })
    const events: string[] = []
    tp.on('unavailable', ({ feature, rule }) => events.push(`${feature} ${rule}`))
    tp.on('error', ({ error }) => events.push((error as Error).message))
    return { store, tp, events, stats: counters(tp, 'campaign', options) }
  }

  test('increments are kept, and written when it is back', async () => {
    const { store, events, stats } = setUp({ flush: '1s' })
    store.fail()
    stats.add('a', { n: 1 })
    await store.advance('1s')
    stats.add('a', { n: 1 })
    await store.advance('1s')
    await expect(stats.get('a')).rejects.toMatchObject({ code: 'TP_UNAVAILABLE' })
    await expect(stats.flush()).rejects.toMatchObject({ code: 'TP_UNAVAILABLE' })
    expect(events).toContain('counters keep')
    store.recover()
    expect(await stats.get('a')).toEqual({ n: 2 })
  })

  test('with flush: 0 an increment is kept, too', async () => {
    const { store, events, stats } = setUp({ flush: 0 })
    store.fail()
    stats.add('a', { n: 1 })
    await until('that is reported', () => events.includes('counters keep'))
    store.recover()
    await store.advance('1s')
    expect(await stats.get('a')).toEqual({ n: 1 })
  })

  test('more items than maxPending are lost, and that is reported', async () => {
    const { store, events, stats } = setUp({ maxPending: 2 })
    store.fail()
    for (const id of ['a', 'b', 'c', 'd', 'a']) stats.add(id, { n: 1 })
    store.recover()
    await stats.flush()
    const counts = await Promise.all(['a', 'b', 'c', 'd'].map((id) => stats.get(id)))
    expect(counts).toEqual([{ n: 2 }, { n: 1 }, {}, {}])
    expect(events.filter((each) => /2 increments were lost/.test(each))).toHaveLength(1)
  })

  test('what cannot be written at close is reported as lost', async () => {
    const { store, tp, events, stats } = setUp()
    store.fail()
    stats.add('a', { n: 1, m: 2 })
    await tp.close()
    expect(events.some((each) => /2 increments were lost/.test(each))).toBe(true)
  })
})

describe('counters of an instance that closes', () => {
  test('what others add while they close is written, in whatever order they were created', async () => {
    const store = testStore()
    const tp = turnpike({ store, logger: false })
    const queue = jobs(tp)
    const stats = counters(tp, 'campaign', { flush: '1h' })
    const { closing } = tp[CONTEXT]('queue')
    const started = new Promise<void>((resolve) => {
      queue.define('count', async () => {
        resolve()
        await once(closing, 'abort')
        await setImmediate()
        stats.add('a', { n: 1 })
      })
    })
    await queue.add('count')
    await queue.work()
    await started
    const reports: unknown[] = []
    for (const type of ['error', 'warning'] as const) tp.on(type, (event) => reports.push(event))
    const written: unknown[] = []
    const run = store.run.bind(store)
    store.run = async (operation, keys, args) => {
      const result = await run(operation, keys, args)
      if (operation.name === 'counters.add') written.push(args.slice(-2))
      return result
    }
    await tp.close()
    expect({ reports, written }).toEqual({ reports: [], written: [['n', 1]] })
  })

  test('add() after close() is one warning, and keeps nothing', async () => {
    const tp = turnpike({ store: testStore(), logger: false })
    const stats = counters(tp, 'campaign')
    const warnings: string[] = []
    tp.on('warning', ({ message }) => warnings.push(message))
    await tp.close()
    for (let i = 0; i < 3; i++) stats.add(i, { n: 1 })
    expect(warnings).toEqual([expect.stringMatching(/after tp\.close\(\).*lost/)])
    await stats.flush()
  })
})

test('options are checked', () => {
  const tp = turnpike({ redis: 'memory' })
  const make = (options: object) => () => counters(tp, 'x', options)
  expect(make({ flush: '1 sec' })).toThrow(/flush must be a duration/)
  expect(make({ fields: [] })).toThrow(/fields must be a list/)
  expect(make({ derived: { rate: 1 } })).toThrow(/derived must be an object of functions/)
  expect(make({ interval: 1 })).toThrow(/there is no option interval/)
})
