/** What tokens ask of a real Redis: trips, commands, and what happens when it freezes or its replies are lost. */
import { Redis } from 'ioredis'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { turnpike } from '../../../src/node.ts'
import type { RedisServer } from '../../../src/testing.ts'
import { apiKeys, oneTimeTokens, refreshTokens } from '../../../src/tokens.ts'
import { apps } from '../../support/apps.ts'
import type { FaultProxy } from '../../support/fault-proxy.ts'
import { eachProxiedRedis } from '../../support/proxied-redis.ts'
import { until } from '../../support/until.ts'

const PEPPER = 'a pepper that only the tests know'
const CODES = { purpose: 'verify', format: 'digits:6', pepper: PEPPER, cooldown: 0 } as const
const UNAVAILABLE = { code: 'TP_UNAVAILABLE', status: 503 }
const INVALID = { code: 'TP_TOKEN_INVALID' }

let redis: RedisServer
let proxy: FaultProxy
eachProxiedRedis((started) => ({ redis, proxy } = started))

/** An instance behind the proxy, connected, that knows Redis's clock. */
async function connected(options: object = {}) {
  const tp = turnpike({ redis: proxy.url, ...options })
  tp.on('warning', () => {})
  onTestFinished(() => tp.close())
  await tp.ready()
  await until('the clock is known', () => proxy.traffic.commands.includes('TIME'))
  return tp
}

const wrong = (code: string): string => (code === '000000' ? '000001' : '000000')

/** Calls of each command since the last look. */
async function commandsOf(work: () => Promise<unknown>): Promise<Record<string, number>> {
  await redis.send('CONFIG', 'RESETSTAT')
  await work()
  const stats = await redis.send('INFO', 'commandstats')
  const calls = [...stats.matchAll(/cmdstat_(\S+?):calls=(\d+)/g)].map(([, name, count]) => [
    name,
    Number(count),
  ])
  const ours = /^(config|info|ping|time$)/
  return Object.fromEntries(calls.filter(([name]) => name === 'time' || !ours.test(String(name))))
}

const node = apps.find(({ name }) => name === 'node:http')!

/** An application with API keys of its own database. */
function withKeys(url: string, options: object = {}) {
  const known = new Set<string>()
  let keys!: ReturnType<typeof apiKeys<any, any, object>>
  const app = node.start({
    options: { redis: url },
    mount(tp) {
      const lookup = (digest: string) => (known.has(digest) ? {} : undefined)
      keys = apiKeys<any, any, object>(tp, { lookup, ...options })
      return [keys]
    },
  })
  onTestFinished(() => app.tp.close())
  const status = async (key: string) => (await app.get('/', { 'x-api-key': key })).status
  return { tp: app.tp, keys, known, status }
}

