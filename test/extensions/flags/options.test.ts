import { describe, expect, onTestFinished, test } from 'vitest'
import { flags } from '../../../src/flags.ts'
import { turnpike } from '../../../src/node.ts'
import { testStore } from '../../../src/testing.ts'

const DEFAULTS = { on: false, limit: 1 }

function setUp() {
  const store = testStore()
  const tp = turnpike({ store })
  onTestFinished(() => tp.close())
  const warnings: string[] = []
  tp.on('warning', ({ message }) => warnings.push(message))
  return { store, tp, warnings, feature: flags(tp, { defaults: DEFAULTS }) as any }
}

const cycle: { self?: object } = {}
cycle.self = cycle

describe('flags()', () => {
  test.each<[string, object | undefined]>([
    ['nothing', undefined],
    ['no defaults', {}],
    ['a list', { defaults: ['a'] }],
    ['null', { defaults: { a: null } }],
    ['undefined', { defaults: { a: undefined } }],
    ['NaN', { defaults: { a: Number.NaN } }],
    ['a function', { defaults: { a: () => true } }],
    ['a cycle', { defaults: { a: cycle } }],
    ['a bigint', { defaults: { a: 1n } }],
    ['a name with a space', { defaults: { 'a b': false } }],
    ['an empty name', { defaults: { '': false } }],
    ['a long name', { defaults: { ['x'.repeat(41)]: false } }],
    [
      '501 flags',
      { defaults: Object.fromEntries(Array.from({ length: 501 }, (_, i) => [`f${i}`, false])) },
    ],
    ['an unknown option', { defaults: {}, refreshMs: 1 }],
    ['a refresh of nothing', { defaults: {}, refresh: 0 }],
    ['a refresh that is no duration', { defaults: {}, refresh: 'often' }],
    ['a user that is no function', { defaults: {}, user: 'ann' }],
    ['a name for keys with a colon', { defaults: {}, name: 'a:b' }],
  ])('refuses %s', (_what, options) => {
    const tp = turnpike({ store: testStore() })
    expect(() => flags(tp, options as any)).toThrow(expect.objectContaining({ code: 'TP_OPTION' }))
  })

  test('refuses a name that is taken with another refresh', () => {
    const tp = turnpike({ store: testStore() })
    flags(tp, { defaults: {} })
    expect(() => flags(tp, { defaults: {}, refresh: '1s' })).toThrow(/refresh/)
  })

  test('takes what is no instance for none', () => {
    expect(() => flags({} as any, { defaults: {} })).toThrow(/instance/)
  })
})

describe('set()', () => {
  test.each<[string, unknown]>([
    ['undefined', undefined],
    ['null', null],
    ['a number', 20],
    ['a string', 'on'],
    ['a list of booleans', [true]],
    ['21 rules', Array.from({ length: 21 }, () => ({}))],
    ['an unknown condition', { percent: 20 }],
    ['a percentage above 100', { percentage: 101 }],
    ['a percentage below 0', { percentage: -1 }],
    ['a percentage that is NaN', { percentage: Number.NaN }],
    ['a percentage that is a string', { percentage: '20' }],
    ['a user in place of a list', { users: 'ann' }],
    ['an empty user', { users: [''] }],
    ['a user of 257 characters', { users: ['x'.repeat(257)] }],
    ['1001 users', { users: Array.from({ length: 1001 }, (_, i) => i) }],
    ['an object as organisation', { organisations: [{}] }],
    ['a date that is none', { from: new Date(Number.NaN) }],
    ['a time that is none', { until: 'tomorrow' }],
    ['an end before the begin', { from: 2, until: 1 }],
    ['a value of another type', { value: 'yes' }],
    ['a value that is null', { value: null }],
    ['no variants', { variants: [] }],
    ['a weight of 0', { variants: [{ value: true, weight: 0 }] }],
    [
      'a variant of another type',
      {
        variants: [
          { value: true, weight: 1 },
          { value: 1, weight: 1 },
        ],
      },
    ],
    ['a value and variants', { value: true, variants: [{ value: true, weight: 1 }] }],
  ])('refuses %s, and changes nothing', async (_what, setting) => {
    const { feature } = setUp()
    await expect(feature.set('on', setting)).rejects.toMatchObject({ code: 'TP_OPTION' })
    expect(feature.get('on').rules).toBeUndefined()
    expect(await feature.audit()).toEqual([])
  })

  test('refuses a rule without a value for a flag that is not only on or off', async () => {
    const { feature } = setUp()
    for (const setting of [true, {}, { percentage: 20 }, { value: Number.NaN }])
      await expect(feature.set('limit', setting)).rejects.toMatchObject({ code: 'TP_OPTION' })
  })

  test.each(['off', 'On', '', '__proto__', 'constructor', 'toString', undefined, {}, 7])(
    'refuses the flag %j, and so do get() and reset()',
    async (name) => {
      const { feature } = setUp()
      await expect(feature.set(name, true)).rejects.toMatchObject({ code: 'TP_OPTION' })
      await expect(feature.reset(name)).rejects.toMatchObject({ code: 'TP_OPTION' })
      expect(() => feature.get(name)).toThrow(expect.objectContaining({ code: 'TP_OPTION' }))
    },
  )

  test('says which flag was probably meant', async () => {
    const { feature } = setUp()
    await expect(feature.set('limits', { value: 1 })).rejects.toThrow("Did you mean 'limit'?")
  })

  test('refuses a name of more than 200 characters as the author', async () => {
    const { feature } = setUp()
    const by = 'x'.repeat(201)
    await expect(feature.set('on', true, { by })).rejects.toMatchObject({ code: 'TP_OPTION' })
    await expect(feature.reset('on', { by: 7 })).rejects.toMatchObject({ code: 'TP_OPTION' })
    await expect(feature.audit({ limit: 101 })).rejects.toMatchObject({ code: 'TP_OPTION' })
  })

  test('refuses rules that are too large together, and keeps the earlier ones', async () => {
    const { tp } = setUp()
    const names = Array.from({ length: 10 }, (_, i) => `f${i}`)
    const defaults = Object.fromEntries(names.map((name) => [name, false]))
    const feature = flags(tp, { name: 'many', defaults }) as any
    const users = Array.from({ length: 1000 }, (_, i) => `user-${i}`)
    const outcomes = await Promise.allSettled(names.map((name) => feature.set(name, { users })))
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(5)
    const refused = outcomes.find(({ status }) => status === 'rejected') as PromiseRejectedResult
    expect(refused.reason).toMatchObject({ code: 'TP_VALUE' })
    expect(feature.enabled('f0', { user: 'user-999' })).toBe(true)
  })
})

