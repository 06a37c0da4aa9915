/** `tp.service()`: one check in each interval over all processes, and what every process knows of it. */
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { turnpike } from '../../src/node.ts'
import type { EventMap } from '../../src/events.ts'
import type { ServiceOptions } from '../../src/operations/services/options.ts'
import {
  MAX_SERVICES,
  reportCall,
  reportService,
  serviceKey,
  servicesKey,
  serviceTurnKey,
  takeServiceTurn,
} from '../../src/operations/services/service-operations.ts'
import { createKeySpace } from '../../src/store/keys.ts'
import type { Store } from '../../src/store/store.ts'
import { startRedis, testStore, type RedisServer } from '../../src/testing.ts'
import { startScript } from '../support/child.ts'
import { bothEngines, type Opened } from '../support/engines.ts'
import { express4App, express5, koa3 } from '../support/serve.ts'
import { until } from '../support/until.ts'

const keysOf = (prefix: string) => createKeySpace(prefix, undefined, 'operations')

/** The same store for several instances. Closing one of them must not close it. */
const shared = (store: Store): Store =>
  new Proxy(store, {
    get(_target, name) {
      if (name === 'close') return async () => {}
      const member = Reflect.get(store, name, store) as unknown
      return typeof member === 'function' ? member.bind(store) : member
    },
  })

/** Instances that check one service, as many processes would. */
function checking({ store, prefix }: Opened, options: ServiceOptions, count = 1) {
  const events: EventMap['service'][] = []
  const errors: EventMap['error'][] = []
  const all = Array.from({ length: count }, () => {
    const tp = turnpike({ store: shared(store), prefix, operations: false })
    onTestFinished(() => tp.close())
    tp.on('service', (event) => events.push(event))
    tp.on('error', (event) => errors.push(event))
    return { tp, service: tp.service('payments', options) }
  })
  return { all, events, errors, tp: all[0]!.tp, service: all[0]!.service }
}

/** Lets what has been woken by a turned clock run, with its calls to the store. */
const settle = () => new Promise((resolve) => setTimeout(resolve, 15))

async function pass({ advance }: Opened, seconds: number): Promise<void> {
  for (let i = 0; i < seconds; i++) {
    await advance('1s')
    await settle()
  }
}

