import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { cookieValues, serializeCookie } from '../../src/http/cookies.ts'

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

  test('returns no more values than asked for', () => {
    const field = Array.from({ length: 1500 }, (_, i) => `sid=${i}`).join('; ')
    expect(cookieValues(field, 'sid', 3)).toEqual(['0', '1', '2'])
  })

  test('whatever a client sends, it finds nothing that is not there and throws nothing', () => {
    fc.assert(
      fc.property(fc.string(), (field) => {
        for (const value of cookieValues(field, 'sid')) expect(field).toContain(value)
      }),
    )
  })
})

test('setCookie writes the attributes in the order of the cookie package', () => {
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
