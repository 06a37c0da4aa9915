import { describe, expect, expectTypeOf, test } from 'vitest'
import { flags, type Flags } from '../../../src/flags.ts'
import { turnpike } from '../../../src/node.ts'
import { testStore } from '../../../src/testing.ts'
import { apps } from '../../support/apps.ts'
import { bothEngines } from '../../support/engines.ts'
import { until } from '../../support/until.ts'

const DEFAULTS = {
  newDashboard: false,
  oldSearch: true,
  theme: 'plain',
  limit: 10,
  layout: { columns: 1 },
  tabs: ['home'],
}

describe.each(bothEngines())('flags on the $name engine', ({ open }) => {
  function setUp(options: object = {}) {
    const opened = open()
    const tp = turnpike({ store: opened.store, prefix: opened.prefix })
    return { ...opened, tp, feature: flags(tp, { defaults: DEFAULTS, ...options }) }
  }

  test('without rules the defaults apply', () => {
    const { feature } = setUp()
    expect(feature.all()).toEqual(DEFAULTS)
    expect(feature.enabled('newDashboard')).toBe(false)
    expect(feature.enabled('oldSearch')).toBe(true)
    expect(feature.get('theme')).toEqual({ name: 'theme', default: 'plain', rules: undefined })
  })

  test('true, false and reset', async () => {
    const { feature } = setUp()
    await feature.set('newDashboard', true)
    await feature.set('oldSearch', false)
    expect([feature.enabled('newDashboard'), feature.enabled('oldSearch')]).toEqual([true, false])
    expect(feature.get('newDashboard').rules).toEqual([{}])
    expect(feature.get('oldSearch').rules).toEqual([])
    await feature.reset('newDashboard')
    await feature.reset('oldSearch')
    expect(feature.all()).toEqual(DEFAULTS)
  })

  test('users, organisations and plans', async () => {
    const { feature } = setUp()
    const on = (subject: object): boolean => feature.enabled('newDashboard', subject)
    await feature.set('newDashboard', { users: ['ann', 7] })
    expect([on({ user: 'ann' }), on({ user: 7 }), on({ user: '7' })]).toEqual([true, true, true])
    expect([on({ user: 'bob' }), on({}), on({ organisation: 'ann' })]).toEqual([
      false,
      false,
      false,
    ])
    await feature.set('newDashboard', { organisations: ['acme'], plans: ['pro', 'team'] })
    expect(on({ organisation: 'acme', plan: 'team' })).toBe(true)
    expect(on({ organisation: 'acme', plan: 'free' })).toBe(false)
    expect(on({ organisation: 'acme' })).toBe(false)
    expect(on({ plan: 'pro' })).toBe(false)
    await feature.set('newDashboard', { users: [] })
    expect([on({}), on({ user: 'ann' })]).toEqual([false, false])
  })

  test('of several rules the first that holds decides', async () => {
    const { feature } = setUp()
    await feature.set('newDashboard', [
      { users: ['mallory'], value: false },
      { organisations: ['acme'] },
      { percentage: 0 },
    ])
    const on = (subject: object): boolean => feature.enabled('newDashboard', subject)
    expect(on({ user: 'mallory', organisation: 'acme' })).toBe(false)
    expect(on({ user: 'ann', organisation: 'acme' })).toBe(true)
    expect(on({ user: 'ann', organisation: 'other' })).toBe(false)
  })

  test('values and variants', async () => {
    const { feature } = setUp()
    await feature.set('layout', [{ plans: ['pro'], value: { columns: 3 } }])
    expect(feature.value('layout', { plan: 'pro' })).toEqual({ columns: 3 })
    expect(feature.value('layout', { plan: 'free' })).toEqual({ columns: 1 })
    await feature.set('limit', { value: 0 })
    expect(feature.value('limit')).toBe(0)
    await feature.set('theme', { value: '' })
    expect(feature.value('theme')).toBe('')
    await feature.set('theme', {
      variants: [
        { value: 'green', weight: 1 },
        { value: 'blue', weight: 3 },
      ],
    })
    const count = { green: 0, blue: 0, plain: 0 } as Record<string, number>
    for (let i = 0; i < 20_000; i++) {
      const value = feature.value('theme', { user: i })
      count[value] = count[value]! + 1
      if (i < 100) expect(feature.value('theme', { user: String(i) })).toBe(value)
    }
    expect(count['green']! / 20_000).toBeCloseTo(0.25, 1)
    expect(count['plain']).toBe(0)
    expect(feature.value('theme')).toBe('plain')
    await feature.set('theme', false)
    expect(feature.value('theme', { user: 1 })).toBe('plain')
  })

  test('from and until are times of the store', async () => {
    const { feature, advance, store } = setUp()
    const start = store.now()
    await feature.set('newDashboard', {
      from: new Date(start + 60_000),
      until: new Date(start + 120_000).toISOString(),
    })
    expect(feature.enabled('newDashboard')).toBe(false)
    await advance('59999ms')
    expect(feature.enabled('newDashboard')).toBe(false)
    await advance('1ms')
    expect(feature.enabled('newDashboard')).toBe(true)
    await advance('59999ms')
    expect(feature.enabled('newDashboard')).toBe(true)
    await advance('1ms')
    expect(feature.enabled('newDashboard')).toBe(false)
  })

  test('no request can change a value for others', async () => {
    const { feature } = setUp()
    const given = { columns: 2 }
    await feature.set('layout', { value: given })
    given.columns = 9
    for (const value of [feature.value('layout'), feature.value('tabs')])
      expect(() => Object.assign(value, { columns: 9, 0: 'x' })).toThrow(TypeError)
    expect(feature.value('layout')).toEqual({ columns: 2 })
  })

  test('audit tells who changed what, the latest first', async () => {
    const { feature, store } = setUp()
    await feature.set('newDashboard', { percentage: 20 }, { by: 'ann@example.org' })
    await feature.set('newDashboard', true)
    await feature.reset('newDashboard', { by: 'bob' })
    const at = store.now()
    const flag = 'newDashboard'
    expect(await feature.audit()).toEqual([
      { at, flag, by: 'bob', rules: undefined },
      { at, flag, by: undefined, rules: [{}] },
      { at, flag, by: 'ann@example.org', rules: [{ percentage: 20 }] },
    ])
    expect(await feature.audit({ limit: 1 })).toHaveLength(1)
    await feature.set('newDashboard', {
      users: Array.from({ length: 1000 }, (_, i) => `user-${i}`),
    })
    expect((await feature.audit())[0]).toEqual({ at, flag, by: undefined, rules: undefined })
  })

  test('flags of another version of the application keep their rules, and are listed', async () => {
    const { feature, tp } = setUp()
    const other = flags(tp, { defaults: { search: false } })
    await other.set('search', true)
    await feature.set('newDashboard', true)
    expect(other.enabled('search')).toBe(true)
    expect(feature.list().map(({ name }) => name)).toEqual([...Object.keys(DEFAULTS), 'search'])
    expect(feature.list().at(-1)).toEqual({ name: 'search', default: undefined, rules: [{}] })
    await feature.reset('search')
    expect(other.enabled('search')).toBe(false)
  })

  test('a stored value of another type than the default is not used', async () => {
    const { feature, tp } = setUp()
    const other = flags(tp, { defaults: { limit: { max: 1 }, newDashboard: 'no' } })
    await other.set('limit', { value: { max: 2 } })
    await other.set('newDashboard', { value: 'yes' })
    expect(feature.value('limit')).toBe(10)
    expect(feature.enabled('newDashboard')).toBe(false)
  })

  test('two names have rules of their own', async () => {
    const { feature, tp } = setUp()
    const other = flags(tp, { name: 'experiments', defaults: DEFAULTS })
    await other.set('newDashboard', true)
    expect([feature.enabled('newDashboard'), other.enabled('newDashboard')]).toEqual([false, true])
  })

  test('changes at the same time are all kept', async () => {
    const { feature, store, prefix } = setUp()
    const other = flags(turnpike({ store, prefix }), { defaults: DEFAULTS })
    await Promise.all([
      feature.set('newDashboard', true),
      other.set('oldSearch', false),
      feature.set('limit', { value: 3 }),
      other.set('theme', { value: 'dark' }),
    ])
    for (const each of [feature, other]) {
      await each.refresh()
      expect(each.all()).toMatchObject({
        newDashboard: true,
        oldSearch: false,
        limit: 3,
        theme: 'dark',
      })
    }
  })

  describe.each(apps)('on $name', ({ start }) => {
    test('a request has its flags, by who sends it', async () => {
      const { store, prefix } = open()
      let feature!: Flags<any, typeof DEFAULTS>
      const app = start({
        options: { store, prefix },
        mount(tp) {
          const middleware = flags(tp, {
            defaults: DEFAULTS,
            organisation: (native: any) => native.headers['x-organisation'],
            plan: (native: any) => native.headers['x-plan'],
          })
          feature = middleware
          const signIn = (native: any, second: any, third: any) => {
            const next = third ?? second
            const user = native.headers['x-user']
            // Signed in after the flags were mounted.
            if (user) (native.state ?? native).user = { id: user }
            return next()
          }
          return [middleware, signIn]
        },
        handle(native) {
          const { enabled, value, all } = native.flags
          expect(feature.of(native).all()).toEqual(all())
          return [200, { on: enabled('newDashboard'), layout: value('layout').columns }]
        },
      })
      await feature.set('newDashboard', { users: ['ann'] })
      await feature.set('layout', {
        organisations: ['acme'],
        plans: ['pro'],
        value: { columns: 4 },
      })
      const ask = async (headers: Record<string, string>) => {
        const { status, text } = await app.get('/', headers)
        expect(status).toBe(200)
        return JSON.parse(text)
      }
      expect(await ask({})).toEqual({ on: false, layout: 1 })
      expect(await ask({ 'x-user': 'ann' })).toEqual({ on: true, layout: 1 })
      expect(await ask({ 'x-user': 'bob', 'x-organisation': 'acme', 'x-plan': 'pro' })).toEqual({
        on: false,
        layout: 4,
      })
    })
  })
})

