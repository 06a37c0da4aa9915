/**
 * Whatever stands in Redis, and whatever a client sends: nothing crashes, and nothing is a 500 but what
 * docs/errors.md says is one. SEED=<number> repeats a run.
 */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openSite, type Answer, type Site } from '../faults/matrix/site.ts'
import { startTestRedis, type TestRedis } from '../support/redis.ts'

const SEED = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
let redis: TestRedis
const unhandled: unknown[] = []
const note = (reason: unknown): void => void unhandled.push(reason)
beforeAll(async () => {
  console.log(`security fuzz: SEED=${SEED}`)
  redis = await startTestRedis()
  process.on('unhandledRejection', note)
})
afterAll(async () => {
  process.off('unhandledRejection', note)
  await redis?.stop()
  expect(unhandled).toEqual([])
})

interface Opened {
  site: Site
  errors: { code?: string; message?: string }[]
  /** One request to each feature. */
  round(): Promise<(Answer & { path: string })[]>
}

async function open(framework: 'Express 5' | 'Koa 3', prefix: string): Promise<Opened> {
  const site = await openSite(framework)
  const tp = site.turnpike({ redis: redis.url, prefix, commandTimeout: '2s', requestBudget: '5s' })
  const errors: Opened['errors'] = []
  tp.on('warning', () => {})
  tp.on('error', ({ error }) => errors.push(error as Error))
  await tp.ready()
  const ok = (): readonly [number, string] => [200, 'ok']
  const never = { key: () => 'k' }
  site.serve('/limit', [tp.rateLimit({ name: 'l', limit: 1_000_000, window: '1h', ...never })], ok)
  const gcra = { name: 'g', algorithm: 'gcra', limit: 1_000_000, window: '1h', ...never } as const
  site.serve('/gcra', [tp.rateLimit(gcra)], ok)
  const fixed = { ...gcra, name: 'f', algorithm: 'fixed-window' } as const
  site.serve('/fixed', [tp.rateLimit(fixed)], ok)
  site.serve('/login', [tp.loginGuard({ limit: 1e6, addressLimit: 1e6, key: () => 'ann' })], () => [
    401,
    'no',
  ])
  site.serve('/session', [tp.session({ secret: 'only for tests' })], (native) => {
    native.session.n = (Number(native.session.n) || 0) + 1
    return [200, 'ok']
  })
  site.serve(
    '/cache',
    [tp.cache({ ttl: '1h', wait: '20ms', tags: ['t'], key: () => 'k', vary: ['x-v'] })],
    ok,
  )
  site.serve('/invalidate', [tp.invalidate({ tags: ['t'] })], ok)
  site.serve('/pay', [tp.idempotency({ scope: () => 'me', lease: '1s' })], ok)
  site.serve('/lock', [tp.exclusive({ key: 'it' })], ok)
  site.serve('/place', [tp.concurrency({ limit: 100 })], ok)
  site.serve('/data', [], async () => {
    await tp.data.getOrFetch('d', () => ({ a: 1 }), { ttl: '1h', tags: ['t'], wait: '20ms' })
    return [200, 'ok']
  })
  let cookie = ''
  return {
    site,
    errors,
    async round() {
      const answers = []
      for (const path of PATHS) {
        const method = path === '/pay' ? 'POST' : path === '/invalidate' ? 'PUT' : 'GET'
        const headers: Record<string, string> = { 'idempotency-key': 'k', 'x-v': '1' }
        if (path === '/session' && cookie) headers['cookie'] = cookie
        const answer = await site.ask({ path, method, headers })
        const [sent] = [answer.headers['set-cookie'] ?? []].flat()
        if (sent) [cookie = ''] = sent.split(';')
        answers.push({ ...answer, path })
      }
      return answers
    },
  }
}

const PATHS = [
  '/limit',
  '/gcra',
  '/fixed',
  '/login',
  '/session',
  '/cache',
  '/invalidate',
  '/pay',
  '/lock',
  '/place',
  '/data',
]

const bytes = fc.uint8Array({ maxLength: 80 }).map((each) => Buffer.from(each))
const text = fc.oneof(
  bytes,
  fc.json().map((each) => Buffer.from(each)),
  fc
    .constantFrom('', '0', '-1', 'NaN', 'inf', '1e999', 'null', '[]', '{}', '\0', '9'.repeat(40))
    .map((each) => Buffer.from(each)),
)
/** A change to the value under a key by another program. */
const damage = fc.oneof(
  fc.record({ how: fc.constant('replace' as const), by: text }),
  fc.record({
    how: fc.constant('flip' as const),
    by: fc.constant(Buffer.alloc(0)),
    at: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
  }),
  fc.record({
    how: fc.constant('cut' as const),
    by: fc.constant(Buffer.alloc(0)),
    at: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
  }),
  fc.record({ how: fc.constant('retype' as const), by: text }),
)
type Damage = typeof damage extends fc.Arbitrary<infer Each> ? Each : never

function damaged(old: Buffer, each: Damage): Buffer {
  const at = 'at' in each ? Math.floor(each.at * old.length) : 0
  if (each.how === 'cut') return old.subarray(0, at)
  if (each.how !== 'flip' || old.length === 0) return each.by
  const flipped = Buffer.from(old)
  flipped[at] = flipped[at]! ^ (1 << (at % 8))
  return flipped
}

