import { expect, test } from 'vitest'
import { decodeEntry, encodeEntry, type CacheEntry } from '../../src/caching/entry.ts'

const until = 1_769_817_600_000.75
const example: CacheEntry = {
  nonce: 'n',
  sequence: 1,
  tags: [],
  name: '/',
  storedAt: until - 1000,
  initialAge: 0,
  freshUntil: until,
  staleUntil: until,
  errorUntil: until,
  keptUntil: until,
  cost: 1,
  extra: { status: 200, fields: [['etag', 'x']] },
  body: Buffer.from('body'),
}

test('what may not be stale is not so for a part of a millisecond either', () => {
  const entry = decodeEntry(encodeEntry(example))!
  const whole = Math.floor(until)
  const { freshUntil, staleUntil, errorUntil, keptUntil } = entry
  expect([freshUntil, staleUntil, errorUntil, keptUntil]).toEqual([whole, whole, whole, whole])
  expect(entry.body.toString()).toBe('body')
})

test('a head with one bit turned is no entry, unless the bit is one of how long it is fresh', () => {
  const whole = encodeEntry(example)
  for (let bit = 0; bit < (whole.length - example.body.length) * 8; bit++) {
    const byte = bit >> 3
    const bytes = Buffer.from(whole)
    bytes[byte]! ^= 1 << (bit & 7)
    const isFreshness = byte >= 4 && byte < 17
    expect([bit, decodeEntry(bytes) !== undefined]).toEqual([bit, isFreshness])
  }
})
