import { createHook } from 'node:async_hooks'
import { randomBytes } from 'node:crypto'
import { describe, expect, test, vi } from 'vitest'
import { turnpike } from '../../../../src/express.ts'
import { resetPolicies } from '../../../../src/features/rate-limit/operations/reset.ts'
import type { Store } from '../../../../src/store/store.ts'
import { testStore } from '../../../../src/testing.ts'
import { apps } from '../../../support/apps.ts'
import { machines, type Machine } from './support.ts'

const { machine } = machines()
const OPTIONS = { limit: 6_400, window: '1m', lease: true } as const

/** A process: an instance with a store of its own. */
function processes(count: number, { clock, open }: Machine = machine(), options = {}) {
  const prefix = `l${randomBytes(4).toString('hex')}`
  const all = Array.from({ length: count }, () => {
    const { store, calls } = open()
    const tp = turnpike({ store, prefix, requestBudget: '10s', ...options })
    return { tp, store, calls, api: tp.limiter('api', OPTIONS) }
  })
  return { all, clock, prefix }
}

/** Consumes until the process holds a lease. */
async function lease(
  api: { consume(subject: string): Promise<{ source: string }> },
  subject = 'ann',
) {
  await vi.waitFor(async () => expect((await api.consume(subject)).source).toBe('lease'))
}

/** Resolves when messages reach a process: those that it subscribed to before, too. */
async function heard(here: Store, there: Store): Promise<void> {
  let isHeard = false
  here.subscribe('probe', () => (isHeard = true))
  await vi.waitFor(async () => {
    await there.run(resetPolicies, [], ['probe', ''])
    expect(isHeard).toBe(true)
  })
}

describe.each(apps)('a leased limit on $name', ({ start }) => {
  const app = (options: object) => {
    const { clock, open } = machine()
    const { store, calls } = open()
    const prefix = `l${randomBytes(4).toString('hex')}`
    const handle = (native: any): readonly [number, object] => {
      const { rateLimit } = native.state ?? native
      return [200, { source: rateLimit.source }]
    }
    const running = start({
      options: { store, prefix },
      mount: (tp) => [tp.rateLimit({ ...OPTIONS, ...options })],
      handle,
    })
    return { clock, calls, ...running }
  }

  test('admits without a call, and its fields count down as without a lease', async () => {
    const { get, calls } = app({})
    const [remaining, sources]: [number[], string[]] = [[], []]
    let before = 0
    for (let i = 0; i < 6; i++) {
      const { headers, text } = await get()
      if (i === 1) before = calls().length
      expect(headers['ratelimit-policy']).toBe('"1m";q=6400;w=60')
      const [, r, t] = /r=(\d+);t=(\d+)/.exec(headers['ratelimit']!)!
      remaining.push(Number(r))
      expect(Number(t)).toBe(61)
      sources.push((JSON.parse(text) as { source: string }).source)
    }
    expect(remaining).toEqual([6399, 6398, 6397, 6396, 6395, 6394])
    expect(sources).toEqual(['store', 'store', 'lease', 'lease', 'lease', 'lease'])
    expect(calls()[before - 1]).toBe('leasePolicies')
    expect(calls().length).toBe(before)
  })

  test('calls the next middleware at once, without a promise, and so does a remembered refusal', async () => {
    const { open } = machine()
    const { store, calls } = open()
    const seen: { isAtOnce: boolean; promises: number }[] = []
    /** Counts the promises that are created until the limit calls the next middleware. */
    function watched(limit: any) {
      return (...args: any[]) => {
        let [isAtOnce, promises] = [false, 0]
        const next = args.pop()
        const hook = createHook({ init: (_id, type) => type === 'PROMISE' && promises++ })
        const end = (...reason: unknown[]) => {
          hook.disable()
          isAtOnce = true
          return next(...reason)
        }
        hook.enable()
        const returned = limit(...args, end)
        hook.disable()
        seen.push({ isAtOnce, promises })
        return returned
      }
    }
    const prefix = `l${randomBytes(4).toString('hex')}`
    const limit = { ...OPTIONS, name: 'whole', denyCache: true, shadow: true } as const
    const { get } = start({
      options: { store, prefix },
      mount: (tp) => [
        watched(tp.rateLimit(limit)),
        watched(tp.pipeline(tp.rateLimit({ ...limit, name: 'piped' }))),
        watched(tp.rateLimit({ ...limit, name: 'full', limit: 64, cost: 64 })),
      ],
    })
    for (let i = 0; i < 2; i++) await get()
    expect(seen.filter(({ isAtOnce }) => isAtOnce).length).toBe(0)
    const before = calls().length
    seen.length = 0
    for (let i = 0; i < 3; i++) await get()
    expect(calls().length).toBe(before)
    expect(seen).toEqual(Array.from({ length: 9 }, () => ({ isAtOnce: true, promises: 0 })))
  })

  test('gives a skipped request back to the lease, without a call', async () => {
    const { get, calls } = app({ skipSuccessful: true })
    for (let i = 0; i < 2; i++) await get()
    // Those two are given back to Redis: their refunds follow their charges.
    await vi.waitFor(() =>
      expect(calls().filter((name) => name === 'applyPolicies').length).toBeGreaterThanOrEqual(3),
    )
    const before = calls().length
    const fields = new Set<string>()
    for (let i = 0; i < 4; i++) {
      const { headers, text } = await get()
      expect(JSON.parse(text)).toEqual({ source: 'lease' })
      fields.add(headers['ratelimit']!)
    }
    expect(fields.size).toBe(1)
    expect(calls().length).toBe(before)
  })

  test('has no effect on the in-process engine', async () => {
    const { get } = start({
      options: { store: testStore() },
      mount: (tp) => [tp.rateLimit({ ...OPTIONS, limit: 64 })],
      handle: (native) => [200, (native.state ?? native).rateLimit.source],
    })
    for (let i = 0; i < 64; i++) expect((await get()).text).toBe('store')
    const refused = await get()
    expect(refused.status).toBe(429)
    expect(refused.headers['retry-after']).toBe('60')
  })
})

