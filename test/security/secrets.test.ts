/** Logs, errors, events and the status contain no credential. */
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { inspect } from 'node:util'
import { Cluster, Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { EVENTS, type EventName } from '../../src/events.ts'
import { turnpike } from '../../src/node.ts'
import { startRedis, type RedisServer } from '../../src/testing.ts'
import { apiKeys, oneTimeTokens, refreshTokens } from '../../src/tokens.ts'
import { startCluster } from '../support/cluster.ts'
import { startSentinel } from '../support/sentinel.ts'
import { startTlsRedis } from '../support/tls.ts'

const SECRET = 'hunter2-do-not-show'

let server: RedisServer
let written: string[] = []

beforeAll(async () => {
  server = await startRedis({ args: ['--requirepass', 'right'] })
  // Whatever any library prints counts as shown.
  for (const method of ['log', 'info', 'warn', 'error', 'debug'] as const)
    vi.spyOn(console, method).mockImplementation((...args) => void written.push(inspect(args)))
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    written.push(String(text))
    return true
  })
  vi.spyOn(process, 'emitWarning').mockImplementation((text) => void written.push(String(text)))
})
afterEach(() => {
  written = []
})
afterAll(async () => {
  vi.restoreAllMocks()
  await server.stop()
})

/** Everything that a logger could get out of a value, causes and hidden members included. */
function shown(value: unknown): string {
  const seen = [
    inspect(value, { depth: 20, showHidden: true, maxArrayLength: null }),
    String(value),
  ]
  for (let each = value as Error | undefined; each instanceof Error; each = each.cause as Error) {
    seen.push(each.stack ?? '', JSON.stringify(each), each.message)
    for (const key of Reflect.ownKeys(each))
      seen.push(inspect(each[key as never], { depth: 20, showHidden: true }))
  }
  return seen.join('\n')
}

function thrown(call: () => unknown): unknown {
  try {
    call()
  } catch (error) {
    return error
  }
  throw new Error('it was accepted')
}

describe('an option that is refused', () => {
  const URLS = [
    `http://user:${SECRET}@localhost`,
    `user:${SECRET}@localhost:6379`,
    `:${SECRET}@localhost`,
    `redis//:${SECRET}@localhost`,
    `redis://user:${SECRET}@localhost:99999`,
    `redis://${SECRET}:${SECRET}@[::1`,
    `tcp://localhost:6379?password=${SECRET}`,
    `localhost:6379?password=${SECRET}`,
    `rediss:?auth=${SECRET}`,
    SECRET,
  ]
  const tls = { key: `-----BEGIN PRIVATE KEY-----${SECRET}`, passphrase: SECRET }
  const nested = { host: 'a', password: SECRET, sentinelPassword: SECRET, tls }
  const VALUES = [...URLS, nested, [SECRET], [nested], { url: `http://:${SECRET}@a` }, () => SECRET]
  const KNOWN = ['redis', 'store', 'databases', 'stores', 'layout', 'reuse', 'instances', 'logger']
  const UNKNOWN = [
    'url',
    'password',
    'passwd',
    'auth',
    'sentinelPassword',
    'tls',
    'token',
    'pw',
    'x',
  ]

  it.each([...KNOWN, ...UNKNOWN])('%s shows no secret, whatever it holds', (option) => {
    for (const value of VALUES) {
      // A word that is no URL is quoted where the option is known: it may be a slip.
      if (value === SECRET && KNOWN.includes(option) && option !== 'redis') continue
      let error: unknown
      try {
        void turnpike({ redis: 'memory', [option]: value as never }).close()
        continue
      } catch (caught) {
        error = caught
      }
      expect(error).toMatchObject({ code: 'TP_OPTION' })
      expect(shown(error)).not.toContain(SECRET)
    }
  })

  it.each(['redis', 'stores.cache.redis', 'a url among options'])('%s', (where) => {
    for (const url of URLS) {
      const options = {
        redis: { redis: url },
        'stores.cache.redis': { redis: 'memory', stores: { cache: { redis: url } } },
        'a url among options': { redis: { url } },
      }[where]
      expect(shown(thrown(() => turnpike(options as never)))).not.toContain(SECRET)
    }
  })

  it.each([
    ['tp.session()', (tp, options) => tp.session(options)],
    ['tp.sessionStore()', (tp, options) => tp.sessionStore(options)],
    ['tp.limiter()', (tp, options) => tp.limiter('a', options)],
    ['oneTimeTokens()', (tp, options) => oneTimeTokens(tp, options)],
    ['refreshTokens()', (tp, options) => refreshTokens(tp, options)],
    ['apiKeys()', (tp, options) => apiKeys(tp, options)],
  ] as [string, (tp: any, options: any) => unknown][])(
    'of %s shows no secret, however it is misspelt, and whatever holds it',
    (_, create) => {
      const tp = turnpike({ redis: 'memory' })
      const names = ['secret', 'secrte', 'keys', 'pepper', 'peper', 'encrypt', 'crypt', 'auth']
      let refused = 0
      for (const name of names)
        for (const value of [SECRET, [SECRET, 5], { value: SECRET }, () => SECRET, ...URLS]) {
          try {
            create(tp, { [name]: value })
          } catch (error) {
            refused++
            expect(shown(error)).not.toContain(SECRET)
          }
        }
      expect(refused).toBeGreaterThan(80)
    },
  )

  it('of a session shows neither its secret nor its key', () => {
    const tp = turnpike({ redis: 'memory' })
    for (const options of [
      { secret: [SECRET, 5] },
      { secret: { value: SECRET } },
      { secret: 'long enough to be a secret', encrypt: SECRET },
      { secret: 'long enough to be a secret', encrypt: [SECRET, SECRET] },
      { secret: 'long enough to be a secret', secrets: SECRET },
      { secret: 'long enough to be a secret', cookie: { secret: SECRET, sameSite: SECRET } },
    ])
      expect(shown(thrown(() => tp.session(options as never)))).not.toContain(SECRET)
  })
})

