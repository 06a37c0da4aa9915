/** Limiters of rate-limiter-flexible behind our answers, on Express 5 and Koa 3. */
import express from 'express'
import Koa from 'koa'
import {
  BurstyRateLimiter,
  RateLimiterMemory,
  RateLimiterUnion,
  RLWrapperBlackAndWhite,
  RLWrapperTimeouts,
} from 'rate-limiter-flexible'
import { parseList } from 'structured-headers'
import request from 'supertest'
import { describe, expect, expectTypeOf, test, vi } from 'vitest'
import {
  turnpike,
  type EventMap,
  type FlexibleLimiter,
  type Limiter,
} from '../../../src/express.ts'
import { turnpike as koaTurnpike } from '../../../src/koa.ts'
import { testStore } from '../../../src/testing.ts'

type Options = {
  limiter: FlexibleLimiter
  shadow?: boolean
  skipFailed?: boolean
  name?: string
  fail?: 'open' | 'closed' | 'local'
}

/** The same application on both: `x-user` is counted, `x-cost` charged, `x-status` answered. */
const frameworks = {
  'Express 5': (options: Options) => {
    const tp = turnpike({ store: testStore() })
    const limiter = tp.rateLimit({
      key: (req) => req.get('x-user') ?? 'ann',
      cost: (req) => Number(req.get('x-cost') ?? 1),
      ...options,
    })
    const app = express()
    app.use(limiter)
    app.use((req, res) => {
      res.status(Number(req.get('x-status') ?? 200)).send(String(req.rateLimit!.allowed))
    })
    return { server: app, limiter: limiter as Limiter, tp }
  },
  'Koa 3': (options: Options) => {
    const tp = koaTurnpike({ store: testStore() })
    const limiter = tp.rateLimit({
      key: (ctx) => ctx.get('x-user') || 'ann',
      cost: (ctx) => Number(ctx.get('x-cost') || 1),
      ...options,
    })
    const app = new Koa()
    app.use(limiter)
    app.use((ctx) => {
      ctx.status = Number(ctx.get('x-status') || 200)
      ctx.body = String(ctx.state.rateLimit.allowed)
    })
    return { server: app.callback(), limiter: limiter as Limiter, tp }
  },
}

function app(options: Options, framework: keyof typeof frameworks = 'Express 5') {
  const made = frameworks[framework](options)
  const get = (headers: Record<string, string> = {}) => request(made.server).get('/').set(headers)
  const statuses = async (count: number, headers?: Record<string, string>): Promise<number[]> => {
    const seen: number[] = []
    for (let i = 0; i < count; i++) seen.push((await get(headers)).status)
    return seen
  }
  return { ...made, get, statuses }
}

const read = (field: string | undefined): unknown[] =>
  parseList(field ?? '').map(([name, parameters]) => ({ name, ...Object.fromEntries(parameters) }))
const memory = (points: number, duration: number, keyPrefix = 'login', more = {}) =>
  new RateLimiterMemory({ points, duration, keyPrefix, ...more })

describe.each(Object.keys(frameworks) as (keyof typeof frameworks)[])(
  'RateLimiterMemory on %s',
  (framework) => {
    test('sends the fields of turnpike, 429 and an exact Retry-After', async () => {
      const { get } = app({ limiter: memory(2, 60) }, framework)
      const first = await get()
      expect([first.status, first.text]).toEqual([200, 'true'])
      expect(read(first.headers['ratelimit-policy'])).toEqual([{ name: 'login', q: 2, w: 60 }])
      expect(read(first.headers['ratelimit'])).toEqual([{ name: 'login', r: 1, t: 60 }])
      await get()
      const { status, headers, body } = await get()
      expect([status, headers['content-type']]).toEqual([429, 'application/problem+json'])
      expect(body['violated-policies']).toEqual(['login'])
      expect(read(headers['ratelimit'])).toEqual([
        { name: 'login', r: 0, t: Number(headers['retry-after']) },
      ])
      expect(Number(headers['retry-after'])).toBeGreaterThanOrEqual(59)
      expect((await get({ 'x-user': 'bob' })).status).toBe(200)
    })

    test('in shadow all requests pass without fields, and are reported', async () => {
      const { get, tp } = app({ limiter: memory(1, 60), shadow: true }, framework)
      const decisions: EventMap['decision'][] = []
      tp.on('decision', (decision) => decisions.push(decision))
      await get()
      const { status, headers, text } = await get()
      expect([status, text]).toEqual([200, 'false'])
      expect(headers).not.toHaveProperty('ratelimit')
      expect(decisions).toMatchObject([
        { allowed: true, shadow: false },
        {
          allowed: false,
          shadow: true,
          name: 'login',
          policy: 'login',
          limit: 1,
          remaining: 0,
          subject: 'ann',
        },
      ])
    })

    test('skipFailed rewards', async () => {
      const { get, statuses, limiter } = app(
        { limiter: memory(2, 60), skipFailed: true },
        framework,
      )
      expect(await statuses(5, { 'x-status': '500' })).toEqual([500, 500, 500, 500, 500])
      await vi.waitFor(async () => expect((await limiter.peek('ann')).remaining).toBe(2))
      expect((await get()).headers['ratelimit']).toContain('r=1')
    })

    test('charges a cost, and refuses one that is never admitted', async () => {
      const { get } = app({ limiter: memory(5, 60) }, framework)
      expect((await get({ 'x-cost': '4' })).headers['ratelimit']).toContain('r=1')
      expect((await get({ 'x-cost': '0' })).headers['ratelimit']).toContain('r=1')
      const never = await get({ 'x-cost': '6' })
      expect(never.status).toBe(429)
      expect(never.headers).not.toHaveProperty('retry-after')
    })
  },
)

