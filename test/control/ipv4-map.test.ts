/** Rules for IPv4 addresses are kept in a map of their own, which must be one. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { Ipv4Map } from '../../src/control/ipv4-map.ts'

it('holds what a Map holds, whatever is set and deleted, with neighbours and networks', () => {
  // Few addresses, so that they are deleted and set again; some in a row, some that differ in few bits.
  const address = fc.oneof(
    fc.integer({ min: 0, max: 40 }),
    fc.integer({ min: 0, max: 40 }).map((n) => n * 2 ** 24),
    fc.integer({ min: 2 ** 32 - 40, max: 2 ** 32 - 1 }),
    fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  )
  const step = fc.record({ address, isSet: fc.boolean(), value: fc.nat() })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300, size: 'max' }), (steps) => {
      const map = new Ipv4Map<{ value: number }>()
      const model = new Map<number, { value: number }>()
      for (const { address: at, isSet, value } of steps) {
        if (isSet) {
          map.set(at, { value })
          model.set(at, { value })
        } else expect(map.delete(at)).toBe(model.delete(at))
        expect(map.size).toBe(model.size)
      }
      for (const { address: at } of steps) {
        expect(map.get(at)).toEqual(model.get(at))
        expect(map.has(at)).toBe(model.has(at))
      }
      const byAddress = (a: [number, unknown], b: [number, unknown]): number => a[0] - b[0]
      expect(map.entries().toSorted(byAddress)).toEqual([...model].toSorted(byAddress))
    }),
    { numRuns: 60 },
  )
})
