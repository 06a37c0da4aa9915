import { describe, expect, test, vi } from 'vitest'
import { startRedis, testStore } from '../../../src/testing.ts'
import { apps } from '../../support/apps.ts'

describe.each(apps)('tp.health() on $name', ({ start }) => {
  test('tells of a living Redis: version, memory, clients, uptime, hit rate', async () => {
    await using redis = await startRedis()
    await redis.send('SET', 'a', '1', 'PX', '60000')
    await redis.send('GET', 'a')
    await redis.send('GET', 'b')
    const { get, tp } = start({ options: { redis: redis.url }, mount: (kit) => [kit.health()] })
    await tp.ready()
    const { status, body, headers } = await get('/health')
    expect(status).toBe(200)
    expect(headers['cache-control']).toBe('no-store')
    expect(body).toEqual({
      status: 'healthy',
      connected: true,
      latency_ms: expect.any(Number),
      version: expect.stringMatching(/^\d+\.\d+/),
      used_memory: expect.stringMatching(/^[\d.]+[BKM]$/),
      connected_clients: expect.any(Number),
      uptime_seconds: expect.any(Number),
      hit_rate: 0.5,
    })
    await tp.close()
  })

  test('while Redis is away: degraded but alive and ready; strict: 503', async () => {
    await using redis = await startRedis()
    const { get, tp } = start({
      options: { redis: redis.url },
      mount: (kit) => [
        kit.health({ path: '/health' }),
        kit.health({ path: '/strict', strict: true }),
        kit.rateLimit({ limit: 9, window: '1m' }),
      ],
    })
    await tp.ready()
    expect((await get('/health/live')).body).toEqual({ status: 'alive' })
    expect((await get('/strict/ready')).status).toBe(200)
    await redis.kill()
    await vi.waitFor(() => expect(tp.status().status).toBe('degraded'))
    const { status, body } = await get('/health')
    expect(status).toBe(200)
    expect(body).toEqual({ status: 'degraded', connected: false, reason: 'Redis is away' })
    expect((await get('/health/live')).status).toBe(200)
    expect((await get('/health/ready')).status).toBe(200)
    expect((await get('/strict')).status).toBe(503)
    expect((await get('/strict/ready')).status).toBe(503)
    // The rest of the application is served by its failure rules.
    expect((await get('/other')).status).toBe(200)
    await tp.close()
  })

  test('before Redis was ever reached: not ready', async () => {
    const { get, tp } = start({
      options: { redis: 'redis://127.0.0.1:1' },
      mount: (kit) => [kit.health()],
    })
    const { status, body } = await get('/health/ready')
    expect([status, body]).toEqual([503, { status: 'not ready' }])
    expect((await get('/health')).body).toMatchObject({ status: 'error', connected: false })
    await tp.close()
  })

  test('details are for whom they are meant', async () => {
    const store = testStore()
    const { get } = start({
      options: { store },
      mount: (kit) => [
        kit.health({ details: (native: any) => native.headers['x-admin'] === 'yes' }),
      ],
    })
    expect((await get('/')).body).toEqual({ status: 'healthy', connected: true })
    expect((await get('/', { 'x-admin': 'yes' })).body).toEqual({
      status: 'healthy',
      connected: true,
      latency_ms: expect.any(Number),
    })
  })

  test('Redis is asked once for many callers', async () => {
    const store = testStore()
    const info = vi.spyOn(store, 'info')
    const { get } = start({ options: { store }, mount: (kit) => [kit.health()] })
    await Promise.all(Array.from({ length: 20 }, () => get('/')))
    expect(info).toHaveBeenCalledTimes(1)
  })

  test('with a path, other requests pass', async () => {
    const { get } = start({
      options: { store: testStore() },
      mount: (kit) => [kit.health({ path: '/health' })],
    })
    for (const path of ['/', '/healthy', '/x/health', '/other/live'])
      expect((await get(path)).text, path).toBe('ok')
    for (const path of ['/health', '/health/', '/health?x=1', '/health/redis'])
      expect((await get(path)).text, path).toContain('healthy')
  })
})