describe.each(bothEngines())('$name', (engine) => {
  it('five processes call a check once in each interval, and all know the result', async () => {
    const opened = engine.open()
    // Begin with an interval. Its first check is due within a second.
    await opened.advance(30_000 - (opened.store.now() % 30_000))
    let calls = 0
    const { all, events } = checking(
      opened,
      { check: () => void calls++, every: '30s', timeout: '2s' },
      5,
    )
    await pass(opened, 2)
    await until('the first check', () => calls === 1)
    await opened.advance(30_000 - (opened.store.now() % 30_000) - 1)
    await settle()
    expect(calls).toBe(1)
    for (let interval = 2; interval <= 4; interval++) {
      await opened.advance(1)
      await pass(opened, 4)
      await until(`check ${interval}`, () => calls === interval)
      await opened.advance(30_000 - (opened.store.now() % 30_000) - 1)
      await settle()
      expect(calls).toBe(interval)
    }
    for (const { tp } of all) {
      expect(await tp.services()).toMatchObject([
        { name: 'payments', status: 'healthy', errorRate: 0, reason: undefined, values: {} },
      ])
      expect(await tp.metrics().text()).toContain('turnpike_service_up{service="payments"} 1')
    }
    // One process has found out.
    expect(events).toMatchObject([{ name: 'payments', status: 'healthy', before: undefined }])
  })

  it('a check that throws, rejects or returns false or nonsense has failed, once each', async () => {
    const opened = engine.open()
    const results: (() => unknown)[] = [
      () => true,
      () => {
        throw new Error('canary-password')
      },
      () => Promise.reject(new Error('canary-password')),
      () => Promise.reject(undefined),
      () => false,
      () => 'yes',
      () => ({ status: 'fine' }),
      () => ({ status: 'ok', values: { status: 1 } }),
      () => ({ status: 'degraded', values: { queue_size: 3 } }),
      () => ({ status: 'ok' }),
    ]
    let calls = 0
    const warnings: string[] = []
    const { tp, events, errors } = checking(opened, {
      check: () => (results[calls++] ?? (() => true))() as never,
      every: '10s',
    })
    tp.on('warning', ({ message }) => warnings.push(message))
    const seen: unknown[] = []
    for (let i = 1, before = 0; i <= results.length; i++) {
      let found = (await tp.services())[0]
      for (let second = 0; second < 12 && (found?.lastCheck ?? 0) === before; second++) {
        await pass(opened, 1)
        found = (await tp.services())[0]
      }
      before = found!.lastCheck
      seen.push([found!.status, found!.reason, found!.errorRate])
    }
    expect(seen).toEqual([
      ['healthy', undefined, 0],
      ['error', 'failed', 0.5],
      ['error', 'failed', 0.667],
      ['error', 'failed', 0.75],
      ['error', 'failed', 0.8],
      ['error', 'failed', 0.833],
      ['error', 'failed', 0.857],
      ['error', 'failed', 0.875],
      ['degraded', undefined, 0.778],
      ['healthy', undefined, 0.7],
    ])
    expect(events.map(({ status, before, reason }) => [status, before, reason])).toEqual([
      ['healthy', undefined, undefined],
      ['error', 'healthy', 'failed'],
      ['degraded', 'error', undefined],
      ['healthy', 'degraded', undefined],
    ])
    expect(errors).toMatchObject([1, 2, 3].map(() => ({ feature: 'service', name: 'payments' })))
    expect(warnings.filter((text) => text.includes('the check of payments'))).toHaveLength(1)
    const stored = JSON.stringify([await tp.services(), events, warnings])
    expect(stored).not.toContain('canary')
  })

  it('a check without an answer has failed at its timeout, its signal fires, and a later answer changes nothing', async () => {
    const opened = engine.open()
    let signal: AbortSignal | undefined
    let answer: (value: boolean) => void = () => {}
    const { tp, events } = checking(opened, {
      check(given) {
        signal = given
        return new Promise((resolve) => (answer = resolve))
      },
      every: '20s',
      timeout: '3s',
    })
    await pass(opened, 1)
    await until('the check began', () => signal !== undefined)
    expect(await tp.services()).toEqual([])
    await pass(opened, 2)
    expect(signal!.aborted).toBe(false)
    await pass(opened, 1)
    await until('it has failed', async () => (await tp.services())[0]?.reason === 'timeout')
    expect(signal!.aborted).toBe(true)
    answer(true)
    await settle()
    expect(await tp.services()).toMatchObject([{ status: 'error', responseTimeMs: 3000 }])
    expect(events).toMatchObject([{ status: 'error', reason: 'timeout', ms: 3000 }])
    expect(await tp.metrics().text()).toContain('turnpike_service_up{service="payments"} 0')
  })

  it('the result of a process that was frozen does not overwrite that of a later check', async () => {
    const { store, prefix, advance } = engine.open()
    const keys = keysOf(prefix)
    const turn = async (): Promise<string> => {
      const given = [serviceTurnKey(keys, 'a'), serviceKey(keys, 'a')]
      return (await store.run(takeServiceTurn, given, [10_000]))[0]
    }
    const report = async (of: string, status: 'healthy' | 'error') => {
      const parts = { name: 'a', turn: of, status, reason: undefined, values: {} }
      const call = reportCall(keys, { ...parts, ttlMs: 120_000, responseTimeMs: 5 })
      return await store.run(reportService, ...call)
    }
    const first = await turn()
    expect(await turn()).toBe('0')
    await advance('11s')
    const second = await turn()
    expect([first, second]).not.toContain('0')
    expect(await report(first, 'error')).toEqual(['late', ''])
    expect(await report(second, 'healthy')).toEqual(['stored', ''])
    expect(await report(first, 'error')).toEqual(['late', ''])
    // What the service says of itself counts at any time.
    expect(await report('', 'error')).toEqual(['stored', 'healthy'])
  })

  it('a clock that is set back stops no check', async () => {
    const { store, prefix, back } = engine.open()
    const keys = keysOf(prefix)
    const given = [serviceTurnKey(keys, 'a'), serviceKey(keys, 'a')]
    expect((await store.run(takeServiceTurn, given, [10_000]))[0]).not.toBe('0')
    await back('1h')
    expect((await store.run(takeServiceTurn, given, [10_000]))[0]).not.toBe('0')
  })

  it('a service that reports itself is known for its ttl, and then forgotten', async () => {
    const opened = engine.open()
    const { tp } = checking(opened, { check: () => true })
    const client = tp.service('client_123', { ttl: '5m' })
    await client.report({ responseTimeMs: 180, values: { active_connections: 5 } })
    await client.report({ status: 'error', values: { queue_size: 3 } })
    expect(await tp.services()).toEqual([
      {
        name: 'client_123',
        status: 'error',
        lastCheck: opened.store.now(),
        responseTimeMs: undefined,
        errorRate: 0.5,
        reason: undefined,
        values: { queue_size: 3 },
      },
    ])
    if (engine.name === 'in-process') {
      await opened.advance(299_000)
      expect((await tp.services()).map(({ name }) => name)).toContain('client_123')
      expect(await tp.metrics().text()).toContain('turnpike_service_up{service="client_123"} 0')
    }
    await opened.advance(301_000)
    expect((await tp.services()).map(({ name }) => name)).not.toContain('client_123')
    expect(await tp.metrics().text()).not.toContain('client_123')
  })

  it('has the fields that a person reads with HGETALL, for two minutes', async () => {
    const opened = engine.open()
    const { service } = checking(opened, {})
    await service.report({ responseTimeMs: 45, values: { queue_size: 3 } })
    const server = engine.server()
    if (server === undefined) return
    const key = serviceKey(keysOf(opened.prefix), 'payments')
    const reply = await server.send('HGETALL', key)
    for (const part of ['status', 'healthy', 'last_check', 'response_time_ms', '45', 'error_rate'])
      expect(reply).toContain(part)
    const left = Number(/:(\d+)/.exec(await server.send('PTTL', key))![1])
    expect(left).toBeGreaterThan(60_000)
    expect(left).toBeLessThanOrEqual(120_000)
  })

  it('five hundred services have room, and a name that is known stays', async () => {
    const opened = engine.open()
    const { store, prefix } = opened
    const { tp, service } = checking(opened, {})
    await service.report()
    const keys = keysOf(prefix)
    for (let i = 1; i < MAX_SERVICES; i++) {
      const parts = { name: `s${i}`, turn: '', status: 'healthy' as const, reason: undefined }
      const more = { values: {}, ttlMs: 60_000, responseTimeMs: undefined }
      await store.run(reportService, ...reportCall(keys, { ...parts, ...more }))
    }
    const further = tp.service('further')
    await expect(further.report()).rejects.toMatchObject({ code: 'TP_OPTION' })
    await service.report({ status: 'degraded' })
    await opened.advance('61s')
    await further.report()
    expect((await tp.services()).map(({ name }) => name)).toEqual(['further', 'payments'])
  })

  it('close() and stop() end a check that hangs, and nothing is stored', async () => {
    const opened = engine.open()
    const signals: AbortSignal[] = []
    const options: ServiceOptions = {
      check: (signal) => (signals.push(signal), new Promise(() => {})),
      every: '10s',
    }
    const { tp, service } = checking(opened, options)
    await pass(opened, 1)
    await until('the check began', () => signals.length === 1)
    service.stop()
    expect(signals[0]!.aborted).toBe(true)
    await pass(opened, 25)
    expect(signals).toHaveLength(1)
    // The name is free again.
    tp.service('payments', options)
    await pass(opened, 1)
    await until('the next check began', () => signals.length === 2)
    await tp.close()
    expect(signals[1]!.aborted).toBe(true)
    const other = turnpike({ store: shared(opened.store), prefix: opened.prefix })
    onTestFinished(() => other.close())
    expect(await other.services()).toEqual([])
  })
})