test('units that a process holds are not there for another, and come back when it does not use them', async () => {
  const { all, clock } = processes(2)
  const [here, there] = all
  await lease(here!.api)
  const held = (await there!.api.peek('ann')).remaining!
  // Three were used, and some are held.
  expect(held).toBeLessThan(6_397)
  await clock.advance(3_000)
  await vi.waitFor(async () => expect((await there!.api.peek('ann')).remaining).toBe(6_397))
})

test('the next call gives back what the last lease has left, in one command', async () => {
  const { all, clock } = processes(1)
  const { api, calls } = all[0]!
  await lease(api)
  await clock.advance(1_000)
  const before = calls().length
  expect(await api.consume('ann')).toMatchObject({ source: 'store', remaining: 6_396 })
  expect(calls().slice(before)).toEqual(['leasePolicies'])
})

test('a lease ends on time, and so does its use', async () => {
  const { all, clock } = processes(1)
  const { api } = all[0]!
  await lease(api)
  await clock.advance(980)
  expect((await api.consume('ann')).source).toBe('lease')
  await clock.advance(10)
  expect((await api.consume('ann')).source).toBe('store')
})

test.each([
  ['its machine was suspended, and its monotonic clock stood still', 'monotonic', 1_000],
  ['its clock was set ahead', 'wallClock', 1_000],
  ['its clock was set back', 'wallClock', -5_000],
] as const)('a lease ends at the latest on time if %s', async (_what, still, ms) => {
  const { all, clock } = processes(1)
  const { api, store } = all[0]!
  await lease(api)
  const at = store[still]()
  if (still === 'monotonic') {
    vi.spyOn(store, 'monotonic').mockReturnValue(at)
    await clock.advance(980)
    expect((await api.consume('ann')).source).toBe('lease')
    await clock.advance(ms - 980)
  } else vi.spyOn(store, 'wallClock').mockReturnValue(at + ms)
  expect((await api.consume('ann')).source).toBe('store')
})

test('a lease of a fixed window ends with its period', async () => {
  const { all, clock } = processes(1)
  const options = { ...OPTIONS, algorithm: 'fixed-window' } as const
  const limiter = all[0]!.tp.limiter('fixed', options)
  await clock.advance(59_500 - (clock.now() % 60_000))
  await lease(limiter)
  await clock.advance(480)
  expect((await limiter.consume('ann')).source).toBe('lease')
  await clock.advance(15)
  expect((await limiter.consume('ann')).source).toBe('store')
  await clock.advance(5)
  expect((await limiter.consume('ann')).remaining).toBe(6_399)
})