describe('what it costs', () => {
  const patient = { commandTimeout: '10s', requestBudget: '10s' } as const

  test('one trip for each call, two where an address is counted', async () => {
    const tp = await connected(patient)
    const codes = oneTimeTokens(tp, CODES)
    const refresh = refreshTokens(tp)
    const trips = async <Result>(work: () => Promise<Result>): Promise<[number, Result]> => {
      await work().catch(() => {})
      proxy.forget()
      const result = await work()
      return [proxy.traffic.roundTrips, result]
    }
    let [count, issued] = await trips(() => codes.issue('ann'))
    expect(count).toBe(1)
    ;[count] = await trips(() => codes.peek('ann', issued.code))
    expect(count).toBe(1)
    proxy.forget()
    await codes.consume('ann', issued.code)
    expect(proxy.traffic).toMatchObject({ roundTrips: 1, commands: ['EVALSHA'] })
    ;[count] = await trips(() => codes.issue('ann', { address: '192.0.2.1' }))
    expect(count).toBe(2)
    const [issue, token] = await trips(() => refresh.issue('ann'))
    expect(issue).toBe(1)
    await refresh.rotate((await refresh.issue('ann')).token)
    proxy.forget()
    await refresh.rotate(token.token)
    expect(proxy.traffic).toMatchObject({ roundTrips: 1, commands: ['EVALSHA'] })
    for (const call of [
      () => refresh.list('ann'),
      () => refresh.revokeUser('ann'),
      () => refresh.revoke(token.token),
    ])
      expect((await trips<unknown>(call))[0]).toBe(1)
  })

  test.each(apps)(
    '$name: an API key costs a trip, or none while it is remembered. One that is not known costs two',
    async ({ start }) => {
      let record: object | undefined = { user: 'ann' }
      for (const [near, trips] of [
        [0, 1],
        ['1m', 0],
      ] as const) {
        const app = start({
          options: { redis: proxy.url, ...patient },
          mount: (tp) => [apiKeys(tp, { lookup: () => record, near, checksum: false })],
        })
        onTestFinished(() => app.tp.close())
        for (let i = 0; i < 3; i++) await app.get('/', { 'x-api-key': 'k' })
        await until(
          'its use is noted',
          async () => (await redis.send('EXISTS', 'tp:tokens:api-key-use:x')) === ':0\r\n',
        )
        proxy.forget()
        expect((await app.get('/', { 'x-api-key': 'k' })).status).toBe(200)
        expect(proxy.traffic.roundTrips).toBe(trips)
        record = undefined
        proxy.forget()
        expect((await app.get('/', { 'x-api-key': `unknown-${near}` })).status).toBe(401)
        expect(proxy.traffic.roundTrips).toBe(2)
        record = { user: 'ann' }
      }
    },
  )

  test.each(apps)(
    '$name: in a pipeline a key is asked for with the other members’ reads',
    async ({ start }) => {
      const app = start({
        options: { redis: proxy.url, ...patient },
        mount: (tp) => [
          tp.pipeline(
            tp.session({ secret: 's' }),
            tp.rateLimit({ limit: 1000, window: '1m' }),
            apiKeys(tp, { lookup: () => ({ user: 'ann' }), near: 0, checksum: false }),
          ),
        ],
      })
      onTestFinished(() => app.tp.close())
      const get = async () => (await app.get('/', { 'x-api-key': 'k' })).status
      for (let i = 0; i < 3; i++) expect(await get()).toBe(200)
      proxy.forget()
      expect(await get()).toBe(200)
      expect(proxy.traffic).toMatchObject({ roundTrips: 1, commands: ['EVALSHA', 'EVALSHA'] })
    },
  )

  test('a wrong code and one that was never issued: the same commands in Redis', async () => {
    const tp = await connected(patient)
    const codes = oneTimeTokens(tp, { ...CODES, attempts: 20 })
    const links = oneTimeTokens(tp, { purpose: 'reset', cooldown: 0 })
    const { code } = await codes.issue('ann')
    const { code: link } = await links.issue('ann')
    await links.issue('ann')
    const other = oneTimeTokens(tp, { purpose: 'other' })
    const { code: foreign } = await other.issue('bob')
    const consume = (tokens: typeof codes, subject: string | null, given: unknown) => () =>
      tokens.consume(subject, given).catch(() => {})
    for (const warm of ['ann', 'bob']) await consume(codes, warm, wrong(code!))()
    const wrongCode = await commandsOf(consume(codes, 'ann', wrong(code!)))
    expect(await commandsOf(consume(codes, 'bob', wrong(code!)))).toEqual(wrongCode)
    expect(wrongCode).toMatchObject({ evalsha: 1, get: 1, set: 1, pexpire: 1 })
    const used = await codes.issue('cat')
    await codes.consume('cat', used.code)
    expect(await commandsOf(consume(codes, 'cat', used.code))).toEqual(wrongCode)
    const voided = await commandsOf(consume(links, null, link))
    expect(await commandsOf(consume(links, null, foreign))).toEqual(voided)
    expect(voided).toEqual(wrongCode)
  })
})

describe('Redis freezes', () => {
  const LIMIT = 400

  /** Fails within the deadline, and nothing that it asked for happens later. */
  async function refused(work: () => Promise<unknown>): Promise<void> {
    const began = performance.now()
    await expect(work()).rejects.toMatchObject(UNAVAILABLE)
    expect(performance.now() - began).toBeLessThan(LIMIT)
  }

  test('before each call: it rejects in time, and takes no effect when Redis goes on', async () => {
    const tp = await connected()
    const codes = oneTimeTokens(tp, { ...CODES, cooldown: '1m' })
    const refresh = refreshTokens(tp)
    const { code } = await codes.issue('ann')
    const { token } = await refresh.issue('ann')
    redis.freeze()
    await refused(() => codes.consume('ann', code))
    await refused(() => codes.peek('ann', code))
    await refused(() => codes.issue('bob'))
    await refused(() => codes.revoke('ann'))
    await refused(() => refresh.rotate(token))
    await refused(() => refresh.issue('ann'))
    await refused(() => refresh.revoke(token))
    await refused(() => refresh.revokeUser('ann'))
    await refused(() => refresh.list('ann'))
    redis.thaw()
    await until('Redis is back', () => tp.status().status === 'ok')
    // Longer than any of the commands could have been under way.
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(await refresh.list('ann')).toHaveLength(1)
    const next = await refresh.rotate(token)
    expect(next.token).not.toBe(token)
    expect((await codes.consume('ann', code)).subject).toBe('ann')
    expect((await codes.issue('bob')).sent).toBe(true)
  })

  test('wrong codes while it is frozen are not counted later', async () => {
    const tp = await connected()
    const codes = oneTimeTokens(tp, CODES)
    const { code } = await codes.issue('ann')
    redis.freeze()
    for (let i = 0; i < 8; i++) await refused(() => codes.consume('ann', wrong(code!)))
    redis.thaw()
    await until('Redis is back', () => tp.status().status === 'ok')
    await codes.consume('ann', code)
  })
})

