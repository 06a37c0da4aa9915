/** What a limit can do besides limiting, on both engines. */
import { parseList } from 'structured-headers'
import { describe, expect, test, vi } from 'vitest'
import { turnpike } from '../../../src/express.ts'
import { testStore } from '../../../src/testing.ts'
import type { Decision } from '../../../src/index.ts'
import { apps } from '../../support/apps.ts'
import { bothEngines } from '../../support/engines.ts'

const engines = bothEngines()

describe.each(engines)('on the $name engine', ({ open }) => {
  function setup(options: object = {}) {
    const opened = open()
    return { ...opened, tp: turnpike({ store: opened.store, prefix: opened.prefix, ...options }) }
  }

  describe('limits of single subjects', () => {
    test('replace the policy’s own from the next request on, until they are deleted', async () => {
      const { tp } = setup()
      const limiter = tp.limiter('api', {
        policies: [
          { name: 'minute', limit: 1, window: '1m' },
          { name: 'hour', limit: 10, window: '1h' },
        ],
      })
      await limiter.consume('user1')
      expect((await limiter.consume('user1')).allowed).toBe(false)
      await tp.overrides.set('user1', { minute: 3 })
      expect(await tp.overrides.get('user1')).toEqual({ minute: 3 })
      const decision = await limiter.consume('user1')
      expect(decision.policies.map(({ limit, remaining }) => [limit, remaining])).toEqual([
        [3, 1],
        [10, 8],
      ])
      expect((await limiter.consume('user2')).limit).toBe(1)
      expect(await tp.overrides.delete('user1')).toBe(true)
      expect(await tp.overrides.delete('user1')).toBe(false)
      expect(await tp.overrides.get('user1')).toEqual({})
      expect((await limiter.consume('user1')).allowed).toBe(false)
    })

    test.each([600, Infinity])('replace the limit of GCRA, not its burst: %s', async (limit) => {
      const { tp } = setup()
      const limiter = tp.limiter('api', { limit: 60, window: '1m', algorithm: 'gcra', burst: 3 })
      await tp.overrides.set('user', { api: limit })
      expect(await limiter.consume('user', 4)).toMatchObject({ allowed: false, limit })
      expect((await limiter.consume('user', 3)).allowed).toBe(true)
    })

    test('leave a block as it is, also without a limit', async () => {
      const { tp } = setup()
      const limiter = tp.limiter('api', { limit: 1, window: '1m' })
      await tp.overrides.set('user', { api: Infinity })
      await limiter.block('user', '1h')
      expect(await limiter.consume('user')).toMatchObject({
        allowed: false,
        retryAfterMs: 3_600_000,
      })
    })

    test('may admit nothing, and may expire', async () => {
      const { tp } = setup()
      const limiter = tp.limiter('api', { name: 'm', limit: 5, window: '1m' } as never)
      await tp.overrides.set('user', { api: 0 }, { ttl: '1h' })
      const decision = await limiter.consume('user')
      expect(decision).toMatchObject({ allowed: false, retryAfterMs: undefined, limit: 0 })
    })
  })

  test('blockFor blocks after a refusal; block() and reset() do so on request', async () => {
    const { tp, advance } = setup()
    const limiter = tp.limiter('api', { limit: 1, window: '1m', blockFor: '10m' })
    await limiter.consume('a')
    expect(await limiter.consume('a')).toMatchObject({ allowed: false, retryAfterMs: 600_000 })
    await advance('2m')
    expect(await limiter.consume('a')).toMatchObject({ allowed: false, retryAfterMs: 480_000 })
    await advance('8m')
    expect((await limiter.consume('a')).allowed).toBe(true)
    await limiter.block('b', '1h')
    const blocked = await limiter.consume('b')
    expect(blocked).toMatchObject({ allowed: false, retryAfterMs: 3_600_000 })
    expect(blocked.tightest!.blocked).toBe(true)
    expect(await limiter.reset('b')).toBe(true)
    expect((await limiter.consume('b')).allowed).toBe(true)
    expect(await limiter.reset('nobody')).toBe(false)
  })

  test('countDenied: a client that keeps hammering stays refused', async () => {
    const { tp, advance } = setup()
    const limiter = tp.limiter('api', { limit: 2, window: '1m', countDenied: true })
    for (let i = 0; i < 6; i++) {
      await limiter.consume('a')
      await advance('20s')
    }
    expect((await limiter.consume('a')).allowed).toBe(false)
    await advance('61s')
    expect((await limiter.consume('a')).allowed).toBe(true)
  })

  test('the retry time is exact: 1 ms earlier is refused', async () => {
    const { tp, advance } = setup()
    for (const algorithm of ['sliding-window', 'gcra', 'fixed-window'] as const) {
      const limiter = tp.limiter(`truth-${algorithm}`, { limit: 3, window: '10s', algorithm })
      for (let i = 0; i < 3; i++) {
        await limiter.consume('a')
        await advance(700)
      }
      const { allowed, retryAfterMs } = await limiter.consume('a')
      if (allowed) continue
      await advance(retryAfterMs! - 1)
      expect(await limiter.consume('a'), algorithm).toMatchObject({
        allowed: false,
        retryAfterMs: 1,
      })
      await advance(1)
      expect((await limiter.consume('a')).allowed, algorithm).toBe(true)
    }
  })

  test('calendar windows: days of a time zone with its clock change, and months', async () => {
    const { tp, store, advance } = setup()
    const day = tp.limiter('day', { limit: 1, window: '1d', timeZone: 'Europe/Berlin' })
    const month = tp.limiter('month', { limit: 1, window: 'month' })
    const until = async (moment: string): Promise<void> => advance(Date.parse(moment) - store.now())
    await until('2026-03-29T12:00:00+02:00')
    // The day of the change to summer time has 23 hours; half a day of it is left at noon.
    expect(await day.consume('a')).toMatchObject({
      allowed: true,
      policies: [{ resetMs: 12 * 3_600_000 }],
    })
    expect(await day.consume('a')).toMatchObject({ allowed: false, retryAfterMs: 12 * 3_600_000 })
    await until('2026-03-29T23:59:59+02:00')
    expect((await day.consume('a')).allowed).toBe(false)
    await until('2026-03-30T00:00:00+02:00')
    expect((await day.consume('a')).allowed).toBe(true)
    await until('2026-04-30T23:59:59Z')
    expect((await month.consume('a')).allowed).toBe(true)
    expect(await month.consume('a')).toMatchObject({ allowed: false, retryAfterMs: 1000 })
    await advance('1s')
    expect(await month.consume('a')).toMatchObject({
      allowed: true,
      policies: [{ resetMs: 31 * 86_400_000 }],
    })
  })

  test('several subjects in one decision (user, address, all), all or nothing', async () => {
    const { tp } = setup()
    const limiter = tp.limiter('many', {
      policies: [
        { name: 'user', limit: 2, window: '1m' },
        { name: 'ip', limit: 3, window: '1m' },
        { name: 'all', limit: 4, window: '1m' },
      ],
    })
    const use = (user: string, ip: string): Promise<Decision> =>
      limiter.consume({ user, ip, all: 'everybody' })
    expect((await use('a', '1')).allowed).toBe(true)
    expect((await use('a', '1')).allowed).toBe(true)
    const third = await use('a', '1')
    expect(third.allowed).toBe(false)
    expect(third.policies.map(({ remaining, violated }) => [remaining, violated])).toEqual([
      [0, true],
      [1, false],
      [2, false],
    ])
    expect((await use('b', '1')).allowed).toBe(true)
    expect((await use('b', '2')).allowed).toBe(true)
    expect((await use('c', '3')).tightest!.name).toBe('all')
  })

  describe('waiting', () => {
    test('consumes as soon as it is admitted, in order of arrival', async () => {
      const { tp, advance } = setup()
      const limiter = tp.limiter('outgoing', { limit: 1, window: '10s' })
      const order: number[] = []
      const waits = [1, 2, 3].map((i) =>
        limiter.wait('api', { wait: '1m' }).then(() => order.push(i)),
      )
      await waits[0]
      for (let i = 0; i < 40 && order.length < 3; i++)
        await advance('1s').then(() => new Promise((resolve) => setTimeout(resolve, 5)))
      await Promise.all(waits)
      expect(order).toEqual([1, 2, 3])
    })

    test('rejects at once if its turn would be too late or never, or it is aborted', async () => {
      const { tp } = setup()
      const limiter = tp.limiter('outgoing', { limit: 1, window: '1h' })
      await limiter.wait('api')
      await expect(limiter.wait('api', { wait: '10s' })).rejects.toMatchObject({
        code: 'TP_LIMITED',
        status: 429,
      })
      await expect(limiter.wait('api', { cost: 2, wait: '9h' })).rejects.toMatchObject({
        code: 'TP_LIMITED',
      })
      const control = new AbortController()
      const waiting = limiter.wait('api', { wait: '2h', signal: control.signal })
      control.abort(new Error('enough'))
      await expect(waiting).rejects.toThrow('enough')
      await expect(limiter.wait('api', { wiat: '1s' } as never)).rejects.toMatchObject({
        code: 'TP_OPTION',
        suggestion: 'wait',
      })
    })

    test('a call gives up in time, also behind one that waits longer', async () => {
      const { tp, advance } = setup()
      const limiter = tp.limiter('outgoing', { limit: 1, window: '1h' })
      await limiter.wait('api')
      const ended: unknown[] = []
      const first = limiter.wait('api', { wait: '30d' }).then(() => ended.push('first'))
      void limiter
        .wait('api', { wait: '10s' })
        .catch(({ code, status }) => ended.push([code, status]))
      while (ended.length < 2)
        await advance('10m').then(() => new Promise((resolve) => setTimeout(resolve, 5)))
      await first
      expect(ended).toEqual([['TP_LIMITED', 429], 'first'])
    })
  })

  test.each(['constructor', 'toString', '__proto__', 'hasOwnProperty'])(
    'a policy may have the name %s',
    async (name) => {
      const { tp } = setup()
      const limiter = tp.limiter('odd', {
        policies: [
          { name, limit: 2, window: '1m' },
          { name: 'other', limit: 9, window: '1m' },
        ],
      })
      const own = (limit: number) => Object.fromEntries([[name, limit]])
      expect((await limiter.consume('a')).limit).toBe(2)
      expect((await limiter.consume('a', { limits: own(5) })).remaining).toBe(3)
      await expect(limiter.consume({ other: 'a' })).rejects.toMatchObject({ code: 'TP_KEY' })
      const subjects = Object.fromEntries([
        [name, 'b'],
        ['other', 'a'],
      ])
      const { policies } = await limiter.consume(subjects)
      expect(policies.map(({ subject }) => subject)).toEqual(['b', 'a'])
      await tp.overrides.set('a', own(7))
      expect(await tp.overrides.get('a')).toEqual(own(7))
      expect((await limiter.peek('a')).policies[0]!.limit).toBe(7)
    },
  )

  test.each([false, true])(
    'a call without the limit of one policy is decided by the others (denyCache: %s)',
    async (denyCache) => {
      const { tp } = setup()
      const limiter = tp.limiter('two', {
        denyCache,
        policies: [
          { name: 'minute', limit: 3, window: '1m' },
          { name: 'hour', limit: 1, window: '1h' },
        ],
      })
      expect((await limiter.consume('a')).allowed).toBe(true)
      expect((await limiter.consume('a')).tightest!.name).toBe('hour')
      const paid = await limiter.consume('a', { limits: { hour: Infinity } })
      expect(paid).toMatchObject({ allowed: true, remaining: 1 })
      expect(paid.policies.map(({ name }) => name)).toEqual(['minute'])
      const other = await limiter.consume('a', { limits: { minute: Infinity } })
      expect(other).toMatchObject({ allowed: false, limit: 1 })
    },
  )

  test('denyCache repeats a refusal until its retry time or a reset in another process', async () => {
    const { tp, store, prefix, advance } = setup()
    const run = vi.spyOn(store, 'run')
    const decisions = (): number =>
      run.mock.calls.filter(([{ name }]) => name === 'applyPolicies').length
    const limiter = tp.limiter('api', { limit: 1, window: '1m', denyCache: true })
    const elsewhere = turnpike({ store, prefix }).limiter('api', { limit: 1, window: '1m' })
    await limiter.consume('a')
    expect(await limiter.consume('a')).toMatchObject({ source: 'store', retryAfterMs: 60_000 })
    const before = decisions()
    expect(before).toBeGreaterThanOrEqual(2)
    await advance('20s')
    expect(await limiter.consume('a')).toMatchObject({
      source: 'deny-cache',
      allowed: false,
      retryAfterMs: 40_000,
      limit: 1,
    })
    expect(decisions()).toBe(before)
    // A smaller cost might pass: it is asked for.
    expect((await limiter.consume('a', 0)).source).toBe('store')
    await vi.waitFor(async () => {
      await elsewhere.reset('a')
      const again = await limiter.consume('a')
      expect(again).toMatchObject({ source: 'store', allowed: true })
    })
    await limiter.consume('a')
    await advance('60s')
    expect(await limiter.consume('a')).toMatchObject({ source: 'store', allowed: true })
  })

  test('denyCache: a reset of several subjects elsewhere applies to each of them', async () => {
    const { store, prefix } = setup()
    const [here, there] = [0, 1].map(() =>
      turnpike({ store, prefix }).limiter('pairs', {
        denyCache: true,
        policies: [
          { name: 'one', limit: 1, window: '1m' },
          { name: 'two', limit: 1, window: '1m' },
        ],
      }),
    )
    const of = (one: string) => ({ one, two: 'b' })
    await here!.consume(of('a'))
    expect(await here!.consume(of('c'))).toMatchObject({ source: 'store', allowed: false })
    expect((await here!.consume(of('c'))).source).toBe('deny-cache')
    await vi.waitFor(async () => {
      await there!.reset(of('d'))
      expect(await here!.consume(of('c'))).toMatchObject({ source: 'store', allowed: true })
    })
  })

  describe.each(apps)('$name', ({ start }) => {
    const app = (options: object, handle?: (native: any) => readonly [number, string | object]) => {
      const opened = open()
      return {
        ...opened,
        ...start({
          options: { store: opened.store, prefix: opened.prefix },
          mount: (tp) => [tp.rateLimit({ limit: 1, window: '1m', ...options })],
          ...(handle && { handle }),
        }),
      }
    }

    test('shadow: all requests pass, no field is sent, events report refusals', async () => {
      const decided: boolean[] = []
      const { get, tp } = app({ shadow: true }, (native) => {
        decided.push((native.rateLimit ?? native.state.rateLimit).allowed)
        return [200, 'ok']
      })
      const events: unknown[] = []
      tp.on('decision', ({ allowed, shadow }: { allowed: boolean; shadow: boolean }) =>
        events.push([allowed, shadow]),
      )
      for (let i = 0; i < 2; i++) {
        const { status, headers } = await get()
        expect(status).toBe(200)
        expect(headers['ratelimit']).toBeUndefined()
      }
      expect(decided).toEqual([true, false])
      expect(events).toEqual([
        [true, false],
        [false, true],
      ])
    })

    test('skip, onLimited and reply', async () => {
      const limited: number[] = []
      const { get } = app({
        skip: async (native: any) => native.headers['x-skip'] === 'yes',
        onLimited: (_native: unknown, { limit }: Decision) => limited.push(limit!),
        reply: async (_native: unknown, { retryAfterMs }: Decision) => ({
          status: 420,
          headers: { 'X-Calm': 'down' },
          body: { wait: retryAfterMs },
        }),
      })
      await get()
      expect((await get('/', { 'x-skip': 'yes' })).status).toBe(200)
      const refused = await get()
      expect(refused.status).toBe(420)
      expect(refused.body).toEqual({ wait: 60_000 })
      expect(refused.headers).toMatchObject({
        'x-calm': 'down',
        'retry-after': '60',
        ratelimit: '"1m";r=0;t=60',
      })
      expect(limited).toEqual([1])
    })

    test('skipSuccessful counts failures only', async () => {
      const { get } = app({ limit: 2, skipSuccessful: true }, (native) => [
        native.url === '/bad' ? 400 : 200,
        'x',
      ])
      for (let i = 0; i < 4; i++) {
        await vi.waitFor(async () =>
          expect((await get()).headers['ratelimit']).toBe('"1m";r=1;t=60'),
        )
      }
      await get('/bad')
      await get('/bad')
      expect((await get('/bad')).status).toBe(429)
    })

    test('plain text for a client that prefers it, and legacyHeaders', async () => {
      const { get, store } = app({ legacyHeaders: true })
      const { headers } = await get()
      expect(headers).toMatchObject({
        'x-ratelimit-limit': '1',
        'x-ratelimit-remaining': '0',
        'x-ratelimit-reset': String((store.now() + 60_000) / 1000),
      })
      const refused = await get('/', { Accept: 'text/plain' })
      expect(refused.headers['content-type']).toBe('text/plain; charset=utf-8')
      expect(refused.text).toBe('Too Many Requests\nThe limit is used up. Try again in 60 s.')
    })

    test('two limits on a route are one list in the fields, which parses', async () => {
      const opened = open()
      const { get } = start({
        options: { store: opened.store, prefix: opened.prefix },
        mount: (tp) => [
          tp.rateLimit({ name: 'outer', limit: 10, window: '1h' }),
          tp.rateLimit({ name: 'inner', limit: 5, window: '1m' }),
        ],
      })
      const { headers } = await get()
      const names = (field: string) => new Set(parseList(headers[field]!).map(([value]) => value))
      expect(names('ratelimit-policy')).toEqual(new Set(['inner', 'outer']))
      expect(names('ratelimit')).toEqual(new Set(['inner', 'outer']))
    })

    test('an error of the handler keeps the fields', async () => {
      const { get } = app({ limit: 3 }, () => {
        throw Object.assign(new Error('boom'), { status: 418 })
      })
      const { status, headers } = await get()
      expect(status).toBe(418)
      expect(headers['ratelimit']).toBe('"1m";r=2;t=60')
    })

    test('tenants have counts of their own', async () => {
      const { store, prefix } = open()
      const { get, tp } = start({
        options: { store, prefix, tenant: (native: any) => native.headers['x-tenant'] },
        mount: (tp) => [tp.rateLimit({ limit: 1, window: '1m', name: 'l', key: () => 'same' })],
      })
      for (const tenant of ['a', 'b'])
        expect((await get('/', { 'x-tenant': tenant })).status).toBe(200)
      for (const tenant of ['a', 'b'])
        expect((await get('/', { 'x-tenant': tenant })).status).toBe(429)
      const limiter = tp.limiter('l', { limit: 1, window: '1m' })
      await expect(limiter.consume('same')).rejects.toMatchObject({ code: 'TP_KEY' })
      expect((await limiter.consume('same', { tenant: 'a' })).allowed).toBe(false)
      expect(
        (await tp.forTenant('b').limiter('l', { limit: 1, window: '1m' }).consume('same')).allowed,
      ).toBe(false)
      expect(
        (await tp.forTenant('c').limiter('l', { limit: 1, window: '1m' }).consume('same')).allowed,
      ).toBe(true)
    })
  })
})

test("wait() with fail: 'closed' rejects at once while Redis is away", async () => {
  const store = testStore()
  const tp = turnpike({ store })
  const limiter = tp.limiter('closed', { limit: 1, window: '1m', fail: 'closed' })
  store.fail()
  await expect(limiter.wait('a')).rejects.toMatchObject({ code: 'TP_UNAVAILABLE' })
  await tp.close()
})
