import { describe, expect, test } from 'vitest'
import { turnpike } from '../../../src/express.ts'
import { turnpike as koaTurnpike } from '../../../src/koa.ts'
import { apiKeys, oneTimeTokens, refreshTokens } from '../../../src/tokens.ts'
import { testStore } from '../../../src/testing.ts'

const make = () => turnpike({ store: testStore() })
const PEPPER = 'a pepper that only the tests know'
const lookup = () => undefined

describe('options are checked where the tokens are created', () => {
  test.each([
    [{}, /purpose must be .*It is undefined/],
    [{ purpose: 'a b' }, /purpose must be .*Did you mean 'a-b'/],
    [{ purpose: 'p', format: '6' }, /format must be .*Did you mean 'digits:6'/],
    [{ purpose: 'p', format: 'digits:4' }, /format/],
    [{ purpose: 'p', format: 'digits:13' }, /format/],
    [{ purpose: 'p', format: 'letters:5' }, /format/],
    [{ purpose: 'p', format: 'totp' }, /format/],
    [{ purpose: 'p', ttl: '15 minutes' }, /Did you mean '15m'/],
    [{ purpose: 'p', ttl: 0 }, /at least 1 ms/],
    [{ purpose: 'p', ttl: '600w' }, /at most ten years/],
    [{ purpose: 'p', attempts: 5 }, /Leave out attempts with format: 'url'/],
    [{ purpose: 'p', format: 'digits:6', attempts: 0 }, /attempts/],
    [{ purpose: 'p', format: 'digits:6', attempts: 100 }, /attempts/],
    [{ purpose: 'p', cooldown: '1h', maxCooldown: '1m' }, /maxCooldown/],
    [{ purpose: 'p', pepper: 'short' }, /pepper must be .* at least 32 characters/],
    [{ purpose: 'p', pepper: [] }, /pepper/],
    [{ purpose: 'p', prefix: 'Once' }, /prefix/],
    [{ purpose: 'p', prefix: 'once_' }, /prefix/],
    [{ purpose: 'p', addressLimit: 0 }, /addressLimit/],
    [{ purpose: 'p', addressLimit: 1000, addressWindow: 10 }, /addressWindow/],
    [{ purpose: 'p', maxAttempts: 5 }, /no option maxAttempts\. Did you mean attempts/],
    [{ purpose: 'p', windowMs: 5 }, /no option windowMs/],
  ])('one-time tokens: %j', (options, message) => {
    expect(() => oneTimeTokens(make(), options as never)).toThrow(message)
  })

  test('a pepper that is refused does not stand in the error', () => {
    const refused = (): unknown => {
      try {
        return oneTimeTokens(make(), { purpose: 'p', pepper: 'hunter2' })
      } catch (error) {
        return error
      }
    }
    expect(JSON.stringify(refused())).not.toContain('hunter2')
    expect(String(refused())).not.toContain('hunter2')
  })

  test('the name of an option that holds a secret may be misspelled', () => {
    expect(() => oneTimeTokens(make(), { purpose: 'p', peper: 'hunter2' } as never)).toThrow(
      expect.objectContaining({ value: undefined, suggestion: 'pepper' }),
    )
  })

  test.each([
    [{ ttl: '1d', absoluteTimeout: '1h' }, /absoluteTimeout is shorter than ttl/],
    [{ ttl: '1m', grace: '1m' }, /grace is as long as ttl/],
    [{ maxPerUser: 0 }, /maxPerUser/],
    [{ maxPerUser: 1001 }, /maxPerUser/],
    [{ ttl: -1 }, /ttl/],
    [{ gracePeriod: 1 }, /no option gracePeriod/],
    [null, /the options must be an object/],
  ])('refresh tokens: %j', (options, message) => {
    expect(() => refreshTokens(make(), options as never)).toThrow(message)
  })

  test.each([
    [{}, /lookup must be a function/],
    [{ lookup: {} }, /lookup must be a function/],
    [{ lookup, header: [] }, /header/],
    [{ lookup, header: 'x api key' }, /header/],
    [{ lookup, near: '1 s' }, /Did you mean '1s'/],
    [{ lookup, missLimit: 0 }, /missLimit/],
    [{ lookup, fail: 'open' }, /fail must be 'lookup' or 'closed'/],
    [{ lookup, prefix: 'sk-live' }, /prefix/],
    [{ lookup, maxKeys: 0 }, /maxKeys/],
    [{ lookup, permision: () => [] }, /Did you mean permissions/],
  ])('API keys: %j', (options, message) => {
    expect(() => apiKeys(make(), options as never)).toThrow(message)
  })

  test('guards, permissions and calls are checked, too', async () => {
    const tp = make()
    const codes = oneTimeTokens(tp, { purpose: 'p', format: 'digits:6', pepper: PEPPER })
    expect(() => codes.guard({} as never)).toThrow(/code must be a function/)
    expect(() => codes.guard({ code: () => '' })).toThrow(/subject must be a function/)
    expect(() => codes.guard({ code: () => '', subjct: () => '' } as never)).toThrow(
      /Did you mean subject/,
    )
    const keys = apiKeys(tp, { lookup })
    for (const permission of [undefined, '', 'a"b', 'a\nb', 'é'])
      expect(() => keys.require(permission as never)).toThrow(/permission must be/)
    expect(() => keys.digest('')).toThrow(/the key must be a string/)
    for (const odd of ['', 'x', keys.generate().key, undefined])
      await expect(keys.revoke(odd as never)).rejects.toThrow(/takes the digest of a key/)
    await expect(codes.issue('ann', { adress: '::1' } as never)).rejects.toThrow(
      /Did you mean address/,
    )
    const refresh = refreshTokens(tp)
    await expect(refresh.issue('ann', 'laptop' as never)).rejects.toThrow(/the options must be/)
    await expect(refresh.revokeFamily('ann', undefined as never)).rejects.toThrow(/family must be/)
  })

  test('what is no instance is refused, with what to pass', () => {
    for (const odd of [undefined, {}, testStore()])
      expect(() => refreshTokens(odd as never)).toThrow(/the first argument must be an instance/)
  })
})

