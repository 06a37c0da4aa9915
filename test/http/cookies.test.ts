import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { cookieValues, decodeCookieValue, serializeCookie } from '../../src/http/cookies.ts'

describe('cookieValues', () => {
  test.each([
    [undefined, []],
    ['', []],
    ['sid=a', ['a']],
    ['sid=a; sid=b;sid=c', ['a', 'b', 'c']],
    ['xsid=a; sidx=b; SID=c; sid', []],
    [' sid = a ; other=sid', ['a']],
    ['sid="a b"; sid="', ['a b', '"']],
    ['sid=a=b', ['a=b']],
    ['__proto__=x; sid=', ['']],
  ])('%s', (field, values) => expect(cookieValues(field, 'sid')).toEqual(values))

  test('whatever a client sends, it finds nothing that is not there and throws nothing', () => {
    fc.assert(
      fc.property(fc.string(), (field) => {
        for (const value of cookieValues(field, 'sid')) expect(field).toContain(value)
      }),
    )
  })
})

test('plainValue takes the two forms that a value is sent in, and no third', () => {
  expect(decodeCookieValue('s%3Aa.b%2Fc%2B')).toBe('s:a.b/c+')
  expect(decodeCookieValue('s:a.b/c+')).toBe('s:a.b/c+')
  for (const odd of ['s%3aa', '%73%3Aa', '%', '%E0%A4%A', '%zz'])
    expect(decodeCookieValue(odd)).toBeUndefined()
})

test('setCookie writes what it is told, in the order of the cookie package', () => {
  const expires = new Date(Date.UTC(2027, 0, 1))
  expect(
    serializeCookie('sid', 's:a/b', {
      domain: 'example.com',
      path: '/',
      expires,
      httpOnly: true,
      secure: true,
      priority: 'low',
      sameSite: true,
      partitioned: true,
    }),
  ).toBe(
    'sid=s%3Aa%2Fb; Domain=example.com; Path=/; Expires=Fri, 01 Jan 2027 00:00:00 GMT; HttpOnly; Secure; Partitioned; Priority=Low; SameSite=Strict',
  )
  expect(serializeCookie('sid', 'a', {})).toBe('sid=a')
})

test('an attribute cannot become another one', () => {
  expect(() => serializeCookie('sid', 'a', { path: '/; Domain=evil.example' })).toThrow(TypeError)
  expect(() => serializeCookie('sid', 'a', { domain: 'a\r\nSet-Cookie: b=c' })).toThrow(TypeError)
})
