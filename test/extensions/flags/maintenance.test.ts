import { describe, expect, onTestFinished, test } from 'vitest'
import { maintenance, type Maintenance, type MaintenanceOptions } from '../../../src/flags.ts'
import { turnpike } from '../../../src/node.ts'
import { testStore } from '../../../src/testing.ts'
import { apps } from '../../support/apps.ts'
import { bothEngines } from '../../support/engines.ts'
import { until } from '../../support/until.ts'
import { withoutMessages } from './support.ts'

/** What a proxy that resolves dots takes for another path. */
const OUTSIDE = ['/health/%2e%2E/admin', '/health/.%2e/admin', '/health/..%2fadmin', '/health/a/..']

describe.each(bothEngines())('maintenance on the $name engine', ({ open }) => {
  describe.each(apps)('on $name', ({ start }) => {
    function setUp(options: MaintenanceOptions<any> = {}) {
      const opened = open()
      let closed!: Maintenance
      const app = start({
        options: { store: opened.store, prefix: opened.prefix },
        mount(tp) {
          const middleware = maintenance(tp, options)
          closed = middleware
          return [middleware]
        },
      })
      return { ...opened, app, closed }
    }

    test('requests are refused from on() to off()', async () => {
      const { app, closed } = setUp()
      expect((await app.get()).status).toBe(200)
      await closed.on()
      const refused = await app.get('/products?page=2')
      expect(refused.status).toBe(503)
      expect(refused.headers).toMatchObject({
        'retry-after': '300',
        'content-type': 'application/problem+json',
        'cache-control': 'no-store',
      })
      expect(JSON.parse(refused.text)).toMatchObject({
        status: 503,
        title: 'Service Unavailable',
        detail: 'The service is under maintenance. Try again later.',
      })
      expect((await app.post()).status).toBe(503)
      await closed.off()
      expect((await app.get()).status).toBe(200)
    })

    test('the switch says for how long and why', async () => {
      const { app, closed } = setUp({ retryAfter: '1m' })
      await closed.on({ retryAfter: '90s', detail: 'We move to a larger house.' })
      const refused = await app.get('/', { accept: 'text/plain' })
      expect(refused.headers['retry-after']).toBe('90')
      expect(refused.text).toContain('We move to a larger house.')
      await closed.on()
      expect((await app.get()).headers['retry-after']).toBe('60')
    })

    test('allowed requests and health checks pass', async () => {
      const { app, closed } = setUp({
        allow: async ({ headers }) => headers['x-user'] === 'admin',
      })
      await closed.on()
      expect((await app.get('/', { 'x-user': 'admin' })).status).toBe(200)
      expect((await app.get('/', { 'x-user': 'ann' })).status).toBe(503)
      for (const path of ['/health', '/health/live', '/healthz', '/readyz?verbose', '/livez'])
        expect((await app.get(path)).status, path).toBe(200)
      for (const path of ['/healthy', '/x/health', '/health%2f..', '/', '/?/health', ...OUTSIDE])
        expect((await app.get(path)).status, path).toBe(503)
      expect((await app.post('/health')).status).toBe(503)
    })

    test('the application replies as it likes', async () => {
      const { app, closed } = setUp({
        health: [],
        reply: (_native, { retryAfterMs }) => ({ body: { back: retryAfterMs } }),
      })
      await closed.on({ retryAfter: '10s' })
      const { status, text, headers } = await app.get('/health')
      expect([status, JSON.parse(text), headers['retry-after']]).toEqual([
        503,
        { back: 10_000 },
        '10',
      ])
    })
  })

  test('all processes are switched, and know who did it', async () => {
    const { store, prefix } = open()
    const [a, b] = [
      maintenance(turnpike({ store, prefix })),
      maintenance(turnpike({ store, prefix })),
    ]
    expect(a.status()).toEqual({ on: false, since: undefined, by: undefined })
    await a.on({ by: 'ann' })
    await until('the other process is switched', () => b.status().on)
    expect(b.status()).toEqual({ on: true, since: store.now(), by: 'ann' })
    await b.off()
    await until('the other process is switched back', () => !a.status().on)
    expect(a.status()).toEqual({ on: false, since: store.now(), by: undefined })
  })

  test('without a message a process is switched within a second', async () => {
    const { store, prefix, advance } = open()
    const [a, b] = [
      maintenance(turnpike({ store, prefix })),
      maintenance(turnpike({ store: withoutMessages(store), prefix })),
    ]
    await b.refresh()
    await a.on()
    expect(b.status().on).toBe(false)
    await advance('1s')
    await until('the other process is switched', () => b.status().on)
  })
})

