/** Each process reports what it has mounted, what it has counted and how it is, and says when it ends. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { turnpike } from '../../src/node.ts'
import { createKeySpace, type KeySpace } from '../../src/store/keys.ts'
import type { Store } from '../../src/store/store.ts'
import {
  readMinute,
  readMounts,
  readProcesses,
  readRefused,
} from '../../src/operations/processes.ts'
import { startRedis, testStore, type RedisServer } from '../../src/testing.ts'
import { runScript, startScript } from '../support/child.ts'
import { bothEngines } from '../support/engines.ts'
import { express4App, express5, koa3 } from '../support/serve.ts'
import { until } from '../support/until.ts'

const operations = { service: 'shop', release: 'r1' }
const keysOf = (prefix: string): KeySpace => createKeySpace(prefix, undefined, 'operations')

/** Waits for the reports of a process, whose code is loaded when the first one is due. */
const reported = (store: Store, prefix: string, count = 1): Promise<unknown> =>
  until('the processes report', async () => {
    const processes = await readProcesses({ store, keys: keysOf(prefix) })
    return processes.length === count && processes.every(({ state }) => state === 'live')
  })

describe.each(bothEngines())('$name', (engine) => {
  it('a process is live, then late, then lost, and forgotten after an hour', async () => {
    const { store, prefix, advance } = engine.open()
    const tp = turnpike({ store, prefix, operations })
    onTestFinished(() => tp.close())
    await advance('10s')
    await reported(store, prefix)
    const [process] = await tp.processes()
    expect(process).toMatchObject({
      pid: globalThis.process.pid,
      service: 'shop',
      release: 'r1',
      node: globalThis.process.version,
      breaker: 'closed',
      state: 'live',
    })
    expect(process!.rss).toBeGreaterThan(1e6)
    expect(process!.id.startsWith(`${process!.host}/${process!.pid}/`)).toBe(true)

    // Another process looks at it after it was killed: no report comes any more.
    const source = { store: silent(store), keys: keysOf(prefix) }
    const stateAfter = async (ms: number): Promise<unknown> => {
      const later = { ...source.store, now: () => process!.lastSeen + ms }
      const [found] = await readProcesses({ store: later, keys: source.keys })
      return found && [found.state, found.pid, found.release]
    }
    const { pid } = globalThis.process
    expect(await stateAfter(24_999)).toEqual(['live', pid, 'r1'])
    expect(await stateAfter(25_000)).toEqual(['late', pid, 'r1'])
    expect(await stateAfter(35_000)).toEqual(['lost', pid, undefined])
    expect(await stateAfter(3_599_999)).toEqual(['lost', pid, undefined])
    expect(await stateAfter(3_600_000)).toBeUndefined()
  })

  it('a process that is closed is gone at once, and the others stay', async () => {
    const { store, prefix, advance } = engine.open()
    // Closing an instance closes its store. Each has a view of it that stays open.
    const [first, second] = [1, 2].map(() =>
      turnpike({ store: { ...silent(store), close: async () => {} }, prefix, operations }),
    )
    onTestFinished(() => second!.close())
    await advance('10s')
    await reported(store, prefix, 2)
    await first!.close()
    expect(await second!.processes()).toHaveLength(1)
  })

  it('what is mounted is described without secrets, and processes with the same mounts agree', async () => {
    const { store, prefix, advance } = engine.open()
    const tp = turnpike({ store, prefix, version: 3, operations })
    onTestFinished(() => tp.close())
    tp.session({ secret: 'canary-secret-that-is-long-enough', ttl: '1h' })
    tp.rateLimit({
      name: 'api',
      fail: 'closed',
      policies: [
        { name: 'fast', limit: 10, window: '1s' },
        { name: 'own', limit: () => 5, window: '1h', key: () => 'canary-key' },
      ],
    })
    tp.loginGuard({ key: () => 'canary@example.com' })
    tp.cache({ name: 'pages', ttl: '5m', scope: () => 'canary-scope' })
    tp.idempotency()
    tp.exclusive({ key: 'rebuild' })
    tp.concurrency({ name: 'exports', limit: () => 3 })
    await advance('10s')
    await reported(store, prefix)
    const [{ description } = {}] = await tp.processes()
    const source = { store, keys: keysOf(prefix) }
    const mounted = (await readMounts(source, description!))!
    expect(mounted.version).toBe('3')
    expect(mounted.mounts.map(({ kind, name }) => `${kind} ${name}`)).toEqual([
      'cache pages',
      'concurrency exports',
      'exclusive rebuild',
      'idempotency default',
      'loginGuard login',
      'rateLimit api',
      'session sid',
    ])
    expect(mounted.mounts.find(({ name }) => name === 'api')).toMatchObject({
      settings: {
        fail: 'closed',
        policies: [
          { name: 'fast', limit: 10, windowMs: 1000, algorithm: 'sliding-window' },
          { name: 'own', limit: null, windowMs: 3_600_000 },
        ],
      },
    })
    expect(JSON.stringify(mounted)).not.toContain('canary')
    const text = JSON.stringify(mounted)
    expect(description).toBe(createHash('sha256').update(text).digest('base64url').slice(0, 22))
    expect(await readMounts(source, 'unknown')).toBeUndefined()
  })

  it('a description that Redis lost is written again', async () => {
    const { store, prefix, advance } = engine.open()
    const tp = turnpike({ store, prefix, operations })
    onTestFinished(() => tp.close())
    await advance('10s')
    await reported(store, prefix)
    const [{ description } = {}] = await tp.processes()
    const source = { store, keys: keysOf(prefix) }
    await (engine.server()?.send('DEL', `${prefix}:operations:description:{all}:${description}`) ??
      (store as unknown as { delete(key: string): boolean }).delete(
        `${prefix}:operations:description:{all}:${description}`,
      ))
    expect(await readMounts(source, description!)).toBeUndefined()
    await advance('11s')
    await until('it is there again', () => readMounts(source, description!))
  })

  it('what was counted is added up over processes by minute, each count once', async () => {
    const { store, prefix, advance } = engine.open()
    const tp = turnpike({ store, prefix, operations })
    onTestFinished(() => tp.close())
    const limiter = tp.limiter('jobs', { limit: 2, window: '1h' })
    const other = tp.limiter('api', { limit: 1, window: '1h' })
    for (let i = 0; i < 5; i++) await limiter.consume('ann')
    await other.consume('ann')
    await tp.lock('report', {}, async () => {})
    const source = { store, keys: keysOf(prefix) }
    await advance('10s')
    const at = store.now()
    await until('the counts are written', async () => (await readMinute(source, at)).size > 0)
    const counts = Object.fromEntries(await readMinute(source, at))
    expect(counts).toEqual({
      'limit:jobs:allowed': 2,
      'limit:jobs:refused': 3,
      'limit:api:allowed': 1,
      'lease:lock:acquired': 1,
    })
    await limiter.consume('ann')
    await advance('11s')
    await until('the next counts are written', async () => {
      const now = store.now()
      const all = await Promise.all([at, now].map((each) => readMinute(source, each)))
      const minutes = Math.floor(at / 60_000) === Math.floor(now / 60_000) ? [all[0]!] : all
      return minutes.reduce((sum, each) => sum + (each.get('limit:jobs:refused') ?? 0), 0) === 4
    })
  })

  it('subjects that are refused are listed by number, as keys contain them', async () => {
    const { store, prefix, advance } = engine.open()
    const tp = turnpike({ store, prefix, operations })
    onTestFinished(() => tp.close())
    const limiter = tp.limiter('jobs', { limit: 1, window: '1h' })
    const source = { store, keys: keysOf(prefix) }
    // Before the first report, too: an attack may begin with the process.
    for (let i = 0; i < 3; i++) await limiter.consume('a b')
    await advance('10s')
    await until('they are written', async () => (await readRefused(source)).length > 0)
    expect(await readRefused(source)).toEqual([
      { limit: 'jobs', policy: 'jobs', tag: 'a%20b', count: 2 },
    ])
    for (let i = 0; i < 2; i++) await limiter.consume('a b')
    for (let i = 0; i < 3; i++) await limiter.consume(['team', 'x'])
    await advance('11s')
    await until('more are written', async () => (await readRefused(source)).length > 1)
    expect(await readRefused(source)).toEqual([
      { limit: 'jobs', policy: 'jobs', tag: 'a%20b', count: 4 },
      { limit: 'jobs', policy: 'jobs', tag: 'team:x', count: 2 },
    ])
  })

  it('subjects: false reports no subject', async () => {
    const { store, prefix, advance } = engine.open()
    const tp = turnpike({ store, prefix, operations: { subjects: false } })
    onTestFinished(() => tp.close())
    const limiter = tp.limiter('jobs', { limit: 1, window: '1h' })
    await advance('10s')
    await reported(store, prefix)
    for (let i = 0; i < 4; i++) await limiter.consume('ann')
    await advance('11s')
    const source = { store, keys: keysOf(prefix) }
    await until(
      'the counts are written',
      async () => (await readMinute(source, store.now())).size > 0,
    )
    expect(await readRefused({ store, keys: keysOf(prefix) })).toEqual([])
  })

  it("instances: 'auto' divides the limit of an outage by the live processes", async () => {
    const { store, prefix, advance } = engine.open()
    let isAway = false
    const view = (): Store => ({
      ...silent(store),
      close: async () => {},
      run: (...call) =>
        isAway && call[0].name !== 'operations.leave' ? testStoreFailure() : store.run(...call),
    })
    const options = { prefix, operations, instances: 'auto' } as const
    const all = [1, 2, 3].map(() => turnpike({ store: view(), ...options }))
    onTestFinished(async () => void (await Promise.all(all.map((tp) => tp.close()))))
    const admitted = async (): Promise<number> => {
      const limiter = all[0]!.limiter(`jobs${Math.random()}`, { limit: 30, window: '1h' })
      let count = 0
      for (let i = 0; i < 40; i++) if ((await limiter.consume('ann')).allowed) count++
      return count
    }
    isAway = true
    expect(await admitted()).toBe(30)
    isAway = false
    await advance('10s')
    await reported(store, prefix, 3)
    await advance('11s')
    await until('the reports know of each other', async () => {
      isAway = true
      const count = await admitted()
      isAway = false
      return count === 10
    })
  })
})