test.each(['__proto__', 'constructor', 'hasOwnProperty'])(
  'a flag may have the name %s',
  async (name) => {
    const { tp } = setUp()
    const defaults = JSON.parse(`{"${name}":false,"other":false}`)
    const feature = flags(tp, { name: 'odd', defaults }) as any
    expect(feature.enabled(name)).toBe(false)
    await feature.set(name, true)
    await feature.set('other', true)
    expect(feature.enabled(name)).toBe(true)
    expect(Object.keys(feature.all())).toEqual([name, 'other'])
    await feature.reset(name)
    expect(feature.enabled(name)).toBe(false)
    expect(({} as any).polluted).toBeUndefined()
  },
)

test('a flag that is not in defaults counts as off, with one warning', () => {
  const { feature, warnings } = setUp()
  expect([feature.enabled('onn'), feature.enabled('onn')]).toEqual([false, false])
  expect(feature.value('__proto__')).toBeUndefined()
  for (const name of [undefined, null, 7, {}]) expect(feature.enabled(name)).toBe(false)
  expect(warnings).toContainEqual(expect.stringContaining('Did you mean on?'))
  expect(warnings.length).toBeLessThanOrEqual(2)
})

test.each([[Promise.resolve('ann')], [{ id: 'ann' }], [['ann']]])(
  'a user function that returns %j counts as none, with a warning',
  async (returned) => {
    const { tp, warnings } = setUp()
    const feature = flags(tp, { defaults: DEFAULTS, user: () => returned as any })
    await feature.set('on', { users: ['ann', '[object Promise]', '[object Object]'] })
    expect(feature.of({} as any).enabled('on')).toBe(false)
    expect(warnings).toEqual([expect.stringContaining('user is an object')])
  },
)

test('what a user function throws reaches the caller of a check that needs the user', async () => {
  const { tp } = setUp()
  const user = (): never => {
    throw new Error('not logged in')
  }
  const feature = flags(tp, { defaults: DEFAULTS, user })
  expect(feature.of({} as any).enabled('on')).toBe(false)
  await feature.set('on', { users: ['ann'] })
  expect(() => feature.of({} as any).enabled('on')).toThrow('not logged in')
})

test.each<[unknown, string[]]>([
  [null, []],
  ['ann', ['Pass { user: id }']],
  [7, ['Pass { user: id }']],
  [{ user: { id: 'ann' } }, ['user is an object']],
  [{ user: null }, []],
])('a check of the subject %j does not throw, and counts it as unknown', async (subject, hints) => {
  const { feature, warnings } = setUp()
  await feature.set('on', { users: ['ann', 7] })
  for (let i = 0; i < 2; i++) {
    expect(feature.enabled('on', subject as any)).toBe(false)
    expect(feature.value('on', subject as any)).toBe(false)
    expect(feature.all(subject as any)).toMatchObject({ on: false })
  }
  expect(warnings).toEqual(hints.map((hint) => expect.stringContaining(hint)))
})

test('rules that this version cannot read leave the default, with a warning', async () => {
  const { store, tp, warnings, feature } = setUp()
  await feature.set('on', true)
  const key = 'tp:flags:document:{flags-default}'
  const rules = { on: [{ weekdays: ['mon'] }], limit: [{ value: 3 }], 'a b': [], other: 7 }
  store.set(key, { version: '9.z', content: JSON.stringify(rules), keptUntil: Infinity }, 1e9)
  await feature.refresh()
  expect([feature.enabled('on'), feature.value('limit')]).toEqual([false, 3])
  expect(warnings).toEqual([expect.stringContaining('cannot be read')])
  // They are not lost when another flag is changed.
  await feature.set('limit', { value: 4 })
  const stored = JSON.parse(store.get<{ content: string }>(key)!.content)
  expect(stored).toMatchObject({ on: [{ weekdays: ['mon'] }], limit: [{ value: 4 }], other: 7 })
  expect(tp.status().status).toBe('ok')
})
