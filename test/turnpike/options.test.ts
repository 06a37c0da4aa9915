/** turnpike() accepts and refuses options, and each option has its effect. */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createPlainServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { Cluster, Redis } from 'ioredis'
import { Redis as Redis5 } from 'ioredis5'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import type { TurnpikeOptions } from '../../src/turnpike.ts'
import { turnpike } from '../../src/node.ts'
import { startRedis, testStore, type RedisServer } from '../../src/testing.ts'
import { express5 } from '../support/serve.ts'
import { expectEveryKeyToExpire } from '../support/ttl.ts'
import { until } from '../support/until.ts'

type Options = TurnpikeOptions<any>
type Instance = ReturnType<typeof turnpike>

let server: RedisServer
let other: RedisServer
const instances: Instance[] = []
const clients: (Redis | Redis5)[] = []

beforeAll(async () => {
  ;[server, other] = await Promise.all([startRedis(), startRedis()])
})
afterEach(async () => {
  vi.unstubAllEnvs()
  await Promise.all(instances.splice(0).map((tp) => tp.close()))
  for (const client of clients.splice(0)) client.disconnect()
  for (const each of [server, other]) {
    await expectEveryKeyToExpire(each)
    await each.send('FLUSHALL')
  }
})
afterAll(() => Promise.all([server.stop(), other.stop()]))

/** Returns an instance that is closed after the test. Its timeout is long, because a loaded machine is slow. */
function create(options: Options = {}): Instance {
  const tp = turnpike({ commandTimeout: 2000, ...options })
  instances.push(tp)
  return tp
}

function fromEnv(options: Options = {}): Instance {
  const tp = turnpike.fromEnv({ commandTimeout: 2000, ...options })
  instances.push(tp)
  return tp
}

function client<Kind extends Redis | Redis5>(made: Kind): Kind {
  made.on('error', () => {})
  clients.push(made)
  return made
}

const limit = { limit: 10, window: '1m' } as const

/** Uses a limiter once. */
const use = async (tp: Instance, name = 'used', subject = 'me') =>
  await tp.limiter(name, limit).consume(subject)

/** Returns the keys of one database, read by another connection. */
async function keysOf(redis: RedisServer, db = 0): Promise<string[]> {
  const reader = client(new Redis({ host: redis.host, port: redis.port, db }))
  return (await reader.keys('*')).toSorted()
}

function refusal(options: unknown): Error & { suggestion?: string } {
  try {
    instances.push(turnpike(options as Options))
  } catch (error) {
    expect(error).toMatchObject({ code: 'TP_OPTION' })
    return error as Error
  }
  throw new Error('it was accepted')
}