describe('GCRA', () => {
  const BUCKET = { ...OPTIONS, algorithm: 'gcra' } as const

  test('holds leased units until their process says what it used, and drains only that', async () => {
    const { all, clock } = processes(2)
    const [here, there] = all.map(({ tp }) => tp.limiter('bucket', BUCKET))
    for (let i = 0; i < 8; i++) await here!.consume('ann')
    await lease(here!)
    const before = (await there!.peek('ann')).remaining!
    const { remaining } = await here!.consume('ann')
    // 106 units a second drain, but none of those that are held.
    await clock.advance(900)
    expect((await there!.peek('ann')).remaining).toBeLessThan(6_400)
    expect((await there!.peek('ann')).remaining).toBeGreaterThan(before)
    expect(remaining).toBeGreaterThan(before)
    await clock.advance(1_000)
    await clock.advance(1_000)
    await vi.waitFor(async () =>
      expect((await there!.peek('ann')).remaining).toBeGreaterThan(6_390),
    )
  })

  test('keeps what a process holds when another one counts in Redis', async () => {
    const { all } = processes(2)
    const [here, there] = all.map(({ tp }) => tp.limiter('bucket', BUCKET))
    for (let i = 0; i < 8; i++) await here!.consume('ann')
    await lease(here!)
    const before = (await there!.peek('ann')).remaining!
    expect(before).toBeLessThan(6_400 - 9)
    expect(await there!.consume('ann')).toMatchObject({ source: 'store', remaining: before - 1 })
    expect((await there!.peek('ann')).remaining).toBe(before - 1)
  })

  test('counts what a killed process held as used, within five leases', async () => {
    const { all, clock } = processes(2)
    const [killed, other] = all.map(({ tp }) => tp.limiter('bucket', BUCKET))
    for (let i = 0; i < 8; i++) await killed!.consume('ann')
    await lease(killed!)
    vi.spyOn(all[0]!.store, 'run').mockImplementation(() => new Promise(() => {}))
    await clock.advance(3_000)
    expect((await other!.peek('ann')).remaining).toBeLessThan(6_400)
    await clock.advance(2_000 + 1_000)
    expect((await other!.peek('ann')).remaining).toBe(6_400)
  })

  test('a lease that is given back too late counts as used', async () => {
    const { all, clock } = processes(2)
    const [late, other] = all.map(({ tp }) => tp.limiter('bucket', BUCKET))
    for (let i = 0; i < 8; i++) await late!.consume('ann')
    await lease(late!)
    const held = 6_400 - (await other!.peek('ann')).remaining!
    // Others use up the rest.
    while ((await other!.consume('ann', 64)).allowed);
    await clock.advance(5_000)
    const before = (await other!.peek('ann')).remaining!
    expect(before).toBeLessThan(600)
    await late!.consume('ann')
    const after = (await other!.peek('ann')).remaining!
    expect(held).toBeGreaterThan(1)
    expect(after).toBe(before - 1)
  })

  test('a reset ends what is held, and a late return charges nothing', async () => {
    const { all, clock } = processes(2)
    const [here, there] = all.map(({ tp }) => tp.limiter('bucket', BUCKET))
    await lease(here!)
    await there!.reset('ann')
    expect((await there!.peek('ann')).remaining).toBe(6_400)
    await clock.advance(3_000)
    expect((await there!.peek('ann')).remaining).toBe(6_400)
  })
})

test('several policies, costs and a calendar are leased together', async () => {
  const { all, clock } = processes(1)
  const { tp, calls } = all[0]!
  const limiter = tp.limiter('several', {
    policies: [
      { name: 'minute', limit: 6_400, window: '1m' },
      { name: 'month', limit: 64_000, window: 'month', timeZone: 'Europe/Berlin', cost: 2 },
    ],
    lease: { for: '2s' },
  })
  await lease(limiter)
  await limiter.consume('ann', 7)
  const before = calls().length
  expect((await limiter.consume('ann', 7)).source).toBe('lease')
  expect(calls().length).toBe(before)
  await clock.advance(5_000)
  await vi.waitFor(async () => {
    const { policies } = await limiter.peek('ann')
    const uses = policies.map(({ limit, remaining }) => limit - remaining)
    expect(uses).toEqual([17, 17])
  })
})

test('a subject near its limit is asked for at each request, and never admitted beyond it', async () => {
  const { all } = processes(2)
  const limits = all.map(({ tp }) => tp.limiter('small', { limit: 64, window: '1m', lease: true }))
  const sources: string[] = []
  let admitted = 0
  for (let i = 0; i < 80; i++) {
    const { allowed, source } = await limits[i % 2]!.consume('ann')
    if (allowed) admitted++
    sources.push(source)
  }
  expect(admitted).toBeLessThanOrEqual(64)
  expect(admitted).toBeGreaterThanOrEqual(63)
  expect(sources.slice(-20)).not.toContain('lease')
  expect(sources).toContain('lease')
})

