import { describe, expect, expectTypeOf, onTestFinished, test } from 'vitest'
import { config } from '../../../src/flags.ts'
import { turnpike } from '../../../src/node.ts'
import { testStore } from '../../../src/testing.ts'
import { signal } from '../../frameworks/harness.ts'
import { bothEngines } from '../../support/engines.ts'
import { until } from '../../support/until.ts'
import { withoutMessages } from './support.ts'

/** A source that counts how often it was read, and how many reads there are at a time. */
function source() {
  const state = {
    version: 1,
    loads: 0,
    most: 0,
    current: 0,
    failure: undefined as Error | undefined,
  }
  const load = async () => {
    state.loads++
    state.most = Math.max(state.most, ++state.current)
    const { version } = state
    await new Promise(setImmediate)
    state.current--
    if (state.failure) throw state.failure
    return { version }
  }
  return { state, load }
}

describe.each(bothEngines())('config on the $name engine', ({ open }) => {
  function setUp() {
    const { store, prefix, advance } = open()
    const { state, load } = source()
    const start = (options = {}) => {
      const tp = turnpike({ store, prefix })
      return { tp, settings: config(tp, 'system', { load, ...options }) }
    }
    return { store, prefix, advance, state, load, start }
  }

  test('it is loaded once for all callers, and then held', async () => {
    const { state, start } = setUp()
    const { settings } = start()
    expect(settings.current).toBeUndefined()
    const all = await Promise.all(Array.from({ length: 50 }, () => settings.get()))
    expect(all.every((value) => value === all[0])).toBe(true)
    expect(settings.current).toEqual({ version: 1 })
    expect(state.loads).toBe(1)
    expectTypeOf(settings.current).toEqualTypeOf<{ version: number } | undefined>()
  })

  test('after its ttl it is loaded in the background, and callers do not wait', async () => {
    const { state, advance, start } = setUp()
    const { settings } = start({ ttl: '1m' })
    await settings.get()
    state.version = 2
    await advance('59s')
    expect(await settings.get()).toEqual({ version: 1 })
    expect(state.loads).toBe(1)
    await advance('1s')
    expect(await settings.get()).toEqual({ version: 1 })
    await until('it is loaded', () => settings.current?.version === 2)
    expect(state.loads).toBe(2)
  })

  test('reload() loads it again, here and in all processes', async () => {
    const { state, start } = setUp()
    const [a, b] = [start().settings, start().settings]
    await Promise.all([a.get(), b.get()])
    state.version = 2
    expect(await a.reload()).toEqual({ version: 2 })
    expect(await a.get()).toEqual({ version: 2 })
    await until('the other process has it', () => b.current?.version === 2)
  })

  test('a load that began before reload() is not believed', async () => {
    const { state, start } = setUp()
    const { settings } = start()
    const first = settings.get()
    state.version = 2
    await settings.reload()
    expect([await first, await settings.get()]).toEqual([{ version: 2 }, { version: 2 }])
    expect(state.most).toBe(1)
  })

  test('without a message other processes load it within `refresh`', async () => {
    const { state, store, prefix, advance, start, load } = setUp()
    const other = config(turnpike({ store: withoutMessages(store), prefix }), 'system', { load })
    await other.get()
    state.version = 2
    await start().settings.reload()
    expect(other.current).toEqual({ version: 1 })
    await advance('10s')
    await until('it is loaded', () => other.current?.version === 2)
  })
})

function setUpUnit(options = {}) {
  const store = testStore()
  const tp = turnpike({ store })
  onTestFinished(() => tp.close())
  const errors: object[] = []
  tp.on('error', (event) => errors.push(event))
  const { state, load } = source()
  return { store, tp, state, load, errors, settings: config(tp, 'system', { load, ...options }) }
}

test('what the first load throws is thrown, and the next call tries again', async () => {
  const { state, settings } = setUpUnit()
  state.failure = new Error('no database')
  await expect(settings.get()).rejects.toThrow('no database')
  state.failure = undefined
  expect(await settings.get()).toEqual({ version: 1 })
})

test('when a later load fails the last value stays, it is reported, and tried again after a second', async () => {
  const { store, state, settings, errors } = setUpUnit({ ttl: '1m' })
  await settings.get()
  state.failure = new Error('no database')
  await store.advance('1m')
  for (let i = 0; i < 5; i++) {
    expect(await settings.get()).toEqual({ version: 1 })
    await new Promise(setImmediate)
    await new Promise(setImmediate)
  }
  expect(state.loads).toBe(2)
  expect(errors).toEqual([{ feature: 'config', name: 'system', error: state.failure }])
  state.failure = undefined
  state.version = 2
  await store.advance('1s')
  await settings.get()
  await until('it is loaded', () => settings.current?.version === 2)
})