describe('one name for one thing', () => {
  test('a purpose has one set of settings', () => {
    const tp = make()
    oneTimeTokens(tp, { purpose: 'p', ttl: '1h' })
    oneTimeTokens(tp, { purpose: 'p', ttl: '60m' })
    expect(() => oneTimeTokens(tp, { purpose: 'p', ttl: '2h' })).toThrow(/another ttl/)
    oneTimeTokens(make(), { purpose: 'p', ttl: '2h' })
  })

  test('tokens of an instance are the same on every framework', async () => {
    const store = testStore()
    const [express, koa] = [turnpike({ store }), koaTurnpike({ store })]
    const { token } = await refreshTokens(express).issue(1)
    expect((await refreshTokens(koa).rotate(token)).user).toBe('1')
  })

  test('codes in Redis without a pepper are worth a warning, once; long ones are not', () => {
    const warnings: string[] = []
    const tp = turnpike({ redis: 'redis://127.0.0.1:1' })
    tp.on('warning', ({ message }) => warnings.push(message))
    oneTimeTokens(tp, { purpose: 'a', format: 'digits:6' })
    oneTimeTokens(tp, { purpose: 'a', format: 'digits:6' })
    oneTimeTokens(tp, { purpose: 'b', format: 'digits:6', pepper: PEPPER })
    oneTimeTokens(tp, { purpose: 'c', format: 'letters:20' })
    oneTimeTokens(tp, { purpose: 'd' })
    const told = warnings.filter((text) => text.includes('pepper'))
    expect(told).toEqual([
      expect.stringMatching(/^oneTimeTokens\('a'\).*all 1,000,000\. Write: pepper:/),
    ])
    return tp.close()
  })
})
