/** A request touches the data of its tenant only. Hosts are normalised, other IDs are taken as they are. */
import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { turnpike } from '../../src/node.ts'
import { testStore } from '../../src/testing.ts'
import { apps, proxyApps } from '../support/apps.ts'
import { bothEngines } from '../support/engines.ts'

const SPELLINGS = [
  'shop.example',
  'Shop.EXAMPLE',
  'shop.example.',
  'shop.example:80',
  'SHOP.example.:8080',
  'shop.example:1',
]

/** An application that counts each of its tenants, up to 3. */
function counting(start: (typeof apps)[number]['start'], tenant: unknown, trustProxy?: number) {
  const seen: unknown[] = []
  const app = start({
    options: { store: testStore(), tenant: tenant as never },
    mount: (tp) => [tp.rateLimit({ name: 'l', limit: 3, window: '1h', key: () => 'all' })],
    handle(native) {
      seen.push((native.req ?? native).headers.host)
      return [200, 'ok']
    },
    ...(trustProxy !== undefined && { trustProxy }),
  })
  const status = async (headers: Record<string, string>): Promise<number> =>
    (await app.get('/', headers)).status
  return { ...app, status, seen }
}

describe.each(apps)('a host as the tenant: $name', ({ start, name }) => {
  const koa = name.startsWith('Koa')
  const ways: [string, unknown][] = [
    ["tenant: 'host'", 'host'],
    ['headers.host', (native: any) => native.headers.host],
    ['headers.host, later', async (native: any) => native.headers.host],
    ['a lookup by host', (native: any) => `id of ${native.headers.host}`],
  ]
  if (koa) ways.push(['ctx.host', (ctx: any) => ctx.host], ['ctx.hostname', (c: any) => c.hostname])
  if (name.startsWith('Express'))
    ways.push(['req.hostname', (r: any) => r.hostname], ['req.get()', (r: any) => r.get('Host')])

  test.each(ways)('%s: all spellings are one tenant', async (_way, tenant) => {
    const { status } = counting(start, tenant)
    const statuses = []
    for (const Host of SPELLINGS) statuses.push(await status({ Host }))
    expect(statuses).toEqual([200, 200, 200, 429, 429, 429])
    expect(await status({ Host: 'other.example' })).toBe(200)
  })

  test('the handler sees the host as the client sent it', async () => {
    const { status, seen } = counting(start, async (native: any) => native.headers.host)
    for (const Host of ['Shop.EXAMPLE:80', 'b.example']) await status({ Host })
    expect(seen).toEqual(['Shop.EXAMPLE:80', 'b.example'])
  })

  test('a function that throws leaves the host as it was', async () => {
    const hosts: unknown[] = []
    const app = start({
      options: {
        store: testStore(),
        tenant() {
          throw Object.assign(new Error('no tenant'), { status: 404 })
        },
      },
      mount: (tp) => [
        tp.rateLimit({ limit: 3, window: '1h', skip: (native: any) => hosts.push(native) < 0 }),
      ],
    })
    expect((await app.get('/', { Host: 'Shop.EXAMPLE' })).status).toBe(404)
    expect((hosts[0] as any).headers.host).toBe('Shop.EXAMPLE')
  })

  test('attack: a request whose host is malformed has no tenant', async () => {
    const { status, errors } = counting(start, 'host')
    expect(await status({ Host: 'a/b' })).toBe(400)
    expect(errors[0]).toMatchObject({ code: 'TP_KEY', status: 400 })
  })

  test.each([[''], [undefined], [5], [null]])('%o is no tenant', async (id) => {
    const { status, errors } = counting(start, () => id)
    expect(await status({})).toBe(500)
    expect(errors[0]).toMatchObject({ code: 'TP_KEY' })
  })

  test('attack: other ids are taken as they are, also where a client names them as its host', async () => {
    const { status } = counting(start, (native: any) => native.headers['x-team'])
    for (let i = 0; i < 3; i++)
      expect(await status({ 'X-Team': 'Acme.Inc', Host: 'acme.inc' })).toBe(200)
    for (const Host of ['Acme.Inc', 'Acme.Inc:80', 'acme.inc.'])
      expect(await status({ 'X-Team': 'Acme.Inc', Host })).toBe(429)
    expect(await status({ 'X-Team': 'acme.inc', Host: 'Acme.Inc' })).toBe(200)
  })
})

test.each(proxyApps)(
  '$name: a host that a trusted proxy forwards has one spelling',
  async (kind) => {
    const { status } = counting(kind.start, (native: any) => native.hostname, 1)
    const statuses = []
    for (const host of ['Shop.EXAMPLE', 'shop.example:80', 'shop.example.', 'shop.example, b.c'])
      statuses.push(await status({ 'X-Forwarded-Host': host }))
    expect(statuses).toEqual([200, 200, 200, 429])
  },
)