test('one load that hangs does not keep the old value for ever, nor the first caller', async () => {
  const store = testStore()
  const tp = turnpike({ store })
  let loads = 0
  const load = () => (++loads % 2 === 1 ? new Promise<number>(() => {}) : loads)
  const settings = config(tp, 'system', { load, ttl: '1m' })
  const errors: unknown[] = []
  tp.on('error', ({ error }) => errors.push(error))
  const first = expect(settings.get()).rejects.toThrow(/load has not settled within 30 s/)
  await until('it is being loaded', () => loads === 1)
  await store.advance('30s')
  await first
  expect(await settings.get()).toBe(2)
  await store.advance('1m')
  expect(await settings.get()).toBe(2)
  await until('it is being loaded again', () => loads === 3)
  await store.advance('30s')
  await until('the failure is reported', () => errors.length > 0)
  await store.advance('1s')
  await settings.get()
  await until('the next load succeeds', () => settings.current === 4)
})

test('while Redis is away it is loaded as usual, and reload() says that others were not told', async () => {
  const { store, state, settings } = setUpUnit()
  store.fail()
  expect(await settings.get()).toEqual({ version: 1 })
  state.version = 2
  await expect(settings.reload()).rejects.toMatchObject({ code: 'TP_UNAVAILABLE' })
  expect(settings.current).toEqual({ version: 2 })
})

test('reload() without end does not keep a caller waiting without end', async () => {
  const { state, settings, load } = setUpUnit()
  const tp = turnpike({ store: testStore() })
  onTestFinished(() => tp.close())
  const reloads: Promise<unknown>[] = []
  let [begun, reloaded] = [signal(), signal()]
  let isOver = false
  const busy = config(tp, 'busy', {
    load: async () => {
      begun.resolve()
      await reloaded.promise
      return await load()
    },
  })
  // Another part of the program calls it during each load.
  async function reloadDuringEach(): Promise<void> {
    for (;;) {
      await begun.promise
      if (isOver) return
      begun = signal()
      reloads.push(busy.reload())
      reloaded.resolve()
      reloaded = signal()
    }
  }
  const reloading = reloadDuringEach()
  await busy.get()
  isOver = true
  begun.resolve()
  await reloading
  await Promise.all(reloads)
  expect(state.loads).toBe(3)
  expect(settings.current).toBeUndefined()
})

test('a load that asks for its own value fails at once, and the next one is tried', async () => {
  const { tp } = setUpUnit()
  let asks: 'get' | 'reload' | undefined = 'get'
  const own = config(tp, 'own', {
    load: async (): Promise<number> => {
      await new Promise(setImmediate)
      return asks === undefined ? 1 : await own[asks]()
    },
  })
  const code = 'TP_VALUE'
  const refused = { status: 'rejected', reason: { code } }
  const all = await Promise.allSettled([own.get(), own.get()])
  expect(all).toMatchObject([refused, refused])
  asks = 'reload'
  await expect(own.get()).rejects.toMatchObject({ code })
  asks = undefined
  expect(await own.get()).toBe(1)
  asks = 'reload'
  await expect(own.reload()).rejects.toMatchObject({ code })
  // It holds a value: there is nothing to wait for.
  asks = 'get'
  expect(await own.reload()).toBe(1)
})

test('a load may ask for another configuration, and leave work behind that asks for its own', async () => {
  const { tp, settings } = setUpUnit()
  const later = signal()
  let answer: Promise<unknown> | undefined
  const own = config(tp, 'own', {
    load: async (): Promise<number> => {
      answer ??= later.promise.then(() => own.get())
      void own.reload().catch(() => {})
      return (await settings.get()).version
    },
  })
  expect(await own.get()).toBe(1)
  later.resolve()
  expect(await answer).toBe(1)
})

test.each<[string, unknown, unknown]>([
  ['no name', '', { load: () => 1 }],
  ['a name with a colon', 'a:b', { load: () => 1 }],
  ['a name that is no string', 7, { load: () => 1 }],
  ['no options', 'a', undefined],
  ['no load', 'a', {}],
  ['a load that is no function', 'a', { load: 1 }],
  ['a ttl of nothing', 'a', { load: () => 1, ttl: 0 }],
  ['an unknown option', 'a', { load: () => 1, near: true }],
])('%s is refused', (_what, name, options) => {
  const tp = turnpike({ store: testStore() })
  const code = 'TP_OPTION'
  expect(() => config(tp, name as string, options as any)).toThrow(
    expect.objectContaining({ code }),
  )
})

test('two configurations of one name are one, and must have one load function', () => {
  const { tp, load } = setUpUnit()
  expect(() => config(tp, 'system', { load })).not.toThrow()
  expect(() => config(tp, 'system', { load: () => 1 })).toThrow(/another load function/)
  expect(() => config(tp, 'system', { load, ttl: '1h' })).toThrow(/ttl/)
})