describe('a reply is lost', () => {
  test('of consume: the code is used up, and cannot be used again', async () => {
    const tp = await connected()
    const codes = oneTimeTokens(tp, CODES)
    const { code } = await codes.issue('ann')
    // Redis knows the script: else the reply that is lost says that it does not.
    await codes.peek('ann', code)
    proxy.set({ mode: 'stallDown' })
    await expect(codes.consume('ann', code)).rejects.toMatchObject({
      ...UNAVAILABLE,
      uncertain: true,
    })
    proxy.heal()
    await until('Redis is back', () => tp.status().status === 'ok')
    await expect(codes.consume('ann', code)).rejects.toMatchObject(INVALID)
  })

  test('of issue: nobody has the token, and another one replaces it', async () => {
    const tp = await connected()
    const codes = oneTimeTokens(tp, CODES)
    const { code: former } = await codes.issue('ann')
    proxy.set({ mode: 'stallDown' })
    await expect(codes.issue('ann')).rejects.toMatchObject(UNAVAILABLE)
    proxy.heal()
    await until('Redis is back', () => tp.status().status === 'ok')
    await expect(codes.consume('ann', former)).rejects.toMatchObject(INVALID)
    const { code } = await codes.issue('ann')
    await codes.consume('ann', code)
  })

  test('of rotate: a repeated call gets the successor, and the family lives', async () => {
    const tp = await connected()
    const refresh = refreshTokens(tp, { grace: '30s' })
    const { token } = await refresh.issue('ann')
    proxy.set({ mode: 'stallDown' })
    await expect(refresh.rotate(token)).rejects.toMatchObject(UNAVAILABLE)
    proxy.heal()
    await until('Redis is back', () => tp.status().status === 'ok')
    const [one, other] = [await refresh.rotate(token), await refresh.rotate(token)]
    expect(one.token).toBe(other.token)
    await refresh.rotate(one.token)
  })

  test('of the lookup’s lease: the next request does not wait for it in vain', async () => {
    const app = withKeys(proxy.url, { lookupTimeout: '300ms', near: 0 })
    const { key } = app.keys.generate()
    app.known.add(app.keys.digest(key))
    expect(await app.status(key)).toBe(200)
    await app.keys.invalidate(app.keys.digest(key))
    proxy.set({ mode: 'stallDown' })
    expect(await app.status(key)).toBe(200)
    proxy.heal()
    await until('Redis is back', () => app.tp.status().status === 'ok')
    const began = performance.now()
    expect(await app.status(key)).toBe(200)
    expect(performance.now() - began).toBeLessThan(1500)
  })
})

test('an application whose clock is an hour off changes nothing', async () => {
  const tp = await connected({ commandTimeout: '5s' })
  const codes = oneTimeTokens(tp, { ...CODES, ttl: '15m', cooldown: '60s' })
  const refresh = refreshTokens(tp, { ttl: '30m', absoluteTimeout: '30m', grace: '10s' })
  const { code } = await codes.issue('ann')
  const first = await refresh.issue('ann')
  const second = await refresh.rotate(first.token)
  const now = Date.now()
  vi.useFakeTimers({ toFake: ['Date'], now: now + 3_600_000 })
  onTestFinished(() => void vi.useRealTimers())
  const late = turnpike({ redis: proxy.url, commandTimeout: '5s' })
  onTestFinished(() => late.close())
  for (const each of [late, tp]) {
    expect(
      await oneTimeTokens(each, { ...CODES, ttl: '15m', cooldown: '60s' }).peek('ann', code),
    ).toBeDefined()
    expect(
      await oneTimeTokens(each, { ...CODES, ttl: '15m', cooldown: '60s' }).issue('ann'),
    ).toMatchObject({ sent: false })
    const same = refreshTokens(each, { ttl: '30m', absoluteTimeout: '30m', grace: '10s' })
    expect((await same.rotate(first.token)).token).toBe(second.token)
    const [family] = await same.list('ann')
    expect(Math.abs(family!.created.getTime() - now)).toBeLessThan(60_000)
  }
})