async function inflict(key: Buffer, each: Damage): Promise<void> {
  const { client } = redis
  const type = await client.type(key)
  if (each.how === 'retype') {
    await client.del(key)
    if (type === 'string') await client.hset(key, 'f', each.by)
    else await client.set(key, each.by, 'PX', 60_000)
  } else if (type === 'string') {
    await client.set(key, damaged((await client.getBuffer(key)) ?? each.by, each), 'PX', 60_000)
  } else if (type === 'hash') {
    const fields = await client.hkeys(key)
    const field = fields[each.by.length % fields.length]!
    await client.hset(key, field, damaged((await client.hgetBuffer(key, field)) ?? each.by, each))
  } else if (type === 'zset') {
    await client.zadd(key, each.by.length, each.by)
  }
}

/** What the HTTP parser lets into a field's value. */
const value = fc.oneof(
  fc
    .array(
      fc.oneof(
        fc.integer({ min: 0x20, max: 0x7e }),
        fc.integer({ min: 0x80, max: 0xff }),
        fc.constant(9),
      ),
      { maxLength: 60 },
    )
    .map((codes) => String.fromCharCode(...codes)),
  fc.constantFrom(
    's%3Aabc.def',
    'sid=s%3A',
    'sid=%',
    'sid="',
    '"a"',
    '"a";b=?1',
    '""',
    '*',
    'W/"x", *',
    'bytes=0-',
    'bytes=-0',
    'bytes=5-1,',
    'max-age=-1',
    'max-age=99999999999999999999',
    'no-cache="',
    'only-if-cached',
    'gzip;q=',
    '::1',
    '127.0.0.1:80',
    '999.1.1.1',
    '[',
    'unknown',
    '__proto__',
    'constructor',
    'Thu, 99 Foo',
    '1'.repeat(4000),
  ),
)
const NAMES = [
  'cookie',
  'idempotency-key',
  'authorization',
  'x-api-key',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'forwarded',
  'if-none-match',
  'if-modified-since',
  'if-match',
  'if-range',
  'range',
  'cache-control',
  'pragma',
  'accept',
  'accept-encoding',
  'host',
  'user-agent',
  'x-v',
  '__proto__x',
  'constructor',
]
const several = fc.array(value, { minLength: 2, maxLength: 3 })
const request = fc
  .dictionary(
    fc.constantFrom(...NAMES),
    fc.oneof({ weight: 5, arbitrary: value }, { weight: 1, arbitrary: several }),
    { maxKeys: 6 },
  )
  .map(({ host, ...rest }) => (host === undefined ? rest : { ...rest, host: [host].flat()[0]! }))

describe.each(['Express 5', 'Koa 3'] as const)('%s', (framework) => {
  test(
    'attack: whatever stands under our keys: no crash, and no 500 but a refused command',
    { timeout: 120_000 },
    async () => {
      const prefix = `fuzz${framework.length}`
      const opened = await open(framework, prefix)
      await using site = opened.site
      const statuses = new Map<string, number>()
      await fc.assert(
        fc.asyncProperty(damage, async (each) => {
          await redis.client.flushall()
          await opened.round()
          await opened.round()
          for (const key of await redis.client.keysBuffer(`${prefix}:*`)) await inflict(key, each)
          const before = site.errors.length
          for (const { path, status } of await opened.round()) {
            const what = `${path} ${status}`
            statuses.set(what, (statuses.get(what) ?? 0) + 1)
            // A stored answer whose status was turned into another one is replayed as that.
            const isReplay = path === '/pay' && status > 200 && status < 400
            if (status !== 500 && !isReplay)
              expect([200, 401, 409, 422, 423, 429, 503]).toContain(status)
          }
          // A wrong type, or a number that is none, is a command that Redis refuses.
          for (const error of site.errors.slice(before))
            expect([each, error.code, error]).toEqual([each, 'TP_COMMAND', error])
        }),
        { seed: SEED, numRuns: Number(process.env['RUNS'] ?? 25) },
      )
      if (process.env['FIGURES']) console.log(Object.fromEntries(statuses))
      // And all is well again with an empty Redis.
      await redis.client.flushall()
      for (const { path, status } of await opened.round())
        expect([path, status]).toEqual([path, path === '/login' ? 401 : 200])
    },
  )

  test('attack: whatever a client sends: no crash and no 500', { timeout: 60_000 }, async () => {
    const opened = await open(framework, `head${framework.length}`)
    await using site = opened.site
    await opened.round()
    const kinds = new Set<number>()
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...PATHS), request, async (path, headers) => {
        const method = path === '/pay' ? 'POST' : path === '/invalidate' ? 'PUT' : 'GET'
        const { status, headers: sent } = await site.ask({
          path,
          method,
          headers: headers as Record<string, string>,
        })
        kinds.add(status)
        expect([path, headers, status < 500 || status === 503]).toEqual([path, headers, true])
        // One Set-Cookie at most, and it is ours.
        for (const each of [sent['set-cookie'] ?? []].flat())
          expect(each).toMatch(/^(__Host-)?sid=/)
      }),
      { seed: SEED, numRuns: Number(process.env['RUNS'] ?? 150) },
    )
    expect(opened.errors).toEqual([])
    expect([...kinds]).toContain(200)
  })
})
