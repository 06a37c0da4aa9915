/** The fields against draft-ietf-httpapi-ratelimit-headers-11, read as any client would read them. */
import { createHash, createHmac } from 'node:crypto'
import express from 'express'
import Koa from 'koa'
import { parseList, type BareItem } from 'structured-headers'
import request from 'supertest'
import { describe, expect, test } from 'vitest'
import { turnpike } from '../../../src/express.ts'
import type { Decision, PolicyState } from '../../../src/features/rate-limit/decision.ts'
import {
  createHeaderWriter,
  type HeaderFieldOptions,
} from '../../../src/features/rate-limit/header-fields.ts'
import type { RateLimitOptions } from '../../../src/features/rate-limit/options.ts'
import { turnpike as koaTurnpike } from '../../../src/koa.ts'
import { testStore } from '../../../src/testing.ts'

const SECRET = 'of the tests'
const START = Date.UTC(2026, 0, 1)

/** One item of a list: its name, and its parameters. */
interface Item {
  name: BareItem
  [parameter: string]: BareItem
}

/** Reads a field; throws where it is no list of strings. */
function read(field: string | undefined): Item[] {
  return parseList(field ?? '').map(([name, parameters]) => {
    if (typeof name !== 'string') throw new TypeError(`${String(name)} is no string`)
    return { name, ...Object.fromEntries(parameters) }
  })
}

/** What the draft demands of every response (sections 3.1, 4.1 and 6). */
function conforms(headers: Record<string, string | undefined>): {
  policies: Item[]
  limits: Item[]
} {
  const policies = read(headers['ratelimit-policy'])
  const limits = read(headers['ratelimit'])
  const natural = (value: unknown): boolean => Number.isInteger(value) && (value as number) >= 0
  expect(policies).not.toHaveLength(0)
  for (const { q, w = 1, pk } of policies) {
    expect([q, w]).toSatisfy((numbers: unknown[]) => numbers.every(natural))
    expect(w).toBeGreaterThan(0)
    if (pk !== undefined) expect(pk).toBeInstanceOf(ArrayBuffer)
  }
  for (const { name, r, t = 0, pk } of limits) {
    expect([r, t]).toSatisfy((numbers: unknown[]) => numbers.every(natural))
    expect(policies.map((policy) => policy.name)).toContain(name)
    if (pk !== undefined) expect(pk).toBeInstanceOf(ArrayBuffer)
  }
  return { policies, limits }
}

const byName = ([a]: BareItem[], [b]: BareItem[]): number => String(a).localeCompare(String(b))

const state = (given: Partial<PolicyState> = {}): PolicyState => ({
  name: 'default',
  subject: '192.0.2.1',
  limit: 10,
  windowMs: 60_000,
  remaining: 9,
  resetMs: 59_001,
  retryAfterMs: 0,
  violated: false,
  blocked: false,
  ...given,
})

function write(
  states: PolicyState[],
  options: Partial<HeaderFieldOptions> = {},
): Record<string, string> {
  const writer = createHeaderWriter({
    standard: true,
    legacy: false,
    partitionKey: undefined,
    ...options,
  })
  const decision = {
    policies: states,
    tightest: states[0],
    subject: states[0]?.subject,
  } as unknown as Decision
  return writer(decision, START) as Record<string, string>
}

function app(
  options: RateLimitOptions<express.Request>,
  ...more: RateLimitOptions<express.Request>[]
) {
  const store = testStore({ now: START })
  const tp = turnpike({ store })
  const served = express()
  for (const each of [options, ...more]) served.use(tp.rateLimit(each))
  served.get('/', (_req, res) => void res.send('hello'))
  return { store, get: () => request(served).get('/') }
}