describe('what is damaged in Redis names nobody else', () => {
  /** Replaces a string in the one key that a pattern matches. */
  async function damage(
    pattern: string,
    field: string | undefined,
    from: string,
    to: string,
  ): Promise<void> {
    const client = new Redis(redis.url)
    try {
      const [key] = await client.keys(pattern)
      const text = field === undefined ? await client.get(key!) : await client.hget(key!, field)
      expect(text).toContain(from)
      const changed = text!.replace(from, to)
      if (field === undefined) await client.set(key!, changed, 'KEEPTTL')
      else await client.hset(key!, field, changed)
    } finally {
      client.disconnect()
    }
  }

  test('an API key: the database is asked', async () => {
    const app = node.start({
      options: { redis: redis.url },
      mount: (tp) => [apiKeys(tp, { lookup: () => ({ user: 'ann' }), checksum: false, near: 0 })],
      handle: (native) => [200, native.apiKey],
    })
    onTestFinished(() => app.tp.close())
    const get = async () => JSON.parse((await app.get('/', { 'x-api-key': 'k' })).text)
    expect(await get()).toEqual({ user: 'ann' })
    for (const [from, to] of [
      ['ann', 'bob'],
      ['{', '['],
      ['r', 'q'],
    ] as const) {
      await damage('tp:tokens:api-key:*', undefined, from, to)
      expect(await get()).toEqual({ user: 'ann' })
      await damage('tp:tokens:api-key:*', undefined, to, from)
    }
  })

  test('a refresh token: it is not valid', async () => {
    const tp = await connected()
    const refresh = refreshTokens(tp)
    const { token, family } = await refresh.issue('ann', { data: { role: 'user' } })
    await damage('tp:tokens:refresh:*', family, '"ann"', '"bob"')
    await expect(refresh.rotate(token)).rejects.toMatchObject(INVALID)
    const other = await refresh.issue('cat', { data: { role: 'user' } })
    await refresh.revokeUser('ann')
    await damage('tp:tokens:refresh:*', other.family, 'user', 'root')
    expect((await refresh.rotate(other.token)).data).toBeUndefined()
  })

  test('a link: it is not valid', async () => {
    const tp = await connected()
    const links = oneTimeTokens(tp, { purpose: 'reset' })
    const { code } = await links.issue('ann', { data: { email: 'ann@example.org' } })
    await damage('tp:tokens:once:*', undefined, 'ann@example', 'bob@example')
    await expect(links.consume(null, code)).rejects.toMatchObject(INVALID)
  })
})

describe('revocation of API keys in another process', () => {
  test('is heard at once', async () => {
    const [here, there] = [withKeys(redis.url), withKeys(proxy.url, { near: '1m' })]
    const delays: number[] = []
    for (let i = 0; i < 20; i++) {
      const { key, digest } = here.keys.generate()
      there.known.add(digest)
      await until('it is remembered', async () => (await there.status(key)) === 200)
      there.known.delete(digest)
      const began = performance.now()
      await here.keys.revoke(digest)
      await until('it is refused', async () => (await there.status(key)) === 401)
      delays.push(performance.now() - began)
    }
    const [median] = delays.toSorted((a, b) => a - b).slice(10)
    console.log(
      `a revoked key was refused in another process after ${median!.toFixed(1)} ms (median of 20)`,
    )
    expect(median).toBeLessThan(50)
  })

  test('whose message is lost ends with near', async () => {
    const [here, there] = [withKeys(redis.url), withKeys(proxy.url, { near: '400ms' })]
    const { key, digest } = here.keys.generate()
    there.known.add(digest)
    await until('it is remembered', async () => (await there.status(key)) === 200)
    // No message arrives any more, and nothing tells that the connection is dead.
    proxy.strand()
    there.known.delete(digest)
    const began = performance.now()
    await here.keys.revoke(digest)
    await until('it is refused', async () => (await there.status(key)) === 401, 2000)
    expect(performance.now() - began).toBeLessThan(1500)
  })
})