test('percentages are exact within 1 % at 100,000 users, stable when raised, and differ by flag', async () => {
  const feature = flags(turnpike({ store: testStore() }), { defaults: { a: false, b: false } })
  const shareOf = async (flag: 'a' | 'b', percentage: number): Promise<Set<number>> => {
    await feature.set(flag, { percentage })
    const users = new Set<number>()
    for (let user = 0; user < 100_000; user++) if (feature.enabled(flag, { user })) users.add(user)
    return users
  }
  let before = new Set<number>()
  for (const percentage of [0, 0.5, 1, 10, 25, 50, 75, 99, 100]) {
    const users = await shareOf('a', percentage)
    expect(Math.abs(users.size / 1000 - percentage)).toBeLessThan(1)
    expect([...before].every((user) => users.has(user))).toBe(true)
    before = users
  }
  expect(before.size).toBe(100_000)
  const [a, b] = [await shareOf('a', 50), await shareOf('b', 50)]
  const both = [...a].filter((user) => b.has(user)).length
  expect(Math.abs(both / 1000 - 25)).toBeLessThan(1)
})

test.each(['user-%', 'e-mail-%@example.org', '%', '日本-%', `${'x'.repeat(200)}%`])(
  'percentages are exact within 1 % for users like %j',
  async (pattern) => {
    const feature = flags(turnpike({ store: testStore() }), { defaults: { a: false } })
    await feature.set('a', { percentage: 30 })
    let count = 0
    for (let i = 0; i < 100_000; i++)
      if (feature.enabled('a', { user: pattern.replace('%', String(i * 7919)) })) count++
    expect(Math.abs(count / 1000 - 30)).toBeLessThan(1)
  },
)

