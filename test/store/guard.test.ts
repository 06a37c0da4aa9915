/** Calls to Redis: none hangs, none runs twice, no error contains a secret. */
import { inspect } from 'node:util'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { isUnavailable, type StoreUnavailable } from '../../src/errors.ts'
import { RequestBudget } from '../../src/request-budget.ts'
import { operation, type Operation } from '../../src/store/store.ts'
import { startRedis, type RedisServer } from '../../src/testing.ts'
import { startFaultProxy, type FaultProxy } from '../support/fault-proxy.ts'
import { openStore, type OpenedStore } from '../support/stores.ts'
import { expectEveryKeyToExpire } from '../support/ttl.ts'
import { timed, until } from '../support/until.ts'

/** How much later than its timeout a call may be answered. */
const GRACE = 30

let server: RedisServer

beforeAll(async () => {
  server = await startRedis()
})
afterEach(async () => {
  server.thaw()
  await server.send('FLUSHALL')
})
afterAll(async () => {
  await expectEveryKeyToExpire(server)
  await server.stop()
})

const never = (): never => {
  throw new Error('only for Redis')
}

const lua = `local n = redis.call('INCR', KEYS[1]) redis.call('PEXPIRE', KEYS[1], 60000) return n`

const count: Operation<number> = operation({ name: 'count', lua, memory: never })

/** Replies whatever error it is given. */
const refuse: Operation<number> = operation({
  name: 'refuse',
  lua: `return redis.error_reply(ARGV[1])`,
  memory: never,
})

const punctual: Operation<number> = operation({
  name: 'punctual',
  lua,
  memory: never,
})

const KEY = 'guard:{key}'
const hit = ({ store }: OpenedStore, budget?: RequestBudget): Promise<number> =>
  store.run(count, [KEY], [], budget)

/** A store that has been used: its script is known, its connection up, its clock learnt. */
async function opened(...args: Parameters<typeof openStore>): Promise<OpenedStore> {
  const open = openStore(...args)
  await open.store.ready(5000)
  await until('the store answers', () => hit(open).catch(() => undefined))
  return open
}

async function proxied(): Promise<FaultProxy> {
  const proxy = await startFaultProxy(server.port)
  onTestFinished(() => proxy.close())
  return proxy
}

const failure = async (promise: Promise<unknown>): Promise<StoreUnavailable> => {
  const { error } = await timed(promise)
  expect(error, 'it must fail').toBeDefined()
  return error as StoreUnavailable
}

const open = (store: OpenedStore): Promise<unknown> =>
  until('the breaker opens', async () => {
    await hit(store).catch(() => {})
    return store.store.status().breaker !== 'closed'
  })

describe('commandTimeout', () => {
  it('ends a call to a frozen server in time, and says that it may have been carried out', async () => {
    const store = await opened({ source: server.url, commandTimeout: 100 })
    server.freeze()
    const { error, ms, wall } = await timed(hit(store))
    expect(error).toMatchObject({
      code: 'TP_UNAVAILABLE',
      reason: 'timeout',
      uncertain: true,
      status: 503,
    })
    expect(wall).toBeGreaterThanOrEqual(99)
    expect(ms).toBeLessThan(100 + GRACE)
  })

  it('ends the first call of all in time, while the client is still being loaded', async () => {
    await using away = await startRedis()
    away.freeze()
    const store = openStore({ source: away.url, commandTimeout: 100 })
    const { error, ms } = await timed(hit(store))
    expect(isUnavailable(error)).toBe(true)
    expect(ms).toBeLessThan(100 + GRACE)
    away.thaw()
  })

  it('counts the second attempt after NOSCRIPT too', async () => {
    const proxy = await proxied()
    const store = await opened({ source: proxy.url, commandTimeout: 150 })
    await server.send('SCRIPT', 'FLUSH')
    proxy.set({ latency: 50 })
    const { error, ms } = await timed(hit(store))
    expect(error).toMatchObject({ reason: 'timeout' })
    expect(ms).toBeLessThan(150 + GRACE)
  })

  it('holds for a server that is slow, not silent', async () => {
    const proxy = await proxied()
    const store = await opened({ source: proxy.url })
    proxy.set({ bandwidth: 200 })
    const { error, ms } = await timed(hit(store))
    expect(error).toMatchObject({ reason: 'timeout' })
    expect(ms).toBeLessThan(100 + GRACE)
  })

  it('ends calls at once where connections are refused, and goes on when they no longer are', async () => {
    const proxy = await proxied()
    const store = await opened({ source: proxy.url })
    proxy.set({ mode: 'refuse' })
    proxy.reset()
    for (let i = 0; i < 10; i++) {
      const { error, ms } = await timed(hit(store))
      expect(isUnavailable(error)).toBe(true)
      expect(ms).toBeLessThan(100 + GRACE)
    }
    proxy.set({ mode: 'ok' })
    const began = performance.now()
    await until('calls are answered again', () => hit(store).catch(() => undefined))
    expect(performance.now() - began).toBeLessThan(1500)
  })
})

