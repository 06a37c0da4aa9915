import { describe, expect, test } from 'vitest'
import { byteRangeOf, isSameRange, isUnchanged } from '../../../src/features/cache/conditional.ts'
import { acceptsCoding } from '../../../src/features/cache/content-coding.ts'
import { directivesOf } from '../../../src/features/cache/directives.ts'
import {
  endToEndFields,
  judgeResponse,
  varyOf,
  type StoragePolicy,
  type StorageVerdict,
} from '../../../src/features/cache/policy.ts'
import type { CacheReason } from '../../../src/features/cache/reasons.ts'
import { matchesGlob } from '../../../src/store/glob.ts'

const NOW = Date.UTC(2026, 0, 1)
const policy = (more: Partial<StoragePolicy> = {}): StoragePolicy => ({
  ttl: 'auto',
  negativeTtl: undefined,
  staleWhileRevalidate: undefined,
  staleIfError: undefined,
  jitter: 0,
  targeted: [],
  isPublic: false,
  ...more,
})
const verdict = (
  headers: Record<string, string>,
  more?: Partial<StoragePolicy>,
  sender?: CacheReason,
): StorageVerdict => judgeResponse({ status: 200, headers }, policy(more), sender, NOW)

test('directives: case, quotes, white space, repetition', () => {
  const read = (field: string) => Object.fromEntries(directivesOf(field))
  expect(read('No-Store, MAX-AGE=5')).toEqual({ 'no-store': true, 'max-age': '5' })
  expect(read('foo="a, no-store", private="x, y"')).toEqual({ foo: 'a, no-store', private: 'x, y' })
  expect(read('max-age=60 , , max-age=5')).toEqual({ 'max-age': '5' })
  expect(read('private="x", private')).toEqual({ private: true })
  expect(directivesOf('foo="open, no-store').has('no-store')).toBe(true)
  expect(directivesOf('"odd", no-store').has('no-store')).toBe(true)
})

test('an answer to a request with Authorization is stored only if it says that it may be shared', () => {
  expect(verdict({ 'cache-control': 'max-age=60' }, {}, 'authorization').isStored).toBe(false)
  for (const word of ['public', 's-maxage=60', 'must-revalidate']) {
    expect(verdict({ 'cache-control': `max-age=60, ${word}` }, {}, 'authorization').isStored).toBe(
      true,
    )
  }
})

test('what must be revalidated is never served stale; stale-while-revalidate and stale-if-error are read', () => {
  const lenient = 'max-age=60, stale-while-revalidate=30, stale-if-error=90'
  expect(verdict({ 'cache-control': lenient })).toMatchObject({
    freshFor: 60_000,
    staleFor: 30_000,
    errorFor: 90_000,
  })
  for (const word of ['must-revalidate', 'proxy-revalidate', 's-maxage=60']) {
    expect(verdict({ 'cache-control': `${lenient}, ${word}` })).toMatchObject({
      staleFor: 0,
      errorFor: 0,
    })
  }
})

test('the age of a response counts: by Age, and by Date', () => {
  const date = new Date(NOW - 20_000).toUTCString()
  expect(verdict({ 'cache-control': 'max-age=60', age: '15' })).toMatchObject({
    freshFor: 45_000,
    initialAge: 15_000,
  })
  expect(verdict({ 'cache-control': 'max-age=60', age: '15', date })).toMatchObject({
    freshFor: 40_000,
    initialAge: 20_000,
  })
  expect(verdict({ expires: new Date(NOW + 40_000).toUTCString(), date })).toMatchObject({
    freshFor: 40_000,
  })
})

test('fields of one connection are not stored', () => {
  const headers = {
    connection: 'x-hop',
    'x-hop': '1',
    'keep-alive': 't',
    'proxy-authenticate': 'p',
    age: '1',
    'content-type': 'text/plain',
  }
  expect(endToEndFields({ status: 200, headers })).toEqual([['content-type', 'text/plain']])
  expect(varyOf({ status: 200, headers: { vary: 'B, a ,,b' } })).toEqual(['a', 'b'])
})

describe('conditions', () => {
  const validators = { etag: 'W/"a"', lastModified: NOW }
  test('If-None-Match goes first, and compares weakly', () => {
    expect(isUnchanged('"x", "a"', undefined, validators)).toBe(true)
    expect(isUnchanged('*', undefined, validators)).toBe(true)
    expect(isUnchanged('"x"', NOW, validators)).toBe(false)
    expect(isUnchanged(undefined, NOW, validators)).toBe(true)
    expect(isUnchanged(undefined, NOW - 1000, validators)).toBe(false)
  })
  test('If-Range compares strongly', () => {
    expect(isSameRange('W/"a"', undefined, validators)).toBe(false)
    expect(isSameRange('"a"', undefined, { ...validators, etag: '"a"' })).toBe(true)
    expect(isSameRange('date', NOW, validators)).toBe(true)
    expect(isSameRange(undefined, undefined, validators)).toBe(true)
  })
  test('ranges', () => {
    expect(byteRangeOf('bytes=0-', 10)).toEqual({ first: 0, last: 9 })
    expect(byteRangeOf('bytes=-20', 10)).toEqual({ first: 0, last: 9 })
    expect(byteRangeOf('bytes=5-99', 10)).toEqual({ first: 5, last: 9 })
    for (const odd of ['bytes=5-2', 'bytes=0-1,3-4', 'items=0-1', 'bytes=-', undefined])
      expect(byteRangeOf(odd, 10)).toBeUndefined()
    expect([byteRangeOf('bytes=10-', 10), byteRangeOf('bytes=-0', 10)]).toEqual([
      'unsatisfiable',
      'unsatisfiable',
    ])
  })
  test('codings', () => {
    expect([
      acceptsCoding('gzip;q=0, *', 'gzip'),
      acceptsCoding('*', 'gzip'),
      acceptsCoding('br', 'gzip'),
      acceptsCoding(undefined, 'gzip'),
    ]).toEqual([false, true, false, false])
    expect([acceptsCoding('gzip', 'identity'), acceptsCoding('*;q=0', 'identity')]).toEqual([
      true,
      false,
    ])
  })
})

test('patterns', () => {
  expect(
    matchesGlob('/a/*', '/a/b/c') &&
      matchesGlob('*', '') &&
      matchesGlob('a?c', 'abc') &&
      matchesGlob('**b', 'aab'),
  ).toBe(true)
  expect(
    matchesGlob('/a/*', '/b') ||
      matchesGlob('a.c', 'abc') ||
      matchesGlob('', 'a') ||
      matchesGlob('a?', 'a'),
  ).toBe(false)
  // No pattern takes for ever.
  expect(matchesGlob('*a'.repeat(50), 'a'.repeat(5000) + 'b')).toBe(false)
})
