/** Once a minute each process measures itself and its machine. */
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { turnpike } from '../../src/node.ts'
import { readSystemMetrics, SYSTEM_TTL_MS } from '../../src/operations/system-metrics.ts'
import { createKeySpace } from '../../src/store/keys.ts'
import { bothEngines } from '../support/engines.ts'
import { until } from '../support/until.ts'

describe.each(bothEngines())('$name', (engine) => {
  it('a process measures itself and its machine once a minute, with its first report', async () => {
    const { store, prefix, advance } = engine.open()
    const run = vi.spyOn(store, 'run')
    const written = (): number =>
      run.mock.calls.filter(([{ name }]) => name === 'operations.system').length
    const reports = (): number =>
      run.mock.calls.filter(([{ name }]) => name === 'operations.beat').length
    const tp = turnpike({ store, prefix, operations: { every: '10s' } })
    onTestFinished(() => tp.close())
    expect(await tp.systemMetrics()).toEqual([])
    await advance('10s')
    await until('it is written', async () => (await tp.systemMetrics()).length === 1)
    const [metrics] = await tp.systemMetrics()
    const [process] = await tp.processes()
    expect(metrics!.id).toBe(process!.id)
    expect(metrics!.at).toBe(store.now())
    for (const name of ['rss', 'heapUsed', 'uptime', 'memoryPercent'] as const)
      expect(metrics![name], name).toBeGreaterThan(0)
    for (const name of ['cpuPercent', 'hostCpuPercent', 'load', 'loopPercent'] as const)
      expect(metrics![name], name).toBeGreaterThanOrEqual(0)
    expect(metrics!.memoryPercent).toBeLessThanOrEqual(100)
    expect(metrics!.hostCpuPercent).toBeLessThanOrEqual(100)
    expect(metrics).toMatchObject({
      connections: expect.any(Number),
      queueDepth: 0,
      cacheHitPercent: undefined,
    })
    // Reports come every 9 to 11 seconds.
    for (let second = 0; second < 120 && reports() < 8; second++) {
      await advance('1s')
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    await until('the second sample', () => written() === 2)
  })

  it('what a process wrote before is replaced, and other values are left out', async () => {
    const { store, prefix, advance } = engine.open()
    const tp = turnpike({ store, prefix, operations: true })
    onTestFinished(() => tp.close())
    await advance('10s')
    await until('it is written', async () => (await tp.systemMetrics()).length === 1)
    const server = engine.server()
    if (server === undefined) return
    const keys = await server.send('KEYS', `${prefix}:operations:system:*`)
    const found = keys.trim().split(/\s+/).at(-1)
    expect(found).toContain(':system:{all}:')
    const left = Number(/:(\d+)/.exec(await server.send('PTTL', found!))![1])
    expect(left).toBeGreaterThan(60_000)
    expect(left).toBeLessThanOrEqual(SYSTEM_TTL_MS)
    const reply = await server.send('HGETALL', found!)
    for (const field of [
      'cpu_usage_percent',
      'memory_usage_percent',
      'active_connections',
      'queue_depth',
      'cache_hit_rate',
    ])
      expect(reply).toContain(field)
    await server.send('HSET', found!, 'cpu_usage_percent', 'canary', 'queue_depth', '1e999')
    expect(await tp.systemMetrics()).toMatchObject([{ cpuPercent: 0, queueDepth: 0 }])
    await server.send('HSET', found!, 'at', 'canary')
    expect(await tp.systemMetrics()).toEqual([])
  })

  it('the share that caches have answered, and the jobs that wait, are those of the process', async () => {
    const { store, prefix, advance } = engine.open()
    const tp = turnpike({ store, prefix, operations: true })
    onTestFinished(() => tp.close())
    const { SystemSampler } = await import('../../src/operations/system-metrics.ts')
    const { FeatureCounts } = await import('../../src/feature-counts.ts')
    const counts = new FeatureCounts()
    const sampler = new SystemSampler(counts)
    const row = counts.row('cache', 'pages')
    for (const outcome of ['hit', 'near', 'stale', 'miss', 'bypass', 'bypass']) row.count(outcome)
    counts.row('jobBacklog', 'mail').values[0] = 5
    counts.row('jobBacklog', 'images').values[0] = 3
    expect(sampler.sample()).toMatchObject({ cacheHitPercent: 75, queueDepth: 8 })
    row.count('miss')
    expect(sampler.sample().cacheHitPercent).toBe(0)
    expect(sampler.sample().cacheHitPercent).toBeUndefined()
    await advance('1s')
  })

  it('a process that was closed is gone, and one that was killed stays for two minutes', async () => {
    const { store, prefix, advance } = engine.open()
    const tp = turnpike({
      store: new Proxy(store, {
        get(_target, name) {
          if (name === 'close') return async () => {}
          const member = Reflect.get(store, name, store) as unknown
          return typeof member === 'function' ? member.bind(store) : member
        },
      }),
      prefix,
      operations: true,
    })
    await advance('10s')
    await until('it is written', async () => (await tp.systemMetrics()).length === 1)
    const source = { keys: createKeySpace(prefix, undefined, 'operations') }
    const [{ at } = { at: 0 }] = await tp.systemMetrics()
    const seenAfter = async (ms: number): Promise<number> => {
      const later = { run: store.run.bind(store), now: () => at + ms }
      return (await readSystemMetrics({ ...source, store: later })).length
    }
    expect(await seenAfter(119_000)).toBe(1)
    expect(await seenAfter(121_000)).toBe(0)
    await tp.close()
    expect(await readSystemMetrics({ ...source, store })).toEqual([])
  })
})