describe.each([express4App, express5, koa3])('tp.health() on $name', ({ serve }) => {
  it('shows services in its details, and depends only on those that it names', async () => {
    const store = testStore()
    const { tp, get } = await serve({
      options: { store },
      routes: (tp) => ({
        '/health': tp.health({ path: '/health', cacheFor: 0 }),
        '/health/ready': tp.health({ path: '/health' }),
        '/closed': tp.health({ details: false }),
        '/named': tp.health({ path: '/named', services: ['payments'], cacheFor: 0 }),
        '/named/ready': tp.health({ path: '/named', services: ['payments'] }),
        '/named/live': tp.health({ path: '/named', services: ['payments'] }),
      }),
    })
    const read = async (path: string) => {
      const { body, status } = await get(path)
      return { code: status, ...JSON.parse(body) }
    }
    // Nothing is asked of a store before a service is named.
    expect(await read('/health')).not.toHaveProperty('services')
    const payments = tp.service('payments')
    expect(await read('/named')).toMatchObject({ code: 200, status: 'healthy', services: {} })
    expect((await read('/named/ready')).code).toBe(200)
    await tp.service('search').report({ status: 'error' })
    await payments.report({ responseTimeMs: 45, values: { queue_size: 3 } })
    const shown = {
      payments: {
        status: 'healthy',
        last_check: new Date(store.now()).toISOString(),
        response_time_ms: 45,
        error_rate: 0,
        queue_size: 3,
      },
      search: {
        status: 'error',
        last_check: new Date(store.now()).toISOString(),
        error_rate: 1,
      },
    }
    expect(await read('/health')).toMatchObject({ code: 200, status: 'healthy', services: shown })
    expect((await read('/named/ready')).code).toBe(200)
    await payments.report({ status: 'degraded' })
    expect((await read('/named/ready')).code).toBe(200)
    await payments.report({ status: 'error' })
    expect(await read('/health')).toMatchObject({ code: 200, status: 'healthy' })
    expect((await read('/health/ready')).code).toBe(200)
    expect(await read('/named')).toMatchObject({ status: 'degraded', reason: 'payments: error' })
    expect(await read('/named/ready')).toEqual({ code: 503, status: 'not ready' })
    expect((await read('/named/live')).code).toBe(200)
    expect(Object.keys(await read('/closed'))).toEqual(['code', 'status', 'connected'])
    // A service that nobody reports any more does not take the process out of service.
    await store.advance('121s')
    expect((await read('/named/ready')).code).toBe(200)
  })
})

