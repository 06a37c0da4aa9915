/** What clients send never becomes a key of another, a script, a header field or a property. */
import { describe, expect, test } from 'vitest'
import { startTestRedis } from '../support/redis.ts'
import { openSite, type Site } from '../faults/matrix/site.ts'

const HOSTILE = [
  '"]] redis.call("FLUSHALL") --',
  "'; redis.call('SET','pwned','1') return '",
  'return redis.call("FLUSHALL")',
  '\\"}) redis.call([[FLUSHALL]])',
  '$6\\r\\nPWNED!',
  '*1\\r\\n$8\\r\\nFLUSHALL\\r\\n',
  '}{canary}',
  '{canary}',
  ':canary',
  '../canary',
  'canary:lease',
  '*',
  '__proto__',
  'constructor.prototype.polluted',
  '%0d%0aSet-Cookie: pwned=1',
  '\\u000d\\u000aSet-Cookie: pwned=1',
  '\u00e9\u00ff',
  'x'.repeat(5_000),
]

async function open(framework: 'Express 5' | 'Koa 3', url: string): Promise<Site> {
  const site = await openSite(framework)
  const tp = site.turnpike({
    redis: url,
    prefix: 'inj',
    commandTimeout: '2s',
    requestBudget: '5s',
    tenant: ({ headers }) => headers['x-input'] ?? 'nobody',
  })
  const plain = site.turnpike({ redis: url, prefix: 'inj', commandTimeout: '2s' })
  tp.on('warning', () => {})
  await Promise.all([tp.ready(), plain.ready()])
  const input = ({ headers }: any): string => headers['x-input'] ?? 'nobody'
  const ok = (): readonly [number, string] => [200, 'ok']
  site.serve('/limit', [tp.rateLimit({ limit: 1000, window: '1m', key: input })], ok)
  site.serve('/login', [tp.loginGuard({ limit: 1000, addressLimit: 5000, key: input })], () => [
    401,
    'no',
  ])
  site.serve('/session', [tp.session({ secret: 'only for tests' })], async (native) => {
    await tp.session.login(native, input(native), { [input(native)]: input(native) })
    return [200, 'ok']
  })
  site.serve(
    '/cache',
    [tp.cache({ ttl: '1m', scope: input, tags: (native) => [input(native)] })],
    ok,
  )
  site.serve('/invalidate', [tp.invalidate({ tags: (native) => [input(native)] })], ok)
  site.serve('/pay', [tp.idempotency({ scope: input })], ok)
  site.serve('/lock', [tp.exclusive({ key: input })], ok)
  site.serve('/place', [tp.concurrency({ limit: 5, key: input })], ok)
  site.serve('/data', [], async (native) => {
    await plain.data.set(
      input(native),
      { __proto__: null, [input(native)]: 1 },
      { ttl: '1m', tags: [input(native)] },
    )
    return [200, JSON.stringify(await plain.data.get(input(native)))]
  })
  return site
}

const PATHS = [
  '/limit',
  '/login',
  '/session',
  '/cache',
  '/invalidate',
  '/pay',
  '/lock',
  '/place',
  '/data',
]

async function askAll(site: Site, input: string): Promise<void> {
  // What a header can carry at all: the HTTP parser refuses the rest.
  const header = Buffer.from(input).toString('latin1')
  for (const path of PATHS) {
    const method = path === '/pay' ? 'POST' : path === '/invalidate' ? 'PUT' : 'GET'
    const key = encodeURIComponent(input).slice(0, 255)
    const { status, headers, body } = await site.ask({
      path: `${path}/${key.slice(0, 1000)}`,
      method,
      headers: { 'x-input': header, 'idempotency-key': key },
    })
    // A login guard refuses identities that are too long to count.
    const login = input.length > 256 ? 400 : 401
    expect([path, input, status, body]).toEqual([
      path,
      input,
      path === '/login' ? login : 200,
      body,
    ])
    for (const [name, value] of Object.entries(headers)) {
      expect(`${name}: ${[value].flat().join()}`).not.toMatch(/pwned|[\r\n\0]/)
    }
  }
}

describe.each(['Express 5', 'Koa 3'] as const)('%s', (framework) => {
  test('attack: Lua, key and header injection by keys, tenants, tags, names and identities', async () => {
    const redis = await startTestRedis()
    try {
      await using site = await open(framework, redis.url)
      await redis.client.set('canary', 'alive')
      await askAll(site, 'an ordinary name')
      const scripts = async (): Promise<string> =>
        /number_of_cached_scripts:(\d+)/.exec(await redis.client.info('memory'))![1]!
      const before = await scripts()
      for (const input of HOSTILE) await askAll(site, input)
      // Whatever was sent, it made no script of its own.
      expect(await scripts()).toBe(before)
      expect(await redis.client.get('canary')).toBe('alive')
      const stats = await redis.client.info('commandstats')
      expect(stats).not.toMatch(/cmdstat_flush/)
      const keys = (await redis.client.keys('*')).filter((key) => key !== 'canary')
      expect(keys.length).toBeGreaterThan(HOSTILE.length)
      for (const key of keys) {
        expect(key).toMatch(/^inj:[!-~]+$/)
        expect(key.length).toBeLessThan(300)
        expect(key.match(/[{}]/g)).toEqual(['{', '}'])
      }
      expect(({} as any).polluted).toBeUndefined()
    } finally {
      await redis.stop()
    }
  })

  test('attack: prototype pollution by stored values', async () => {
    const redis = await startTestRedis()
    try {
      await using site = await openSite(framework)
      const tp = site.turnpike({
        redis: redis.url,
        prefix: 'pol',
        commandTimeout: '2s',
        requestBudget: '5s',
      })
      tp.on('warning', () => {})
      await tp.ready()
      const poison = '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"a":1}'
      const given: unknown[] = []
      site.serve('/pay', [tp.idempotency({ scope: () => 'me' })], async (native) => {
        const own = native.idempotency ?? native.state.idempotency
        given.push(await own.step('charge', () => JSON.parse(poison)))
        return [500, 'again']
      })
      site.serve('/session', [tp.session({ secret: 'only for tests' })], (native) => {
        Object.defineProperty(native.session, '__proto__', {
          value: { polluted: 1 },
          enumerable: true,
          configurable: true,
          writable: true,
        })
        return [200, JSON.stringify({ a: native.session.polluted })]
      })
      for (let i = 0; i < 2; i++)
        await site.ask({ path: '/pay', method: 'POST', headers: { 'idempotency-key': 'k' } })
      const [cookie] = [(await site.ask({ path: '/session' })).headers['set-cookie'] ?? []].flat()
      if (cookie) await site.ask({ path: '/session', headers: { cookie: cookie.split(';')[0]! } })
      await tp.data.set('v', JSON.parse(poison), { ttl: '1m' })
      given.push(await tp.data.get('v'))
      expect(given).toHaveLength(3)
      for (const value of [...given, {}, []]) {
        expect((value as any).polluted).toBeUndefined()
      }
      expect((given[2] as any).a).toBe(1)
    } finally {
      await redis.stop()
    }
  })
})
