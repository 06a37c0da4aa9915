/** The in-process engine's bounds: what it forgets, what it refuses, and what that costs. */
import { describe, expect, it } from 'vitest'
import { manualClock } from '../../src/clock.ts'
import { MemoryStore } from '../../src/store/memory.ts'

const HOUR = 3_600_000

describe('a full in-process engine', () => {
  it('drives out the key longest untouched', () => {
    const store = new MemoryStore({ maxKeys: 3 })
    const alive = (): string[] =>
      ['a', 'b', 'c', 'd', 'e', 'f', 'g'].filter((key) => store.get(key) !== undefined)
    for (const key of ['a', 'b', 'c']) store.set(key, key, HOUR)
    store.set('a', 'again', HOUR)
    store.set('d', 'd', HOUR)
    expect(alive()).toEqual(['a', 'c', 'd'])
    store.delete('c')
    store.set('e', 'e', HOUR)
    expect(alive()).toEqual(['a', 'd', 'e'])
    store.set('f', 'f', HOUR)
    store.set('d', 'again', HOUR)
    store.set('g', 'g', HOUR)
    expect(alive()).toEqual(['d', 'f', 'g'])
    expect(store.size).toBe(3)
  })

  it('drives out the right ones after it was empty, too', () => {
    const store = new MemoryStore({ maxKeys: 2 })
    for (let round = 0; round < 5; round++) {
      for (const key of ['a', 'b', 'c']) store.set(key, round, HOUR)
      expect([store.get('a'), store.get('b'), store.get('c')]).toEqual([undefined, round, round])
      store.delete('b')
      store.delete('c')
      expect(store.size).toBe(0)
    }
  })

  it('refuses new keys where it must not forget, and still takes known ones', () => {
    const store = new MemoryStore({ maxKeys: 2, whenFull: 'refuse' })
    store.set('a', 1, HOUR)
    store.set('b', 1, HOUR)
    expect(() => store.set('c', 1, HOUR)).toThrow(
      expect.objectContaining({ code: 'TP_UNAVAILABLE', reason: 'saturated' }),
    )
    store.set('a', 2, HOUR)
    expect(store.get('a')).toBe(2)
  })

  it('makes room when what it holds has expired', async () => {
    const clock = manualClock()
    const store = new MemoryStore({ maxKeys: 100, whenFull: 'refuse', clock })
    for (let i = 0; i < 100; i++) store.set(`old-${i}`, i, 1000)
    await clock.advance(1001)
    // Each write looks at a few entries: room comes with the first of them.
    for (let i = 0; i < 100; i++) store.set(`new-${i}`, i, 1000)
    expect(store.get('new-99')).toBe(99)
  })

  it('shrinks without a timer: writes sweep what has expired', async () => {
    const clock = manualClock()
    const store = new MemoryStore({ clock })
    for (let i = 0; i < 1000; i++) store.set(`old-${i}`, i, 1000)
    await clock.advance(1001)
    for (let i = 0; i < 1000; i++) store.set(`new-${i}`, i, 1000)
    expect(store.size).toBeLessThan(1100)
  })

  it('takes a flood of new keys at a cost that does not grow with its size', () => {
    const cost = (maxKeys: number): number => {
      const store = new MemoryStore({ maxKeys })
      for (let i = 0; i < maxKeys; i++) store.set(`key-${i}`, i, HOUR)
      const began = performance.now()
      for (let i = 0; i < 50_000; i++) store.set(`flood-${i}`, i, HOUR)
      return performance.now() - began
    }
    const best = (maxKeys: number): number =>
      Math.min(...Array.from({ length: 3 }, () => cost(maxKeys)))
    best(500)
    expect(best(50_000) / best(500)).toBeLessThan(8)
  })
})