describe('an option that cannot be used is refused', () => {
  it.each(['', 'a b', 'a{b}', 'ümlaut', 'x'.repeat(33), 'a\n', 5, null])('prefix %j', (prefix) => {
    expect(refusal({ redis: 'memory', prefix }).message).toMatch(/prefix must be up to 32 letters/)
  })

  it.each(['a', 'shop:eu-1', 'A.b_c', 'x'.repeat(32)])('except the prefix %j', (prefix) => {
    expect(create({ redis: 'memory', prefix }).status().status).toBe('ok')
  })

  it.each([
    ['prefxi', 'prefix'],
    ['Redis', 'redis'],
    ['database', 'databases'],
    ['maxInflight', 'maxInFlight'],
    ['command_timeout', 'commandTimeout'],
  ])('if it is unknown, with a suggestion: %s', (wrong, right) => {
    expect(refusal({ redis: 'memory', [wrong]: 1 }).message).toMatch(
      new RegExp(`there is no option ${wrong}. Did you mean ${right}\\?`),
    )
  })

  it('if it is unknown and like no other, with all options', () => {
    expect(refusal({ redis: 'memory', colour: 'red' }).message).toContain(
      'The options are redis, store, prefix',
    )
  })

  it.each([
    [{ commandTimeout: '15 minutes' }, "'15m'"],
    [{ commandTimeout: '100' }, undefined],
    [{ requestBudget: -1 }, undefined],
    [{ maxInFlight: 0 }, undefined],
    [{ instances: 1.5 }, undefined],
    [{ instances: '4' }, '4'],
    [{ fallbackMaxKeys: Infinity }, undefined],
    [{ layout: 'database' }, "'databases'"],
    [{ reuse: 'yes' }, undefined],
    [{ tenant: 'acme' }, undefined],
    [{ databases: { rateLimits: 2 } }, 'rateLimit'],
    [{ databases: { rateLimit: '2' } }, undefined],
    [{ stores: { rateLimit: 'redis://localhost' } }, undefined],
    [{ stores: { lokc: { redis: 'memory' } } }, 'lock'],
    [{ store: {} }, undefined],
    [{ version: {} }, undefined],
  ])('%j', (options, meant) => {
    const error = refusal({ redis: 'memory', ...options })
    expect(error.message).toContain(Object.keys(options)[0])
    expect(error.suggestion).toBe(meant)
  })

  it.each([[null], ['redis://localhost'], [[]], [5]])(
    'if the options are no object: %j',
    (options) => {
      expect(refusal(options).message).toContain('the options must be an object')
    },
  )
})

describe('redis', () => {
  it.each([
    ['localhost:6379', "'redis://localhost:6379'"],
    ['localhost', "'redis://localhost'"],
    ['cache.internal:6380', "'redis://cache.internal:6380'"],
  ])('%s is refused with a suggestion', (redis, meant) => {
    expect(refusal({ redis }).message).toContain(`Did you mean ${meant}?`)
  })

  it.each([
    '',
    'http://localhost',
    'redis:/localhost',
    'redis//localhost',
    'rediss:',
    'Memory',
    5,
    null,
    true,
    () => {},
  ])('%s is refused', (redis) => {
    expect(refusal({ redis }).message).toMatch(/redis must be a URL/)
  })

  it.each([
    'user:hunter2@localhost:6379',
    ':hunter2@localhost',
    'redis:/user:hunter2@localhost',
    'redis//:hunter2@localhost:6379/0',
    'http://user:hunter2@localhost',
    'user:p@ss@hunter2@localhost:6379',
    'localhost:6379?password=hunter2',
    'tcp://user:hunter2@localhost:6379?db=1',
  ])('no error shows the password in %s', (redis) => {
    for (const error of [
      refusal({ redis }),
      refusal({ redis: { url: redis } }),
      refusal({ stores: { cache: { redis } }, redis: 'memory' }),
    ]) {
      expect(inspect(error, { depth: Infinity, showHidden: true })).not.toContain('hunter2')
      expect(JSON.stringify(error)).not.toContain('hunter2')
    }
  })

  it.each([
    ['a URL', () => server.url],
    ['a URL with a database', () => `${server.url}/0`],
    ['options', () => ({ host: server.host, port: server.port })],
    ['options with a URL', () => ({ url: server.url })],
    ['a client', () => client(new Redis(server.url))],
    ['a lazy client', () => client(new Redis(server.url, { lazyConnect: true }))],
    ['a client of ioredis 5', () => client(new Redis5(server.url)) as unknown as Redis],
  ])('can be %s', async (_name, redis) => {
    expect(await use(create({ redis: redis() }))).toMatchObject({ source: 'store', remaining: 9 })
    expect(await keysOf(server)).toEqual(['tp:limit:{me}:used.used.s'])
  })

  it("can be 'memory'", async () => {
    const tp = create({ redis: 'memory' })
    expect(await use(tp)).toMatchObject({ source: 'store', remaining: 9 })
    expect(tp.status()).toMatchObject({ status: 'ok', topology: 'memory' })
  })

  it('can be omitted if there is a store', async () => {
    vi.stubEnv('NODE_ENV', 'production')
    vi.stubEnv('REDIS_URL', '')
    expect(await use(create({ store: testStore() }))).toMatchObject({ remaining: 9 })
  })
})

