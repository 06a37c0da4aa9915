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
  keep: 0,
  isHeuristic: false,
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

test('Expires counts from the Date of the response, not from when it came', () => {
  const at = (seconds: number) => new Date(NOW + seconds * 1000).toUTCString()
  expect(verdict({ expires: at(60), date: at(0) })).toMatchObject({ freshFor: 60_000 })
  // A clock that is ahead: it was stale when it was made.
  expect(verdict({ expires: at(300), date: at(400) })).toMatchObject({ isStored: false })
  // One that is behind.
  expect(verdict({ expires: at(0), date: at(-60) })).toMatchObject({ isStored: false })
  expect(verdict({ expires: 'tomorrow' })).toMatchObject({ isStored: false, reason: 'freshness' })
  expect(verdict({ expires: at(60), 'cache-control': 'max-age=5' })).toMatchObject({
    freshFor: 5000,
  })
})

test('an Age that is no number is ignored, of a list the first counts', () => {
  const freshFor = (age: string) => verdict({ 'cache-control': 'max-age=60', age })
  for (const age of ['abc', '-7', '7.5', '7;x=1', ''])
    expect(freshFor(age)).toMatchObject({ freshFor: 60_000 })
  expect(freshFor('7, 50')).toMatchObject({ freshFor: 53_000 })
  expect(freshFor('99999999999')).toMatchObject({ isStored: false })
})

test('targeted fields are read strictly: with one error the field counts as not there', () => {
  const cdn = (field: string, general = 'no-store') =>
    verdict(
      { 'cdn-cache-control': field, 'cache-control': general },
      { targeted: ['cdn-cache-control'] },
    )
  expect(cdn('max-age=60')).toMatchObject({ isStored: true, freshFor: 60_000 })
  expect(cdn('foo, max-age=60;x=1')).toMatchObject({ isStored: true, freshFor: 60_000 })
  expect(cdn('max-age=5, max-age=60')).toMatchObject({ freshFor: 60_000 })
  for (const field of [
    'max-age=60, &&&',
    'max-age="60"',
    'max-age=-60',
    'max-age=6.5',
    'max-age',
    'MAX-AGE=60',
    'max-age=60,',
    'max-age = 60',
    '',
  ])
    expect(cdn(field), field).toMatchObject({ isStored: false, reason: 'no-store' })
  expect(cdn('no-store', 'max-age=60')).toMatchObject({ isStored: false, reason: 'no-store' })
  expect(cdn('private', 'max-age=60')).toMatchObject({ isStored: false, reason: 'private' })
  // It replaces Expires, too.
  const expires = new Date(NOW + 60_000).toUTCString()
  const targeted = ['cdn-cache-control']
  expect(verdict({ 'cdn-cache-control': 'foo', expires }, { targeted })).toMatchObject({
    isStored: false,
    reason: 'freshness',
  })
  // The first one that can be read counts.
  const both = { 'x-cache-control': 'max-age', 'cdn-cache-control': 'max-age=7' }
  expect(verdict(both, { targeted: ['x-cache-control', 'cdn-cache-control'] })).toMatchObject({
    freshFor: 7000,
  })
})

test('a lifetime is assumed for what is cacheable by default, or public: a tenth, up to a day', () => {
  const modified = (days: number) => new Date(NOW - days * 86_400_000).toUTCString()
  const assumed = (status: number, headers: Record<string, string>) =>
    judgeResponse({ status, headers }, policy({ isHeuristic: true }), undefined, NOW)
  expect(assumed(200, { 'last-modified': modified(1) })).toMatchObject({ freshFor: 8_640_000 })
  expect(assumed(200, { 'last-modified': modified(100) })).toMatchObject({ freshFor: 86_400_000 })
  for (const status of [203, 204, 300, 301, 308, 404, 405, 410, 414, 501])
    expect(assumed(status, { 'last-modified': modified(1) }).isStored).toBe(true)
  for (const status of [201, 302, 400, 500, 599]) {
    const headers = { 'last-modified': modified(1) }
    expect(assumed(status, headers).isStored).toBe(false)
    expect(assumed(status, { ...headers, 'cache-control': 'public' }).isStored).toBe(true)
  }
  expect(assumed(200, {})).toMatchObject({ isStored: false, reason: 'freshness' })
  expect(
    assumed(200, { 'last-modified': modified(1), 'cache-control': 'max-age=0' }),
  ).toMatchObject({ isStored: false })
})

test('must-understand: a status that is known here overrides no-store, another one is not stored', () => {
  const headers = { 'cache-control': 'max-age=60, must-understand, no-store' }
  const understood = (status: number) =>
    judgeResponse({ status, headers }, policy(), undefined, NOW)
  expect(understood(200).isStored).toBe(true)
  expect(understood(599)).toMatchObject({ isStored: false, reason: 'status' })
  expect(verdict(headers, { ttl: 60_000 })).toMatchObject({ isStored: false, reason: 'no-store' })
})

test('what has a validator is kept after it was fresh', () => {
  const keep = 3_600_000
  const fresh = { 'cache-control': 'max-age=60' }
  expect(verdict({ ...fresh, etag: '"a"' }, { keep })).toMatchObject({ keptFor: keep })
  const modified = { 'last-modified': new Date(NOW).toUTCString() }
  expect(verdict({ ...fresh, ...modified }, { keep })).toMatchObject({ keptFor: keep })
  expect(verdict(fresh, { keep })).toMatchObject({ keptFor: 0 })
  // Each request has to ask the handler.
  for (const field of ['no-cache', 'max-age=0', 'no-cache, max-age=60', 'no-cache="set-cookie"']) {
    const headers = { 'cache-control': field }
    expect(verdict({ ...headers, etag: '"a"' }, { keep }), field).toMatchObject({
      isStored: true,
      freshFor: 0,
    })
    expect(verdict(headers, { keep }).isStored).toBe(false)
    expect(verdict({ ...headers, etag: '"a"' }, { keep: 0 }).isStored).toBe(false)
  }
  // Nothing says that it may be stored.
  expect(verdict({ etag: '"a"' }, { keep })).toMatchObject({ isStored: false, reason: 'freshness' })
  const late = 'no-cache, stale-while-revalidate=60, stale-if-error=60'
  expect(verdict({ 'cache-control': late, etag: '"a"' }, { keep })).toMatchObject({
    staleFor: 0,
    errorFor: 0,
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