describe('its calls', () => {
  test('consume, peek, refund, reset, block', async () => {
    const theirs = memory(3, 60)
    const { limiter, get } = app({ limiter: theirs })
    expect(await limiter.consume('ann', 2)).toMatchObject({
      allowed: true,
      limit: 3,
      remaining: 1,
      cost: 2,
      source: 'store',
    })
    expect(await limiter.peek('ann')).toMatchObject({ allowed: true, remaining: 1, cost: 0 })
    expect(await limiter.peek('ann', 2)).toMatchObject({ allowed: false, remaining: 1 })
    await limiter.refund('ann')
    expect(await limiter.peek('ann')).toMatchObject({ remaining: 2 })
    await limiter.refund('ann', 50)
    expect(await limiter.peek('ann')).toMatchObject({ remaining: 3 })
    expect((await theirs.get('ann'))!.consumedPoints).toBe(0)
    await limiter.refund('nobody')
    expect(await theirs.get('nobody')).toBeNull()

    await limiter.block('ann', '10s')
    const { status, headers } = await get()
    expect([status, headers['retry-after']]).toEqual([429, '10'])
    expect(await limiter.peek('ann')).toMatchObject({ allowed: false })
    expect(await limiter.reset('ann')).toBe(true)
    expect(await limiter.reset('ann')).toBe(false)
    expect((await get()).status).toBe(200)
  })

  test('settle() charges or refunds the difference to the actual cost, also beyond the limit', async () => {
    const theirs = memory(10, 60, 'tokens', { blockDuration: 600 })
    const { limiter } = app({ limiter: theirs })
    const decision = await limiter.consume('ann', 2)
    await decision.settle(12)
    expect([decision.cost, (await theirs.get('ann'))!.consumedPoints]).toEqual([12, 12])
    await decision.settle(3)
    expect((await theirs.get('ann'))!.consumedPoints).toBe(3)
    await decision.refund()
    await decision.refund()
    expect((await theirs.get('ann'))!.consumedPoints).toBe(0)
    await expect(decision.settle(1.5)).rejects.toMatchObject({ code: 'TP_VALUE' })
  })

  test('a refusal charges nothing to settle or refund', async () => {
    const theirs = memory(1, 60)
    const { limiter } = app({ limiter: theirs })
    await limiter.consume('ann')
    const refused = await limiter.consume('ann')
    const { consumedPoints } = (await theirs.get('ann'))!
    await refused.settle(5)
    await refused.refund()
    expect((await theirs.get('ann'))!.consumedPoints).toBe(consumedPoints)
  })

  test('a refund after the window is no credit in the next one', async () => {
    const theirs = memory(2, 1)
    const { limiter } = app({ limiter: theirs })
    const decision = await limiter.consume('ann')
    await new Promise((resolve) => setTimeout(resolve, 1050))
    await decision.refund()
    expect(await theirs.get('ann')).toBeNull()
  })

  test('a cost or subject that cannot be used is an error with a code', async () => {
    const { limiter } = app({ limiter: memory(1, 60) })
    await expect(limiter.consume('ann', -1)).rejects.toMatchObject({ code: 'TP_OPTION' })
    await expect(limiter.consume([])).rejects.toMatchObject({ code: 'TP_KEY' })
  })
})