describe('the values', () => {
  test('are written as the draft writes them', () => {
    expect(
      write([
        state({ name: 'burst', limit: 100, remaining: 50, resetMs: 30_000 }),
        state({
          name: 'daily',
          limit: 1000,
          windowMs: 86_400_000,
          remaining: 998,
          resetMs: 86_399_001,
        }),
      ]),
    ).toEqual({
      'RateLimit-Policy': '"burst";q=100;w=60, "daily";q=1000;w=86400',
      RateLimit: '"burst";r=50;t=30, "daily";r=998;t=86400',
    })
  })

  test('seconds are rounded up, so that a client that waits for them is admitted', () => {
    expect(write([state({ resetMs: 1 })]).RateLimit).toBe('"default";r=9;t=1')
    expect(write([state({ resetMs: 59_000 })]).RateLimit).toBe('"default";r=9;t=59')
    expect(write([state({ resetMs: 59_001 })]).RateLimit).toBe('"default";r=9;t=60')
  })

  test('a window below a second is sent as 1: fields have whole seconds, and 0 is forbidden', () => {
    expect(write([state({ windowMs: 250, resetMs: 200 })])['RateLimit-Policy']).toBe(
      '"default";q=10;w=1',
    )
  })

  test('a month varies in length, so it has no w', () => {
    expect(write([state({ windowMs: 0 })])).toEqual({
      'RateLimit-Policy': '"default";q=10',
      RateLimit: '"default";r=9;t=60',
    })
  })

  test('a window that never ends has no t', () => {
    expect(write([state({ windowMs: 0, resetMs: 0 })]).RateLimit).toBe('"default";r=9')
    expect(write([state({ resetMs: 0 })], { standard: false, legacy: true })).toEqual({
      'X-RateLimit-Limit': '10',
      'X-RateLimit-Remaining': '9',
    })
  })

  test('the highest limit is an Integer of RFC 9651', () => {
    const [policy] = read(write([state({ limit: 1e12, remaining: 1e12 })])['RateLimit-Policy'])
    expect(policy!.q).toBe(1e12)
  })

  test('a limit that differs by request is not used for the next one', () => {
    const writer = createHeaderWriter({ standard: true, legacy: false, partitionKey: undefined })
    const policyOf = (limit: number): unknown =>
      writer(
        { policies: [state({ limit })], tightest: state({ limit }) } as unknown as Decision,
        START,
      )['RateLimit-Policy']
    expect([10, 20, 10].map(policyOf)).toEqual([
      '"default";q=10;w=60',
      '"default";q=20;w=60',
      '"default";q=10;w=60',
    ])
  })

  test('nothing is sent where nothing was counted', () => {
    expect(write([])).toEqual({})
  })

  test('X-RateLimit-Reset is the second, since the epoch, at which the oldest use leaves', () => {
    expect(write([state()], { standard: false, legacy: true })).toEqual({
      'X-RateLimit-Limit': '10',
      'X-RateLimit-Remaining': '9',
      'X-RateLimit-Reset': String(START / 1000 + 60),
    })
  })
})

describe('the partition key', () => {
  const keyOf = (subject: string, secret = SECRET): Buffer => {
    const fields = write([state({ subject })], { partitionKey: secret })
    const [policy] = read(fields['RateLimit-Policy'])
    const [limit] = read(fields.RateLimit)
    expect(limit!.pk).toEqual(policy!.pk)
    return Buffer.from(policy!.pk as ArrayBuffer)
  }

  test('is a byte sequence: the HMAC-SHA-256 of tenant and subject', () => {
    const partition = JSON.stringify([null, '192.0.2.1'])
    expect(keyOf('192.0.2.1')).toEqual(createHmac('sha256', SECRET).update(partition).digest())
  })

  test('differs by subject and by secret', () => {
    const keys = [keyOf('192.0.2.1'), keyOf('192.0.2.2'), keyOf('192.0.2.1', 'another')]
    expect(new Set(keys.map(String)).size).toBe(3)
    expect(keyOf('192.0.2.1')).toEqual(keys[0])
  })

  test('is no bare hash, from which an address can be found by trying all of them', () => {
    const bare = createHash('sha256').update('192.0.2.1').digest()
    expect(keyOf('192.0.2.1')).not.toEqual(bare)
    expect(bare.includes(keyOf('192.0.2.1').subarray(0, 6))).toBe(false)
  })

  test('belongs to the policy: a policy that all clients share has one key for all', async () => {
    const { get } = app({
      partitionKey: SECRET,
      policies: [
        { name: 'user', limit: 5, window: '1m', key: (req) => String(req.headers['x-user']) },
        { name: 'all', limit: 50, window: '1m', key: () => 'everybody' },
      ],
    })
    const [ann, bob] = [await get().set('x-user', 'ann'), await get().set('x-user', 'bob')].map(
      ({ headers }) =>
        conforms(headers).limits.map(({ pk }) => Buffer.from(pk as ArrayBuffer).toString('hex')),
    )
    expect(ann![0]).not.toBe(bob![0])
    expect(ann![1]).toBe(bob![1])
  })
})

describe('a route with several limits', () => {
  test.each(['Express', 'Koa'])('has one list of all policies (%s)', async (framework) => {
    const burst = { name: 'burst', limit: 2, window: '1s' } as const
    const daily = {
      policies: [
        { name: 'hour', limit: 5, window: '1h' },
        { name: 'day', limit: 9, window: '1d' },
      ],
    } as const
    const store = testStore()
    const server = framework === 'Koa' ? koa() : expressApp()
    const { status, headers } = await request(server).get('/')
    expect(status).toBe(200)
    const { policies, limits } = conforms(headers)
    expect(policies.map(({ name, q, w }) => [name, q, w]).toSorted(byName)).toEqual([
      ['burst', 2, 1],
      ['day', 9, 86_400],
      ['hour', 5, 3600],
    ])
    expect(limits.map(({ name, r }) => [name, r]).toSorted(byName)).toEqual([
      ['burst', 1],
      ['day', 8],
      ['hour', 4],
    ])

    await request(server).get('/')
    const refused = await request(server).get('/')
    expect(refused.status).toBe(429)
    expect(refused.body['violated-policies']).toEqual(['burst'])
    // The outer limits admitted it, and what they counted is sent, too.
    expect(
      conforms(refused.headers)
        .limits.map(({ name, r }) => [name, r])
        .toSorted(byName),
    ).toEqual([
      ['burst', 0],
      ['day', 6],
      ['hour', 2],
    ])

    function expressApp() {
      const tp = turnpike({ store })
      const served = express()
      served.use(tp.rateLimit(daily))
      return served.get('/', tp.rateLimit(burst), (_req, res) => void res.send('hello'))
    }
    function koa() {
      const tp = koaTurnpike({ store })
      const served = new Koa()
      served.use(tp.rateLimit(daily))
      served.use(tp.rateLimit(burst))
      served.use((ctx) => void (ctx.body = 'hello'))
      return served.callback()
    }
  })
})

