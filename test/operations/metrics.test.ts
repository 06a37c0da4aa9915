/** What `tp.metrics()` shows: counts of features by names from code, and nothing that a client sent. */
import { spawnSync } from 'node:child_process'
import { MeterProvider, MetricReader, type MetricProducer } from '@opentelemetry/sdk-metrics'
import { Registry } from 'prom-client'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { turnpike } from '../../src/node.ts'
import { METRICS } from '../../src/operations/metrics/catalogue.ts'
import { METRIC_PREFIX } from '../../src/operations/metrics/snapshot.ts'
import { startRedis, testStore, type RedisServer } from '../../src/testing.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { express4App, express5, koa3 } from '../support/serve.ts'
import { until } from '../support/until.ts'

let server: RedisServer
beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server.stop())

/** Reads text of Prometheus as a scraper does: values by name with labels. Fails at a line that is none. */
function parse(text: string): Map<string, number> {
  const values = new Map<string, number>()
  const known = new Set<string>()
  expect(text.endsWith('\n')).toBe(true)
  for (const line of text.trimEnd().split('\n')) {
    const comment = /^# (?:HELP|TYPE) ([a-z_]+) \S/.exec(line)
    if (comment) {
      known.add(comment[1]!)
      continue
    }
    // prom-client separates families by an empty line.
    if (line === '# EOF' || line === '') continue
    const match = /^([a-z_]+)((?:\{(?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+\})?) (-?[\d.e+-]+)$/.exec(
      line,
    )
    expect(match, line).not.toBeNull()
    const [, name, labels, value] = match!
    const family = name!.replace(/_(bucket|sum|count)$/, '')
    expect(
      known.has(family) || known.has(name!) || known.has(name!.replace(/_total$/, '')),
      line,
    ).toBe(true)
    expect(values.has(`${name}${labels}`), `twice: ${line}`).toBe(false)
    values.set(`${name}${labels}`, Number(value))
  }
  return values
}

describe.each([express4App, express5, koa3])('$name', ({ serve }) => {
  const isAllowed = (native: any): boolean => native.get('authorization') === 'Bearer ops'
  const application = () =>
    serve({
      options: {
        redis: server.url,
        prefix: `m${Math.random()}`,
        commandTimeout: '5s',
        operations: false,
      },
      routes: (tp) => ({
        '/metrics': tp.metrics({ authorize: isAllowed }),
        '/limited': tp.rateLimit({ name: 'api', limit: 1, window: '1h' }),
        '/cached': tp.cache({ name: 'pages', ttl: '1m' }),
        '/session': tp.session({ secret: 'a secret that is long enough 123' }),
      }),
    })

  it('counts requests of every feature by mount and outcome', async () => {
    const { tp, get } = await application()
    await tp.ready()
    for (let i = 0; i < 3; i++) await get('/limited')
    // The entry is written after the response was sent.
    await until('it is stored', async () => {
      const { headers } = await get('/cached')
      return String(headers['cache-status']).includes('hit')
    })
    await get('/cached', { 'x-status': '500', cookie: 'a=b' })
    await get('/session')
    await tp.lock('report', {}, async () => {})
    const { status, headers, body } = await get('/metrics', { authorization: 'Bearer ops' })
    expect(status).toBe(200)
    expect(headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8')
    expect(headers['cache-control']).toBe('no-store')
    const values = Object.fromEntries(parse(body))
    expect(values).toMatchObject({
      'turnpike_limit_decisions_total{limit="api",outcome="allowed",source="store"}': 1,
      'turnpike_limit_decisions_total{limit="api",outcome="refused",source="store"}': 2,
      'turnpike_limit_refusals_total{limit="api",policy="api"}': 2,
      'turnpike_cache_requests_total{cache="pages",outcome="hit"}': 1,
      'turnpike_cache_requests_total{cache="pages",outcome="bypass"}': 1,
      'turnpike_lease_total{feature="lock",type="acquired"}': 1,
      'turnpike_lease_held{feature="lock"}': 0,
      'turnpike_lease_wait_seconds_count{feature="lock"}': 1,
      turnpike_store_up: 1,
      turnpike_store_breaker_open: 0,
    })
    const fills = values['turnpike_cache_fills_total{cache="pages",outcome="stored"}']
    expect(fills).toBeGreaterThan(0)
    expect(values['turnpike_cache_make_seconds_count{cache="pages"}']).toBe(fills)
    const operations = Object.keys(values).filter((name) =>
      name.startsWith('turnpike_store_operation_seconds_count'),
    )
    expect(operations.length).toBeGreaterThan(3)
  })

  it('a request that is not authorized gets 404, in whatever way authorize says so', async () => {
    const answers = [() => false, async () => false, () => undefined, () => 'yes']
    for (const authorize of [isAllowed, ...answers]) {
      const { get } = await serve({
        options: { store: testStore() },
        routes: (tp) => ({ '/metrics': tp.metrics({ authorize: authorize as never }) }),
      })
      const { status, body } = await get('/metrics')
      expect([status, body]).toEqual([404, ''])
    }
  })

  it('an authorize that fails shows nothing', async () => {
    const { get, errors } = await serve({
      options: { store: testStore() },
      routes: (tp) => ({
        '/metrics': tp.metrics({
          authorize: () => {
            throw new Error('no database')
          },
        }),
      }),
    })
    const { status, body } = await get('/metrics')
    expect(status).toBe(500)
    expect(body).not.toContain('turnpike_')
    expect(errors).toHaveLength(1)
  })

  it('speaks OpenMetrics to a scraper that asks for it', async () => {
    const { get } = await application()
    await get('/limited')
    const { headers, body } = await get('/metrics', {
      authorization: 'Bearer ops',
      accept: 'application/openmetrics-text; version=1.0.0,text/plain;q=0.5',
    })
    expect(headers['content-type']).toBe(
      'application/openmetrics-text; version=1.0.0; charset=utf-8',
    )
    expect(body.endsWith('# EOF\n')).toBe(true)
    expect(body).toContain('# TYPE turnpike_limit_decisions counter\n')
    expect(
      parse(body).get(
        'turnpike_limit_decisions_total{limit="api",outcome="allowed",source="store"}',
      ),
    ).toBe(1)
  })
})

describe('what is counted besides requests', () => {
  /** An instance on Redis, and its metrics by name. */
  async function opened(options: object = {}) {
    const tp = turnpike({
      redis: server.url,
      prefix: `w${Math.random()}`,
      commandTimeout: '5s',
      operations: false,
      ...options,
    })
    onTestFinished(() => tp.close())
    await tp.ready()
    const metrics = tp.metrics()
    return { tp, values: async () => Object.fromEntries(parse(await metrics.text())) }
  }

  it('reads of data by namespace and outcome', async () => {
    const { tp, values } = await opened()
    const users = tp.data.namespace('users', { near: true })
    await tp.data.get('a')
    await tp.data.set('a', 1, { ttl: '1m' })
    await tp.data.get('a')
    await users.getOrFetch('ann', () => 1)
    await until('it is stored', async () => (await users.get('ann')) === 1)
    await until('it is near', async () => {
      await users.get('ann')
      return (await values())['turnpike_data_requests_total{namespace="users",outcome="near"}']! > 0
    })
    let load: (value: number) => void = () => {}
    const slow = new Promise<number>((resolve) => (load = resolve))
    const both = [1, 2].map(() => users.getOrFetch('bob', () => slow))
    await new Promise((resolve) => setTimeout(resolve, 50))
    load(2)
    await Promise.all(both)
    const read = await values()
    expect(read).toMatchObject({
      'turnpike_data_requests_total{namespace="data",outcome="miss"}': 1,
      'turnpike_data_requests_total{namespace="data",outcome="hit"}': 1,
      'turnpike_data_requests_total{namespace="users",outcome="collapsed"}': 1,
    })
    expect(read['turnpike_data_requests_total{namespace="users",outcome="miss"}']).toBeGreaterThan(
      1,
    )
  })

  it('a stale value, and one that stands in for an error', async () => {
    const store = testStore()
    const { tp, values } = await opened({ redis: undefined, store })
    const options = { ttl: '1s', staleIfError: '1m' } as const
    await tp.data.getOrFetch('a', () => 1, options)
    await store.advance('2s')
    const failing = (): never => {
      throw new Error('no database')
    }
    expect(await tp.data.getOrFetch('a', failing, options)).toBe(1)
    expect(await values()).toMatchObject({
      'turnpike_data_requests_total{namespace="data",outcome="miss"}': 1,
      'turnpike_data_requests_total{namespace="data",outcome="stale"}': 1,
    })
  })

  it('the near cache: its entries, its size, and what made room', async () => {
    const { tp, values } = await opened()
    const users = tp.data.namespace('users', { near: { maxBytes: 40_000 } })
    for (let i = 0; i < 30; i++) {
      await users.set(`user-${i}`, 'x'.repeat(500), { ttl: '1m' })
      await until('it is near', async () => {
        await users.get(`user-${i}`)
        return ((await values())['turnpike_near_entries'] ?? 0) > 0
      })
    }
    await until('entries have made room', async () => {
      for (let i = 0; i < 30; i++) await users.get(`user-${i}`)
      return (await values())['turnpike_near_evictions_total']! > 0
    })
    const read = await values()
    expect(read['turnpike_near_bytes']).toBeGreaterThan(500)
    expect(read['turnpike_near_bytes']).toBeLessThanOrEqual(40_000)
  })

  it('invalidations by mode, and those that Redis did not take', async () => {
    const store = testStore()
    const { tp, values } = await opened({ redis: undefined, store })
    await tp.cache.invalidate({ tags: ['a', 'b'] })
    await tp.cache.invalidate({ tags: ['a'], soft: true })
    await tp.cache.invalidatePattern('/a/*')
    store.fail()
    await tp.cache.clear().catch(() => {})
    expect(await values()).toMatchObject({
      'turnpike_cache_invalidations_total{mode="hard",outcome="written"}': 1,
      'turnpike_cache_invalidations_total{mode="soft",outcome="written"}': 1,
      'turnpike_cache_invalidations_total{mode="glob",outcome="written"}': 1,
      'turnpike_cache_invalidations_total{mode="hard",outcome="failed"}': 1,
    })
  })

  it('calls in progress, how long requests waited for Redis, and how long a lock was held', async () => {
    const proxy = await startFaultProxy(server.port)
    onTestFinished(() => proxy.close())
    const { tp, get } = await express5.serve({
      options: { redis: proxy.url, commandTimeout: '5s', requestBudget: '5s', operations: false },
      routes: (tp) => ({
        '/': tp.pipeline(
          tp.rateLimit({ name: 'api', limit: 9, window: '1h' }),
          tp.cache({ name: 'pages', ttl: '1m' }),
        ),
      }),
    })
    const metrics = tp.metrics()
    await tp.ready()
    await get('/')
    const before = parse(await metrics.text())
    proxy.set({ mode: 'stall' })
    const waiting = get('/')
    const inFlight = async (): Promise<number> =>
      parse(await metrics.text()).get('turnpike_store_in_flight{store="redis"}')!
    await until('its calls are in progress', async () => (await inFlight()) >= 2)
    await new Promise((resolve) => setTimeout(resolve, 100))
    proxy.heal()
    await waiting
    await tp.lock('report', {}, () => new Promise((resolve) => setTimeout(resolve, 60)))
    const after = parse(await metrics.text())
    const grown = (name: string): number => after.get(name)! - (before.get(name) ?? 0)
    // One wait for both calls of the pipeline.
    expect(grown('turnpike_request_store_wait_seconds_sum')).toBeGreaterThan(0.05)
    expect(grown('turnpike_request_store_wait_seconds_count')).toBeGreaterThanOrEqual(1)
    expect(after.get('turnpike_lease_hold_seconds_count{feature="lock"}')).toBe(1)
    expect(after.get('turnpike_lease_hold_seconds_sum{feature="lock"}')).toBeGreaterThan(0.05)
    expect(await inFlight()).toBe(0)
  })
})

describe("server: true adds Redis's own numbers", () => {
  it('by one INFO in five seconds, however often they are read', async () => {
    const proxy = await startFaultProxy(server.port)
    onTestFinished(() => proxy.close())
    const tp = turnpike({ redis: proxy.url, commandTimeout: '5s', operations: false })
    onTestFinished(() => tp.close())
    const metrics = tp.metrics({ server: true })
    const others = tp.metrics()
    await tp.ready()
    await tp.limiter('api', { limit: 1, window: '1h' }).consume('ann')
    await until('INFO of the start has passed', () => proxy.traffic.commands.includes('INFO'))
    proxy.forget()
    const texts = await Promise.all(Array.from({ length: 10 }, () => metrics.text()))
    await metrics.snapshot()
    expect(await others.text()).not.toContain('turnpike_server_')
    expect(proxy.traffic.commands).toEqual(['INFO'])
    const values = parse(texts[0]!)
    for (const name of ['memory_bytes', 'memory_limit_bytes', 'hits_total', 'misses_total'])
      expect(values.get(`turnpike_server_${name}{store="redis"}`), name).toBeGreaterThanOrEqual(0)
    expect(values.get('turnpike_server_evictions_total{store="redis"}')).toBe(0)
    expect(values.get('turnpike_server_clients{store="redis"}')).toBeGreaterThan(0)
    expect(values.get('turnpike_server_memory_bytes{store="redis"}')).toBeGreaterThan(100_000)
  })

  it('while Redis is away, and without Redis, they are missing and the others are there', async () => {
    const own = await startRedis()
    const tp = turnpike({ redis: own.url, operations: false, logger: false })
    onTestFinished(() => tp.close())
    await tp.ready()
    await own.stop()
    const memory = turnpike({ redis: 'memory' })
    onTestFinished(() => memory.close())
    for (const instance of [tp, memory]) {
      const text = await instance.metrics({ server: true }).text()
      expect(text).not.toContain('turnpike_server_')
      expect(text).toContain('turnpike_store_up')
    }
  })

  it('anything but a boolean is refused', () => {
    const tp = turnpike({ redis: 'memory' })
    onTestFinished(() => tp.close())
    expect(() => tp.metrics({ server: 'yes' as never })).toThrow(/server must be true or false/)
  })
})

describe('nothing from a request is a label', () => {
  it('ten thousand addresses, keys, URLs and lock names add no series', async () => {
    const tp = turnpike({ store: testStore() })
    onTestFinished(() => tp.close())
    const metrics = tp.metrics()
    const limiter = tp.limiter('api', { limit: 1, window: '1h' })
    const use = async (i: number): Promise<void> => {
      await limiter.consume(`canary-${i}`)
      await limiter.consume(`canary-${i}`)
      await tp.lock(`canary-${i}`, {}, async () => {})
      await tp.data.set(`canary-${i}`, i, { ttl: '1m' })
      await tp.data.get(`canary-${i}`)
      await tp.cache.invalidate({ tags: [`canary-${i}`] })
    }
    await use(0)
    const before = parse(await metrics.text()).size
    for (let i = 1; i < 2500; i++) await use(i)
    const text = await metrics.text()
    expect(parse(text).size).toBe(before)
    expect(text).not.toContain('canary')
  })

  it.each([express4App, express5, koa3])(
    'hundreds of requests from other addresses, for other URLs and users, add no series on $name',
    async ({ serve }) => {
      const { tp, get } = await serve({
        options: { store: testStore() },
        routes: (tp) => ({
          '/': tp.pipeline(
            tp.session({ secret: 'a secret that is long enough 123' }),
            tp.rateLimit({
              name: 'api',
              limit: 1,
              window: '1h',
              key: (req: any) => req.get('x-user'),
            }),
            tp.cache({
              name: 'pages',
              ttl: '1m',
              scope: (req: any) => req.get('x-user'),
              tags: (req: any) => [`user:${req.get('x-user')}`],
            }),
          ),
        }),
      })
      const metrics = tp.metrics()
      const visit = async (i: number): Promise<void> => {
        const headers = { 'x-user': `canary-${i}`, 'x-forwarded-for': `10.${i % 256}.1.1` }
        await get(`/?canary=${i}`, headers)
        await get(`/?canary=${i}`, headers)
        await tp.cache.invalidate({ tags: [`user:canary-${i}`] })
      }
      for (let i = 0; i < 3; i++) await visit(i)
      const before = [...parse(await metrics.text()).keys()]
      for (let i = 3; i < 200; i++) await visit(i)
      const text = await metrics.text()
      expect([...parse(text).keys()]).toEqual(before)
      expect(text).not.toContain('canary')
    },
  )

  it('names that are made from requests share a label beyond 200, and are escaped', async () => {
    const tp = turnpike({ store: testStore() })
    onTestFinished(() => tp.close())
    const metrics = tp.metrics()
    for (let i = 0; i < 500; i++)
      await tp.limiter(`user-${i}`, { limit: 1, window: '1h' }).consume('a')
    const text = await metrics.text()
    const limits = [...text.matchAll(/^turnpike_limit_decisions_total\{limit="([^"]+)"/gm)]
    expect(new Set(limits.map(([, limit]) => limit)).size).toBe(200)
    expect(limits.at(-1)![1]).toBe('other')
  })

  it('session data, cookies, keys and passwords are in no metric', async () => {
    const redis = server.url.replace('//', '//default:@')
    const { tp, get } = await express5.serve({
      options: { redis, commandTimeout: '5s', operations: false },
      routes: (tp) => ({
        '/': tp.pipeline(
          tp.session({ secret: 'canary-secret-that-is-long-enough' }),
          tp.rateLimit({
            name: 'api',
            limit: 1,
            window: '1h',
            key: (req: any) => req.get('x-key'),
          }),
          tp.cache({ name: 'pages', ttl: '1m' }),
        ),
      }),
    })
    const metrics = tp.metrics()
    await tp.ready()
    const headers = { 'x-key': 'canary-key', cookie: 'sid=canary-cookie', authorization: 'canary' }
    for (let i = 0; i < 3; i++) await get('/?canary-query', headers)
    await tp.limiter('x', { limit: 1, window: '1h' }).consume('canary-subject')
    const texts = [await metrics.text(), JSON.stringify(await metrics.snapshot())]
    expect(texts.join()).not.toContain('canary')
  })
})

describe('while Redis is away', () => {
  it('the metrics say so, and which failure rules were applied', async () => {
    const store = testStore()
    const tp = turnpike({ store })
    onTestFinished(() => tp.close())
    const metrics = tp.metrics()
    store.fail()
    const limiter = tp.limiter('api', { limit: 1, window: '1h' })
    for (let i = 0; i < 3; i++) await limiter.consume('ann')
    expect(Object.fromEntries(parse(await metrics.text()))).toMatchObject({
      turnpike_store_up: 0,
      'turnpike_unavailable_total{feature="limiter",rule="local"}': 3,
      'turnpike_store_failures_total{reason="not-ready"}': 3,
      'turnpike_limit_decisions_total{limit="api",outcome="refused",source="local"}': 2,
    })
  })
})

describe('other receivers', () => {
  async function used() {
    const tp = turnpike({ store: testStore() })
    onTestFinished(() => tp.close())
    const metrics = tp.metrics()
    const limiter = tp.limiter('api', { limit: 1, window: '1h' })
    for (let i = 0; i < 3; i++) await limiter.consume('ann')
    await tp.lock('report', {}, async () => {})
    return metrics
  }

  it("prom-client's registry contains them beside its own", async () => {
    const metrics = await used()
    const registry = new Registry()
    await metrics.register(registry)
    const own = parse(await metrics.text())
    const registered = parse(await registry.metrics())
    for (const [name, value] of own)
      if (!name.includes('clock_skew')) expect(registered.get(name), name).toBe(value)
    expect((await registry.getMetricsAsJSON()).map(({ name }) => name)).toEqual(
      Object.keys(METRICS).map((name) => `${METRIC_PREFIX}${name}`),
    )
  })

  it('something that is no registry is refused', async () => {
    const metrics = await used()
    await expect(metrics.register({} as never)).rejects.toMatchObject({ code: 'TP_OPTION' })
  })

  it("OpenTelemetry's reader collects them by a producer that is added later", async () => {
    class Reader extends MetricReader {
      protected async onShutdown(): Promise<void> {}
      protected async onForceFlush(): Promise<void> {}
    }
    // An SDK that starts before the application has no instance yet: docs/tracing.md.
    const metricProducers: MetricProducer[] = []
    const reader = new Reader({ metricProducers })
    const provider = new MeterProvider({ readers: [reader] })
    onTestFinished(() => provider.shutdown())
    const metrics = await used()
    metricProducers.push(metrics.producer())
    const { resourceMetrics, errors } = await reader.collect()
    expect(errors).toEqual([])
    const collected = resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics)
    const decisions = collected.find(
      ({ descriptor }) => descriptor.name === 'turnpike_limit_decisions_total',
    )!
    expect(decisions.dataPoints.map(({ attributes, value }) => [attributes, value])).toEqual([
      [{ limit: 'api', outcome: 'allowed', source: 'store' }, 1],
      [{ limit: 'api', outcome: 'refused', source: 'store' }, 2],
    ])
    const waits = collected.find(
      ({ descriptor }) => descriptor.name === 'turnpike_lease_wait_seconds',
    )!
    expect(waits.dataPoints[0]!.value).toMatchObject({ count: 1 })
  })
})

it('promtool accepts the text and the rules, where it is installed', async () => {
  const tp = turnpike({ store: testStore() })
  onTestFinished(() => tp.close())
  const metrics = tp.metrics()
  await tp.limiter('api', { limit: 1, window: '1h' }).consume('ann')
  await tp.lock('report', {}, async () => {})
  const input = await metrics.text()
  const rules = new URL('../../docs/metrics/alerts.yml', import.meta.url).pathname
  for (const [args, text] of [
    [['check', 'metrics'], input],
    [['check', 'rules', rules], ''],
  ] as const) {
    const { error, status, stderr } = spawnSync('promtool', args, { input: text, encoding: 'utf8' })
    // Without it the parser above is what checks the text.
    if (error) return expect((error as NodeJS.ErrnoException).code).toBe('ENOENT')
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  }
})