describe('a process', () => {
  it('checks nothing while the store is away, and goes on when it is back', async () => {
    const store = testStore()
    let calls = 0
    const opened = { store, advance: (time: number | string) => store.advance(time as never) }
    const { tp, errors } = checking(
      { ...opened, prefix: 'tp', back: async () => {} },
      { check: () => void calls++, every: '10s' },
    )
    await pass(opened as never, 1)
    await until('the first check', () => calls === 1)
    store.fail()
    await pass(opened as never, 30)
    expect(calls).toBe(1)
    await expect(tp.services()).rejects.toMatchObject({ code: 'TP_UNAVAILABLE' })
    store.recover()
    await pass(opened as never, 12)
    expect(calls).toBeGreaterThan(1)
    expect(errors).toEqual([])
  })

  it.each([
    ['', {}, /name must be/],
    ['a b', {}, /Did you mean 'a-b'/],
    ['a', { check: 'http://x' }, /check must be a function/],
    ['a', { every: '100ms' }, /every must be a duration from 1 second/],
    ['a', { every: '1h' }, /every must be/],
    ['a', { ttl: '2h' }, /ttl must be/],
    ['a', { interval: '1s' }, /no option interval/],
    ['a', { check: () => {}, every: '5s', timeout: '6s' }, /`timeout` is longer than `every`/],
    ['a', { check: () => {}, every: '2m', ttl: '3m' }, /`ttl` is shorter than twice `every`/],
  ])('tp.service(%j, %j) is refused', (name, options, message) => {
    const tp = turnpike({ store: testStore() })
    onTestFinished(() => tp.close())
    expect(() => tp.service(name, options as never)).toThrow(message)
  })

  it.each([
    [{ status: 'fine' }, /status must be/],
    [{ responseTimeMs: -1 }, /responseTimeMs must be/],
    [{ responseTimeMs: Number.NaN }, /responseTimeMs must be/],
    [{ values: { queue_size: '3' } }, /values must be/],
    [{ values: { status: 3 } }, /values must be/],
    [{ values: { outcomes: 3 } }, /values must be/],
    [{ values: { 'a b': 3 } }, /values must be/],
    [
      { values: Object.fromEntries(Array.from({ length: 11 }, (_, i) => [`v${i}`, i])) },
      /up to 10/,
    ],
  ])('report(%j) is refused', async (report, message) => {
    const tp = turnpike({ store: testStore() })
    onTestFinished(() => tp.close())
    await expect(tp.service('a').report(report as never)).rejects.toThrow(message)
  })

  it('a second check of the same name is refused, and so is the hundred and first', () => {
    const tp = turnpike({ store: testStore() })
    onTestFinished(() => tp.close())
    const check = (): void => {}
    for (let i = 0; i < 100; i++) tp.service(`s${i}`, { check })
    expect(() => tp.service('s5', { check })).toThrow(/no other check/)
    expect(() => tp.service('more', { check })).toThrow(/100 services/)
    tp.service('s5')
  })
})