describe('without redis', () => {
  it('turnpike() throws TP_NO_REDIS in production', () => {
    vi.stubEnv('REDIS_URL', '')
    vi.stubEnv('NODE_ENV', 'production')
    expect(() => turnpike()).toThrow(
      expect.objectContaining({
        code: 'TP_NO_REDIS',
        message: expect.stringContaining("redis: 'memory'"),
      }),
    )
    expect(() => turnpike.fromEnv()).toThrow(expect.objectContaining({ code: 'TP_NO_REDIS' }))
  })

  it("'memory' is accepted in production", async () => {
    vi.stubEnv('REDIS_URL', '')
    vi.stubEnv('NODE_ENV', 'production')
    expect(await use(create({ redis: 'memory' }))).toMatchObject({ remaining: 9 })
  })

  it('development counts in the process and warns once', async () => {
    vi.stubEnv('REDIS_URL', '')
    vi.stubEnv('NODE_ENV', 'development')
    const warned: string[] = []
    const warn = vi
      .spyOn(process, 'emitWarning')
      .mockImplementation((message) => void warned.push(String(message)))
    onTestFinished(() => warn.mockRestore())
    const tp = create()
    expect(await use(tp)).toMatchObject({ remaining: 9 })
    expect(warned).toEqual([expect.stringContaining('REDIS_URL')])
  })

  it('REDIS_URL is used', async () => {
    vi.stubEnv('REDIS_URL', server.url)
    vi.stubEnv('NODE_ENV', 'production')
    expect(await use(create())).toMatchObject({ source: 'store' })
    expect(await keysOf(server)).toHaveLength(1)
  })

  it('the option has precedence over REDIS_URL', async () => {
    vi.stubEnv('REDIS_URL', other.url)
    await use(create({ redis: server.url }))
    await use(fromEnv({ redis: server.url }))
    expect(await keysOf(server)).toHaveLength(1)
    expect(await keysOf(other)).toEqual([])
  })

  it('an invalid REDIS_URL is refused', () => {
    vi.stubEnv('REDIS_URL', 'user:hunter2@localhost')
    expect(() => turnpike()).toThrow(
      expect.objectContaining({
        code: 'TP_OPTION',
        message: expect.not.stringContaining('hunter2'),
      }),
    )
    expect(() => turnpike.fromEnv()).toThrow(
      expect.objectContaining({
        code: 'TP_OPTION',
        message: expect.not.stringContaining('hunter2'),
      }),
    )
  })
})

describe('fromEnv()', () => {
  /** Passwords with characters that URLs and shells change. */
  it.each(['simple', 'p@ss:w/rd', 'a%41b', '100%', 'ü#?&='])(
    'reads REDIS_PASSWORD and REDIS_USERNAME: %s',
    async (password) => {
      await using guarded = await startRedis({ args: ['--requirepass', password] })
      const reachable = async (url: string, env: Record<string, string>): Promise<string> => {
        vi.unstubAllEnvs()
        for (const [name, value] of Object.entries({ REDIS_URL: url, ...env }))
          vi.stubEnv(name, value)
        const tp = fromEnv()
        await tp.ready('3s')
        return (await use(tp)).source
      }
      const at = `${guarded.host}:${guarded.port}`
      expect(await reachable(`redis://${at}`, { REDIS_PASSWORD: password })).toBe('store')
      expect(
        await reachable(`redis://${at}/0`, { REDIS_USERNAME: 'default', REDIS_PASSWORD: password }),
      ).toBe('store')
      expect(await reachable(`redis://default@${at}`, { REDIS_PASSWORD: password })).toBe('store')
      // The password in the URL has precedence.
      expect(
        await reachable(`redis://:${encodeURIComponent(password)}@${at}`, {
          REDIS_PASSWORD: 'wrong',
        }),
      ).toBe('store')
    },
  )

  it('names a file that cannot be read', () => {
    vi.stubEnv('REDIS_URL', 'rediss://localhost')
    vi.stubEnv('REDIS_SSL_CA_CERTS', '/nowhere/ca.pem')
    expect(() => turnpike.fromEnv()).toThrow(
      expect.objectContaining({
        code: 'TP_OPTION',
        message: expect.stringContaining(
          "REDIS_SSL_CA_CERTS must be the path of a file that can be read. It is '/nowhere/ca.pem'",
        ),
      }),
    )
  })
})

