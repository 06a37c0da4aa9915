import { describe, expect, test } from 'vitest'
import { PendingInvalidations } from '../../src/caching/pending-invalidations.ts'

const entry = (...tags: string[]) => ({ tags, name: '/a' })
const hard = (...names: string[]) => ({ mode: 'hard' as const, names })

describe('invalidations that Redis does not know of', () => {
  test('hit from the call on, until they are written', () => {
    const pending = new PendingInvalidations()
    const call = pending.begin(hard('t:a'))
    expect([pending.hits(entry('t:a')), pending.hits(entry('t:b'))]).toEqual([true, false])
    pending.settle(hard('t:a'), call)
    expect([pending.hits(entry('t:a')), pending.isEmpty]).toEqual([false, true])
  })

  test('that failed are kept once, however often they are asked for', () => {
    const pending = new PendingInvalidations()
    for (let i = 0; i < 5_000; i++) {
      pending.begin(hard('t:a'))
      pending.fail(hard('t:a'))
    }
    expect(pending.batches()).toEqual([hard('t:a')])
  })

  test('beyond a bound they are everything: memory stays, nothing is forgotten', () => {
    const pending = new PendingInvalidations()
    for (let i = 0; i < 20_000; i++) {
      pending.begin(hard(`t:${i}`))
      pending.fail(hard(`t:${i}`))
      expect(pending.hits(entry('t:0'))).toBe(true)
    }
    const names = pending.batches().flatMap(({ names }) => names)
    expect(names.length).toBeLessThanOrEqual(1_001)
    expect(names).toContain('*')
    expect(pending.hits(entry('t:never'))).toBe(true)
  })

  test('patterns beyond a bound are everything, too', () => {
    const pending = new PendingInvalidations()
    for (let i = 0; i < 100; i++) pending.fail({ mode: 'glob', names: [`/never/${i}/*`] })
    expect(pending.hits(entry())).toBe(true)
  })

  test('a pattern hits by name', () => {
    const pending = new PendingInvalidations()
    pending.fail({ mode: 'glob', names: ['/a*'] })
    expect(pending.hits({ tags: [], name: '/abc' })).toBe(true)
    expect(pending.hits({ tags: [], name: '/b' })).toBe(false)
    expect(pending.batches()).toEqual([{ mode: 'glob', names: ['/a*'] }])
  })

  test('a later soft one does not undo a hard one that failed', () => {
    const pending = new PendingInvalidations()
    pending.fail(hard('t:a'))
    const call = pending.begin({ mode: 'soft', names: ['t:a'] })
    pending.settle({ mode: 'soft', names: ['t:a'] }, call)
    expect(pending.batches()).toEqual([hard('t:a')])
  })

  test('an earlier one that is written does not settle a later one', () => {
    const pending = new PendingInvalidations()
    const first = pending.begin(hard('t:a'))
    const second = pending.begin(hard('t:a'))
    pending.settle(hard('t:a'), first)
    expect(pending.hits(entry('t:a'))).toBe(true)
    pending.settle(hard('t:a'), second)
    expect(pending.hits(entry('t:a'))).toBe(false)
  })
})