test('what a refund, a settlement and a cost of 0 do stays within the lease', async () => {
  const { all } = processes(1)
  const { api, calls } = all[0]!
  for (let i = 0; i < 8; i++) await api.consume('ann')
  await lease(api)
  const before = calls().length
  const decision = await api.consume('ann')
  const { remaining } = decision
  await decision.refund()
  await decision.refund()
  const again = await api.consume('ann')
  expect(again.remaining).toBe(remaining)
  await again.settle(0)
  expect((await api.consume('ann')).remaining).toBe(remaining)
  expect(calls().length).toBe(before)
})

test('a refund after the end of the lease reaches Redis', async () => {
  const { all, clock } = processes(1)
  const { api } = all[0]!
  await lease(api)
  const decision = await api.consume('ann')
  await clock.advance(1_000)
  await api.consume('ann')
  const before = (await api.peek('ann')).remaining!
  await decision.refund()
  expect((await api.peek('ann')).remaining).toBe(before + 1)
})

describe('what another process does', () => {
  test.each([
    ['a block', (api: any) => api.block('ann', '10s'), false],
    ['a reset', (api: any) => api.reset('ann'), true],
  ])('%s ends the lease at once', async (_what, act, allowed) => {
    const { all } = processes(2)
    const [here, there] = all
    await heard(here!.store, there!.store)
    await lease(here!.api)
    await act(there!.api)
    await vi.waitFor(async () =>
      expect(await here!.api.consume('ann')).toMatchObject({ source: 'store', allowed }),
    )
  })

  test('a block whose message is lost applies when the lease ends', async () => {
    const { all, clock } = processes(2)
    const [here, there] = all
    await lease(here!.api)
    vi.spyOn(there!.store, 'run').mockImplementation((operation, keys, args) =>
      operation.name === 'resetPolicies'
        ? Promise.resolve(0 as never)
        : Object.getPrototypeOf(there!.store).run.call(there!.store, operation, keys, args),
    )
    await there!.api.block('ann', '1m')
    expect((await here!.api.consume('ann')).allowed).toBe(true)
    await clock.advance(1_000)
    expect((await here!.api.consume('ann')).allowed).toBe(false)
  })

  test('an override ends the lease, and no more than it admits is leased', async () => {
    const { all } = processes(2)
    const [here, there] = all
    await heard(here!.store, there!.store)
    await lease(here!.api)
    await there!.tp.overrides.set('ann', { api: 8 })
    await vi.waitFor(async () => expect((await here!.api.consume('ann')).limit).toBe(8))
    await there!.tp.overrides.set('bob', { api: 8 })
    let admitted = 0
    for (let i = 0; i < 20; i++) if ((await here!.api.consume('bob')).allowed) admitted++
    expect(admitted).toBe(8)
  })

  test('a process that is killed loses no more than it held, until the window and the lease have passed', async () => {
    const { all, clock } = processes(2)
    const [killed, other] = all
    await lease(killed!.api)
    const used = 6_400 - (await other!.api.peek('ann')).remaining!
    expect(used).toBeLessThanOrEqual(3 + 6_400 / 64)
    // The killed process gives nothing back.
    vi.spyOn(killed!.store, 'run').mockImplementation(() => new Promise(() => {}))
    await clock.advance(60_000)
    expect((await other!.api.peek('ann')).remaining).toBe(6_400 - used)
    await clock.advance(1_000 + 62_000 / 64)
    expect((await other!.api.peek('ann')).remaining).toBe(6_400)
  })
})

test('a changed policy counts at once, whatever the process holds', async () => {
  const { all } = processes(1)
  const { tp, api } = all[0]!
  await lease(api)
  await tp.control.policy('api', { limit: 2 }, { by: 'ann', reason: 'a test' })
  expect((await api.consume('ann')).allowed).toBe(false)
})

describe.each(['sliding-window', 'fixed-window', 'gcra'] as const)('%s', (algorithm) => {
  test('admits all of a limit with costs 1 to 7, several policies and processes, and not more', async () => {
    const { all, clock } = processes(3)
    // One period of the fixed window.
    await clock.advance(60_000 - (clock.now() % 60_000))
    const policies = [
      { name: 'minute', algorithm, limit: 1_280, window: '1m' },
      { name: 'hour', algorithm, limit: 12_800, window: '1h', cost: 2 },
    ] as const
    const limiters = all.map(({ tp }) => tp.limiter('each', { policies, lease: true }))
    let [admitted, leased] = [0, 0]
    for (let i = 0; ; i++) {
      const cost = 1 + (i % 7)
      const { allowed, source } = await limiters[i % 3]!.consume('ann', cost)
      if (!allowed) break
      admitted += cost
      if (source === 'lease') leased += cost
    }
    expect(leased).toBeGreaterThan(200)
    expect(admitted).toBeLessThanOrEqual(1_280)
    // What the others hold, and the cost that was refused.
    expect(admitted).toBeGreaterThan(1_280 - 2 * 20 - 7)
    const { policies: states } = await limiters[0]!.peek('ann')
    expect(states.map(({ name }) => name)).toEqual(['minute', 'hour'])
  })

  test('a reset admits again at once, in the process that resets and in others', async () => {
    const { all } = processes(2)
    const options = { ...OPTIONS, limit: 64, algorithm } as const
    const [here, there] = all.map(({ tp }) => tp.limiter('again', options))
    await heard(all[1]!.store, all[0]!.store)
    for (let i = 0; i < 70; i++) await here!.consume('ann')
    expect((await there!.consume('ann')).allowed).toBe(false)
    await there!.reset('ann')
    expect((await there!.consume('ann')).allowed).toBe(true)
    expect((await here!.consume('ann')).allowed).toBe(true)
  })
})

