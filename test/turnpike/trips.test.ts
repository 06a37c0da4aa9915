/**
 * What each feature costs on the wire, alone, mounted beside others and in a pipeline: the figures
 * of docs/performance.md that are the same on every machine.
 */
import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  it,
  onTestFinished,
} from 'vitest'
import { startRedis, type RedisServer } from '../../src/testing.ts'
import { apps, type AppKind } from '../support/apps.ts'
import { startFaultProxy, type FaultProxy } from '../support/fault-proxy.ts'
import type { AnyTurnpike } from '../support/serve.ts'
import { expectEveryKeyToExpire } from '../support/ttl.ts'
import { until } from '../support/until.ts'

let server: RedisServer
let proxy: FaultProxy

beforeAll(async () => {
  server = await startRedis()
  proxy = await startFaultProxy(server.port)
})
beforeEach(() => server.send('FLUSHALL'))
afterEach(() => expectEveryKeyToExpire(server))
afterAll(async () => {
  await proxy.close()
  await server.stop()
})

const frameworks = apps.filter(({ name }) => name === 'Express 5' || name === 'Koa 3')
const BODY = { items: Array.from({ length: 20 }, (_, id) => ({ id, name: `Product ${id}` })) }
/** Commands that the connection sends for itself from time to time. */
const OWN_COMMANDS = new Set(['TIME', 'INFO', 'PING'])

/** Frameworks in which the key is claimed together with the rest, and those in which it waits. */
const POST_BEFORE: Record<number, number> = { 1: 2, 3: 3 }

const session = (tp: AnyTurnpike): any =>
  tp.session({ secret: 'a secret of the tests', cookie: { secure: false } })
const limit = (tp: AnyTurnpike, windows: readonly ('1m' | '1h' | '1d')[]): any =>
  tp.rateLimit({ policies: windows.map((window) => ({ limit: 1000, window })) })
const cache = (tp: AnyTurnpike, options: object = {}): any =>
  tp.cache({ ttl: '1h', public: true, tags: ['products'], ...options })

interface Cost {
  /** Round trips before the handler runs; where none runs, those before the answer. */
  before: number
  /** Round trips until the client has the whole answer. */
  trips: number
  /** How many commands were sent in that time. */
  commands: number
}

interface Mounted {
  tp: AnyTurnpike
  /** What one request costs, once everything is quiet. */
  cost(method?: 'get' | 'post', headers?: Record<string, string>): Promise<Cost>
  /** The names of the commands of the last request, those after its answer included. */
  names(): Promise<string[]>
}

let count = 0
const freshKey = (): Record<string, string> => ({ 'Idempotency-Key': `key-${++count}` })

/** An application with an established connection, whose visitor has a session. */
async function mounted(kind: AppKind, mount: (tp: AnyTurnpike) => any[]): Promise<Mounted> {
  let before: number | undefined
  proxy.forget()
  const app = kind.start({
    options: { redis: proxy.url, commandTimeout: '5s', requestBudget: '10s' },
    mount,
    handle(native) {
      before = proxy.traffic.roundTrips
      if (native.session && native.session.userId === undefined) native.session.userId = 'ada'
      return [200, BODY]
    },
  })
  onTestFinished(() => app.tp.close())
  await app.tp.ready()
  await until('its own commands are answered', () =>
    ['TIME', 'INFO'].every((name) => proxy.traffic.commands.includes(name)),
  )
  let cookie = ''

  /** Waits until nothing has been sent for a while. */
  async function quiet(): Promise<void> {
    let seen = -1
    let still = 0
    await until('no more is sent to Redis', () => {
      still = seen === proxy.traffic.writes ? still + 1 : 0
      seen = proxy.traffic.writes
      return still === 3
    })
  }

  async function cost(method: 'get' | 'post' = 'get', headers = {}): Promise<Cost> {
    for (;;) {
      await quiet()
      proxy.forget()
      before = undefined
      const answer = await app[method]('/', { ...(cookie && { Cookie: cookie }), ...headers })
      const { roundTrips: trips, commands } = proxy.traffic
      expect(answer.status).toBe(200)
      const set = answer.get('Set-Cookie') ?? []
      if (set.length > 0) cookie = set.map((each) => each.split(';')[0]).join('; ')
      if (!commands.some((name) => OWN_COMMANDS.has(name))) {
        return { before: before ?? trips, trips, commands: commands.length }
      }
    }
  }
  async function names(): Promise<string[]> {
    await quiet()
    return proxy.traffic.commands
  }
  // Scripts become known to Redis, a session begins, an answer is kept.
  await cost('post', freshKey())
  for (let i = 0; i < 3; i++) await cost()
  return { tp: app.tp, cost, names }
}

