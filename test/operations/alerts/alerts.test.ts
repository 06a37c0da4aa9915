/** Alerts: one message for each change over all processes, on Redis and in the process. */
import { Redis } from 'ioredis'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { CONTEXT } from '../../../src/extension.ts'
import { turnpike } from '../../../src/node.ts'
import { AlertChecks } from '../../../src/operations/alerts/alert-checks.ts'
import { countIncrease } from '../../../src/operations/alerts/alert-operations.ts'
import {
  nextAlertState,
  type AlertState,
  type AlertVerdict,
} from '../../../src/operations/alerts/alert-state.ts'
import { DEFAULT_RULES } from '../../../src/operations/alerts/default-rules.ts'
import type { Alert, AlertRule, AlertsOptions } from '../../../src/operations/alerts/options.ts'
import { minuteKey, processesKey } from '../../../src/operations/beat-keys.ts'
import { THRESHOLDS } from '../../../src/operations/thresholds.ts'
import { startRedis, testStore, type RedisServer, type TestStore } from '../../../src/testing.ts'
import { startScript } from '../../support/child.ts'
import { expectEveryKeyToExpire } from '../../support/ttl.ts'
import { until } from '../../support/until.ts'

describe('the states of an alert', () => {
  const times = { forMs: 60, remindMs: 1000 }

  function changesOf(...reports: [verdict: AlertVerdict, at: number][]): string[] {
    let state: AlertState | undefined
    return reports.map(([verdict, at]) => {
      const next = nextAlertState(state, verdict, times, at)
      state = next.state
      return `${next.change} ${next.state?.state ?? 'ok'}`
    })
  }

  it('a value that is bad for long enough fires once', () => {
    expect(changesOf(['bad', 100], ['bad', 159], ['bad', 160], ['bad', 161])).toEqual([
      'none pending',
      'none pending',
      'firing firing',
      'none firing',
    ])
  })

  it('a value that is bad for a moment fires nothing', () => {
    expect(changesOf(['bad', 100], ['good', 130], ['bad', 170], ['between', 175])).toEqual([
      'none pending',
      'none ok',
      'none pending',
      'none ok',
    ])
  })

  it('is resolved once the value is good for long enough, and a value in between is not good', () => {
    expect(
      changesOf(
        ['bad', 100],
        ['bad', 160],
        ['good', 170],
        ['between', 200],
        ['good', 210],
        ['bad', 215],
        ['good', 300],
        ['good', 359],
        ['good', 360],
        ['good', 361],
      ).slice(1),
    ).toEqual([
      'firing firing',
      ...Array.from({ length: 6 }, () => 'none firing'),
      'resolved ok',
      'none ok',
    ])
  })

  it('is reminded of while it fires', () => {
    expect(changesOf(['bad', 0], ['bad', 60], ['bad', 1059], ['bad', 1060], ['bad', 1061])).toEqual(
      ['none pending', 'firing firing', 'none firing', 'reminder firing', 'none firing'],
    )
  })
})

