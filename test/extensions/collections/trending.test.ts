import { describe, expect, test } from 'vitest'
import { trending, type TrendingOptions } from '../../../src/collections.ts'
import { turnpike } from '../../../src/node.ts'
import { bothEngines } from '../../support/engines.ts'

describe.each(bothEngines())('trending lists on the $name engine', ({ open }) => {
  function setUp(options: TrendingOptions = {}) {
    const { store, prefix, advance } = open()
    const tags = trending(turnpike({ store, prefix }), 'hashtags', options)
    const order = async () => (await tags.top(100)).map(({ id }) => id)
    return { tags, advance, order }
  }

  test('a hit counts half after each half-life, exactly', async () => {
    const { tags, advance } = setUp({ halfLife: '1h' })
    for (let i = 0; i < 8; i++) await tags.hit('#coffee')
    expect(await tags.top(1)).toEqual([{ id: '#coffee', score: 8 }])
    await advance('1h')
    expect(await tags.top(1)).toEqual([{ id: '#coffee', score: 4 }])
    await tags.hit('#coffee')
    await advance('90m')
    const [coffee] = await tags.top(1)
    expect(coffee!.score).toBeCloseTo(5 * 2 ** -1.5, 5)
  })

  test('what is hit now overtakes what was hit more often long ago', async () => {
    const { tags, advance, order } = setUp({ halfLife: '1h' })
    await tags.hit('old', { weight: 100 })
    await advance('5h')
    for (let i = 0; i < 3; i++) await tags.hit('new')
    expect(await order()).toEqual(['old', 'new'])
    await tags.hit('new')
    expect(await order()).toEqual(['new', 'old'])
  })

  test('a thousand half-lives later nothing has overflowed', async () => {
    const { tags, advance } = setUp({ halfLife: '1s' })
    for (let i = 0; i < 40; i++) {
      await tags.hit('a', { weight: 1_000_000 })
      await advance('25s')
    }
    await tags.hit('a')
    expect((await tags.top(1))[0]!.score).toBeCloseTo(1 + 1e6 * 2 ** -25, 3)
  })

  test('max: the lowest is removed', async () => {
    const { tags, order } = setUp({ max: 2 })
    await tags.hit('a', { weight: 3 })
    await tags.hit('b', { weight: 2 })
    await tags.hit('c')
    expect(await order()).toEqual(['a', 'b'])
    await tags.hit('c', { weight: 5 })
    expect(await order()).toEqual(['c', 'a'])
    expect(await tags.remove('c')).toBe(true)
    expect(await tags.remove('c')).toBe(false)
    expect(await order()).toEqual(['a'])
  })

  test('it ends when nothing is hit any more', async () => {
    const { tags, advance } = setUp({ halfLife: '1s' })
    await tags.hit('a')
    await advance('30s')
    // Redis's own clock ends keys there; the list is all but zero here.
    expect((await tags.top(1)).every(({ score }) => score < 1e-8)).toBe(true)
  })

  test.each(['a:b', '{x}', '*', 'é😀', '__proto__', '\n', '1e999', 'x'.repeat(256)])(
    'an item may have the name %j',
    async (id) => {
      const { tags } = setUp()
      await tags.hit(id, { weight: 2 })
      await tags.hit('other')
      expect(await tags.top(10)).toMatchObject([{ id, score: 2 }, { id: 'other' }])
    },
  )

  test('what is no item, weight or count is refused', async () => {
    const { tags } = setUp()
    await expect(tags.hit('')).rejects.toMatchObject({ code: 'TP_KEY' })
    for (const weight of [0, -1, 0.5, 1_000_001, '1'])
      await expect(tags.hit('a', { weight: weight as number })).rejects.toMatchObject({
        code: 'TP_VALUE',
      })
    await expect(tags.top(0)).rejects.toMatchObject({ code: 'TP_VALUE' })
  })
})

test('options are checked', () => {
  const tp = turnpike({ redis: 'memory' })
  expect(() => trending(tp, 'x', { halfLife: '10ms' })).toThrow(/halfLife/)
  expect(() => trending(tp, 'x', { max: 0 })).toThrow(/max must be an integer/)
})
