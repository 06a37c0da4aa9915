import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  canonicalJson,
  fingerprintOf,
  type BodyView,
} from '../../../src/features/idempotency/fingerprint.ts'

const raw = (text: string): BodyView => ({
  kind: 'raw',
  bytes: Buffer.from(text),
  isWhole: true,
  length: String(text.length),
})
const parsed = (value: unknown): BodyView => ({ kind: 'parsed', value })

test('by bytes: every byte counts; as JSON: only what it says', () => {
  expect(fingerprintOf('/', raw('{"a":1,"b":2}'), 'body')).not.toBe(
    fingerprintOf('/', raw('{"b":2,"a":1}'), 'body'),
  )
  expect(fingerprintOf('/', raw('{"a":1,"b":2}'), 'json')).toBe(
    fingerprintOf('/', raw(' {"b":2, "a":1}'), 'json'),
  )
  expect(fingerprintOf('/', raw('{"a":1}'), 'json')).toBe(
    fingerprintOf('/', parsed({ a: 1 }), 'json'),
  )
  expect(fingerprintOf('/', raw('not json'), 'json')).toBe(
    fingerprintOf('/', raw('not json'), 'body'),
  )
})

test('bytes never equal what a parser made; another target is another request; a cut body is not a whole one', () => {
  expect(fingerprintOf('/', raw('{"a":1}'), 'body')).not.toBe(
    fingerprintOf('/', parsed({ a: 1 }), 'body'),
  )
  expect(fingerprintOf('/a', raw(''), 'body')).not.toBe(fingerprintOf('/b', raw(''), 'body'))
  expect(fingerprintOf('/a', raw('b'), 'body')).not.toBe(fingerprintOf('/ab', raw(''), 'body'))
  const cut: BodyView = { kind: 'raw', bytes: Buffer.from('x'), isWhole: false, length: '10' }
  expect(fingerprintOf('/', cut, 'body')).not.toBe(
    fingerprintOf('/', { ...cut, length: '11' }, 'body'),
  )
  expect(fingerprintOf('/', cut, 'body')).not.toBe(fingerprintOf('/', raw('x'), 'body'))
})

test('any JSON: the order of names does not count, everything else does', () => {
  const shuffled = (value: unknown): unknown =>
    Array.isArray(value)
      ? value.map(shuffled)
      : typeof value === 'object' && value !== null
        ? Object.fromEntries(
            Object.entries(value)
              .toReversed()
              .map(([name, each]) => [name, shuffled(each)]),
          )
        : value
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (one, other) => {
      const value = JSON.parse(JSON.stringify(one)) as unknown
      expect(canonicalJson(shuffled(value))).toBe(canonicalJson(value))
      if (canonicalJson(one) === canonicalJson(other))
        expect(JSON.parse(JSON.stringify(one))).toEqual(JSON.parse(JSON.stringify(other)))
    }),
  )
  expect(canonicalJson(JSON.parse('{"__proto__":1}'))).not.toBe(canonicalJson({}))
})