describe('keys', () => {
  test('are plain strings unchanged, so that other calls of the same limiter mean the same', async () => {
    const theirs = memory(5, 60)
    const { get, limiter } = app({ limiter: theirs })
    for (const user of ['ann+1@example.com', '2001:db8::1', 'a:b', 'k/ä'.normalize()]) {
      await limiter.consume(user)
      expect((await theirs.get(user))!.consumedPoints, user).toBe(1)
    }
    await get({ 'x-user': 'ann+1@example.com' })
    expect((await theirs.get('ann+1@example.com'))!.consumedPoints).toBe(2)
    expect(await limiter.reset('ann+1@example.com')).toBe(true)
    expect(await theirs.get('ann+1@example.com')).toBeNull()
  })

  test('lists, tenants and long strings never collide with a plain string', async () => {
    const theirs = memory(1, 60)
    const { limiter } = app({ limiter: theirs })
    const long = 'x'.repeat(1_000_000)
    const subjects = [['a', 'b'], 'a:b', '~a:b', '~~a:b', ['~a', 'b'], long, `${long}y`, '~e']
    for (const subject of subjects)
      expect((await limiter.consume(subject)).allowed, String(subject).slice(0, 20)).toBe(true)
    for (const { key } of theirs.dump().storage) expect(String(key).length).toBeLessThanOrEqual(200)
  })

  test('of tenants differ', async () => {
    const theirs = memory(1, 60)
    const tp = turnpike({ store: testStore(), tenant: (req) => req.get('x-tenant')! })
    const limiter = tp.rateLimit({ limiter: theirs, key: () => 'ann' })
    const server = express().get('/', limiter, (_req, res) => void res.send('hello'))
    for (const [tenant, status] of [
      ['a', 200],
      ['b', 200],
      ['a', 429],
    ] as const) {
      expect((await request(server).get('/').set('x-tenant', tenant)).status).toBe(status)
    }
    await expect(limiter.reset('ann')).rejects.toMatchObject({ code: 'TP_KEY' })
    expect(await limiter.reset('ann', { tenant: 'a' })).toBe(true)
    expect((await request(server).get('/').set('x-tenant', 'a')).status).toBe(200)
  })
})

describe('RateLimiterUnion', () => {
  const union = () =>
    new RateLimiterUnion(
      memory(2, 1, 'second'),
      memory(5, 60, 'per minute'),
      memory(100, 86_400, 'day'),
    )

  test('has a name, a limit and a window for each member', async () => {
    const { get, limiter } = app({ limiter: union() })
    expect(limiter.limiterName).toBe('second_per-minute_day')
    const { headers } = await get()
    expect(read(headers['ratelimit-policy'])).toEqual([
      { name: 'second', q: 2, w: 1 },
      { name: 'per-minute', q: 5, w: 60 },
      { name: 'day', q: 100, w: 86_400 },
    ])
    expect(read(headers['ratelimit'])).toEqual([
      { name: 'second', r: 1, t: 1 },
      { name: 'per-minute', r: 4, t: 60 },
      { name: 'day', r: 99, t: 86_400 },
    ])
  })

  test('a refusal names the members that refused, with limits that this process has not seen before', async () => {
    const members = [memory(100, 1, 'second'), memory(2, 60, 'minute')]
    await members[1]!.consume('ann', 2)
    const { get } = app({ limiter: new RateLimiterUnion(...members) })
    const { status, headers, body } = await get()
    expect(status).toBe(429)
    expect(body['violated-policies']).toEqual(['minute'])
    expect(read(headers['ratelimit-policy'])).toEqual([{ name: 'minute', q: 2, w: 60 }])
    expect(Number(headers['retry-after'])).toBeGreaterThanOrEqual(59)
  })

  test('refund, reset, block and peek apply to its members', async () => {
    const members = [memory(3, 60, 'a'), memory(5, 60, 'b')]
    const { limiter, get } = app({ limiter: new RateLimiterUnion(...members) })
    const decision = await limiter.consume('ann', 2)
    expect(
      (await limiter.peek('ann')).policies.map(({ name, remaining }) => [name, remaining]),
    ).toEqual([
      ['a', 1],
      ['b', 3],
    ])
    expect((await limiter.peek('ann', 2)).allowed).toBe(false)
    await decision.refund()
    expect((await limiter.peek('ann')).policies.map(({ remaining }) => remaining)).toEqual([3, 5])
    await limiter.consume('ann')
    await limiter.refund('ann', 9)
    expect((await limiter.peek('ann')).policies.map(({ remaining }) => remaining)).toEqual([3, 5])
    await limiter.block('ann', '5s')
    expect((await get()).status).toBe(429)
    expect(await limiter.reset('ann')).toBe(true)
    expect((await get()).status).toBe(200)
  })

  test('its private fields have the names that we read', () => {
    expect(union()).toHaveProperty('_limiters')
    const bursty = new BurstyRateLimiter(memory(1, 1), memory(1, 1))
    expect(bursty).toHaveProperty('_rateLimiter')
    expect(bursty).toHaveProperty('_burstLimiter')
  })
})

