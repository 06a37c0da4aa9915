import { expect, test } from 'vitest'
import { decode, encode } from '../../src/caching/entry.ts'

test('what may not be stale is not so for a part of a millisecond either', () => {
  const until = 1_769_817_600_000.75
  const entry = decode(
    encode({
      nonce: 'n',
      sequence: 1,
      tags: [],
      name: '/',
      storedAt: until - 1000,
      initialAge: 0,
      freshUntil: until,
      staleUntil: until,
      errorUntil: until,
      cost: 1,
      extra: null,
      body: Buffer.from('body'),
    }),
  )!
  const whole = Math.floor(until)
  expect([entry.freshUntil, entry.staleUntil, entry.errorUntil]).toEqual([whole, whole, whole])
  expect(entry.body.toString()).toBe('body')
})