test('a percentage needs a user, and 100 does not', async () => {
  const feature = flags(turnpike({ store: testStore() }), { defaults: { a: false } })
  await feature.set('a', { percentage: 99.9 })
  expect([feature.enabled('a'), feature.enabled('a', { user: '' })]).toEqual([false, false])
  await feature.set('a', { percentage: 100 })
  expect(feature.enabled('a')).toBe(true)
})

test('while Redis is away the last rules apply, and changes are refused', async () => {
  const store = testStore()
  const feature = flags(turnpike({ store }), { defaults: { a: false } })
  await feature.set('a', true)
  store.fail()
  expect(feature.enabled('a')).toBe(true)
  await expect(feature.set('a', false)).rejects.toMatchObject({ code: 'TP_UNAVAILABLE' })
  await expect(feature.audit()).rejects.toMatchObject({ code: 'TP_UNAVAILABLE' })
  expect(feature.enabled('a')).toBe(true)
})

test('while Redis was never reached the defaults apply', async () => {
  const store = testStore()
  await flags(turnpike({ store }), { defaults: { a: false } }).set('a', true)
  store.fail()
  const late = flags(turnpike({ store }), { defaults: { a: false } })
  expect(late.enabled('a')).toBe(false)
  await expect(late.refresh()).rejects.toMatchObject({ code: 'TP_UNAVAILABLE' })
  store.recover()
  await store.advance('1s')
  await until('it was read', () => late.enabled('a'))
})

test('the types come from the defaults', () => {
  const feature = flags(turnpike({ store: testStore() }), { defaults: DEFAULTS })
  expectTypeOf(feature.value('layout')).toEqualTypeOf<{ columns: number }>()
  expectTypeOf(feature.value('newDashboard')).toEqualTypeOf<boolean>()
  expectTypeOf(feature.all().limit).toEqualTypeOf<number>()
  expectTypeOf(feature.enabled).parameter(0).toEqualTypeOf<'newDashboard' | 'oldSearch'>()
  // @ts-expect-error it is not only on or off
  const enabled = () => feature.enabled('theme')
  // @ts-expect-error there is no such flag
  const value = () => feature.value('them')
  // @ts-expect-error a number
  const set = () => feature.set('limit', { value: 'many' })
  // @ts-expect-error it has a value
  const on = () => feature.set('limit', true)
  expect([enabled, value, set, on]).toHaveLength(4)
})
