import { describe, expect, test } from 'vitest'
import { suggestions, type SuggestionsOptions } from '../../../src/collections.ts'
import { turnpike } from '../../../src/node.ts'
import { bothEngines } from '../../support/engines.ts'

describe.each(bothEngines())('suggestions on the $name engine', ({ open }) => {
  function setUp(options: SuggestionsOptions = {}) {
    const { store, prefix } = open()
    const words = suggestions(turnpike({ store, prefix }), 'campaign', options)
    const addAll = async (weights: Record<string, number>) => {
      for (const [text, weight] of Object.entries(weights)) await words.add(text, { weight })
    }
    return { words, addAll }
  }

  test('terms with the prefix, the most popular first', async () => {
    const { words, addAll } = setUp()
    await addAll({ 'sustainable coffee': 2, sushi: 5, 'sustainable fashion': 9, summer: 20 })
    expect(await words.complete('sus', 5)).toEqual([
      'sustainable fashion',
      'sushi',
      'sustainable coffee',
    ])
    await words.add('sushi', { weight: 10 })
    expect(await words.complete('sus', 1)).toEqual(['sushi'])
    expect(await words.complete('sustainable c', 5)).toEqual(['sustainable coffee'])
    expect(await words.complete('x', 5)).toEqual([])
    expect(await words.complete('', 2)).toEqual(['summer', 'sushi'])
  })

  test('case, accents and blanks do not matter, and the latest spelling is shown', async () => {
    const { words } = setUp()
    await words.add('Cafe  Creme')
    await words.add(' Café Crème ')
    expect(await words.complete('CAFÉ', 5)).toEqual(['Café Crème'])
    expect(await words.complete('cafe c', 5)).toEqual(['Café Crème'])
  })

  test.each([
    ['Straße', 'strass'],
    ['Łódź', 'lod'],
    ['Ærø', 'aero'],
    ['İstanbul', 'ist'],
    ['ΟΔΟΣ', 'οδοσ'],
    ['Ελλάδα', 'ελλα'],
    ['Москва', 'МОС'],
    ['한국', '하'],
    ['東京', '東'],
    ['हिन्दी', 'हि'],
    ['العربية', 'الع'],
    ['😀 party', '😀'],
    ['ﬁnance', 'fin'],
  ])('%s is found by %s', async (text, prefix) => {
    const { words } = setUp()
    await words.add(text)
    await words.add('zzz')
    expect(await words.complete(prefix, 5)).toEqual([text])
  })

  test('a vowel sign is no accent', async () => {
    const { words } = setUp()
    await words.add('कि')
    expect(await words.complete('का', 5)).toEqual([])
  })

  test('max: the least popular makes room, and a new term always finds a place', async () => {
    const { words, addAll } = setUp({ max: 3 })
    await addAll({ a: 5, b: 3, c: 4, aa: 1 })
    expect(await words.complete('', 10)).toEqual(['a', 'c', 'aa'])
    expect(await words.complete('b', 10)).toEqual([])
  })

  test('2,000 terms with one prefix: the most popular are found', async () => {
    const { words } = setUp()
    const add = async (i: number) => {
      await words.add(`term ${i}`, { weight: i + 1 })
    }
    for (let i = 0; i < 2000; i += 100)
      await Promise.all(Array.from({ length: 100 }, (_, n) => add(i + n)))
    expect(await words.complete('term', 3)).toEqual(['term 1999', 'term 1998', 'term 1997'])
    expect(await words.complete('term 19', 2)).toEqual(['term 1999', 'term 1998'])
  })

  test('a removed term is not suggested', async () => {
    const { words } = setUp()
    await words.add('Foo')
    expect(await words.remove('fóo')).toBe(true)
    expect(await words.remove('foo')).toBe(false)
    expect(await words.complete('f', 5)).toEqual([])
  })

  test.each([
    'a:b',
    '{x}',
    '*',
    '[a',
    '(a',
    '-',
    '+',
    '\ufffd',
    '__proto__',
    'a\u0000b',
    '\ud800x',
  ])('a user may type %j', async (text) => {
    const { words } = setUp()
    expect(await words.add(text)).toBe(true)
    await words.add('zzz')
    expect(await words.complete(text, 5)).toHaveLength(1)
  })

  test('what cannot be suggested is not stored, and what is no string is refused', async () => {
    const { words } = setUp()
    for (const text of ['', ' ', '\t\n', '\u0301', 'x'.repeat(101), 'ﷺ'.repeat(20)])
      expect(await words.add(text)).toBe(false)
    expect(await words.complete('x'.repeat(101), 5)).toEqual([])
    expect(await words.complete('', 5)).toEqual([])
    for (const text of [undefined, 5, {}])
      await expect(words.add(text as string)).rejects.toMatchObject({ code: 'TP_VALUE' })
    await expect(words.complete('a', 101)).rejects.toMatchObject({ code: 'TP_VALUE' })
  })
})
