import { describe, expect, expectTypeOf, test } from 'vitest'
import { leaderboard, type LeaderboardOptions, type ScoreKind } from '../../../src/collections.ts'
import { turnpike } from '../../../src/node.ts'
import { bothEngines } from '../../support/engines.ts'

const LARGEST = '9'.repeat(29)

describe.each(bothEngines())('leaderboards on the $name engine', ({ open }) => {
  function setUp<Kind extends ScoreKind = 'number'>(options: LeaderboardOptions<Kind> = {}) {
    const { store, prefix, advance } = open()
    const instance = () => turnpike({ store, prefix })
    const board = leaderboard(instance(), 'creators', options)
    const order = async () => (await board.top(100)).map(({ id, score }) => `${id} ${score}`)
    return { board, elsewhere: leaderboard(instance(), 'creators', options), advance, order }
  }

  test('points add up over processes, ranks begin at 1', async () => {
    const { board, elsewhere } = setUp()
    expect(await board.add('ann', 12)).toEqual({ score: 12, rank: 1 })
    expect(await elsewhere.add('bob', 20)).toEqual({ score: 20, rank: 1 })
    expect(await elsewhere.add('ann', 10)).toEqual({ score: 22, rank: 1 })
    expect(await board.add(7, 1)).toEqual({ score: 1, rank: 3 })
    expect(await board.top(2)).toEqual([
      { id: 'ann', score: 22, rank: 1 },
      { id: 'bob', score: 20, rank: 2 },
    ])
    expect(await board.top(2, { offset: 2 })).toEqual([{ id: '7', score: 1, rank: 3 }])
    expect(await board.rank(7)).toEqual({ id: '7', score: 1, rank: 3 })
    expect(await board.rank('nobody')).toBeUndefined()
  })

  test('of equal scores, the one reached first is above, whatever the IDs', async () => {
    const { board, order } = setUp()
    for (const id of ['m', 'z', 'a']) await board.add(id, 5)
    expect(await order()).toEqual(['m 5', 'z 5', 'a 5'])
    await board.add('m', 0)
    expect((await order())[0]).toBe('m 5')
    await board.add('m', 1)
    await board.add('m', -1)
    expect(await order()).toEqual(['z 5', 'a 5', 'm 5'])
    await board.set('z', 5)
    expect((await order())[0]).toBe('z 5')
  })

  test('around shows the neighbours, fewer at the ends', async () => {
    const { board } = setUp()
    for (let i = 1; i <= 9; i++) await board.set(`user${i}`, -i)
    const ranks = async (id: string, count: number) =>
      (await board.around(id, count)).map(({ id, rank }) => `${rank} ${id}`)
    expect(await ranks('user5', 1)).toEqual(['4 user4', '5 user5', '6 user6'])
    expect(await ranks('user1', 2)).toEqual(['1 user1', '2 user2', '3 user3'])
    expect(await ranks('user9', 1)).toEqual(['8 user8', '9 user9'])
    expect(await ranks('user3', 0)).toEqual(['3 user3'])
    expect(await ranks('nobody', 2)).toEqual([])
  })

  test('max: the lowest makes room, and a score that is too low has no place', async () => {
    const { board, order } = setUp({ max: 3 })
    for (const [id, score] of Object.entries({ a: 1, b: 2, c: 3 })) await board.set(id, score)
    expect(await board.set('d', 0)).toEqual({ score: 0, rank: undefined })
    expect(await board.set('e', 4)).toEqual({ score: 4, rank: 1 })
    expect(await order()).toEqual(['e 4', 'c 3', 'b 2'])
    expect(await board.rank('a')).toBeUndefined()
    // Who lost the place begins at 0 again.
    expect(await board.add('a', 1)).toEqual({ score: 1, rank: undefined })
  })

  test('a removed ID has no place', async () => {
    const { board, order } = setUp()
    await board.add('ann', 1)
    expect(await board.remove('ann')).toBe(true)
    expect(await board.remove('ann')).toBe(false)
    expect(await order()).toEqual([])
  })

  test('each week has a board of its own, and the former ones can be read', async () => {
    const { board, advance } = setUp({ period: 'week' })
    // The clock begins on Thursday, January 1st.
    await board.add('ann', 3)
    await advance('3d')
    await board.add('ann', 4)
    await advance('1d')
    expect(await board.top(10)).toEqual([])
    expect(await board.add('ann', 1)).toEqual({ score: 1, rank: 1 })
    expect(await board.rank('ann', { season: -1 })).toMatchObject({ score: 7 })
    await advance('7d')
    expect(await board.top(1)).toEqual([])
    expect(await board.top(1, { season: -2 })).toMatchObject([{ id: 'ann', score: 7 }])
  })

  test('scores stop at the largest safe integer', async () => {
    const { board } = setUp()
    await board.set('ann', Number.MAX_SAFE_INTEGER)
    expect((await board.add('ann', 5)).score).toBe(Number.MAX_SAFE_INTEGER)
    expect((await board.add('bob', -Number.MAX_SAFE_INTEGER)).score).toBe(-Number.MAX_SAFE_INTEGER)
  })

  test('scores as strings are exact with 29 digits, and stop there', async () => {
    const { board, elsewhere, order } = setUp({ scores: 'string', max: 6 })
    expect(await board.add('ann', '9007199254740993')).toEqual({
      score: '9007199254740993',
      rank: 1,
    })
    expect(await elsewhere.add('ann', 1)).toEqual({ score: '9007199254740994', rank: 1 })
    await board.set('bob', 9_007_199_254_740_995n)
    await board.set('cat', '-1000000000000000')
    await board.add('dan', `-${LARGEST}`)
    await board.add('eve', LARGEST)
    await board.set('fay', '9007199254740994')
    expect((await board.add('eve', 1n)).score).toBe(LARGEST)
    expect((await board.add('dan', -1)).score).toBe(`-${LARGEST}`)
    expect((await board.add('cat', '999999999999999')).score).toBe('-1')
    expect(await order()).toEqual([
      `eve ${LARGEST}`,
      'bob 9007199254740995',
      'ann 9007199254740994',
      'fay 9007199254740994',
      'cat -1',
      `dan -${LARGEST}`,
    ])
    await board.set('zoe', 0)
    expect(await board.rank('dan')).toBeUndefined()
    expect(await board.around('cat', 1)).toEqual([
      { id: 'zoe', score: '0', rank: 5 },
      { id: 'cat', score: '-1', rank: 6 },
    ])
    expect(await board.remove('cat')).toBe(true)
  })

  test('what is no score as a string is refused', async () => {
    const { board } = setUp({ scores: 'string', period: 'day' })
    const given = [
      '',
      ' 1',
      '1.5',
      '1e3',
      '0x1',
      '+1',
      '١',
      `1${LARGEST}`,
      10n ** 29n,
      0.5,
      2 ** 53,
    ]
    for (const points of given)
      await expect(board.add('ann', points), String(points)).rejects.toMatchObject({
        code: 'TP_VALUE',
      })
    expect(await board.top(1)).toEqual([])
  })

  test.each([
    'a:b',
    '{x}',
    '*',
    'é😀',
    '__proto__',
    ' ',
    '\n',
    '0000000000000000',
    'x'.repeat(256),
  ])('an item may have the name %j', async (id) => {
    for (const scores of ['number', 'string'] as const) {
      const { board } = setUp<ScoreKind>({ scores })
      await board.add('other', 1)
      await board.add(id, 2)
      const score = scores === 'number' ? 2 : '2'
      expect(await board.top(10)).toMatchObject([{ id, score }, { id: 'other' }])
      expect((await board.around(id, 0))[0]?.id).toBe(id)
      expect(await board.remove(id)).toBe(true)
    }
  })

  test('what is no item, no score or no count is refused', async () => {
    const { board } = setUp()
    for (const id of ['', 'x'.repeat(257), '\ud800', Number.NaN, {}, undefined, null])
      await expect(board.add(id as string, 1)).rejects.toMatchObject({ code: 'TP_KEY' })
    for (const points of [0.5, Number.NaN, Infinity, 2 ** 53, '1', undefined])
      await expect(board.add('ann', points as number)).rejects.toMatchObject({ code: 'TP_VALUE' })
    for (const count of [0, 1001, -1, '5'])
      await expect(board.top(count as number)).rejects.toMatchObject({ code: 'TP_VALUE' })
    await expect(board.top(1, { season: 1 })).rejects.toMatchObject({ code: 'TP_VALUE' })
    expect(await board.top(10)).toEqual([])
  })
})