test('a mode that an operator sets applies to the next request, whatever the process holds', async () => {
  const { clock, open } = machine()
  const { store } = open()
  const prefix = `l${randomBytes(4).toString('hex')}`
  const { get, tp } = apps[0]!.start({
    options: { store, prefix },
    mount: (tp) => [tp.rateLimit({ ...OPTIONS, name: 'api', limit: 64 })],
  })
  const decisions: string[] = []
  tp.on('decision', ({ source, shadow }) => decisions.push(shadow ? 'shadow' : source))
  const why = { by: 'ann', reason: 'a test' }
  for (let i = 0; i < 3; i++) await get()
  expect(decisions.splice(0)).toEqual(['store', 'store', 'lease'])
  await tp.control.mode('api', 'closed', why)
  expect((await get()).status).toBe(503)
  expect(decisions.splice(0)).toEqual(['closed'])
  await tp.control.mode('api', 'off', why)
  expect((await get()).status).toBe(200)
  expect(decisions).toEqual([])
  await tp.control.mode('api', 'shadow', why)
  await clock.advance(2_000)
  for (let i = 0; i < 70; i++) expect((await get()).status).toBe(200)
  expect(decisions).toContain('lease')
  expect(decisions.at(-1)).toBe('shadow')
})

test('a refusal is remembered by the deny cache, and a lease never answers in its place', async () => {
  const { all } = processes(1)
  const { tp } = all[0]!
  const options = { limit: 64, window: '1m', lease: true, denyCache: true } as const
  const limiter = tp.limiter('denying', options)
  const sources: string[] = []
  for (let i = 0; i < 70; i++) sources.push((await limiter.consume('ann')).source)
  expect(sources.slice(-3)).toEqual(['deny-cache', 'deny-cache', 'deny-cache'])
})

test('a limit with blockFor refuses everything after a refusal', async () => {
  const { all, clock } = processes(1)
  const { tp } = all[0]!
  const limiter = tp.limiter('blocking', { limit: 64, window: '1m', lease: true, blockFor: '1h' })
  for (let i = 0; i < 65; i++) await limiter.consume('ann')
  await clock.advance(120_000)
  expect(await limiter.consume('ann')).toMatchObject({ allowed: false, source: 'store' })
})

test('an instance that closes gives its units back', async () => {
  const { all } = processes(2)
  const [here, there] = all
  await lease(here!.api)
  expect((await there!.api.peek('ann')).remaining).toBeLessThan(6_397)
  await here!.tp.close()
  expect((await there!.api.peek('ann')).remaining).toBe(6_397)
})

test('at half load a decision costs less than a tenth of a command', async () => {
  // 100 a second are admitted, 50 come, over 4 processes.
  const { all, clock } = processes(4)
  let decisions = 0
  for (let i = 0; i < 50 * 60; i++) {
    await clock.advance(20)
    const { allowed } = await all[i % 4]!.api.consume('ann')
    expect(allowed).toBe(true)
    decisions++
  }
  const commands = all.reduce((sum, { calls }) => sum + calls().length, 0)
  expect(commands / decisions).toBeLessThan(0.1)
})

test('tenants have leases of their own', async () => {
  const { all } = processes(1, machine(), { tenant: () => 'none' })
  const { tp } = all[0]!
  const limiter = tp.limiter('rented', OPTIONS)
  for (let i = 0; i < 5; i++) await limiter.consume('ann', { tenant: 'one' })
  expect((await limiter.consume('ann', { tenant: 'one' })).source).toBe('lease')
  expect(await limiter.consume('ann', { tenant: 'two' })).toMatchObject({
    source: 'store',
    remaining: 6_399,
  })
})