/** A view of a store whose methods are its own properties. */
const silent = (store: Store): Store => ({
  kind: store.kind,
  cluster: store.cluster,
  isSplit: store.isSplit,
  run: store.run.bind(store),
  unavailable: store.unavailable.bind(store),
  now: store.now.bind(store),
  monotonic: store.monotonic.bind(store),
  wallClock: store.wallClock.bind(store),
  sleep: store.sleep.bind(store),
  subscribe: store.subscribe.bind(store),
  scan: store.scan.bind(store),
  ready: store.ready.bind(store),
  status: store.status.bind(store),
  info: store.info.bind(store),
  close: store.close.bind(store),
})

/** Rejects as a store does that is away. */
function testStoreFailure(): Promise<never> {
  const away = testStore()
  away.fail()
  return Promise.reject(away.unavailable())
}

describe('Redis', () => {
  let server: RedisServer
  beforeAll(async () => {
    server = await startRedis()
  })
  afterAll(() => server.stop())

  const PROGRAM = `
    import { turnpike } from 'turnpike/node'
    const tp = turnpike({ redis: process.env.URL, prefix: process.env.PREFIX, operations: { every: '1s' } })
    await tp.ready()
    console.log('ready')
    process.once('SIGTERM', () => tp.close())
    await received('close')
    await tp.close()`

  async function started(prefix: string) {
    const tp = turnpike({ redis: server.url, prefix, operations: false, commandTimeout: '5s' })
    onTestFinished(() => tp.close())
    const script = startScript(PROGRAM, { env: { URL: server.url, PREFIX: prefix } })
    await script.says('ready')
    await until('it reports', async () => (await tp.processes()).length > 0, 15_000)
    return { tp, script }
  }

  it('a process that was closed has left nothing behind but what it counted', async () => {
    const { tp, script } = await started('closed')
    script.tell('close')
    await script.ended
    expect(await tp.processes()).toEqual([])
    expect(await server.send('KEYS', 'closed:operations:process:*')).toBe('*0\r\n')
  })

  it('a process that gets SIGTERM is gone as soon as it has ended', async () => {
    const { tp, script } = await started('terminated')
    const [{ pid } = {}] = await tp.processes()
    process.kill(pid!, 'SIGTERM')
    await until('it is gone', async () => (await tp.processes()).length === 0)
    script.tell('close')
    expect((await script.ended).signal).toBeNull()
    expect(await server.send('KEYS', 'terminated:operations:process:*')).toBe('*0\r\n')
  })

  it('a process that was killed stays listed with its host and pid', async () => {
    const { tp, script } = await started('killed')
    const [{ pid, host } = {}] = await tp.processes()
    process.kill(pid!, 'SIGKILL')
    await script.ended
    // 35 s later its own key has expired.
    await server.send(
      'EVAL',
      `for _, key in ipairs(redis.call('KEYS', 'killed:operations:process:*')) do redis.call('DEL', key) end local all = 'killed:operations:processes:{all}' redis.call('ZADD', all, redis.call('ZRANGE', all, 0, 0, 'WITHSCORES')[2] - 36000, redis.call('ZRANGE', all, 0, 0)[1])`,
      '0',
    )
    expect(await tp.processes()).toMatchObject([{ state: 'lost', pid, host, rss: undefined }])
  })

  it('a report is one command, and keeps no process alive', async () => {
    const { code, stderr } = await runScript(
      `import { turnpike } from 'turnpike/node'
       const tp = turnpike({ redis: process.env.URL, prefix: 'short' })
       await tp.ready()`,
      { env: { URL: server.url } },
    )
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  })

  it('operations: false and an instance without Redis have no key, no timer and no subscription', async () => {
    const timers = vi.spyOn(globalThis, 'setTimeout')
    onTestFinished(() => timers.mockRestore())
    for (const options of [
      { redis: server.url, operations: false, prefix: 'off' },
      { redis: 'memory', prefix: 'off' },
      { store: testStore(), prefix: 'off' },
    ] as const) {
      timers.mockClear()
      await using tp = turnpike(options)
      // The pause before a first report is 5 s or longer. No other timer of an instance is.
      expect(timers.mock.calls.filter(([, ms]) => ms! >= 5000)).toEqual([])
      await tp.ready()
    }
    timers.mockClear()
    await using on = turnpike({ redis: server.url, prefix: 'on' })
    expect(timers.mock.calls.filter(([, ms]) => ms! >= 5000)).toHaveLength(1)
    await on.ready()
    expect(await server.send('KEYS', 'off*')).toBe('*0\r\n')
    expect(await server.send('PUBSUB', 'CHANNELS')).toBe('*0\r\n')
  })

  it('a user without the permissions is one warning, which names them, and no further report', async () => {
    await server.send('ACL', 'SETUSER', 'few', 'reset', 'on', '>pw', '~few:*', '+@all', '-zadd')
    const redis = server.url.replace('//', '//few:pw@')
    const tp = turnpike({ redis, prefix: 'few', operations: { every: '1s' } })
    onTestFinished(() => tp.close())
    const warnings: string[] = []
    tp.on('warning', ({ message }) => warnings.push(message))
    await until('it is warned', () => warnings.length > 0)
    await new Promise((resolve) => setTimeout(resolve, 1500))
    const [, published] = /^\| operations, .*? \| (\+.*) \|$/m.exec(
      readFileSync(new URL('../../docs/store.md', import.meta.url), 'utf8'),
    )!
    expect(warnings).toEqual([
      expect.stringMatching(
        /no longer reports to Redis: .* lacks a permission\. .*Grant .*operations: false\.$/s,
      ),
    ])
    expect(warnings[0]).toContain(published)
    expect(await server.send('KEYS', 'few*')).toBe('*0\r\n')
  })

  it('an outage is no reason to stop', async () => {
    await using own = await startRedis()
    const tp = turnpike({ redis: own.url, operations: { every: '1s' }, logger: false })
    onTestFinished(() => tp.close())
    await until('it reports', async () => (await tp.processes().catch(() => [])).length > 0)
    await own.kill()
    await new Promise((resolve) => setTimeout(resolve, 1200))
    await own.restart()
    await until('it reports again', async () => (await tp.processes().catch(() => [])).length > 0)
  })

  it.each([express4App, express5, koa3])('requests are counted on $name', async (framework) => {
    const prefix = `counted-${framework.name.replace(/\W/g, '')}`
    const { tp, get } = await framework.serve({
      options: { redis: server.url, prefix, operations: { every: '1s' }, commandTimeout: '5s' },
      routes: (tp) => ({
        '/limited': tp.rateLimit({ name: 'api', limit: 1, window: '1h' }),
        '/cached': tp.cache({ name: 'pages', ttl: '1m' }),
      }),
    })
    await tp.ready()
    for (let i = 0; i < 3; i++) await get('/limited')
    for (let i = 0; i < 2; i++) await get('/cached')
    const reader = turnpike({ redis: server.url, operations: false })
    onTestFinished(() => reader.close())
    await until('the counts are written', async () => {
      const counts = await server.send(
        'EVAL',
        `local all = '' for _, key in ipairs(redis.call('KEYS', '${prefix}:operations:minute:*')) do all = all .. table.concat(redis.call('HGETALL', key), ' ') end return all`,
        '0',
      )
      return (
        counts.includes('limit:api:allowed 1') &&
        counts.includes('limit:api:refused 2') &&
        counts.includes('cache:pages:miss ')
      )
    })
  })

  it('every key expires, and none contains the version', async () => {
    const tp = turnpike({
      redis: server.url,
      prefix: 'vv',
      version: 9,
      operations: { every: '1s' },
    })
    onTestFinished(() => tp.close())
    const limiter = tp.limiter('jobs', { limit: 1, window: '1h' })
    await until('it reports', async () => (await tp.processes()).length > 0)
    for (let i = 0; i < 3; i++) await limiter.consume('ann')
    await until(
      'it reports again',
      async () => (await server.send('KEYS', 'vv:operations:refused:*')).length > 5,
    )
    const ttls = await server.send(
      'EVAL',
      `local all = '' for _, key in ipairs(redis.call('KEYS', 'vv:operations:*')) do all = all .. key .. ' ' .. redis.call('PTTL', key) .. '\\n' end return all`,
      '0',
    )
    const kinds = [...ttls.matchAll(/vv:operations:(\w+):\{all\}\S* (\d+)/g)]
    expect(new Set(kinds.map(([, kind]) => kind))).toEqual(
      new Set(['processes', 'process', 'description', 'minute', 'refused', 'system']),
    )
    expect(ttls).not.toContain('-1')
  })
})

describe('options', () => {
  it.each([
    [{ every: '1m' }, /every must be a duration from 1 to 20 seconds/],
    [{ every: '10ms' }, /every must be a duration from 1 to 20 seconds/],
    [{ service: '' }, /service must be a string of 1 to 64 printable characters/],
    [{ release: 'a\nb' }, /release must be/],
    [{ servce: 'shop' }, /Did you mean service/],
    ['on', /operations must be/],
  ])('%j is refused', (operations, message) => {
    expect(() => turnpike({ redis: 'memory', operations: operations as never })).toThrow(message)
  })

  it("instances: 'auto' needs the reports", () => {
    expect(() => turnpike({ redis: 'memory', instances: 'auto', operations: false })).toThrow(
      /needs the reports of all processes/,
    )
  })
})