describe.each(frameworks)('$name', (kind) => {
  const three = ['1m', '1h', '1d'] as const

  describe('each feature alone', () => {
    it('session: one command to load it, none to save what has not changed', async () => {
      const { cost, names } = await mounted(kind, (tp) => [session(tp)])
      expect(await cost()).toEqual({ before: 1, trips: 1, commands: 1 })
      expect(await names()).toHaveLength(1)
    })

    it.each([1, 3])('rate limit over %d windows: one command', async (windows) => {
      const { cost, names } = await mounted(kind, (tp) => [limit(tp, three.slice(0, windows))])
      expect(await cost()).toEqual({ before: 1, trips: 1, commands: 1 })
      expect(await names()).toHaveLength(1)
    })

    it.each([
      ['tags that are declared', ['products']],
      ['no tags', undefined],
    ])('cache hit with %s: one round trip', async (_name, tags) => {
      const { cost } = await mounted(kind, (tp) => [cache(tp, { tags })])
      const hit = await cost()
      expect(hit).toEqual({ before: 1, trips: 1, commands: 1 })
    })

    it('cache hit in the process: no command', async () => {
      const { cost } = await mounted(kind, (tp) => [cache(tp, { near: true })])
      await until('the entry is near', async () => (await cost()).commands === 0)
      expect(await cost()).toEqual({ before: 0, trips: 0, commands: 0 })
    })

    it('cache miss: the entry is written after the response', async () => {
      const { cost } = await mounted(kind, (tp) => [cache(tp, { key: () => `page-${++count}` })])
      const { before, trips } = await cost()
      expect(before).toBeLessThanOrEqual(2)
      expect(trips).toBe(before)
    })

    it('idempotency: one command before the handler, one before the last byte', async () => {
      const { cost } = await mounted(kind, (tp) => [tp.idempotency({ scope: () => 'ada' })])
      const key = freshKey()
      expect(await cost('post', key)).toEqual({ before: 1, trips: 2, commands: 2 })
      expect(await cost('post', key)).toEqual({ before: 1, trips: 1, commands: 1 })
      expect(await cost('get', key)).toEqual({ before: 0, trips: 0, commands: 0 })
    })

    it('exclusive: one command before the handler', async () => {
      const { cost, names } = await mounted(kind, (tp) => [tp.exclusive({ key: 'inventory' })])
      expect((await cost('post')).before).toBe(1)
      // The lock is given back behind the answer.
      await until('the lock is free', () => proxy.traffic.commands.length > 1)
      expect(await names()).toHaveLength(2)
    })
  })

  describe.each([
    ['mounted separately, one round trip each', (_tp: AnyTurnpike, ...all: any[]): any[] => all, 3],
    [
      'in tp.pipeline(), one round trip',
      (tp: AnyTurnpike, ...all: any[]): any[] => [tp.pipeline(...all)],
      1,
    ],
  ])('%s', (_name, mount, trips) => {
    it.each([1, 3])('session, %d windows, cache hit', async (windows) => {
      const { cost, names } = await mounted(kind, (tp) =>
        mount(tp, session(tp), limit(tp, three.slice(0, windows)), cache(tp)),
      )
      expect(await cost()).toEqual({ before: trips, trips, commands: 3 })
      expect(await names()).toHaveLength(3)
    })

    it('session, 3 windows, cache miss: at most one more before the handler', async () => {
      const { cost } = await mounted(kind, (tp) =>
        mount(tp, session(tp), limit(tp, three), cache(tp, { key: () => `page-${++count}` })),
      )
      const cold = await cost()
      expect(cold.before).toBeLessThanOrEqual(trips + 1)
      expect(cold.trips).toBe(cold.before)
    })

    it('POST with a new key: one more before the last byte', async () => {
      const { cost } = await mounted(kind, (tp) =>
        mount(tp, session(tp), limit(tp, ['1m']), tp.idempotency()),
      )
      const { before, trips: all, commands } = await cost('post', freshKey())
      expect(before).toBe(POST_BEFORE[trips])
      expect({ all, commands }).toEqual({ all: before + 1, commands: 4 })
    })

    it('POST with a new key whose scope needs only the request: all commands are sent at once', async () => {
      const { cost } = await mounted(kind, (tp) => [
        ...mount(tp, session(tp), limit(tp, ['1m']), tp.idempotency({ scope: tp.key.ip() })),
      ])
      const key = freshKey()
      const asked = await cost('post', key)
      expect(asked).toEqual({ before: trips, trips: trips + 1, commands: 4 })
      expect(await cost('post', key)).toEqual({ before: trips, trips, commands: 3 })
    })
  })
})

describe('bytes in Redis', () => {
  const WEIGHTS = `
    local found = {}
    for _, key in ipairs(redis.call('KEYS', '*')) do
      found[#found + 1] = key .. ' ' .. redis.call('MEMORY', 'USAGE', key, 'SAMPLES', 0)
    end
    return table.concat(found, '\\n')`

  it.each<[string, number, (tp: AnyTurnpike) => any[]]>([
    ['session', 250, (tp) => [session(tp)]],
    ['rate limit over three windows', 600, (tp) => [limit(tp, ['1m', '1h', '1d'])]],
    ['cache and its record', 2000, (tp) => [cache(tp)]],
    ['idempotency', 1400, (tp) => [tp.idempotency({ scope: () => 'ada' })]],
  ])('%s: at most %d for all the keys of one visitor', async (_name, most, mount) => {
    const { cost, names } = await mounted(frameworks[0]!, mount)
    await server.send('FLUSHALL')
    await cost('get')
    await cost('post', freshKey())
    await names()
    const weights = await server.send('EVAL', WEIGHTS, '0')
    const bytes = [...weights.matchAll(/ (\d+)$/gm)].reduce(
      (sum, [, each]) => sum + Number(each),
      0,
    )
    expect(bytes).toBeGreaterThan(0)
    expect(bytes).toBeLessThanOrEqual(most)
  })
})