describe("a request's budget", () => {
  it('shortens later calls, and refuses without asking when it is used up', async () => {
    const store = await opened({ source: server.url })
    const budget = new RequestBudget(150)
    server.freeze()
    const first = await timed(hit(store, budget))
    const second = await timed(hit(store, budget))
    const third = await timed(hit(store, budget))
    expect([first, second, third].map(({ error }) => (error as StoreUnavailable).reason)).toEqual([
      'timeout',
      'timeout',
      'budget',
    ])
    expect(first.ms + second.ms).toBeLessThan(150 + 2 * GRACE)
    expect(third.ms).toBeLessThan(5)
  })

  it('counts calls that wait side by side once', async () => {
    const store = await opened({ source: server.url })
    const budget = new RequestBudget(150)
    server.freeze()
    await Promise.allSettled([hit(store, budget), hit(store, budget), hit(store, budget)])
    const left = budget.left(performance.now())
    // Counted three times it would be 150 - 300.
    expect(left).toBeGreaterThan(-50)
    expect(left).toBeLessThanOrEqual(51)
  })

  it('does not count what is spent elsewhere', async () => {
    const store = await opened({ source: server.url })
    const budget = new RequestBudget(150)
    for (let i = 0; i < 3; i++) {
      await hit(store, budget)
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    expect(budget.left(performance.now())).toBeGreaterThan(50)
  })
})

describe('the cap on calls in flight', () => {
  it('refuses what is beyond it at once, and only that', async () => {
    const store = await opened({ source: server.url, maxInFlight: 3, commandTimeout: 3000 })
    server.freeze()
    const calls = Array.from({ length: 5 }, () => timed(hit(store)))
    const refused = await Promise.all(calls.slice(3))
    expect(refused.map(({ error }) => (error as StoreUnavailable).reason)).toEqual([
      'saturated',
      'saturated',
    ])
    expect(refused.every(({ error }) => !(error as StoreUnavailable).uncertain)).toBe(true)
    server.thaw()
    const answered = await Promise.all(calls.slice(0, 3))
    expect(answered.map(({ value }) => value)).toEqual([2, 3, 4])
    expect(await hit(store)).toBe(5)
  })
})

describe('the breaker', () => {
  it('opens after five failures in a row, and then answers at once', async () => {
    const store = await opened({ source: server.url })
    server.freeze()
    for (let i = 0; i < 4; i++) await failure(hit(store))
    expect(store.events.breaker).toEqual([])
    await failure(hit(store))
    expect(store.events.breaker).toEqual([
      { store: 'redis', state: 'open', reason: expect.any(String) },
    ])
    expect(store.store.unavailable()).toMatchObject({
      code: 'TP_UNAVAILABLE',
      reason: 'breaker-open',
      uncertain: false,
    })
    const { error, ms } = await timed(hit(store))
    expect(error).toMatchObject({ reason: 'breaker-open', uncertain: false })
    expect(ms).toBeLessThan(5)
    expect(store.store.status()).toMatchObject({
      status: 'degraded',
      breaker: expect.stringMatching(/open/),
    })
  })

  it('opens after five failures in a row, however many calls went well before', async () => {
    const store = await opened({ source: server.url, commandTimeout: 1000 })
    const away = (): Promise<StoreUnavailable> =>
      failure(store.store.run(refuse, [KEY], ['OOM command not allowed']))
    await away()
    await Promise.all(Array.from({ length: 30 }, () => hit(store)))
    for (let i = 0; i < 4; i++) await away()
    expect(store.events.breaker).toEqual([])
    await away()
    expect(store.events.breaker).toMatchObject([{ state: 'open' }])
  })

  it('opens when half of the calls fail, though never five in a row', async () => {
    const store = await opened({ source: server.url })
    for (let i = 0; i < 5; i++) {
      expect(store.store.status().breaker).toBe('closed')
      await hit(store)
      await failure(store.store.run(refuse, [KEY], ['OOM command not allowed']))
    }
    expect(store.events.breaker).toMatchObject([{ state: 'open' }])
  })

  it('stays closed when few fail among many', async () => {
    const store = await opened({ source: server.url })
    for (let i = 0; i < 10; i++) {
      for (let j = 0; j < 10; j++) await hit(store)
      await failure(store.store.run(refuse, [KEY], ['OOM command not allowed']))
    }
    expect(store.events.breaker).toEqual([])
  })

  it('sends probes only, no call of a request, while it is open', async () => {
    const proxy = await proxied()
    const store = await opened({ source: proxy.url })
    proxy.set({ mode: 'stallDown' })
    await open(store)
    await until('calls before it opened have been sent', () =>
      proxy.traffic.commands.includes('EVALSHA'),
    )
    proxy.forget()
    for (let calls = 0; calls < 200; calls++) {
      expect(await failure(hit(store))).toMatchObject({ reason: 'breaker-open' })
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    expect(proxy.traffic.commands).toEqual(
      expect.arrayContaining([expect.stringMatching(/PING|HELLO|INFO/)]),
    )
    expect(proxy.traffic.commands.filter((name) => name.startsWith('EVAL'))).toEqual([])
  })

  it('closes when a probe is answered, without a request as guinea pig', async () => {
    const store = await opened({ source: server.url })
    const before = await evals()
    server.freeze()
    await open(store)
    server.thaw()
    const began = performance.now()
    await until('the breaker closes', () => store.store.status().breaker === 'closed')
    expect(performance.now() - began).toBeLessThan(1500)
    expect((await evals()) - before).toBeLessThanOrEqual(5)
    expect(store.events.breaker.at(-1)).toEqual({
      store: 'redis',
      state: 'closed',
      reason: undefined,
    })
    expect(await hit(store)).toBeGreaterThan(1)
  })

  it('closes as soon as the connection is back, whatever pause its probes are in', async () => {
    await using own = await startRedis()
    const client = new Redis(own.url, { retryStrategy: () => 20 })
    onTestFinished(() => client.disconnect())
    client.on('error', () => {})
    const store = await opened({ source: client, reuse: true })
    await own.kill()
    await open(store)
    // By now the pauses between probes have grown to their longest.
    await new Promise((resolve) => setTimeout(resolve, 1500))
    const back = new Promise<number>((resolve) =>
      client.once('ready', () => resolve(performance.now())),
    )
    await own.restart()
    const ready = await back
    await until('the breaker closes', () => store.store.status().breaker === 'closed')
    expect(performance.now() - ready).toBeLessThan(100)
  })

  it('says in the status why it is open', async () => {
    const store = await opened({ source: server.url })
    server.freeze()
    await open(store)
    expect(store.store.status().reason).toMatch(/deadline|connection/)
    server.thaw()
    await until('it is well again', () => store.store.status().status === 'ok')
    expect(store.store.status().reason).toBeUndefined()
  })
})

describe('a blocked event loop', () => {
  it('is not taken for a dead server', async () => {
    const store = await opened({ source: server.url })
    let starved = 0
    for (let good = 0; good < 10 && starved < 50;) {
      const calls = Array.from({ length: 20 }, () => hit(store))
      await Promise.resolve()
      busy(250)
      const sent = performance.now()
      const pong = server.send('PING').then(() => performance.now() - sent)
      const outcomes = await Promise.allSettled(calls)
      // A Redis that does not run itself, on a loaded machine, proves nothing.
      if ((await pong) > 20) {
        starved++
        await store.store.ready()
        continue
      }
      expect(outcomes.filter(({ status }) => status === 'rejected')).toEqual([])
      good++
    }
    if (starved > 0) return
    expect(store.events.breaker).toEqual([])
    expect(store.events.replaced).toEqual([])
  })

  it('is not taken for a hung connection either, where every other call waits', async () => {
    const store = await opened({ source: server.url, commandTimeout: 100 })
    for (let i = 0; i < 3; i++) {
      const call = hit(store)
      await new Promise((resolve) => setImmediate(resolve))
      busy(400)
      await call
    }
    expect(store.events.replaced).toEqual([])
  })
})

describe('a wrong command', () => {
  it('surfaces as TP_COMMAND, and never opens the breaker', async () => {
    const store = await opened({ source: server.url })
    const wrong = operation({
      name: 'wrong',
      lua: `return redis.call('LPUSH', KEYS[1], ARGV[1])`,
      memory: never,
    })
    for (let i = 0; i < 20; i++) {
      const error = await failure(store.store.run(wrong, [KEY], ['x']))
      expect(error).toMatchObject({
        code: 'TP_COMMAND',
        message: expect.stringMatching(
          /operation 'wrong': WRONGTYPE.* Another program has written/s,
        ),
      })
      expect(isUnavailable(error)).toBe(false)
    }
    expect(store.events.breaker).toEqual([])
  })

  it.each(['NOPERM no', 'CROSSSLOT no', 'ERR no', 'WRONGTYPE no'])(
    'is what %s means',
    async (reply) => {
      const store = await opened({ source: server.url })
      expect(await failure(store.store.run(refuse, [KEY], [reply]))).toMatchObject({
        code: 'TP_COMMAND',
      })
    },
  )

  it.each([
    'LOADING',
    'READONLY',
    'MASTERDOWN',
    'CLUSTERDOWN',
    'TRYAGAIN',
    'NOREPLICAS',
    'OOM',
    'MISCONF',
    'NOAUTH',
    'BUSY',
  ])('is not what %s means', async (word) => {
    const store = await opened({ source: server.url })
    const error = await failure(store.store.run(refuse, [KEY], [`${word} not now`]))
    expect(error).toMatchObject({ code: 'TP_UNAVAILABLE', reason: 'error', uncertain: false })
  })
})

describe('an error', () => {
  const SECRET = 'hunter2-do-not-tell'

  /** Everything that a logger might get hold of. */
  function printed(error: unknown): string {
    const texts: string[] = []
    for (let each = error as Error | undefined; each; each = each.cause as Error | undefined) {
      texts.push(String(each), each.stack ?? '', JSON.stringify(each))
      texts.push(
        ...Reflect.ownKeys(each).map((key) =>
          inspect((each as never)[key], { depth: 10, showHidden: true }),
        ),
      )
    }
    return texts.join('\n') + inspect(error, { depth: Infinity, showHidden: true })
  }

  it.each(['WRONGTYPE no', 'OOM no', 'READONLY no', 'ERR no'])(
    '%s does not carry the arguments',
    async (reply) => {
      const store = await opened({ source: server.url })
      const error = await failure(store.store.run(refuse, [KEY], [reply, SECRET]))
      expect(error.message).toBeTruthy()
      expect(printed(error)).not.toContain(SECRET)
      expect(printed(error)).not.toContain(KEY)
    },
  )

  it('of a script that is no Lua does not carry them', async () => {
    const store = await opened({ source: server.url })
    const broken = operation({ name: 'broken', lua: 'return (', memory: never })
    expect(printed(await failure(store.store.run(broken, [KEY], [SECRET])))).not.toContain(SECRET)
  })

  it('of a server that does not know the command does not carry them', async () => {
    await using crippled = await startRedis({ args: ['--rename-command', 'EVALSHA', ''] })
    const store = openStore({ source: crippled.url })
    await store.store.ready(5000)
    const error = await failure(store.store.run(count, [SECRET], [SECRET]))
    expect(error).toMatchObject({
      code: 'TP_COMMAND',
      message: expect.stringContaining('unknown command'),
    })
    expect(printed(error)).not.toContain(SECRET)
  })

  it('of a timeout, an open breaker or a lost connection does not carry them', async () => {
    const proxy = await proxied()
    const store = await opened({ source: proxy.url })
    const call = (): Promise<number> => store.store.run(count, [KEY], [SECRET])
    proxy.set({ mode: 'stall' })
    const errors = [await failure(call())]
    const cut = failure(call())
    proxy.reset()
    errors.push(await cut)
    for (let i = 0; i < 5; i++) errors.push(await failure(call()))
    const reasons = new Set(errors.map(({ reason }) => reason))
    expect(reasons).toContain('timeout')
    expect(reasons).toContain('error')
    expect(reasons).toContain('breaker-open')
    for (const error of errors) expect(printed(error)).not.toContain(SECRET)
    expect(inspect(store.events, { depth: Infinity })).not.toContain(SECRET)
    expect(inspect(store.store.status(), { depth: Infinity })).not.toContain(SECRET)
  })
})

describe('a connection that hangs', () => {
  it('is replaced when it is half-open, and the next one serves', async () => {
    const proxy = await proxied()
    const store = await opened({ source: proxy.url })
    proxy.strand()
    const began = performance.now()
    await until('the connection is replaced', async () => {
      await hit(store).catch(() => {})
      return store.events.replaced.length > 0
    })
    expect(performance.now() - began).toBeLessThan(1000)
    await until('calls are answered again', () => hit(store).catch(() => undefined))
    expect(performance.now() - began).toBeLessThan(1500)
    expect(store.events.replaced).toEqual([{ store: 'redis' }])
  })

  it('carries no call once it is given up: the next connection does', async () => {
    const proxy = await proxied()
    const store = await opened({ source: proxy.url, commandTimeout: 250 })
    const before = await hit(store)
    proxy.strand()
    while (store.events.replaced.length === 0) await failure(hit(store))
    expect(store.store.status()).toMatchObject({ status: 'degraded', breaker: 'closed' })
    expect(await hit(store)).toBe(before + 1)
    expect(store.store.status().status).toBe('ok')
  })

  it('is replaced without any call but the first: the probes notice', async () => {
    const proxy = await proxied()
    const store = await opened({ source: proxy.url })
    proxy.strand()
    await Promise.all(Array.from({ length: 5 }, () => failure(hit(store))))
    await until('the connection is replaced', () => store.events.replaced.length > 0, 2000)
    await until('the store is well', () => store.store.status().status === 'ok', 2000)
  })

  it('is replaced when replies are lost, and nothing is carried out twice', async () => {
    const proxy = await proxied()
    const store = await opened({ source: proxy.url })
    const before = await hit(store)
    proxy.set({ mode: 'stallDown' })
    const errors: StoreUnavailable[] = []
    await until('the connection is replaced', async () => {
      errors.push(await failure(hit(store)))
      return store.events.replaced.length > 0
    })
    const sent = errors.filter(({ uncertain }) => uncertain).length
    expect(sent).toBeGreaterThan(0)
    proxy.reset()
    proxy.set({ mode: 'ok' })
    const after = await until('calls are answered again', () => hit(store).catch(() => undefined))
    expect(after).toBe(before + sent + 1)
  })

  it('lets a punctual operation that was given up never run late', async () => {
    const proxy = await proxied()
    const store = await opened({ source: proxy.url, commandTimeout: 300 })
    await store.store.run(punctual, [KEY], [])
    const before = await hit(store)
    proxy.set({ latency: 400 })
    expect(await failure(store.store.run(punctual, [KEY], []))).toMatchObject({
      reason: 'timeout',
    })
    await until('the command has reached the server', async () =>
      (await server.send('INFO', 'errorstats')).includes('TPLATE'),
    )
    proxy.reset()
    proxy.set({ latency: 0 })
    expect(await until('calls are answered again', () => hit(store).catch(() => undefined))).toBe(
      before + 1,
    )
  })

  it('leaves a busy connection alone whose answers are only slow', async () => {
    const proxy = await proxied()
    const store = await opened({ source: proxy.url, commandTimeout: 1000 })
    proxy.set({ latency: 100 })
    const end = performance.now() + 1000
    while (performance.now() < end) await Promise.all([hit(store), hit(store)])
    expect(store.events.replaced).toEqual([])
  })
})

describe('one decision', () => {
  const settled = (proxy: FaultProxy): Promise<unknown> =>
    until('its own commands are answered', () =>
      ['TIME', 'INFO'].every((name) => proxy.traffic.commands.includes(name)),
    )

  it('is one command and one round trip', async () => {
    const proxy = await proxied()
    const store = await opened({ source: proxy.url })
    await settled(proxy)
    proxy.forget()
    await hit(store)
    expect(proxy.traffic).toMatchObject({ writes: 1, commands: ['EVALSHA'], roundTrips: 1 })
    proxy.forget()
    await Promise.all([hit(store), hit(store), hit(store)])
    expect(proxy.traffic).toMatchObject({
      commands: ['EVALSHA', 'EVALSHA', 'EVALSHA'],
      roundTrips: 1,
    })
  })

  it('is one write to the socket, which all decisions of a tick share', async () => {
    const proxy = await proxied()
    const client = new Redis(proxy.url)
    onTestFinished(() => client.disconnect())
    const store = await opened({ source: client, reuse: true })
    await settled(proxy)
    let writes = 0
    for (const method of ['_write', '_writev'] as const) {
      const original = client.stream[method] as (...args: unknown[]) => void
      client.stream[method] = (...args: unknown[]) => {
        writes++
        original.apply(client.stream, args)
      }
    }
    await hit(store)
    expect(writes).toBe(1)
    await Promise.all([hit(store), hit(store), hit(store)])
    expect(writes).toBe(2)
    const later = [hit(store), Promise.resolve().then(() => hit(store))]
    await Promise.all(later)
    expect(writes).toBe(3)
  })
})

describe('the status', () => {
  it('tells latencies and the last good answer, without asking Redis', async () => {
    const proxy = await proxied()
    const store = openStore({ source: proxy.url, commandTimeout: 1000 })
    expect(store.store.status()).toMatchObject({
      status: 'down',
      latencyMs: undefined,
      lastOkAt: undefined,
      topology: 'standalone',
    })
    await store.store.ready(5000)
    proxy.set({ latency: 20 })
    for (let i = 0; i < 20; i++) await hit(store)
    proxy.forget()
    const { latencyMs, lastOkAt, status } = store.store.status()
    expect(status).toBe('ok')
    expect(latencyMs!.p50).toBeGreaterThan(35)
    expect(latencyMs!.p50).toBeLessThan(100)
    expect(latencyMs!.p99).toBeGreaterThanOrEqual(latencyMs!.p50)
    expect(Math.abs(lastOkAt! - Date.now())).toBeLessThan(1000)
    expect(proxy.traffic.commands).toEqual([])
  })

  it('warns of a server that evicts, and of none that does not', async () => {
    await using evicting = await startRedis({
      args: ['--maxmemory', '50mb', '--maxmemory-policy', 'allkeys-lru'],
    })
    const [lasting, cache, calm] = [
      openStore({ source: evicting.url }),
      openStore({ source: evicting.url, lasting: false }),
      openStore({ source: server.url }),
    ]
    await until('it warns', () => lasting.store.status().warnings.length > 0)
    expect(lasting.store.status().warnings).toEqual([expect.stringContaining('allkeys-lru')])
    await Promise.all([cache, calm].map((each) => each.store.ready(5000)))
    expect(cache.store.status().warnings).toEqual([])
    expect(calm.store.status().warnings).toEqual([])
  })
})

/** How many scripts the server has run. */
async function evals(): Promise<number> {
  const stats = await server.send('INFO', 'commandstats')
  return [...stats.matchAll(/cmdstat_evalsha?:calls=(\d+)/g)].reduce(
    (sum, [, calls]) => sum + Number(calls),
    0,
  )
}

function busy(ms: number): void {
  const end = performance.now() + ms
  while (performance.now() < end);
}