describe('BurstyRateLimiter', () => {
  const bursty = () => new BurstyRateLimiter(memory(2, 1, 'rate'), memory(3, 10, 'burst'))

  test('admits its burst beyond the rate, then refuses', async () => {
    const { statuses, get } = app({ limiter: bursty() })
    const first = await get()
    expect(read(first.headers['ratelimit-policy'])).toEqual([{ name: 'rate', q: 2, w: 1 }])
    expect(await statuses(5)).toEqual([200, 200, 200, 200, 429])
  })

  test('is refunded where it was charged', async () => {
    const [rate, burst] = [memory(2, 60, 'rate'), memory(3, 60, 'burst')]
    const { limiter } = app({ limiter: new BurstyRateLimiter(rate, burst) })
    const decisions = [
      await limiter.consume('ann'),
      await limiter.consume('ann'),
      await limiter.consume('ann'),
    ]
    expect((await burst.get('ann'))!.consumedPoints).toBe(1)
    await decisions[0]!.refund()
    expect([
      (await rate.get('ann'))!.consumedPoints,
      (await burst.get('ann'))!.consumedPoints,
    ]).toEqual([2, 1])
    await decisions[2]!.refund()
    expect([
      (await rate.get('ann'))!.consumedPoints,
      (await burst.get('ann'))!.consumedPoints,
    ]).toEqual([1, 0])
  })

  test('peek includes the burst; block and reset apply to both', async () => {
    const { limiter } = app({
      limiter: new BurstyRateLimiter(memory(1, 60, 'rate'), memory(1, 60, 'burst')),
    })
    await limiter.consume('ann')
    expect((await limiter.peek('ann')).allowed).toBe(true)
    await limiter.consume('ann')
    expect((await limiter.peek('ann')).allowed).toBe(false)
    await limiter.block('bob', '10s')
    expect((await limiter.consume('bob')).allowed).toBe(false)
    expect(await limiter.reset('bob')).toBe(true)
    expect((await limiter.consume('bob')).allowed).toBe(true)
  })
})

describe('RLWrapperBlackAndWhite', () => {
  const wrapped = () =>
    new RLWrapperBlackAndWhite({
      limiter: memory(2, 60),
      whiteList: ['ann+1@example.com'],
      blackList: ['::1'],
    })

  test('a whitelisted key is never refused, and its fields parse', async () => {
    const { get, statuses } = app({ limiter: wrapped() })
    expect(await statuses(5, { 'x-user': 'ann+1@example.com' })).toEqual([200, 200, 200, 200, 200])
    const { headers } = await get({ 'x-user': 'ann+1@example.com' })
    expect(read(headers['ratelimit-policy'])).toEqual([{ name: 'login', q: 2, w: 60 }])
    expect(read(headers['ratelimit'])).toEqual([{ name: 'login', r: 2 }])
  })

  test('a blacklisted key is refused without a Retry-After of 285,000 years', async () => {
    const { get, limiter } = app({ limiter: wrapped() })
    const { status, headers } = await get({ 'x-user': '::1' })
    expect(status).toBe(429)
    expect(headers).not.toHaveProperty('retry-after')
    expect(read(headers['ratelimit'])).toEqual([{ name: 'login', r: 0 }])
    expect(await limiter.consume('::1')).toMatchObject({
      allowed: false,
      retryAfterMs: undefined,
      policies: [{ blocked: true }],
    })
    expect((await limiter.peek('::1')).allowed).toBe(false)
  })

  test('all other keys are counted', async () => {
    const { statuses } = app({ limiter: wrapped() })
    expect(await statuses(3)).toEqual([200, 200, 429])
  })

  test('around a union', async () => {
    const limiter = new RLWrapperBlackAndWhite({
      limiter: new RateLimiterUnion(memory(1, 60, 'a'), memory(9, 60, 'b')) as never,
      whiteList: ['white'],
    })
    const { get, statuses } = app({ limiter })
    expect(read((await get()).headers['ratelimit'])).toEqual([
      { name: 'a', r: 0, t: 60 },
      { name: 'b', r: 8, t: 60 },
    ])
    expect(await statuses(1)).toEqual([429])
    expect(await statuses(3, { 'x-user': 'white' })).toEqual([200, 200, 200])
  })
})