/** Uses an instance that cannot reach Redis in every way, and returns all that could be seen of it. */
async function use(redis: unknown, options: object = {}): Promise<string> {
  const seen: unknown[] = []
  const logger = {
    warn: (line: string) => seen.push(line),
    info: (line: string) => seen.push(line),
  }
  const tp = turnpike({ redis: redis as string, logger, ...options })
  onTestFinished(() => tp.close())
  for (const name of Object.keys(EVENTS) as EventName[]) tp.on(name, (event) => seen.push(event))
  const note = (error: unknown): void => void seen.push(error)
  const limiter = tp.limiter('used', { limit: 5, window: '1m' })
  for (let i = 0; i < 8; i++) {
    await limiter.consume(SECRET).catch(note)
    await limiter.peek('subject').catch(note)
    await tp.data.set('key', { password: SECRET }, { ttl: '1m' }).catch(note)
    await tp.lock('name', {}, () => {}).catch(note)
  }
  await tp.ready(600).catch(note)
  seen.push(tp.status(), ...written)
  expect(seen.some((each) => (each as Error).message !== undefined)).toBe(true)
  return seen.map(shown).join('\n')
}

/** The subject of a limit may be seen: it is no secret. The password is another word. */
const PASSWORD = 'correct-horse-battery'

describe('a server that cannot be used', () => {
  const address = (): { host: string; port: number } => ({ host: server.host, port: server.port })

  it.each([
    ['a URL', () => `redis://user:${PASSWORD}@${server.host}:${server.port}`],
    ['a URL without a user', () => `redis://:${PASSWORD}@${server.host}:${server.port}`],
    ['a query string', () => `redis://${server.host}:${server.port}?password=${PASSWORD}&db=0`],
    ['options', () => ({ ...address(), username: 'user', password: PASSWORD })],
    ['an unknown host', () => `redis://user:${PASSWORD}@no-such-host.invalid:6379`],
    ['a closed port', () => `redis://user:${PASSWORD}@127.0.0.1:1`],
    ['a socket that is not there', () => ({ path: '/nonexistent.sock', password: PASSWORD })],
    ['TLS against a plain port', () => `rediss://user:${PASSWORD}@${server.host}:${server.port}`],
    ['a key that is none', () => ({ ...address(), tls: { key: PASSWORD, cert: PASSWORD } })],
    ['a passphrase', () => ({ ...address(), tls: { pfx: PASSWORD, passphrase: PASSWORD } })],
    [
      'a Cluster',
      () => ({ cluster: [address()], options: { redisOptions: { password: PASSWORD } } }),
    ],
    [
      'a Cluster that is away',
      () => ({ cluster: [{ host: '127.0.0.1', port: 1, password: PASSWORD }] }),
    ],
    ['a client', () => new Redis({ ...address(), password: PASSWORD, lazyConnect: true })],
    [
      'a Cluster client',
      () => new Cluster([address()], { lazyConnect: true, redisOptions: { password: PASSWORD } }),
    ],
  ])('%s: nothing shows the password', async (_name, source) => {
    expect(await use(source())).not.toContain(PASSWORD)
  })

  it('a server that trusts another authority', async () => {
    await using redis = await startTlsRedis()
    const url = redis.url.replace('//', `//user:${PASSWORD}@`)
    expect(await use(url)).not.toContain(PASSWORD)
  })

  it('Sentinels', async () => {
    await using sentinel = await startSentinel()
    const own = { username: 'user', password: PASSWORD }
    const theirs = { sentinelUsername: 'user', sentinelPassword: PASSWORD }
    const wrong = { ...sentinel.source, ...own, ...theirs }
    expect(await use(wrong)).not.toContain(PASSWORD)
    const none = { sentinels: [{ host: '127.0.0.1', port: 1 }], name: 'main' }
    expect(await use({ ...none, sentinelPassword: PASSWORD })).not.toContain(PASSWORD)
  })

  it('a Cluster whose nodes want another password', async () => {
    await using cluster = await startCluster({ replicas: 0 })
    for (const node of cluster.nodes) await node.send('CONFIG', 'SET', 'requirepass', 'right')
    const source = {
      cluster: cluster.startup,
      options: { redisOptions: { username: 'default', password: PASSWORD } },
    }
    expect(await use(source)).not.toContain(PASSWORD)
  })

  it('a client that is used itself', async () => {
    const client = new Redis({ ...address(), password: PASSWORD, lazyConnect: true })
    client.on('error', () => {})
    onTestFinished(() => client.disconnect())
    expect(await use(client, { reuse: true })).not.toContain(PASSWORD)
  })
})