describe('what stands in Redis', () => {
  let server: RedisServer
  beforeAll(async () => {
    server = await startRedis()
  })
  afterAll(() => server.stop())

  it('may be anything: what is no service is left out', async () => {
    const tp = turnpike({
      redis: server.url,
      prefix: 'odd',
      operations: false,
      commandTimeout: '5s',
    })
    onTestFinished(() => tp.close())
    await tp.ready()
    await tp.service('good').report()
    const keys = keysOf('odd')
    const later = String(Date.now() + 60_000)
    for (const [name, ...fields] of [
      ['none'],
      ['bad', 'status', '<script>', 'last_check', '1'],
      ['nan', 'status', 'healthy', 'last_check', 'soon'],
      [
        'huge',
        'status',
        'error',
        'last_check',
        '9e300',
        'reason',
        'canary',
        'error_rate',
        'x',
        'y',
        'z',
      ],
    ] as const) {
      await server.send('ZADD', servicesKey(keys), later, name)
      if (fields.length > 0) await server.send('HSET', serviceKey(keys, name), ...fields)
    }
    expect(await tp.services()).toMatchObject([
      { name: 'good' },
      { name: 'huge', status: 'error', errorRate: 0, reason: undefined, values: {} },
    ])
  })

  const PROGRAM = `
    import { turnpike } from 'turnpike/node'
    const tp = turnpike({ redis: process.env.URL, prefix: 'killed', operations: false, logger: false, commandTimeout: '5s' })
    await tp.ready()
    let calls = 0
    tp.service('payments', {
      every: '2s',
      async check() {
        console.log('check', ++calls)
        if (process.env.DIES) process.kill(process.pid, 'SIGKILL')
      },
    })
    console.log('ready')
    await received('close')
    await tp.close()`

  it('of a process that was killed during a check: another one checks in the next interval', async () => {
    const env = { URL: server.url }
    const first = startScript(PROGRAM, { env: { ...env, DIES: '1' }, patience: 60_000 })
    const { signal, stdout } = await first.ended
    expect([signal, stdout]).toEqual(['SIGKILL', 'ready\ncheck 1\n'])
    const second = startScript(PROGRAM, { env, patience: 60_000 })
    await second.says('check 1')
    const tp = turnpike({ redis: server.url, prefix: 'killed', commandTimeout: '5s' })
    onTestFinished(() => tp.close())
    await tp.ready()
    await until('its result is there', async () => (await tp.services())[0]?.status === 'healthy')
    second.tell('close')
    await second.ended
  }, 60_000)
})