describe('TLS', () => {
  let folder: string
  let secure: RedisServer
  let port: number
  const path = (name: string): string => join(folder, name)

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'turnpike-tls-'))
    writeFileSync(path('san'), 'subjectAltName=DNS:localhost,IP:127.0.0.1')
    const openssl = (...args: string[]): void =>
      void execFileSync('openssl', args, { cwd: folder, stdio: 'ignore' })
    openssl(
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-days',
      '1',
      '-keyout',
      'ca.key',
      '-out',
      'ca.pem',
      '-subj',
      '/CN=turnpike test',
    )
    openssl(
      'req',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-keyout',
      'key.pem',
      '-out',
      'request.pem',
      '-subj',
      '/CN=localhost',
    )
    openssl(
      'x509',
      '-req',
      '-in',
      'request.pem',
      '-CA',
      'ca.pem',
      '-CAkey',
      'ca.key',
      '-CAcreateserial',
      '-days',
      '1',
      '-extfile',
      'san',
      '-out',
      'cert.pem',
    )
    // The port for TLS: one that was free a moment ago.
    const probe = createPlainServer().listen(0, '127.0.0.1')
    await once(probe, 'listening')
    port = (probe.address() as AddressInfo).port
    probe.close()
    await once(probe, 'close')
    secure = await startRedis({
      args: [
        '--tls-port',
        String(port),
        '--tls-cert-file',
        path('cert.pem'),
        '--tls-key-file',
        path('key.pem'),
        '--tls-ca-cert-file',
        path('ca.pem'),
        '--tls-auth-clients',
        'optional',
      ],
    })
  })
  afterAll(async () => {
    await secure.stop()
    rmSync(folder, { recursive: true })
  })

  const warned = async (redis: Options['redis']): Promise<string[]> => {
    const tp = create({ redis: redis! })
    const warnings: string[] = []
    tp.on('warning', ({ message }) => warnings.push(message))
    await use(tp)
    await until('it warns', () => tp.status().warnings.length > 0, 8000)
    // Connections continue to fail. No further warning comes.
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(tp.status().warnings).toEqual(warnings)
    expect(tp.status().status).toBe('down')
    return warnings
  }

  it('REDIS_SSL_CA_CERTS, _CERTFILE and _KEYFILE are used, with rediss:// and with REDIS_SSL', async () => {
    vi.stubEnv('REDIS_SSL_CA_CERTS', path('ca.pem'))
    vi.stubEnv('REDIS_SSL_CERTFILE', path('cert.pem'))
    vi.stubEnv('REDIS_SSL_KEYFILE', path('key.pem'))
    vi.stubEnv('REDIS_URL', `rediss://localhost:${port}`)
    const byUrl = fromEnv()
    await byUrl.ready('3s')
    expect((await use(byUrl)).source).toBe('store')
    vi.stubEnv('REDIS_URL', `redis://127.0.0.1:${port}`)
    vi.stubEnv('REDIS_SSL', 'true')
    const bySwitch = fromEnv()
    await bySwitch.ready('3s')
    expect((await use(bySwitch)).source).toBe('store')
  })

  it('an untrusted certificate is reported once, with the remedy', async () => {
    expect(await warned(`rediss://localhost:${port}`)).toEqual([
      expect.stringMatching(/certificate is not trusted\. .*tls\.ca.*REDIS_SSL_CA_CERTS/),
    ])
  })

  it('TLS to a server without TLS is reported once, with the remedy', async () => {
    expect(await warned(`rediss://localhost:${secure.port}`)).toEqual([
      expect.stringContaining('use redis:// instead of rediss://'),
    ])
  })

  it('a plain connection to a server with TLS is reported once, with the remedy', async () => {
    expect(await warned(`redis://localhost:${port}`)).toEqual([
      expect.stringContaining('use rediss:// instead of redis://'),
    ])
  })
})