test('tenants do not share boards, and a call without one is refused', async () => {
  const board = leaderboard(turnpike({ redis: 'memory', tenant: () => 'a' }), 'creators')
  await board.add('ann', 1, { tenant: 'a' })
  expect(await board.top(1, { tenant: 'b' })).toEqual([])
  expect(await board.top(1, { tenant: 'a' })).toHaveLength(1)
  await expect(board.add('ann', 1)).rejects.toMatchObject({ code: 'TP_KEY' })
})

test('options are checked, and a name has one set of settings', () => {
  const tp = turnpike({ redis: 'memory' })
  expect(() => leaderboard(tp, 'a b')).toThrow(/leaderboard\(\): name must be .*'a-b'/)
  expect(() => leaderboard(tp, 'x', { periode: 'day' } as never)).toThrow(/Did you mean period/)
  expect(() => leaderboard(tp, 'x', { period: 'year' as never })).toThrow(/'day' or 'week'/)
  leaderboard(tp, 'y', { max: 10 })
  leaderboard(tp, 'y', { max: 10 })
  expect(() => leaderboard(tp, 'y', { max: 20 })).toThrow(/another max/)
  expect(() => leaderboard(tp, 'y', { max: 10, scores: 'string' })).toThrow(/another scores/)
  expect(() => leaderboard(tp, 'z', { scores: 'bigint' as never })).toThrow(/'number' or 'string'/)
})

test('the types of scores come from the options', () => {
  const tp = turnpike({ redis: 'memory' })
  const numbers = leaderboard(tp, 'numbers', { period: 'day' })
  expectTypeOf(numbers.top).returns.resolves.toExtend<{ score: number }[]>()
  expectTypeOf(numbers.add).parameter(1).toEqualTypeOf<number>()
  const strings = leaderboard(tp, 'strings', { scores: 'string' })
  expectTypeOf(strings.top).returns.resolves.toExtend<{ score: string }[]>()
  expectTypeOf(strings.add).parameter(1).toEqualTypeOf<string | number | bigint>()
})