test('over HTTP/2 the authority has one spelling', async () => {
  const tp = turnpike({ store: testStore(), tenant: (req) => String(req.headers[':authority']) })
  const limit = tp.rateLimit({ limit: 2, window: '1h', key: () => 'all' })
  const server = http2.createServer((req, res) => {
    limit(req as never, res as never, () => res.end(String(req.headers[':authority'])))
  })
  server.listen(0)
  const { port } = server.address() as AddressInfo
  const client = http2.connect(`http://localhost:${port}`)
  onTestFinished(() => {
    client.close()
    server.close()
  })
  const get = async (authority: string): Promise<[unknown, string]> => {
    const stream = client.request({ ':authority': authority })
    let status: unknown
    stream.on('response', (headers) => (status = headers[':status']))
    let body = ''
    for await (const chunk of stream.setEncoding('utf8')) body += chunk
    return [status, body]
  }
  expect(await get('Shop.EXAMPLE')).toEqual([200, 'Shop.EXAMPLE'])
  expect(await get('shop.example:80')).toEqual([200, 'shop.example:80'])
  expect((await get('shop.example'))[0]).toBe(429)
})

const LONG = ['a', 'b'].map((end) => `tenant-${'x'.repeat(10_000)}${end}`)

describe.each(bothEngines())('ids of any length, on the $name engine', ({ open, server }) => {
  test('have limits of their own', async () => {
    const { store, prefix } = open()
    const tp = turnpike({ store, prefix, tenant: () => 'x' })
    for (const tenant of [...LONG, 'short', '~h', 'a=b', '*', '{a}']) {
      const limiter = tp.forTenant(tenant).limiter('l', { limit: 1, window: '1h' })
      expect((await limiter.consume('y'.repeat(100))).allowed).toBe(true)
      expect((await limiter.consume('y'.repeat(100))).allowed).toBe(false)
    }
    const redis = server()
    if (!redis) return
    const keys = (await redis.send('KEYS', `${prefix}:*`))
      .split('\r\n')
      .filter((line) => line[0] === 't')
    expect(keys).toHaveLength(7)
    for (const key of keys) expect(Buffer.byteLength(key)).toBeLessThanOrEqual(200)
  })

  test('list and invalidate only their own data', async () => {
    const { store, prefix } = open()
    const tp = turnpike({ store, prefix, tenant: (req) => LONG[Number(req.headers['x-tenant'])]! })
    const left = async (): Promise<string[]> => {
      const found: string[] = []
      for await (const batch of store.scan(`${prefix}*cache:*`)) found.push(...batch)
      return [...new Set(found)]
    }
    const { default: express } = await import('express')
    const { default: request } = await import('supertest')
    const cache = tp.cache({ ttl: '1h', public: true })
    const app = express().get('/page', cache as never, (_req, res) => void res.send('page'))
    const cached = async (tenant: string): Promise<string | undefined> =>
      (await request(app).get('/page').set('X-Tenant', tenant).set('Host', 'a.example')).headers[
        'cache-status'
      ]
    for (const tenant of ['0', '1'])
      await vi.waitFor(async () => expect(await cached(tenant)).toMatch(/hit/))
    expect((await left()).length).toBeGreaterThan(1)
    expect(await tp.cache.invalidatePattern('*page*', { tenant: LONG[0]! })).toBeGreaterThan(0)
    expect(await cached('0')).not.toMatch(/hit/)
    expect(await cached('1')).toMatch(/hit/)
  })
})

describe('without a tenant', () => {
  const tp = turnpike({ store: testStore(), tenant: 'host' })
  const limiter = tp.limiter('l', { limit: 1, window: '1m' })
  const guard = tp.loginGuard({ key: () => 'a' })
  test.each<[string, () => Promise<unknown>]>([
    ['limiter.consume()', () => limiter.consume('a')],
    ['limiter.peek()', () => limiter.peek('a')],
    ['limiter.refund()', () => limiter.refund('a')],
    ['limiter.reset()', () => limiter.reset('a')],
    ['limiter.block()', () => limiter.block('a', '1m')],
    ['limiter.wait()', () => limiter.wait('a')],
    ['guard.reset()', () => guard.reset('a')],
    ['overrides.set()', () => tp.overrides.set('a', { l: 5 })],
    ['overrides.get()', () => tp.overrides.get('a')],
    ['overrides.delete()', () => tp.overrides.delete('a')],
  ])('%s reaches no data', async (_call, call) => {
    await expect(call()).rejects.toMatchObject({ code: 'TP_KEY' })
  })

  test('a host in any spelling reaches its own data', async () => {
    await limiter.consume('a', { tenant: 'Shop.EXAMPLE:80' })
    expect((await limiter.peek('a', { tenant: 'shop.example' })).allowed).toBe(false)
    const scoped = tp.forTenant('SHOP.example.').limiter('l', { limit: 1, window: '1m' })
    expect(await scoped.reset('a')).toBe(true)
  })
})

test("a string other than 'host' is refused", () => {
  const make = () => turnpike({ store: testStore(), tenant: 'hostname' as never })
  expect(make).toThrow(expect.objectContaining({ code: 'TP_OPTION', option: 'tenant' }))
})