describe('a mistake in the configuration is reported once, with its remedy, and is part of the status', () => {
  it('a wrong password, or none', async () => {
    await using guarded = await startRedis({ args: ['--requirepass', 'right'] })
    for (const credentials of [':hunter2@', 'nobody:hunter2@', '']) {
      const tp = create({ redis: `redis://${credentials}${guarded.host}:${guarded.port}` })
      const warnings: string[] = []
      tp.on('warning', ({ message }) => warnings.push(message))
      await until('it warns', () => warnings.length > 0)
      await new Promise((resolve) => setTimeout(resolve, 300))
      const found = credentials === '' ? 'none was given' : 'refused the user name or password'
      expect(warnings).toEqual([expect.stringContaining(found)])
      expect(tp.status()).toMatchObject({ status: 'down', warnings })
      expect(inspect(tp.status())).not.toContain('hunter2')
      expect((await use(tp)).source).toBe('local')
    }
  })

  it('a host that does not exist', async () => {
    const tp = create({ redis: 'redis://no-such-host.invalid:6379' })
    await until('it warns', () => tp.status().warnings.length > 0, 8000)
    expect(tp.status().warnings).toEqual([expect.stringContaining('cannot be resolved')])
  })

  it('a port where nothing listens, until a server does', async () => {
    const own = await startRedis()
    onTestFinished(() => own.stop())
    await own.kill()
    const tp = create({ redis: own.url })
    await until('it warns', () => tp.status().warnings.length > 0)
    expect(tp.status().warnings).toEqual([expect.stringContaining('Nothing listens')])
    await own.restart()
    await tp.ready('3s')
    await until('there is no warning left', () => tp.status().warnings.length === 0)
  })
})