function setUpUnit(options?: MaintenanceOptions<any>) {
  const store = testStore()
  const tp = turnpike({ store })
  onTestFinished(() => tp.close())
  return { store, tp, closed: maintenance(tp, options) }
}

test('while Redis is away the last state stays, and the switch is refused', async () => {
  const { store, closed } = setUpUnit()
  await closed.on()
  store.fail()
  expect(closed.status().on).toBe(true)
  await expect(closed.off()).rejects.toMatchObject({ code: 'TP_UNAVAILABLE' })
  expect(closed.status().on).toBe(true)
})

test('what a stranger has stored leaves the state as it is', async () => {
  const { store, closed } = setUpUnit()
  await closed.on()
  const key = 'tp:operations:document:{maintenance-default}'
  for (const [i, content] of ['[]', '{}', '{"on":"no"}', 'null'].entries()) {
    store.set(key, { version: `${i}.x`, content, keptUntil: Infinity }, 1e9)
    await closed.refresh()
    expect(closed.status().on, content).toBe(true)
  }
  const content = '{"on":true,"since":"x","by":{},"detail":7,"retryAfterMs":-1}'
  store.set(key, { version: '9.x', content, keptUntil: Infinity }, 1e9)
  await closed.refresh()
  expect(closed.status()).toEqual({ on: true, since: undefined, by: undefined })
})

test.each<[string, object]>([
  ['an allow that is no function', { allow: ['admin'] }],
  ['a path for health checks in place of a list', { health: '/health' }],
  ['the path of everything', { health: ['/'] }],
  ['two slashes', { health: ['//'] }],
  ['a path without a slash', { health: ['health'] }],
  ['a path with a query', { health: ['/a?b'] }],
  ['no time to retry after', { retryAfter: 0 }],
  ['an unknown option', { allowed: () => true }],
  ['a name with a colon', { name: 'a:b' }],
])('%s is refused', (_what, options) => {
  const tp = turnpike({ store: testStore() })
  const code = 'TP_OPTION'
  expect(() => maintenance(tp, options as any)).toThrow(expect.objectContaining({ code }))
})

test('options of the switch are checked', async () => {
  const { closed } = setUpUnit()
  const given = [
    { retryAfter: 0 },
    { retryAfter: 'soon' },
    { detail: 7 },
    { by: 'x'.repeat(201) },
    { for: '1m' },
  ]
  for (const options of given)
    await expect(closed.on(options as any)).rejects.toMatchObject({ code: 'TP_OPTION' })
  await expect(closed.off({ detail: 'x' } as any)).rejects.toMatchObject({ code: 'TP_OPTION' })
  expect(closed.status().on).toBe(false)
})

test("with refusals: 'next' the application's error handler replies", async () => {
  const app = apps[0]!.start({
    options: { store: testStore(), refusals: 'next' },
    mount(tp) {
      const middleware = maintenance(tp)
      void middleware.on()
      return [middleware]
    },
  })
  const { status, headers, text } = await app.get()
  expect([status, headers['retry-after']]).toEqual([503, '300'])
  expect(JSON.parse(text)).toMatchObject({ code: 'TP_MAINTENANCE' })
})
