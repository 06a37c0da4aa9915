import { describe, expect, test } from 'vitest'
import { turnpike } from '../../../src/node.ts'
import { oneTimeTokens, type IssuedToken, type OneTimeTokenOptions } from '../../../src/tokens.ts'
import { bothEngines } from '../../support/engines.ts'

const PEPPER = 'a pepper that only the tests know'
const INVALID = { code: 'TP_TOKEN_INVALID', status: 410, expose: true }
const DAY = 86_400_000

const codeOf = (issued: IssuedToken): string => {
  if (!issued.sent) throw new Error(`not issued: ${issued.retryAfterMs} ms`)
  return issued.code
}

/** Another code of the same form. */
const wrong = (code: string): string =>
  code
    .split('')
    .map((each) => (each === '9' ? '0' : String(Number(each) + 1)))
    .join('')

describe.each(bothEngines())('one-time tokens on the $name engine', ({ open, server }) => {
  function setUp(options: Partial<OneTimeTokenOptions> = {}) {
    const opened = open()
    const instance = () => turnpike({ store: opened.store, prefix: opened.prefix })
    const settings = {
      purpose: 'verify-email',
      format: 'digits:6',
      pepper: PEPPER,
      ...options,
    } as OneTimeTokenOptions
    const [tp, other] = [instance(), instance()]
    return {
      ...opened,
      tp,
      tokens: oneTimeTokens(tp, settings),
      /** As another process would have them. */
      elsewhere: oneTimeTokens(other, settings),
      issue: async (subject = 'ann@example.org', data?: unknown) =>
        codeOf(await oneTimeTokens(instance(), settings).issue(subject, { data })),
    }
  }

  test('a code is right once, and brings what was bound to it', async () => {
    const { tokens, elsewhere, issue } = setUp({ ttl: '15m' })
    const code = await issue('ann@example.org', { email: 'new@example.org', n: [1, null] })
    expect(code).toMatch(/^\d{6}$/)
    expect(await elsewhere.consume('ann@example.org', code)).toEqual({
      subject: 'ann@example.org',
      data: { email: 'new@example.org', n: [1, null] },
      expiresInMs: 900_000,
    })
    await expect(tokens.consume('ann@example.org', code)).rejects.toMatchObject(INVALID)
  })

  test('of 100 parallel uses over two instances one wins', async () => {
    const { tokens, elsewhere, issue } = setUp({ attempts: 20 })
    const code = await issue()
    const uses = await Promise.allSettled(
      Array.from({ length: 100 }, (_, i) =>
        (i % 2 ? tokens : elsewhere).consume('ann@example.org', code),
      ),
    )
    expect(uses.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    for (const use of uses) if (use.status === 'rejected') expect(use.reason).toMatchObject(INVALID)
  })

  test('five wrong codes void the right one; another one is issued after the pause, and works', async () => {
    const { tokens, issue, advance } = setUp({ cooldown: '60s' })
    const code = await issue()
    for (let i = 0; i < 5; i++)
      await expect(tokens.consume('ann@example.org', wrong(code))).rejects.toMatchObject(INVALID)
    await expect(tokens.consume('ann@example.org', code)).rejects.toMatchObject(INVALID)
    expect(await tokens.issue('ann@example.org')).toEqual({ sent: false, retryAfterMs: 60_000 })
    await advance('60s')
    const next = codeOf(await tokens.issue('ann@example.org'))
    expect((await tokens.consume('ann@example.org', next)).subject).toBe('ann@example.org')
  })

  test('four wrong codes and then the right one: it is right', async () => {
    const { tokens, issue } = setUp()
    const code = await issue()
    for (let i = 0; i < 4; i++)
      await expect(tokens.consume('ann@example.org', wrong(code))).rejects.toMatchObject(INVALID)
    await tokens.consume('ann@example.org', code)
  })

  test('100 parallel guesses: no more than five are compared', async () => {
    const { tokens, issue } = setUp()
    const code = await issue()
    const guesses = Array.from({ length: 100 }, (_, i) =>
      // The right one is among them, but not among the first five.
      tokens.consume('ann@example.org', i === 50 ? code : wrong(code)),
    )
    const outcomes = await Promise.allSettled(guesses)
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toEqual([])
  })

  test('whoever asks for a new code whenever the last one is used up gets fewer than 600 guesses a day', async () => {
    const { tokens, advance } = setUp({ cooldown: '60s', attempts: 5 })
    let [guesses, passed] = [0, 0]
    for (;;) {
      const issued = await tokens.issue('ann@example.org')
      if (!issued.sent) {
        await advance(issued.retryAfterMs)
        passed += issued.retryAfterMs
        if (passed > DAY) break
        continue
      }
      // Four only, so that no code is used up.
      for (let i = 0; i < 4; i++, guesses++)
        await tokens.consume('ann@example.org', wrong(issued.code)).catch(() => {})
    }
    expect(guesses).toBeLessThan(600)
    expect(guesses).toBeGreaterThan(300)
  })

  test('a right code ends the growing pauses', async () => {
    const { tokens, advance } = setUp({ cooldown: '1s', maxCooldown: '1h', attempts: 1 })
    const pauses: number[] = []
    for (let i = 0; i < 5; i++) {
      const code = codeOf(await tokens.issue('ann@example.org'))
      await tokens.consume('ann@example.org', wrong(code)).catch(() => {})
      const { retryAfterMs } = (await tokens.issue('ann@example.org')) as { retryAfterMs: number }
      pauses.push(retryAfterMs)
      await advance(retryAfterMs)
    }
    expect(pauses).toEqual([1000, 2000, 4000, 8000, 16_000])
    const code = codeOf(await tokens.issue('ann@example.org'))
    await tokens.consume('ann@example.org', code)
    await advance('32s')
    await tokens.issue('ann@example.org')
    expect(await tokens.issue('ann@example.org')).toEqual({ sent: false, retryAfterMs: 1000 })
  })

  test('a new token voids the former one', async () => {
    const { tokens, issue, advance } = setUp({ cooldown: '60s' })
    const former = await issue()
    expect((await tokens.issue('ann@example.org')).sent).toBe(false)
    await advance('60s')
    const code = await issue()
    if (former !== code)
      await expect(tokens.consume('ann@example.org', former)).rejects.toMatchObject(INVALID)
    await tokens.consume('ann@example.org', code)
  })

  test('a token ends with its time, by the clock of the store', async () => {
    const { tokens, issue, advance } = setUp({ ttl: '15m' })
    const code = await issue()
    await advance('899s')
    expect(await tokens.peek('ann@example.org', code)).toMatchObject({ expiresInMs: 1000 })
    await advance('1s')
    await expect(tokens.consume('ann@example.org', code)).rejects.toMatchObject(INVALID)
  })

  test('a token of one purpose, subject or tenant is worth nothing for another', async () => {
    const { tp, issue, store, prefix } = setUp()
    const code = await issue()
    const options = { format: 'digits:6', pepper: PEPPER } as const
    await expect(
      oneTimeTokens(tp, { purpose: 'mfa', ...options }).consume('ann@example.org', code),
    ).rejects.toMatchObject(INVALID)
    const tokens = oneTimeTokens(tp, { purpose: 'verify-email', ...options })
    await expect(tokens.consume('bob@example.org', code)).rejects.toMatchObject(INVALID)
    await expect(tokens.consume(['ann@example.org', ''.padEnd(1)], code)).rejects.toMatchObject(
      INVALID,
    )
    const shared = turnpike({ store, prefix, tenant: () => 'acme' })
    const ofTenants = oneTimeTokens(shared, { purpose: 'verify-email', ...options })
    await expect(
      ofTenants.consume('ann@example.org', code, { tenant: 'acme' }),
    ).rejects.toMatchObject(INVALID)
    await expect(ofTenants.consume('ann@example.org', code)).rejects.toMatchObject({
      code: 'TP_KEY',
    })
    await tokens.consume('ann@example.org', code)
  })

  test('a record moved in Redis to another subject is worth nothing there', async () => {
    const { tokens, issue, prefix } = setUp()
    const code = await issue()
    const redis = server()
    if (redis === undefined) return
    const keys = (await redis.send('KEYS', `${prefix}:tokens:once:*`)).split('\r\n')
    const [key] = keys.filter((line) => line.startsWith(prefix))
    const bobs = await issue('bob@example.org')
    const all = (await redis.send('KEYS', `${prefix}:tokens:once:*`)).split('\r\n')
    const bobKey = all.find((line) => line.startsWith(prefix) && line !== key)!
    expect(bobs).toMatch(/^\d{6}$/)
    await redis.send('COPY', key!, bobKey, 'REPLACE')
    await expect(tokens.consume('bob@example.org', code)).rejects.toMatchObject(INVALID)
  })

  test('what people type is read as they mean it', async () => {
    const { tp } = setUp()
    const codes = oneTimeTokens(tp, { purpose: 'letters', format: 'letters:8', cooldown: 0 })
    for (const typed of [
      (code: string) => code.toLowerCase(),
      (code: string) => ` ${code.slice(0, 4)}-${code.slice(4)} `,
      (code: string) => code.split('').join(' '),
    ]) {
      const code = codeOf(await codes.issue(7))
      expect(code).toMatch(/^[BCDFGHJKMNPQRSTVWXYZ]{8}$/)
      expect((await codes.consume(7, typed(code))).subject).toBe(7)
    }
    const digits = oneTimeTokens(tp, { purpose: 'digits', format: 'digits:8', cooldown: 0 })
    const code = codeOf(await digits.issue(7))
    const full = code
      .split('')
      .map((each) => String.fromCharCode(0xff10 + Number(each)))
      .join('')
    await digits.consume(7, full)
  })

  test('what cannot be a token is refused without Redis, and voids nothing', async () => {
    const { tokens, issue } = setUp()
    const code = await issue()
    const odd = [
      '',
      '12345',
      '1234567',
      'abcdef',
      '1'.repeat(1e6),
      Number(code),
      null,
      undefined,
      {},
      [code],
      true,
    ]
    for (const given of [...odd, ...odd])
      await expect(tokens.consume('ann@example.org', given)).rejects.toMatchObject(INVALID)
    await tokens.consume('ann@example.org', code)
  })

  test.each(
    [undefined, null, '', NaN, Infinity, [], [''], ['a', 7], {}, true].map((subject) => ({
      subject,
    })),
  )(
    'a subject that names nobody is an error, not a subject that strangers share: $subject',
    async ({ subject }) => {
      const { tokens } = setUp()
      await expect(tokens.issue(subject as never)).rejects.toMatchObject({ code: 'TP_KEY' })
      await expect(tokens.consume(subject as never, '123456')).rejects.toMatchObject({
        code: 'TP_KEY',
      })
    },
  )

  test('peek leaves the right token alone, and counts a wrong one', async () => {
    const { tokens, issue } = setUp()
    const code = await issue('ann@example.org', 'data')
    for (let i = 0; i < 10; i++)
      expect(await tokens.peek('ann@example.org', code)).toMatchObject({ data: 'data' })
    for (let i = 0; i < 5; i++)
      expect(await tokens.peek('ann@example.org', wrong(code))).toBeUndefined()
    expect(await tokens.peek('ann@example.org', code)).toBeUndefined()
    await expect(tokens.consume('ann@example.org', code)).rejects.toMatchObject(INVALID)
  })

  test('revoke voids the token, and another one may be issued at once; the failures are not forgotten', async () => {
    const { tokens, issue } = setUp()
    const code = await issue()
    expect(await tokens.revoke('ann@example.org')).toBe(true)
    expect(await tokens.revoke('ann@example.org')).toBe(false)
    await expect(tokens.consume('ann@example.org', code)).rejects.toMatchObject(INVALID)
    const next = await issue()
    await tokens.consume('ann@example.org', wrong(next)).catch(() => {})
    expect(await tokens.revoke('ann@example.org')).toBe(true)
    expect((await tokens.issue('ann@example.org')).sent).toBe(false)
  })

  describe('links', () => {
    const LINK = { purpose: 'reset', format: 'url', pepper: undefined } as never

    test('a link names its subject, works once, and cannot be voided by a stranger', async () => {
      const { tokens, elsewhere, advance } = setUp(LINK)
      const token = codeOf(await tokens.issue(['user', '42'], { data: { ip: '192.0.2.1' } }))
      expect(token).toMatch(/^once_[0-9A-Za-z]{71}$/)
      await advance('60s')
      const other = codeOf(await tokens.issue(['user', '43']))
      for (let i = 0; i < 30; i++)
        await expect(tokens.consume(['user', '42'], other)).rejects.toMatchObject(INVALID)
      expect(await tokens.peek(null, token)).toMatchObject({ subject: ['user', '42'] })
      expect(await elsewhere.consume(null, token)).toMatchObject({
        subject: ['user', '42'],
        data: { ip: '192.0.2.1' },
      })
      await expect(tokens.consume(null, token)).rejects.toMatchObject(INVALID)
      await expect(tokens.consume(['user', '42'], token)).rejects.toMatchObject(INVALID)
      await tokens.consume(['user', '43'], other)
    })

    test('numbers and strings come back as they were given', async () => {
      const { tokens } = setUp(LINK)
      for (const subject of [42, '43', ['a', 'b']])
        expect(await tokens.consume(null, codeOf(await tokens.issue(subject)))).toMatchObject({
          subject,
        })
    })

    test('each event says how long it took', async () => {
      const { tokens, tp } = setUp(LINK)
      const times: string[] = []
      tp.on('token', ({ type, ms }) => times.push(`${type} ${typeof ms}`))
      const token = codeOf(await tokens.issue(1))
      await tokens.consume(null, token)
      await expect(tokens.consume(null, token)).rejects.toMatchObject(INVALID)
      await tokens.revoke(1)
      expect(times).toEqual(
        ['issued', 'consumed', 'refused', 'revoked'].map((type) => `${type} number`),
      )
    })

    test('a typing error is found without Redis', async () => {
      const { tokens, tp, store } = setUp(LINK)
      const token = codeOf(await tokens.issue(1))
      const refused: string[] = []
      tp.on('token', ({ type }) => refused.push(type))
      for (let i = 0; i < token.length; i += 5) {
        const char = token[i] === 'a' ? 'b' : 'a'
        const typo = token.slice(0, i) + char + token.slice(i + 1)
        await expect(tokens.consume(null, typo)).rejects.toMatchObject(INVALID)
      }
      for (const odd of [token.slice(0, -1), `${token}a`, token.toUpperCase(), ` ${token}`])
        await expect(tokens.consume(1, odd)).rejects.toMatchObject(INVALID)
      expect(refused).toEqual([])
      expect(store.status().status).toBe('ok')
      await tokens.consume(null, token)
    })

    test('a code has no subject of its own', async () => {
      const { tokens, issue } = setUp()
      const code = await issue()
      await expect(tokens.consume(null, code)).rejects.toMatchObject({ code: 'TP_KEY' })
    })
  })

  describe('addresses', () => {
    test('guesses at many subjects from one address are limited, whatever form the address has', async () => {
      const { tokens, advance } = setUp({ addressLimit: 10, addressWindow: '1h' })
      const refusals: string[] = []
      for (let i = 0; i < 15; i++)
        await tokens
          .consume(`user${i}@example.org`, '000000', {
            address: i % 2 ? '192.0.2.1' : '::ffff:192.0.2.1',
          })
          .catch(({ code }: { code: string }) => refusals.push(code))
      expect(refusals).toEqual([
        ...Array.from({ length: 10 }, () => 'TP_TOKEN_INVALID'),
        ...Array.from({ length: 5 }, () => 'TP_LIMITED'),
      ])
      await expect(tokens.peek('x', '000000', { address: '192.0.2.1' })).rejects.toMatchObject({
        code: 'TP_LIMITED',
        status: 429,
        headers: { 'Retry-After': '360' },
      })
      await expect(tokens.consume('x', '000000', { address: '192.0.2.2' })).rejects.toMatchObject(
        INVALID,
      )
      await advance('6m')
      await expect(tokens.consume('x', '000000', { address: '192.0.2.1' })).rejects.toMatchObject(
        INVALID,
      )
    })

    test('100 parallel guesses from one address: 10 are compared', async () => {
      const { tokens } = setUp({ addressLimit: 10 })
      const all = await Promise.allSettled(
        Array.from({ length: 100 }, (_, i) =>
          tokens.consume(`user${i}`, '000000', { address: '2001:db8::1' }),
        ),
      )
      const codes = all.map((each) => (each as PromiseRejectedResult).reason.code as string)
      expect(codes.filter((code) => code === 'TP_TOKEN_INVALID')).toHaveLength(10)
    })

    test('right codes cost an address nothing', async () => {
      const { tokens, issue } = setUp({ addressLimit: 3 })
      for (let i = 0; i < 10; i++) {
        const code = await issue(`user${i}`)
        await tokens.consume(`user${i}`, code, { address: '192.0.2.1' })
      }
    })

    test('one address cannot have mail sent to everybody', async () => {
      const { tokens } = setUp({ addressLimit: 10 })
      const sent: boolean[] = []
      for (let i = 0; i < 15; i++)
        sent.push((await tokens.issue(`user${i}`, { address: '192.0.2.1' })).sent)
      expect(sent.filter(Boolean)).toHaveLength(10)
      expect(await tokens.issue('x', { address: '192.0.2.1' })).toMatchObject({ sent: false })
      expect((await tokens.issue('x', { address: '192.0.2.2' })).sent).toBe(true)
    })

    test('an issue that the pause refused costs the address nothing', async () => {
      const { tokens } = setUp({ addressLimit: 3 })
      for (let i = 0; i < 10; i++) await tokens.issue('ann', { address: '192.0.2.1' })
      expect((await tokens.issue('bob', { address: '192.0.2.1' })).sent).toBe(true)
    })

    test('what is no address is not counted as one that strangers share', async () => {
      const { tokens } = setUp({ addressLimit: 1 })
      for (let i = 0; i < 3; i++)
        await expect(
          tokens.consume(`user${i}`, '000000', { address: 'unknown' }),
        ).rejects.toMatchObject(INVALID)
    })
  })

  test('a pepper can be changed without voiding what was issued', async () => {
    const { tp, store, prefix, issue } = setUp()
    const code = await issue()
    const after = turnpike({ store, prefix })
    const changed = ['another pepper that nobody knows yet', PEPPER]
    const options = { purpose: 'verify-email', format: 'digits:6' } as const
    const tokens = oneTimeTokens(after, { ...options, pepper: changed })
    await tokens.consume('ann@example.org', code)
    const foreign = turnpike({ store, prefix })
    const wronged = oneTimeTokens(foreign, { ...options, pepper: changed[0]! })
    const next = codeOf(await oneTimeTokens(tp, { ...options, pepper: PEPPER }).issue('bob'))
    await expect(wronged.consume('bob', next)).rejects.toMatchObject(INVALID)
  })

  test('data that cannot be stored is refused, and nothing is issued', async () => {
    const { tokens } = setUp()
    const circular: Record<string, unknown> = {}
    circular['self'] = circular
    for (const data of [circular, 1n, () => 1, Symbol('x'), 'x'.repeat(5000)])
      await expect(tokens.issue('ann', { data })).rejects.toMatchObject({ code: 'TP_VALUE' })
    expect((await tokens.issue('ann')).sent).toBe(true)
  })
})
