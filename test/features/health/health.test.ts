import { describe, expect, test, vi } from 'vitest'
import { startRedis, testStore } from '../../../src/testing.ts'
import { apps } from '../../support/apps.ts'

describe.each(apps)('tp.health() on $name', ({ start }) => {
  test('reports version, memory, clients, uptime and hit rate of Redis', async () => {
    await using redis = await startRedis()
    await redis.send('SET', 'a', '1', 'PX', '60000')
    await redis.send('GET', 'a')
    await redis.send('GET', 'b')
    const { get, tp } = start({ options: { redis: redis.url }, mount: (tp) => [tp.health()] })
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

  test('reports a degraded but ready application while Redis is away, with strict 503', async () => {
    await using redis = await startRedis()
    const { get, tp } = start({
      options: { redis: redis.url },
      mount: (tp) => [
        tp.health({ path: '/health' }),
        tp.health({ path: '/strict', strict: true }),
        tp.rateLimit({ limit: 9, window: '1m' }),
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
    // The failure rules serve the rest of the application.
    expect((await get('/other')).status).toBe(200)
    await tp.close()
  })

  test('is not ready before Redis was reached for the first time', async () => {
    const { get, tp } = start({
      options: { redis: 'redis://127.0.0.1:1' },
      mount: (tp) => [tp.health()],
    })
    const { status, body } = await get('/health/ready')
    expect([status, body]).toEqual([503, { status: 'not ready' }])
    expect((await get('/health')).body).toMatchObject({ status: 'error', connected: false })
    await tp.close()
  })

  test('shows the results of further checks. One that fails makes it degraded', async () => {
    let calls = 0
    const store = testStore()
    const { get } = start({
      options: { store },
      mount: (tp) => [
        tp.health({
          checks: {
            mail: () => ({ status: 'ok', sent: ++calls }),
            payments: async () => {
              throw new Error('redis://user:secret@host')
            },
            search: (() => 'ok') as any,
            ['__proto__']: () => ({ status: 'ok' }),
          },
        }),
      ],
    })
    const first = await get('/health')
    expect(first.status).toBe(200)
    expect(first.body).toMatchObject({ status: 'degraded', reason: 'payments: error' })
    expect(JSON.stringify(first.body.checks)).toBe(
      '{"mail":{"status":"ok","sent":1},"payments":{"status":"error"},"search":{"status":"error"},"__proto__":{"status":"ok"}}',
    )
    await get('/health')
    expect(calls).toBe(1)
    await store.advance('5s')
    await get('/health')
    expect(calls).toBe(2)
  })

  test('shows the details to requests that `details` allows only', async () => {
    const store = testStore()
    const { get } = start({
      options: { store },
      mount: (tp) => [tp.health({ details: (native: any) => native.headers['x-admin'] === 'yes' })],
    })
    expect((await get('/')).body).toEqual({ status: 'healthy', connected: true })
    expect((await get('/', { 'x-admin': 'yes' })).body).toEqual({
      status: 'healthy',
      connected: true,
      latency_ms: expect.any(Number),
    })
  })

  test('asks Redis once for many callers, and again after cacheFor', async () => {
    const store = testStore()
    const info = vi.spyOn(store, 'info')
    const { get } = start({ options: { store }, mount: (tp) => [tp.health({ cacheFor: '2s' })] })
    await Promise.all(Array.from({ length: 20 }, () => get('/')))
    expect(info).toHaveBeenCalledTimes(1)
    await store.advance('2s')
    await Promise.all(Array.from({ length: 20 }, () => get('/')))
    expect(info).toHaveBeenCalledTimes(2)
  })

  test.each(['/health', '/health/'])('with the path %s, other requests pass', async (at) => {
    const { get } = start({
      options: { store: testStore() },
      mount: (tp) => [tp.health({ path: at })],
    })
    for (const path of ['/', '/healthy', '/x/health', '/other/live'])
      expect((await get(path)).text, path).toBe('ok')
    for (const path of ['/health', '/health/', '/health?x=1', '/health/redis'])
      expect((await get(path)).text, path).toContain('healthy')
  })
  test.each([
    ['health', "'/health'"],
    ['', undefined],
    [5, undefined],
  ])('refuses the path %j, which no request can have', (path, suggestion) => {
    const make = (): unknown =>
      start({
        options: { store: testStore() },
        mount: (tp) => [tp.health({ path: path as string })],
      })
    expect(make).toThrow(expect.objectContaining({ code: 'TP_OPTION', option: 'path', suggestion }))
  })
})

test('a check that does not end is a failed check', async () => {
  const { get } = apps[0]!.start({
    options: { store: testStore() },
    mount: (tp) => [tp.health({ checks: { mail: () => new Promise<never>(() => {}) } })],
  })
  expect((await get('/health')).body).toMatchObject({ reason: 'mail: timeout' })
})
