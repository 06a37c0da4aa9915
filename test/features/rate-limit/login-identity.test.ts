/** What counts as the identity of a login, and which spellings are one. */
import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import {
  identityDigest,
  MAX_IDENTITY_LENGTH,
  normalizeIdentity,
} from '../../../src/features/rate-limit/login-identity.ts'

describe('spellings that could be taken for the same are one identity', () => {
  test.each([
    ['capitals', 'Admin@X.org'],
    ['blanks around it', ' \t admin@x.org \u00a0\u3000'],
    ['fullwidth letters', 'ａｄｍｉｎ＠ｘ.ｏｒｇ'],
    ['mathematical letters', '𝐚𝒹𝓂𝔦𝕟@x.org'],
    ['letters in circles', 'ⓐⓓⓜⓘⓝ@x.org'],
    ['a soft hyphen', 'ad\u00admin@x.org'],
    ['a zero-width space', 'ad\u200bmin@x.org'],
    ['a zero-width joiner', 'ad\u200dmin@x.org'],
    ['a byte order mark', '\ufeffadmin@x.org'],
    ['a variation selector', 'a\ufe0fdmin@x.org'],
    ['a direction mark', '\u202eadmin@x.org\u202c'],
    ['an invisible character before a blank', 'admin@x.org \u200b'],
  ])('%s', (_kind, spelling) => {
    expect(normalizeIdentity(spelling)).toBe('admin@x.org')
  })

  test.each([
    ['straße', 'STRASSE'],
    ['straße', 'STRAẞE'],
    ['ΣΊΣΥΦΟΣ', 'σίσυφος'],
    ['ﬁsh', 'FISH'],
    ['\u212aelvin', 'kelvin'],
    ['e\u0301cole', '\u00c9COLE'],
    ['ſam', 'sam'],
  ])('%s and %s', (a, b) => {
    expect(normalizeIdentity(a)).toBe(normalizeIdentity(b))
  })

  test.each([
    ['a@x.org', 'b@x.org'],
    ['a.b@x.org', 'ab@x.org'],
    ['a+1@x.org', 'a@x.org'],
    ['élan', 'elan'],
  ])('but %s and %s are two', (a, b) => {
    expect(normalizeIdentity(a)).not.toBe(normalizeIdentity(b))
  })

  test('whatever the character, in either case, and once more', () => {
    const wrong: string[] = []
    for (let point = 0; point < 0x2_00_00; point++) {
      const text = `a${String.fromCodePoint(point)}b`
      const normal = normalizeIdentity(text)
      const others = [normal, text.toUpperCase(), text.toLowerCase()]
      if (others.some((other) => normalizeIdentity(other) !== normal))
        wrong.push(point.toString(16))
    }
    expect(wrong).toEqual([])
  })

  test('and a normalised identity is normal', () => {
    const identity = fc.string({ unit: 'binary', maxLength: MAX_IDENTITY_LENGTH })
    fc.assert(
      fc.property(identity, (text) => {
        const once = normalizeIdentity(text)
        expect(normalizeIdentity(once)).toBe(once)
      }),
    )
  })
})

describe('an identity', () => {
  test('is a digest, which does not show it', () => {
    const digest = identityDigest('admin@x.org', normalizeIdentity)
    expect(digest).toMatch(/^[\w-]{43}$/)
    expect(identityDigest(5, normalizeIdentity)).toBe(identityDigest('5', normalizeIdentity))
  })

  test.each([undefined, null, '', '   ', '\u200b'])('is none: %o', (value) => {
    expect(identityDigest(value, normalizeIdentity)).toBeUndefined()
  })

  test.each([[['a']], [[]], [{}], [{ $ne: null }], [true], [Number.NaN], [5n], [() => 'a']])(
    'is refused: %o',
    (value) => {
      expect(() => identityDigest(value, normalizeIdentity)).toThrow(
        expect.objectContaining({ code: 'TP_KEY', status: 400 }),
      )
    },
  )

  test('is not normalised before its length is known', () => {
    const normalize = vi.fn(normalizeIdentity)
    for (const length of [257, 100_000, 10_000_000])
      expect(() => identityDigest('\ufdfa'.repeat(length), normalize)).toThrow(
        expect.objectContaining({ status: 400 }),
      )
    expect(normalize).not.toHaveBeenCalled()
    expect(identityDigest('\ufdfa'.repeat(256), normalize)).toBeDefined()
  })

  test('of a normalize that returns no string is a mistake of the application', () => {
    expect(() => identityDigest('a', () => undefined as never)).toThrow(
      expect.objectContaining({ code: 'TP_VALUE', status: 500 }),
    )
  })
})
