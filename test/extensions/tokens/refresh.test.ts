import { describe, expect, test } from 'vitest'
import type { EventMap } from '../../../src/events.ts'
import { turnpike } from '../../../src/node.ts'
import { refreshTokens, type RefreshTokenOptions } from '../../../src/tokens.ts'
import { bothEngines } from '../../support/engines.ts'

const INVALID = { code: 'TP_TOKEN_INVALID', status: 401 }
const REUSED = { code: 'TP_TOKEN_REUSED', status: 401 }
const DAY = 86_400_000

describe.each(bothEngines())('refresh tokens on the $name engine', ({ open, server }) => {
  function setUp(options: RefreshTokenOptions = {}, tenant?: () => string) {
    const opened = open()
    const events: EventMap['token'][] = []
    const make = () => {
      const { store, prefix } = opened
      const tp = turnpike({ store, prefix, ...(tenant && { tenant }) })
      tp.on('token', (event) => events.push(event))
      return refreshTokens(tp, options)
    }
    return { ...opened, tokens: make(), elsewhere: make(), events }
  }

  test('a token is exchanged for its successor, with the user and what was bound to the family', async () => {
    const { tokens, elsewhere } = setUp({ ttl: '7d' })
    const first = await tokens.issue(42, { data: { userAgent: 'laptop' } })
    expect(first).toEqual({
      token: expect.stringMatching(/^refresh_[0-9A-Za-z]{93}$/),
      family: expect.stringMatching(/^[\w-]{22}$/),
      user: '42',
      data: { userAgent: 'laptop' },
      expiresInMs: 7 * DAY,
    })
    const second = await elsewhere.rotate(first.token)
    expect(second).toMatchObject({
      family: first.family,
      user: '42',
      data: { userAgent: 'laptop' },
    })
    expect(second.token).not.toBe(first.token)
    const third = await tokens.rotate(second.token, { data: { userAgent: 'phone' } })
    expect((await tokens.rotate(third.token)).data).toEqual({ userAgent: 'phone' })
  })

  test('two processes exchange one token at once: one successor, and it works', async () => {
    const { tokens, elsewhere, events } = setUp()
    const { token } = await tokens.issue('ann')
    const all = await Promise.all(
      Array.from({ length: 50 }, (_, i) => (i % 2 ? tokens : elsewhere).rotate(token)),
    )
    const successors = new Set(all.map(({ token }) => token))
    expect(successors.size).toBe(1)
    expect(events.filter(({ type }) => type === 'rotated')).toHaveLength(1)
    expect(events.filter(({ type }) => type === 'repeated')).toHaveLength(49)
    // Issued, rotated and repeated: each says how long it took.
    expect(events.every(({ ms }) => ms !== undefined && ms >= 0)).toBe(true)
    await tokens.rotate([...successors][0]!)
  })

  test('within the grace a used token has the same successor, also when that was used meanwhile', async () => {
    const { tokens, advance } = setUp({ grace: '10s' })
    const a = await tokens.issue('ann')
    const b = await tokens.rotate(a.token)
    const c = await tokens.rotate(b.token)
    await advance('9s')
    expect((await tokens.rotate(a.token)).token).toBe(b.token)
    expect((await tokens.rotate(b.token)).token).toBe(c.token)
    await tokens.rotate(c.token)
  })

  test('after the grace a used token ends the family: both who have a token are told', async () => {
    const { tokens, elsewhere, advance, events } = setUp({ grace: '10s' })
    const a = await tokens.issue('ann')
    const other = await tokens.issue('ann')
    const b = await tokens.rotate(a.token)
    await advance('10s')
    await expect(elsewhere.rotate(a.token)).rejects.toMatchObject(REUSED)
    await expect(tokens.rotate(b.token)).rejects.toMatchObject(REUSED)
    expect(events.filter(({ type }) => type === 'reused')).toEqual([
      {
        feature: 'refreshTokens',
        name: 'default',
        type: 'reused',
        subject: undefined,
        user: 'ann',
        family: a.family,
        ms: expect.any(Number),
      },
    ])
    expect((await tokens.list('ann')).map(({ family }) => family)).toEqual([other.family])
    await tokens.rotate(other.token)
  })

  test('two parallel uses after the grace: no successor, one event', async () => {
    const { tokens, elsewhere, advance, events } = setUp({ grace: '1s' })
    const a = await tokens.issue('ann')
    await tokens.rotate(a.token)
    await advance('2s')
    const all = await Promise.allSettled([tokens.rotate(a.token), elsewhere.rotate(a.token)])
    for (const each of all) expect(each).toMatchObject({ status: 'rejected', reason: REUSED })
    expect(events.filter(({ type }) => type === 'reused')).toHaveLength(1)
  })

  test('with grace: 0 the second of two parallel exchanges ends the family', async () => {
    const { tokens } = setUp({ grace: 0 })
    const { token } = await tokens.issue('ann')
    const all = await Promise.allSettled([tokens.rotate(token), tokens.rotate(token)])
    expect(all.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
    const [won] = all.filter((each) => each.status === 'fulfilled')
    await expect(tokens.rotate(won!.value.token)).rejects.toMatchObject(REUSED)
  })

  test('a token of a family that was never issued does not end it', async () => {
    const { tokens, events } = setUp()
    const { token, family } = await tokens.issue('ann')
    // What anybody can know: the user, the handle, the form.
    const foreign = (await setUp().tokens.issue('ann')).token
    await expect(tokens.rotate(foreign)).rejects.toMatchObject(INVALID)
    await expect(
      tokens.rotate(`refresh_${family}`.padEnd(token.length, 'x')),
    ).rejects.toMatchObject(INVALID)
    expect(events.some(({ type }) => type === 'reused')).toBe(false)
    await tokens.rotate(token)
  })

  test('a token ends when it is not used for its ttl, and the family with its absolute timeout', async () => {
    const { tokens, advance } = setUp({ ttl: '1d', absoluteTimeout: '3d', grace: '1s' })
    const { token } = await tokens.issue('ann')
    const idle = await tokens.issue('ann')
    await advance('23h')
    const second = await tokens.rotate(token)
    expect(second.expiresInMs).toBe(DAY)
    await advance('23h')
    await expect(tokens.rotate(idle.token)).rejects.toMatchObject(INVALID)
    let last = await tokens.rotate(second.token)
    await advance('23h')
    last = await tokens.rotate(last.token)
    expect(last.expiresInMs).toBe(3 * 3_600_000)
    await advance('3h')
    await expect(tokens.rotate(last.token)).rejects.toMatchObject(INVALID)
    expect(await tokens.list('ann')).toEqual([])
  })

  test('logout: any token of the family ends it, and it is over at once', async () => {
    const { tokens, elsewhere } = setUp()
    const a = await tokens.issue('ann')
    const b = await tokens.rotate(a.token)
    expect(await elsewhere.revoke(a.token)).toBe(true)
    expect(await tokens.revoke(b.token)).toBe(false)
    await expect(tokens.rotate(b.token)).rejects.toMatchObject(INVALID)
    await expect(tokens.rotate(a.token)).rejects.toMatchObject(INVALID)
    for (const odd of [undefined, null, '', {}, 'refresh_x'])
      expect(await tokens.revoke(odd)).toBe(false)
  })

  test('all families of a user end, but for one', async () => {
    const { tokens, elsewhere } = setUp()
    const here = await tokens.issue(7, { data: { device: 'here' } })
    const there = await elsewhere.issue('7')
    const bob = await tokens.issue('bob')
    expect(await tokens.revokeUser(7, { except: here.family })).toBe(1)
    await expect(tokens.rotate(there.token)).rejects.toMatchObject(INVALID)
    const next = await tokens.rotate(here.token)
    expect(await tokens.revokeUser('7')).toBe(1)
    await expect(tokens.rotate(next.token)).rejects.toMatchObject(INVALID)
    expect(await tokens.revokeUser('7')).toBe(0)
    await tokens.rotate(bob.token)
  })

  test('an exchange under way while all end does not survive', async () => {
    const { tokens, elsewhere } = setUp()
    for (let i = 0; i < 20; i++) {
      const { token } = await tokens.issue('ann')
      const [exchange] = await Promise.allSettled([
        tokens.rotate(token),
        elsewhere.revokeUser('ann'),
      ])
      if (exchange.status === 'fulfilled')
        await expect(tokens.rotate(exchange.value.token)).rejects.toMatchObject(INVALID)
      await expect(tokens.rotate(token)).rejects.toMatchObject(INVALID)
    }
  })

  test('list shows the devices, the last used first, and no token can be made of it', async () => {
    const { tokens, advance } = setUp({ ttl: '7d' })
    const laptop = await tokens.issue('ann', { data: { userAgent: 'laptop' } })
    await advance('1m')
    const phone = await tokens.issue('ann', { data: { userAgent: 'phone' } })
    await advance('1m')
    await tokens.rotate(laptop.token)
    const list = await tokens.list('ann')
    expect(list.map(({ family, data }) => [family, data])).toEqual([
      [laptop.family, { userAgent: 'laptop' }],
      [phone.family, { userAgent: 'phone' }],
    ])
    const [first, second] = list
    expect(first!.lastUsed.getTime() - first!.created.getTime()).toBe(120_000)
    expect(second!.expires.getTime() - second!.lastUsed.getTime()).toBe(7 * DAY)
    for (const { family } of list) expect(laptop.token + phone.token).not.toContain(family)
    expect(await tokens.revokeFamily('ann', phone.family)).toBe(true)
    expect(await tokens.revokeFamily('bob', laptop.family)).toBe(false)
    expect(await tokens.list('ann')).toHaveLength(1)
  })

  test('a user has so many families at most: the one longest unused makes room', async () => {
    const { tokens, advance } = setUp({ maxPerUser: 3 })
    const issued = []
    for (let i = 0; i < 3; i++) {
      issued.push(await tokens.issue('ann'))
      await advance('1s')
    }
    const first = await tokens.rotate(issued[0]!.token)
    await advance('1s')
    for (let i = 0; i < 2; i++) {
      await tokens.issue('ann')
      await advance('1s')
    }
    expect(await tokens.list('ann')).toHaveLength(3)
    for (const { token } of issued.slice(1))
      await expect(tokens.rotate(token)).rejects.toMatchObject(INVALID)
    await tokens.rotate(first.token)
  })

  test('no form of nonsense is a token', async () => {
    const { tokens } = setUp()
    const { token } = await tokens.issue('ann')
    const odd = [
      undefined,
      null,
      7,
      {},
      [token],
      '',
      token.slice(1),
      `${token} `,
      token.toLowerCase(),
    ]
    for (const given of [...odd, token.replace('refresh_', 'once_'), 'x'.repeat(1e6)])
      await expect(tokens.rotate(given)).rejects.toMatchObject(INVALID)
    await tokens.rotate(token)
  })

  test('tenants do not share users', async () => {
    const { tokens } = setUp({}, () => 'acme')
    await expect(tokens.issue('ann')).rejects.toMatchObject({ code: 'TP_KEY' })
    const { token } = await tokens.issue('ann', { tenant: 'acme' })
    await expect(tokens.rotate(token)).rejects.toMatchObject({ code: 'TP_KEY' })
    await expect(tokens.rotate(token, { tenant: 'globex' })).rejects.toMatchObject(INVALID)
    expect(await tokens.revokeUser('ann', { tenant: 'globex' })).toBe(0)
    await tokens.rotate(token, { tenant: 'acme' })
  })

  test('data that cannot be stored is refused, and nothing is exchanged', async () => {
    const { tokens } = setUp()
    const { token } = await tokens.issue('ann')
    for (const data of [1n, () => 1, 'x'.repeat(2000)]) {
      await expect(tokens.issue('ann', { data })).rejects.toMatchObject({ code: 'TP_VALUE' })
      await expect(tokens.rotate(token, { data })).rejects.toMatchObject({ code: 'TP_VALUE' })
    }
    await tokens.rotate(token)
    expect(await tokens.list('ann')).toHaveLength(1)
  })

  test('what was changed in Redis is no token, and no error', async () => {
    const redis = server()
    const { tokens, prefix } = setUp()
    if (redis === undefined) return
    for (const damage of ['', 'x', '1'.repeat(97), `1${'9'.repeat(52)}${'a'.repeat(43)}9`]) {
      const { token, family } = await tokens.issue('ann')
      const keys = (await redis.send('KEYS', `${prefix}:tokens:refresh:*`)).split('\r\n')
      const key = keys.find((line) => line.startsWith(prefix))!
      await redis.send('HSET', key, family, damage)
      await expect(tokens.rotate(token)).rejects.toMatchObject(INVALID)
      expect(await tokens.list('ann')).toEqual([])
      await tokens.revokeUser('ann')
    }
  })
})