describe('a refusal', () => {
  const cases: [string, RateLimitOptions<express.Request>][] = [
    ['a sliding window', { name: 'x', limit: 2, window: '10s' }],
    ['a fixed window', { name: 'x', limit: 2, window: '10s', algorithm: 'fixed-window' }],
    ['GCRA', { name: 'x', limit: 2, window: '10s', algorithm: 'gcra' }],
    ['GCRA with a burst', { name: 'x', limit: 10, window: '10s', algorithm: 'gcra', burst: 2 }],
    ['a cost of 2', { name: 'x', limit: 5, window: '10s', cost: 2 }],
    ['a GCRA cost of 2', { name: 'x', limit: 5, window: '10s', algorithm: 'gcra', cost: 2 }],
    ['a month', { name: 'x', limit: 2, window: 'month' }],
    ['a window of 300 ms', { name: 'x', limit: 2, window: 300 }],
    ['a block', { name: 'x', limit: 2, window: '10s', blockFor: '1m' }],
    ['countDenied', { name: 'x', limit: 2, window: '10s', countDenied: true }],
    [
      'two policies',
      {
        policies: [
          { name: 'x', limit: 2, window: '10s' },
          { name: 'y', limit: 20, window: '1d' },
        ],
      },
    ],
  ]

  test.each(cases)(
    'of %s: Retry-After is not before the end of the effective window, and is true',
    async (_what, options) => {
      const { store, get } = app(options)
      await get()
      await store.advance(120)
      await get()
      for (let attempt = 0; attempt < 2; attempt++) {
        const { status, headers, body } = await get()
        expect(status).toBe(429)
        const { policies, limits } = conforms(headers)
        const retryAfter = Number(headers['retry-after'])
        expect(retryAfter).toBeGreaterThanOrEqual(
          limits.find(({ name }) => name === 'x')!.t as number,
        )
        expect(body['violated-policies']).toEqual(['x'])
        if (options.window === 'month') expect(policies[0]).not.toHaveProperty('w')
        await store.advance(attempt === 0 ? 90 : retryAfter * 1000)
      }
      expect((await get()).status).toBe(200)
    },
  )

  test('has the problem type and the member that the draft registers', async () => {
    const { get } = app({
      policies: [
        { name: 'minute', limit: 1, window: '1m' },
        { name: 'hour', limit: 1, window: '1h' },
        { name: 'day', limit: 9, window: '1d' },
      ],
    })
    await get()
    const { status, headers, body } = await get()
    expect([status, headers['content-type']]).toEqual([429, 'application/problem+json'])
    expect(body).toMatchObject({
      type: 'https://iana.org/assignments/http-problem-types#quota-exceeded',
      status: 429,
      'violated-policies': ['minute', 'hour'],
    })
  })

  test('that no wait can change has no Retry-After', async () => {
    const { get } = app({ limit: 2, window: '1m', cost: 3 })
    const { status, headers } = await get()
    expect(status).toBe(429)
    expect(headers).not.toHaveProperty('retry-after')
    expect(conforms(headers).limits[0]!.r).toBe(2)
  })

  test('a charge beyond the limit leaves 0', async () => {
    const store = testStore()
    const tp = turnpike({ store })
    const limiter = tp.rateLimit({ limit: 3, window: '1m', key: () => 'ann' })
    const served = express().get('/', limiter, (req, res, next) => {
      req.rateLimit!.settle(10).then(() => res.send('hello'), next)
    })
    await request(served).get('/')
    const { headers } = await request(served).get('/')
    expect(conforms(headers).limits[0]!.r).toBe(0)
  })
})

test('a peek charges nothing, so refund() does nothing', async () => {
  const limiter = turnpike({ store: testStore() }).limiter('x', { limit: 100, window: '1m' })
  await limiter.consume('ann')
  const seen = await limiter.peek('ann')
  expect(seen.cost).toBe(0)
  await seen.refund()
  await seen.settle(5)
  expect((await limiter.peek('ann')).remaining).toBe(99)
})