describe('prefix, version and tenant', () => {
  it('are part of every key', async () => {
    await use(create({ redis: server.url, prefix: 'shop' }))
    await use(create({ redis: server.url, prefix: 'shop', version: 2 }))
    await create({ redis: server.url }).forTenant('acme').limiter('used', limit).consume('me')
    expect(await keysOf(server)).toEqual([
      'shop:limit:{me}:used.used.s',
      'shop~2:limit:{me}:used.used.s',
      'tp:limit:{acme=me}:used.used.s',
    ])
  })

  it('another version finds no data', async () => {
    await use(create({ redis: server.url, version: 1 }))
    expect((await use(create({ redis: server.url, version: 1 }))).remaining).toBe(8)
    expect((await use(create({ redis: server.url, version: 2 }))).remaining).toBe(9)
    expect((await use(create({ redis: server.url }))).remaining).toBe(9)
  })

  it('two tenants never share a count', async () => {
    const app = await express5.serve({
      options: {
        redis: server.url,
        commandTimeout: 2000,
        tenant: ({ headers }: any) => headers['x-tenant'],
      },
      routes: (tp) => ({
        '/': tp.rateLimit({ limit: 2, window: '1m' }),
        '/login': tp.loginGuard({ limit: 2, key: () => 'ann' }),
      }),
    })
    const ask = async (tenant: string, path: string): Promise<number> =>
      (await app.get(path, { 'x-tenant': tenant, 'x-status': '401' })).status
    for (const path of ['/', '/login']) {
      expect([await ask('a', path), await ask('a', path), await ask('a', path)]).toEqual([
        401, 401, 429,
      ])
      expect([await ask('b', path), await ask('b', path), await ask('b', path)]).toEqual([
        401, 401, 429,
      ])
    }
  })

  it('a request without a tenant is an error, and shares no count', async () => {
    const app = await express5.serve({
      options: { store: testStore(), tenant: () => undefined as unknown as string },
      routes: (tp) => ({
        '/': tp.rateLimit({ limit: 2, window: '1m' }),
        '/login': tp.loginGuard({ limit: 2, key: () => 'ann' }),
      }),
    })
    for (const path of ['/', '/login']) {
      expect((await app.get(path)).status).toBe(500)
      expect(app.errors.at(-1)).toMatchObject({
        code: 'TP_KEY',
        message: expect.stringContaining('tenant'),
      })
    }
  })

  it('a limiter outside a request needs a tenant, or belongs to one', async () => {
    const tp = create({ store: testStore(), tenant: () => 'acme' })
    const limiter = tp.limiter('jobs', limit)
    await expect(limiter.consume('me')).rejects.toMatchObject({
      code: 'TP_KEY',
      message: expect.stringContaining('forTenant'),
    })
    await expect(limiter.reset('me')).rejects.toMatchObject({ code: 'TP_KEY' })
    expect((await limiter.consume('me', { tenant: 'acme' })).remaining).toBe(9)
    expect((await tp.forTenant('acme').limiter('jobs', limit).consume('me')).remaining).toBe(8)
    expect((await tp.forTenant('globex').limiter('jobs', limit).consume('me')).remaining).toBe(9)
    expect(() => tp.forTenant(undefined as unknown as string)).toThrow(
      expect.objectContaining({ code: 'TP_OPTION' }),
    )
  })

  it('limits that are stored for a subject apply to its tenant only', async () => {
    const tp = create({ redis: server.url })
    await tp.forTenant('acme').overrides.set('vip', { plan: 100 })
    const remaining = async (tenant: string) =>
      (await tp.forTenant(tenant).limiter('plan', limit).consume('vip')).remaining
    expect(await remaining('acme')).toBe(99)
    expect(await remaining('globex')).toBe(9)
  })
})

describe('databases', () => {
  it.each([
    ['layout', { layout: 'databases' }],
    ['databases', { databases: { rateLimit: 2, cache: 1 } }],
  ] as [string, Options][])(
    '%s: limits are in database 2, whatever database the source names',
    async (_name, layout) => {
      const sources = [
        server.url,
        `${server.url}/0`,
        `${server.url}/5`,
        `${server.url}?db=6`,
        { url: `${server.url}/7` },
        { host: server.host, port: server.port, db: 8 },
        client(new Redis(`${server.url}/9`)),
      ]
      for (const redis of sources) await use(create({ redis, ...layout }))
      const used = await Promise.all(
        Array.from({ length: 10 }, async (_, db) =>
          (await keysOf(server, db)).length > 0 ? db : -1,
        ),
      )
      expect(used.filter((db) => db >= 0)).toEqual([2])
      expect(await keysOf(server, 2)).toEqual(['tp:limit:{me}:used.used.s'])
      expect((await use(create({ redis: server.url, ...layout }))).remaining).toBe(
        10 - sources.length - 1,
      )
    },
  )

  it('without them the database of the URL is used', async () => {
    await use(create({ redis: `${server.url}/5` }))
    expect(await keysOf(server, 5)).toHaveLength(1)
  })

  it('on a Cluster are refused when the instance is created', () => {
    const cluster = new Cluster([{ host: server.host, port: server.port }], { lazyConnect: true })
    onTestFinished(() => cluster.disconnect())
    for (const redis of [cluster, { cluster: [{ host: server.host, port: server.port }] }]) {
      for (const option of [{ databases: { rateLimit: 2 } }, { layout: 'databases' }]) {
        expect(refusal({ redis, ...option }).message).toMatch(
          /databases must be omitted on a Cluster/,
        )
      }
    }
  })

  it('and reuse exclude each other', () => {
    expect(
      refusal({ redis: client(new Redis(server.url)), reuse: true, databases: { rateLimit: 2 } })
        .message,
    ).toContain('reuse')
  })
})