it('what is stored does not appear in errors: a wrong type, a missing permission', async () => {
  await using open = await startRedis()
  const client = new Redis(open.url)
  onTestFinished(() => client.disconnect())
  const seen: unknown[] = []
  const tp = turnpike({ redis: open.url })
  onTestFinished(() => tp.close())
  for (const name of ['error', 'warning', 'unavailable'] as const)
    tp.on(name, (event) => seen.push(event))
  await tp.ready()
  await tp.data.set('key', 1, { ttl: '1m' })
  for (const key of await client.keys('*')) {
    await client.del(key)
    await client.lpush(key, SECRET)
  }
  await tp.data.set('key', { password: SECRET }, { ttl: '1m' }).catch((error) => seen.push(error))
  await tp.data.get('key').catch((error) => seen.push(error))
  await client.acl('SETUSER', 'default', '-set')
  await tp.data.set('other', { password: SECRET }, { ttl: '1m' }).catch((error) => seen.push(error))
  expect(seen.length).toBeGreaterThan(1)
  expect(seen.map(shown).join('\n')).not.toContain(SECRET)
})

it('what is stored and was damaged does not appear in errors: values, sessions, steps', async () => {
  await using open = await startRedis()
  const client = new Redis(open.url)
  onTestFinished(() => client.disconnect())
  const seen: unknown[] = []
  const tp = turnpike({ redis: open.url, operations: false })
  onTestFinished(() => tp.close())
  tp.on('error', (event) => seen.push(event))
  await tp.ready()
  const middlewares = {
    '/session': tp.session({ secret: 'only for tests', onCorrupt: 'error' }),
    '/pay': tp.idempotency({ scope: () => 'ann' }),
  }
  const handle = async (req: any, res: ServerResponse): Promise<void> => {
    if (req.session) req.session.name = SECRET
    // The first attempt fails after its step.
    await req.idempotency?.step('charge', () => ({ card: SECRET }))
    res.writeHead(req.session ? 200 : 500).end()
  }
  const server = createServer((req, res) => {
    const fail = (error: unknown): void => (seen.push(error), void res.writeHead(500).end())
    middlewares[req.url as '/pay'](req, res, (error) => {
      if (error) fail(error)
      // oxlint-disable-next-line promise/no-promise-in-callback
      else handle(req, res).catch(fail)
    })
  }).listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const pay = () => fetch(`${url}/pay`, { method: 'POST', headers: { 'Idempotency-Key': 'k' } })

  await tp.data.set('key', { password: SECRET }, { ttl: '1m' })
  const [cookie] = (await fetch(`${url}/session`)).headers.getSetCookie()
  await pay()
  // The quotation mark before the secret is gone: JSON.parse quotes what follows.
  for (const key of await client.keys('*')) {
    if ((await client.type(key)) === 'hash')
      for (const [field, value] of Object.entries(await client.hgetall(key)))
        await client.hset(key, field, value.replace(`"${SECRET}`, SECRET))
    if ((await client.type(key)) !== 'string') continue
    const at = (await client.getBuffer(key))!.indexOf(`"${SECRET}`)
    if (at >= 0) await client.setrange(key, at, ' ')
  }
  await tp.data.get('key')
  await fetch(`${url}/session`, { headers: { cookie: cookie!.split(';')[0]! } })
  await pay()
  expect(seen.map((each) => shown(each).includes('is no JSON'))).toEqual([true, true, true])
  expect(seen.map(shown).join('\n')).not.toContain('hunter2')
})
