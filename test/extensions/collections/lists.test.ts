import { describe, expect, test } from 'vitest'
import { list, recent } from '../../../src/collections.ts'
import { turnpike } from '../../../src/node.ts'
import { bothEngines } from '../../support/engines.ts'

describe.each(bothEngines())('recent items on the $name engine', ({ open }) => {
  const setUp = (options = {}) => {
    const { store, prefix } = open()
    return recent(turnpike({ store, prefix }), 'searches', options)
  }

  test('the latest first, each once, up to max', async () => {
    const searches = setUp({ max: 3 })
    for (const query of ['a', 'b', 'a', 'c', 'd']) await searches.push('ann', query)
    expect(await searches.list('ann')).toEqual(['d', 'c', 'a'])
    expect(await searches.list('bob')).toEqual([])
  })

  test('items and all of an owner can be removed', async () => {
    const searches = setUp()
    await searches.push(7, 'a')
    await searches.push('7', 'b')
    expect(await searches.remove(7, 'a')).toBe(true)
    expect(await searches.remove(7, 'a')).toBe(false)
    expect(await searches.list(7)).toEqual(['b'])
    expect(await searches.clear(7)).toBe(true)
    expect(await searches.clear(7)).toBe(false)
    expect(await searches.list(7)).toEqual([])
  })

  test.each(['a:b', '{x}', '*', 'é😀', '__proto__', '\n', 'x'.repeat(256)])(
    'an owner and an item may have the name %j',
    async (name) => {
      const searches = setUp()
      await searches.push(name, name)
      await searches.push('other', 'x')
      expect(await searches.list(name)).toEqual([name])
    },
  )

  test('100 parallel pushes of one item leave it once', async () => {
    const searches = setUp()
    await Promise.all(Array.from({ length: 100 }, () => searches.push('ann', 'same')))
    expect(await searches.list('ann')).toEqual(['same'])
  })

  test('what names nothing is refused', async () => {
    const searches = setUp()
    for (const name of ['', undefined, {}, Number.NaN, 'x'.repeat(257)]) {
      await expect(searches.push(name as string, 'a')).rejects.toMatchObject({ code: 'TP_KEY' })
      await expect(searches.push('ann', name as string)).rejects.toMatchObject({ code: 'TP_KEY' })
    }
  })
})

describe.each(bothEngines())('capped lists on the $name engine', ({ open }) => {
  const setUp = (options = {}) => {
    const { store, prefix } = open()
    return list(turnpike({ store, prefix }), 'chat', options)
  }

  test('the latest values in order, up to max', async () => {
    const chat = setUp({ max: 3 })
    for (let i = 1; i <= 5; i++) await chat.append('room', { text: `n${i}`, at: [i] })
    expect(await chat.append('room', null)).toBe(3)
    expect(await chat.last('room', 2)).toEqual([{ text: 'n5', at: [5] }, null])
    expect(await chat.last('room', 3)).toHaveLength(3)
    expect(await chat.clear('room')).toBe(true)
    expect(await chat.last('room', 3)).toEqual([])
  })

  test('100 parallel appends: none is lost, none is beyond max', async () => {
    const chat = setUp({ max: 60 })
    await Promise.all(Array.from({ length: 100 }, (_, i) => chat.append('room', i)))
    expect(new Set(await chat.last('room', 60)).size).toBe(60)
  })

  test('what JSON cannot hold, and what is too long, is refused', async () => {
    const chat = setUp()
    for (const value of [undefined, () => 1, 10n, 'x'.repeat(16_384)])
      await expect(chat.append('room', value)).rejects.toMatchObject({ code: 'TP_VALUE' })
    await expect(chat.last('room', 101)).rejects.toMatchObject({ code: 'TP_VALUE' })
    expect(await chat.last('room', 1)).toEqual([])
  })
})
