import fc from 'fast-check'
import { expect, it } from 'vitest'
import { parseDuration, printDuration } from '../../src/duration.ts'

it.each([
  [0, '0ms'],
  [340, '340ms'],
  [60_000, '1m'],
  [3_600_000, '1h'],
  [5_400_000, '1h 30m'],
  [3_599_871, '59m 59s 871ms'],
  [1_209_600_000, '14d'],
])('%i ms are printed as %s', (ms, text) => {
  expect(printDuration(ms)).toBe(text)
})

it('a printed duration loses no millisecond', () => {
  fc.assert(
    fc.property(fc.nat({ max: 2 ** 45 }), (ms) => {
      const parts = printDuration(ms).split(' ')
      expect(parts.reduce((sum, part) => sum + parseDuration(part)!, 0)).toBe(ms)
    }),
  )
})