describe('other features of its limiters', () => {
  test('RLWrapperTimeouts has the limits of the limiter inside', async () => {
    const { get } = app({
      limiter: new RLWrapperTimeouts({ limiter: memory(2, 60), timeoutMs: 50 }),
      name: 'login',
    })
    expect(read((await get()).headers['ratelimit-policy'])).toEqual([
      { name: 'login', q: 2, w: 60 },
    ])
  })

  test('duration 0 is a window that never ends, without w, t and Retry-After', async () => {
    const { get } = app({ limiter: memory(1, 0) })
    const first = await get()
    expect([first.headers['ratelimit-policy'], first.headers['ratelimit']]).toEqual([
      '"login";q=1',
      '"login";r=0',
    ])
    const { status, headers } = await get()
    expect(status).toBe(429)
    expect(headers).not.toHaveProperty('retry-after')
  })

  test('blockDuration is the Retry-After', async () => {
    const { get } = app({ limiter: memory(1, 1, 'login', { blockDuration: 30 }) })
    await get()
    expect((await get()).headers['retry-after']).toBe('30')
  })

  test('a keyPrefix that no field can hold is changed in the field only', async () => {
    const { get } = app({
      limiter: new RateLimiterUnion(
        memory(1, 60, 'käse:ip'),
        memory(2, 60, '日'),
        memory(3, 60, '月'),
      ),
    })
    const { status, headers } = await get()
    expect(status).toBe(200)
    expect(read(headers['ratelimit-policy'])).toEqual([
      { name: 'k-se-ip', q: 1, w: 60 },
      { name: '-', q: 2, w: 60 },
      { name: '--3', q: 3, w: 60 },
    ])
  })

  test('execEvenly, whose delays look like an outage, is refused when mounted', () => {
    expect(() => app({ limiter: memory(5, 60, 'even', { execEvenly: true }) })).toThrow(
      /execEvenly/,
    )
  })

  test('an option that it would not follow is refused', () => {
    const tp = turnpike({ store: testStore() })
    for (const option of [
      { limit: 5 },
      { window: '1m' },
      { policies: [] },
      { blockFor: '1m' },
      { denyCache: true },
      { countDenied: true },
    ] as const) {
      expect(() => tp.rateLimit({ limiter: memory(1, 60), ...option })).toThrow(
        /cannot be combined with `limiter`/,
      )
    }
    expect(() =>
      tp.limiter('x', { limit: 1, window: '1m', limiter: memory(1, 60) } as never),
    ).toThrow(/no option limiter/)
  })

  test('its types need no cast', () => {
    expectTypeOf<RateLimiterMemory>().toExtend<FlexibleLimiter>()
    expectTypeOf<RateLimiterUnion>().toExtend<FlexibleLimiter>()
    expectTypeOf<BurstyRateLimiter>().toExtend<FlexibleLimiter>()
    expectTypeOf<RLWrapperBlackAndWhite>().toExtend<FlexibleLimiter>()
  })
})

test('a programming error in its commands is an error, not an outage', async () => {
  const store = testStore()
  const failing = (error: Error) => ({
    points: 1,
    duration: 1,
    consume: async () => {
      throw error
    },
  })
  const wrongType = Object.assign(new Error('WRONGTYPE Operation against a key'), {
    name: 'ReplyError',
  })
  for (const error of [wrongType, new TypeError('x is not a function')]) {
    const limit = turnpike({ store }).rateLimit({
      limiter: failing(error),
      name: 'wrong',
      fail: 'open',
    })
    await expect(limit.consume('a')).rejects.toMatchObject({ code: 'TP_COMMAND' })
  }
  const away = turnpike({ store }).rateLimit({
    limiter: failing(new Error('connect ECONNREFUSED')),
    name: 'away',
    fail: 'open',
  })
  expect(await away.consume('a')).toMatchObject({ allowed: true, source: 'open' })
})