/** Instances that share a store, and a value that a rule checks. */
function watched(
  store: TestStore,
  count = 1,
  {
    rules = {},
    ...options
  }: Partial<AlertsOptions> & { rules?: Record<string, AlertRule | false> } = {},
) {
  const current: { value: number | undefined } = { value: 0 }
  const messages: Alert[] = []
  const off = Object.fromEntries(Object.keys(DEFAULT_RULES).map((name) => [name, false as const]))
  const queue = {
    value: () => current.value,
    above: 100,
    for: '30s',
    summary: 'The queue is long.',
  } as const
  const all = Array.from({ length: count }, () => {
    // Closing an instance closes its store. Here it is shared.
    const bound = new Proxy(store, {
      get: (_target, name) => {
        if (name === 'close') return async () => {}
        const member = Reflect.get(store, name, store) as unknown
        return typeof member === 'function' ? member.bind(store) : member
      },
    })
    const tp = turnpike({ store: bound, operations: false })
    onTestFinished(() => tp.close())
    const alerts = tp.alerts({
      notify: (alert) => void messages.push(alert),
      rules: { ...off, queue, ...rules },
      ...options,
    })
    return { tp, alerts }
  })
  const pass = async (seconds: number): Promise<void> => {
    for (let i = 0; i < seconds; i++) {
      await store.advance('1s')
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  }
  const types = (): string[] => messages.map(({ name, type }) => `${name} ${type}`)
  return { all, current, messages, pass, types }
}

describe('tp.alerts()', () => {
  it('notifies once when a value is too high for long enough, and once when it is good again', async () => {
    const { current, messages, pass, types } = watched(testStore(), 12)
    await pass(30)
    expect(messages).toEqual([])
    current.value = 101
    await pass(60)
    expect(messages).toEqual([
      {
        name: 'queue',
        type: 'firing',
        severity: 'warn',
        value: 101,
        since: expect.any(Number),
        summary: 'The queue is long.',
        remedy: '',
        isLocal: false,
      },
    ])
    // Between 90 and 100 it is neither bad nor good.
    current.value = 95
    await pass(120)
    expect(types()).toEqual(['queue firing'])
    current.value = 90
    await pass(60)
    expect(types()).toEqual(['queue firing', 'queue resolved'])
  })

  it('a value that goes up and down around the limit is one alert', async () => {
    const { current, pass, types } = watched(testStore(), 3)
    current.value = 200
    await pass(60)
    for (let i = 0; i < 20; i++) {
      current.value = i % 2 ? 99 : 101
      await pass(10)
    }
    expect(types()).toEqual(['queue firing'])
  })

  it('a webhook that never answers ends neither later alerts nor the shutdown', async () => {
    const [calls, errors]: [string[], unknown[]] = [[], []]
    const late = { value: () => 1, above: 0, for: '20s' } as const
    const { all, current, pass } = watched(testStore(), 1, {
      rules: { late },
      notify({ name }) {
        calls.push(name)
        return calls.length === 1 ? new Promise(() => {}) : undefined
      },
    })
    const { tp } = all[0]!
    tp.on('error', ({ error }) => void errors.push(error))
    current.value = 101
    await pass(90)
    // The first message may not have been sent, so it is sent again.
    expect(calls).toEqual(['late', 'late', 'queue'])
    expect(String(errors)).toMatch(/notify has not settled within 10 s/)
  })

  it('a value that is never known does not stop the other rules', async () => {
    const never = { value: () => new Promise<number>(() => {}), above: 0, for: '0s' } as const
    const { current, pass, types } = watched(testStore(), 1, { rules: { never } })
    current.value = 101
    await pass(120)
    expect(types()).toEqual(['queue firing'])
  })

  it('a message that is being sent does not keep close() longer than its drain', async () => {
    let begun = false
    const notify = (): Promise<void> => ((begun = true), new Promise(() => {}))
    const { all, current, pass } = watched(testStore(), 1, { notify })
    current.value = 101
    for (let i = 0; i < 90 && !begun; i++) await pass(1)
    expect(begun).toBe(true)
    await all[0]!.tp.close({ drain: 0 })
  })

  it('below: a value that is too low', async () => {
    const rate = { value: () => 0.2, below: 0.5, for: '0s' } as never
    const { pass, types } = watched(testStore(), 2, { rules: { rate } })
    await pass(30)
    expect(types()).toEqual(['rate firing'])
  })

  it('reminds while it fires, once over all', async () => {
    const { current, pass, types } = watched(testStore(), 4, { remind: '5m' })
    current.value = 200
    await pass(360)
    expect(types()).toEqual(['queue firing', 'queue reminder'])
  })

  it('a silenced alert sends nothing, and fires when the silence ends', async () => {
    const { all, current, pass, types } = watched(testStore(), 3)
    await all[0]!.alerts.silence('queue', '5m')
    current.value = 200
    await pass(240)
    expect(types()).toEqual([])
    await pass(150)
    expect(types()).toEqual(['queue firing'])
    await all[1]!.alerts.silence('queue', '1h')
    await all[2]!.alerts.silence('queue', 0)
    current.value = 0
    await pass(60)
    expect(types()).toEqual(['queue firing', 'queue resolved'])
  })

  it('lists what is pending and firing', async () => {
    const { all, current, pass } = watched(testStore(), 2)
    const list = async () =>
      (await all[1]!.alerts.list()).map(({ name, state }) => `${name} ${state}`)
    expect(await list()).toEqual([])
    current.value = 200
    await pass(12)
    expect(await list()).toEqual(['queue pending'])
    await pass(60)
    expect(await list()).toEqual(['queue firing'])
  })

  it('a message that cannot be sent is sent at the next check, and the failure is an event', async () => {
    const sent: Alert[] = []
    let attempts = 0
    const { all, current, pass } = watched(testStore(), 1, {
      notify(alert) {
        if (++attempts === 1) throw new Error('no network')
        sent.push(alert)
      },
    })
    const errors: unknown[] = []
    all[0]!.tp.on('error', (event) => errors.push(event))
    current.value = 200
    await pass(90)
    expect(sent.map(({ type }) => type)).toEqual(['firing'])
    expect(errors).toMatchObject([{ feature: 'alerts', name: 'queue' }])
  })

  it('a value that is not known, or whose function fails, changes nothing', async () => {
    const failing = {
      value: () => Promise.reject(new Error('no database')),
      above: 1,
      for: '0s',
    } as never
    const { all, current, pass, types } = watched(testStore(), 1, { rules: { failing } })
    const errors: string[] = []
    all[0]!.tp.on('error', ({ name }) => errors.push(name))
    current.value = 200
    await pass(60)
    current.value = undefined
    await pass(300)
    current.value = Number.NaN
    await pass(60)
    expect(types()).toEqual(['queue firing'])
    expect(errors).toContain('failing')
  })

  it('while the store is away, each process notifies of that for itself, and once when it is back', async () => {
    const store = testStore()
    const { messages, pass, types } = watched(store, 2)
    await pass(15)
    store.fail()
    await pass(50)
    expect(types()).toEqual([])
    await pass(30)
    expect(types()).toEqual(['redis-away firing', 'redis-away firing'])
    expect(messages.every(({ isLocal, severity }) => isLocal && severity === 'critical')).toBe(true)
    store.recover()
    await pass(15)
    expect(types().slice(2)).toEqual(['redis-away resolved', 'redis-away resolved'])
  })

  it('an alert is an event of the process that notifies of it', async () => {
    const { all, current, pass } = watched(testStore(), 3)
    const events: unknown[] = []
    for (const { tp } of all) tp.on('alert', (event) => events.push(event))
    current.value = 200
    await pass(60)
    expect(events).toMatchObject([{ name: 'queue', type: 'firing', value: 200 }])
  })

  it('nothing is checked after stop() and after close()', async () => {
    const store = testStore()
    const { all, current, pass, types } = watched(store, 2)
    all[0]!.alerts.stop()
    await all[1]!.tp.close()
    current.value = 200
    await pass(120)
    expect(types()).toEqual([])
  })
})

describe('default rules', () => {
  it('have the marks of the thresholds that doctor has', () => {
    const marks = Object.entries(DEFAULT_RULES).map(([name, { above, below }]) => [
      name,
      above ?? -below!,
    ])
    expect(Object.fromEntries(marks)).toEqual({
      'redis-memory': THRESHOLDS.memory.critical,
      'redis-evictions': THRESHOLDS.evictions.warn,
      'redis-clients': THRESHOLDS.clients.critical,
      'redis-slow': THRESHOLDS.ping.critical,
      'clock-skew': THRESHOLDS.clockSkew.critical,
      'cache-hit-rate': -THRESHOLDS.hitRate.warn,
      'processes-lost': THRESHOLDS.lostProcesses.warn,
    })
  })

  it('are listed in the documents', () => {
    const page = readFileSync(new URL('../../../docs/operations.md', import.meta.url), 'utf8')
    const [, section = ''] = page.split('## Alerts')
    const listed = [...section.split('## ', 1)[0]!.matchAll(/^\| `([a-z]+-[a-z-]+)` \| /gm)].map(
      ([, name]) => name,
    )
    expect(new Set(listed)).toEqual(new Set(['redis-away', ...Object.keys(DEFAULT_RULES)]))
  })

  it('an increase is that of the last one or two windows, also after a restart of the server', async () => {
    const store = testStore()
    const [window, kept] = [300_000, 3_600_000]
    const seen: string[] = []
    const count = async (value: number, minutes: number): Promise<void> => {
      await store.advance(minutes * 60_000)
      seen.push(await store.run(countIncrease, ['evicted'], [value, window, kept]))
    }
    await count(100, 0)
    await count(102, 1)
    await count(102, 4)
    await count(102, 4)
    await count(102, 1)
    await count(3, 1)
    await count(3, 6)
    await count(3, 6)
    expect(seen).toEqual(['0', '2', '2', '2', '0', '3', '3', '0'])
  })
})

describe('options', () => {
  const notify = (): void => {}
  const value = (): number => 1
  it.each([
    [{}, /notify must be a function/],
    [{ notify: 'mail' }, /notify must be a function/],
    [{ notify, every: '10ms' }, /every/],
    [{ notify, remind: 'daily' }, /remind/],
    [{ notify, rule: {} }, /Did you mean rules/i],
    [{ notify, rules: { a: { above: 1 } } }, /value must be a function/],
    [{ notify, rules: { a: { value } } }, /above must be/],
    [{ notify, rules: { a: { value, above: 1, below: 1 } } }, /above must be/],
    [{ notify, rules: { a: { value, above: 1, clear: 2 } } }, /clear must be/],
    [{ notify, rules: { a: { value, below: 1, clear: 0 } } }, /clear must be/],
    [{ notify, rules: { a: true } }, /rules must be/],
    [{ notify, rules: { 'a b': { value, above: 1 } } }, /rules must be/],
  ])('%j is refused', (options, message) => {
    const tp = turnpike({ store: testStore() })
    onTestFinished(() => tp.close())
    expect(() => tp.alerts(options as never)).toThrow(message)
  })

  it('a rule that does not exist cannot be silenced', async () => {
    const { all } = watched(testStore())
    await expect(all[0]!.alerts.silence('queues', '1h')).rejects.toMatchObject({
      code: 'TP_OPTION',
    })
  })
})

describe('Redis', () => {
  let server: RedisServer
  beforeAll(async () => {
    server = await startRedis()
  })
  afterAll(async () => {
    await expectEveryKeyToExpire(server)
    await server.stop()
  })

  const PROGRAM = `
    import { readFileSync } from 'node:fs'
    import { turnpike } from 'turnpike/node'
    const tp = turnpike({ redis: process.env.URL, prefix: 'twelve', operations: false, logger: false, commandTimeout: '5s' })
    await tp.ready()
    const value = () => Number(readFileSync(process.env.VALUE, 'utf8'))
    tp.alerts({
      every: '1s',
      rules: { queue: { value, above: 100, for: '1s' } },
      notify: ({ name, type }) => console.log('alert', name, type),
    })
    console.log('ready')
    await received('close')
    await tp.close()`

  it('one message when it fires and one when it is resolved, with twelve processes', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'turnpike-alerts-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const file = path.join(folder, 'value')
    const env = { URL: server.url, VALUE: file }
    writeFileSync(file, '500')
    const scripts = Array.from({ length: 12 }, () =>
      startScript(PROGRAM, { env, patience: 60_000 }),
    )
    await Promise.all(scripts.map((script) => script.says('ready')))
    const client = new Redis(server.url)
    onTestFinished(() => client.disconnect())
    const state = () => client.hget('twelve:operations:alert:{all}:queue', 'state')
    await until('it fires', async () => (await state()) === 'firing', 20_000)
    await new Promise((resolve) => setTimeout(resolve, 1500))
    writeFileSync(file, '0')
    await until('it is resolved', async () => (await state()) === null, 20_000)
    for (const script of scripts) script.tell('close')
    const ended = await Promise.all(scripts.map((script) => script.ended))
    const lines = ended.flatMap(({ stdout }) =>
      stdout.split('\n').filter((line) => line.startsWith('alert')),
    )
    expect(lines.toSorted()).toEqual(['alert queue firing', 'alert queue resolved'])
  }, 60_000)

  it('a server whose memory is full is an alert, and says what to do', async () => {
    await using own = await startRedis()
    const messages: Alert[] = []
    const tp = turnpike({ redis: own.url, prefix: 'full', operations: false, logger: false })
    onTestFinished(() => tp.close())
    await tp.ready()
    const share = DEFAULT_RULES['redis-memory']!
    const checks = new AlertChecks(tp[CONTEXT]('operations'), {
      every: 1000,
      remindMs: 0,
      rules: { 'redis-memory': { ...share, for: '0s' } as never },
      notify: (alert) => void messages.push(alert),
    })
    await checks.check()
    expect(messages).toEqual([])
    const [, used] = /used_memory:(\d+)/.exec(await own.send('INFO', 'memory'))!
    await own.send('CONFIG', 'SET', 'maxmemory', String(Math.ceil(Number(used) * 1.06)))
    await new Promise((resolve) => setTimeout(resolve, 900))
    await checks.check()
    expect(messages).toMatchObject([
      {
        name: 'redis-memory',
        type: 'firing',
        severity: 'critical',
        remedy: expect.stringContaining('docs/operations.md'),
      },
    ])
    expect(messages[0]!.value).toBeGreaterThan(0.9)
  })

  it('a process that is lost, and caches that answer too little, are alerts until that is over', async () => {
    const messages: Alert[] = []
    const tp = turnpike({ redis: server.url, prefix: 'lost', operations: false, logger: false })
    onTestFinished(() => tp.close())
    await tp.ready()
    const context = tp[CONTEXT]('operations')
    const of = (name: string) => [name, { ...DEFAULT_RULES[name]!, for: '0s' }]
    const checks = new AlertChecks(context, {
      every: 1,
      remindMs: 0,
      rules: Object.fromEntries(['processes-lost', 'cache-hit-rate'].map(of)) as never,
      notify: (alert) => void messages.push(alert),
    })
    const { keys, store } = context
    const minute = 60_000
    const changes = async (): Promise<string[]> => {
      await new Promise((resolve) => setTimeout(resolve, 5))
      await checks.check()
      return messages.splice(0).map(({ name, type, value }) => `${name} ${type} ${value}`)
    }
    const seen = async (id: string, ago: number): Promise<void> =>
      void (await server.send('ZADD', processesKey(keys), String(store.now() - ago), id))
    const counted = async (...counts: string[]): Promise<void> =>
      void (await server.send('HSET', minuteKey(keys, store.now() - 2 * minute), ...counts))
    await seen('web-1/7.a', 30_000)
    await counted(
      'cache:products:hit',
      '499',
      'cache:products:bypass',
      '5000',
      'data:users:miss',
      '9',
    )
    expect(await changes()).toEqual([])
    await seen('web-1/7.a', minute)
    await counted('cache:products:miss', '501')
    expect((await changes()).toSorted()).toEqual([
      'cache-hit-rate firing 0.499',
      'processes-lost firing 1',
    ])
    await seen('web-1/7.a', 11 * minute)
    await counted('cache:products:near', '5000', 'cache:products:stale', '10')
    expect(
      (await changes()).map((change) => change.split(' ').slice(0, 2).join(' ')).toSorted(),
    ).toEqual(['cache-hit-rate resolved', 'processes-lost resolved'])
    for (const key of [processesKey(keys), minuteKey(keys, store.now() - 2 * minute)])
      await server.send('DEL', key)
  })

  it('a server that deletes keys because it is full is an alert, with twelve processes one', async () => {
    await using own = await startRedis()
    const messages: Alert[] = []
    const all = await Promise.all(
      Array.from({ length: 12 }, async () => {
        const tp = turnpike({ redis: own.url, prefix: 'evicts', operations: false, logger: false })
        onTestFinished(() => tp.close())
        await tp.ready()
        return new AlertChecks(tp[CONTEXT]('operations'), {
          every: 1,
          remindMs: 0,
          rules: { 'redis-memory': false },
          notify: (alert) => void messages.push(alert),
        })
      }),
    )
    const checkAll = async (): Promise<void> => {
      for (const checks of all) {
        await new Promise((resolve) => setTimeout(resolve, 3))
        await checks.check()
      }
    }
    await checkAll()
    expect(messages).toEqual([])
    const [, used] = /used_memory:(\d+)/.exec(await own.send('INFO', 'memory'))!
    await own.send('CONFIG', 'SET', 'maxmemory-policy', 'volatile-ttl')
    await own.send('CONFIG', 'SET', 'maxmemory', String(Number(used) + 2_000_000))
    for (let i = 0; i < 40; i++)
      await own.send('SET', `filler:${i}`, 'x'.repeat(100_000), 'EX', '60')
    expect(await own.send('INFO', 'stats')).toMatch(/evicted_keys:[1-9]/)
    await checkAll()
    await checkAll()
    expect(messages.map(({ name, type }) => `${name} ${type}`)).toEqual(['redis-evictions firing'])
    expect(messages[0]!.value).toBeGreaterThan(0)
  })
})