describe('stores', () => {
  it('put an area on a server of its own', async () => {
    await use(create({ redis: server.url, stores: { rateLimit: { redis: other.url } } }))
    expect(await keysOf(server)).toEqual([])
    expect(await keysOf(other)).toHaveLength(1)
  })

  it('of other areas have no effect', async () => {
    await use(create({ redis: server.url, stores: { session: { redis: other.url } } }))
    expect(await keysOf(server)).toHaveLength(1)
    expect(await keysOf(other)).toEqual([])
  })

  it('have the keyPrefix of their own client', async () => {
    const [main, own] = [
      client(new Redis(server.url, { keyPrefix: 'main:' })),
      client(new Redis(other.url, { keyPrefix: 'own:' })),
    ]
    await use(create({ redis: main, stores: { rateLimit: { redis: own } } }))
    expect(await keysOf(other)).toEqual(['own:tp:limit:{me}:used.used.s'])
  })
})

describe('a client that is passed', () => {
  const connections = async (): Promise<number> =>
    (await server.send('CLIENT', 'LIST'))
      .split('\n')
      .filter((line) => line.startsWith('id=') || line.includes('id=')).length

  it('is duplicated with safe options, and is not closed', async () => {
    const theirs = client(new Redis(server.url))
    await theirs.ping()
    const before = await connections()
    const tp = create({ redis: theirs })
    await tp.ready('3s')
    expect((await connections()) - before).toBe(1)
    expect(theirs.options).toMatchObject({
      enableOfflineQueue: true,
      maxRetriesPerRequest: expect.any(Number),
    })
    await tp.close()
    expect(await theirs.ping()).toBe('PONG')
  })

  it('keeps its keyPrefix before every key, also with reuse', async () => {
    const theirs = client(new Redis(server.url, { keyPrefix: 'app:' }))
    expect((await use(create({ redis: theirs }))).remaining).toBe(9)
    const itself = create({ redis: theirs, reuse: true })
    expect((await use(itself)).remaining).toBe(8)
    expect(
      (await use(create({ redis: { host: server.host, port: server.port, keyPrefix: 'app:' } })))
        .remaining,
    ).toBe(7)
    // reuse concerns clients. The keyPrefix of options applies all the same.
    expect(
      (
        await use(
          create({
            redis: { host: server.host, port: server.port, keyPrefix: 'app:' },
            reuse: true,
          }),
        )
      ).remaining,
    ).toBe(6)
    expect(await keysOf(server)).toEqual(['app:tp:limit:{me}:used.used.s'])
  })

  it('is reported once if reuse keeps options that let commands run late or twice', async () => {
    const warned: string[] = []
    const warn = vi
      .spyOn(process, 'emitWarning')
      .mockImplementation((message) => void warned.push(String(message)))
    onTestFinished(() => warn.mockRestore())
    const theirs = client(new Redis(server.url))
    create({ redis: theirs, reuse: true })
    expect(warned).toEqual([
      expect.stringMatching(
        /reuse: true keeps .*maxRetriesPerRequest, enableOfflineQueue, autoResendUnfulfilledCommands/,
      ),
    ])
    const safe = client(
      new Redis(server.url, {
        maxRetriesPerRequest: 0,
        enableOfflineQueue: false,
        autoResendUnfulfilledCommands: false,
      }),
    )
    create({ redis: safe, reuse: true })
    expect(warned).toHaveLength(1)
  })

  it('is used itself with reuse, without another connection', async () => {
    const theirs = client(new Redis(server.url))
    await theirs.ping()
    const before = await connections()
    const tp = create({ redis: theirs, reuse: true })
    expect((await use(tp)).source).toBe('store')
    expect(await connections()).toBe(before)
    await tp.close()
    expect(await theirs.ping()).toBe('PONG')
  })
})
