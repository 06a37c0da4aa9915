/**
 * No response is served to a request for which the handler would have answered otherwise, unless `public`,
 * `scope` or `vary` says so. The handler records all that it reads. Each recorded value has to be the
 * client's own, or hidden because the mount ignores it. SEED=<number> repeats a run.
 */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { CacheOptions } from '../../../src/index.ts'
import { bothEngines, type EngineUnderTest, type Opened } from '../../support/engines.ts'
import { counting, kinds, statusOf, type App, type Kind, type Tools } from './support.ts'

const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
const RUNS = Number(process.env.RUNS ?? 12)

/** What a handler can read of a request. `value` is what this request holds. */
interface Facet {
  read(tools: Tools): unknown
  value(request: Sent): unknown
  /** True if it tells who the client is. */
  isIdentity?: boolean
}

interface Sent {
  path: string
  query: string
  headers: Record<string, string>
  wait: number
}

const cookieIn = (field: string | undefined, name: string): string | undefined =>
  (field ?? '')
    .split(/;\s*/)
    .find((pair) => pair.startsWith(`${name}=`))
    ?.slice(name.length + 1)
const header = (name: string, isIdentity = false): Facet => ({
  read: (tools) => plain(tools.header(name)),
  value: ({ headers }) => plain(headers[name]),
  isIdentity,
})
const cookie = (name: string): Facet => ({
  read: (tools) => cookieIn(tools.header('cookie'), name),
  value: ({ headers }) => cookieIn(headers['cookie'], name),
  isIdentity: true,
})
const parameter = (name: string): Facet => ({
  read: ({ native }) => [...new URL(native.url, 'http://x').searchParams.getAll(name)],
  value: ({ query }) => [...new URLSearchParams(query).getAll(name)],
})
/** White space between the members of a list means nothing. */
const plain = (value: string | undefined): string | undefined => value?.replaceAll(/\s*,\s*/g, ',')

const FACETS: Record<string, Facet> = {
  'accept-language': header('accept-language'),
  'x-theme': header('x-theme'),
  host: header('host'),
  authorization: header('authorization', true),
  'x-api-key': header('x-api-key', true),
  sid: cookie('sid'),
  _ga: cookie('_ga'),
  promo: cookie('promo_1'),
  user: {
    read: ({ native }) => (native.user ?? native.state?.user)?.id,
    value: ({ headers }) => headers['x-login'],
    isIdentity: true,
  },
  session: {
    read: ({ native }) => native.session?.cart,
    value: ({ headers }) => headers['x-cart'],
    isIdentity: true,
  },
  a: parameter('a'),
  page: parameter('page'),
  utm: parameter('utm_source'),
  path: {
    read: ({ native }) => new URL(native.url, 'http://x').pathname,
    value: ({ path }) => path,
  },
}
/** Facets that are request headers: a handler that reads one names it in Vary. */
const VARYING = ['accept-language', 'x-theme']

const some = <Value>(...values: Value[]) =>
  fc.option(fc.constantFrom(...values), { nil: undefined })
const seldom = fc.oneof({ weight: 7, arbitrary: fc.constant(false) }, fc.constant(true))
const program = fc.record({
  reads: fc.subarray(Object.keys(FACETS), { minLength: 1, maxLength: 5 }),
  cacheControl: fc.oneof(
    { weight: 5, arbitrary: fc.constantFrom('max-age=60', 'public, max-age=60', 's-maxage=60') },
    { weight: 3, arbitrary: fc.constant(undefined) },
    fc.constantFrom('private', 'no-cache', 'no-store'),
  ),
  etag: fc.boolean(),
  cookie: seldom,
})
type Program = typeof program extends fc.Arbitrary<infer Value> ? Value : never

const PATHS = ['/a', '/b', '/B', '/a/x']
const target = fc.record({
  path: fc.oneof({ weight: 4, arbitrary: fc.constant('/a') }, fc.constantFrom(...PATHS)),
  query: fc.oneof(
    fc.constantFrom('', 'a=1', 'a=2', 'a=1&a=2', 'a=2&a=1', '%61=1'),
    fc.constantFrom('page=1&a=1', 'a=1&page=2', 'page=3', 'utm_source=x', 'utm_source=y'),
  ),
})
/** Of most visitors nothing tells who they are. */
const visitor = fc.record({
  'accept-language': fc.option(fc.constantFrom('de', 'de, en', 'de,en', ''), {
    nil: undefined,
    freq: 1,
  }),
  'x-theme': fc.option(fc.constantFrom('dark', 'light'), { nil: undefined, freq: 1 }),
  host: fc.constantFrom('one.example', 'one.example', 'one.example', 'two.example'),
  cookie: some('_ga=1', '_ga=2'),
})
const identity = fc.oneof(
  { weight: 4, arbitrary: fc.constant({}) },
  {
    weight: 2,
    arbitrary: fc.record({ authorization: fc.constantFrom('Bearer ann', 'Bearer bob') }),
  },
  fc.record({ 'x-api-key': fc.constantFrom('k1', 'k2') }),
  fc.record({
    cookie: fc.constantFrom('sid=1', 'sid=2', '_ga=1; sid=1', 'promo_1=x', 'promo_1=y'),
  }),
  fc.record({ 'x-login': fc.constantFrom('ann', 'bob') }),
  fc.record({ 'x-cart': fc.constantFrom('full', 'empty') }),
  fc.record({
    'x-login': fc.constantFrom('ann', 'bob'),
    cookie: fc.constantFrom('sid=1', 'sid=2'),
  }),
)
const client = fc
  .tuple(visitor, identity)
  .map(
    (parts) =>
      Object.fromEntries(
        Object.entries(Object.assign({}, ...parts)).filter(([, value]) => value !== undefined),
      ) as Record<string, string>,
  )
/** A few clients and targets, and who requests what, in which order. */
const requests: fc.Arbitrary<Sent[]> = fc
  .record({
    clients: fc.array(client, { minLength: 2, maxLength: 5 }),
    targets: fc.array(target, { minLength: 1, maxLength: 3 }),
    steps: fc.array(
      fc.record({
        client: fc.nat(),
        target: fc.nat(),
        wait: fc.constantFrom(0, 0, 0, 0, 30_000, 61_000),
      }),
      { minLength: 10, maxLength: 30, size: 'max' },
    ),
  })
  .map(({ clients, targets, steps }) =>
    steps.map(({ client, target, wait }) => ({
      ...targets[target % targets.length]!,
      headers: clients[client % clients.length]!,
      wait,
    })),
  )

const options = fc.record({
  ttl: fc.constantFrom<CacheOptions<any>['ttl']>('1m', 'auto'),
  public: seldom,
  isScoped: seldom,
  vary: fc.constantFrom<string[]>(
    [],
    ['Accept-Language'],
    ['Cookie'],
    ['Authorization', 'X-API-Key'],
  ),
  query: fc.constantFrom<CacheOptions<any>['query']>(
    undefined,
    { ignore: ['page'] },
    { allow: ['a'] },
    { sort: true },
  ),
  cookies: fc.constantFrom<CacheOptions<any>['cookies']>(undefined, { ignore: ['promo_*'] }),
  staleWhileRevalidate: fc.constantFrom('1m', '0s'),
  near: fc.constantFrom(true, true, true, true, true, false),
})
type Options = typeof options extends fc.Arbitrary<infer Value> ? Value : never

/** Returns whether a mount hides a facet from the handler of a response that is shared. */
const isHidden = (name: string, { query, cookies, public: isPublic }: Options): boolean => {
  if (name === '_ga') return true
  if (name === 'promo') return cookies !== undefined || isPublic
  if (name === 'utm') return query?.ignore === undefined
  if (name === 'page') return query?.ignore !== undefined || query?.allow !== undefined
  return false
}

interface Life {
  mount: Options
  programs: Program[]
  requests: Sent[]
}

/** Requested to see whether the near cache answers: it follows Redis only after a while. */
const WARM = '/warm'

/**
 * Requests until the near cache answers. It trusts its copy of the invalidation log only after a
 * heartbeat, which goes by the clock that the test turns.
 */
async function arm({ tp, get }: App, advance: Opened['advance']): Promise<void> {
  const before = tp.cache.stats().near
  for (let round = 0; round < 20 && tp.cache.stats().near === before; round++) {
    if (round > 2) await advance('1s')
    await get(WARM)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

/** Programs that were played, and those in which the near cache answered. */
const counts = { all: 0, near: 0 }

async function play({ mount, programs, requests }: Life, kind: Kind, engine: EngineUnderTest) {
  const { store, prefix, advance } = engine.open()
  const handler = counting((tools) => {
    const { url, set, send } = tools
    if (url === WARM) {
      set('Cache-Control', 'max-age=3600')
      return send(200, 'warm')
    }
    const { reads, cacheControl, etag, cookie } = programOf(new URL(url, 'http://x').pathname)
    const read = Object.fromEntries(
      reads.map((name) => [name, FACETS[name]!.read(tools) ?? null] as const),
    )
    if (cacheControl) set('Cache-Control', cacheControl)
    if (cookie) set('Set-Cookie', 'seen=1')
    const vary = reads.filter((name) => VARYING.includes(name))
    if (vary.length > 0) set('Vary', vary.join(', '))
    if (etag) set('ETag', `"${Buffer.from(JSON.stringify(read)).toString('base64url')}"`)
    return send(200, read)
  })
  const programOf = (path: string): Program => programs[PATHS.indexOf(path) % programs.length]!
  const { isScoped, query, cookies, ...given } = mount
  let hits = 0
  const app = await kind.start({
    options: {
      store,
      prefix: `${prefix}${Math.random().toString(36).slice(2)}`,
      requestBudget: '9s',
    },
    handler,
    outer: ({ native, header }) => {
      const [id, cart] = [header('x-login'), header('x-cart')]
      if (id) (native.state ?? native).user = { id }
      if (cart) native.session = { cart }
    },
    cache: {
      ...given,
      ...(query && { query }),
      ...(cookies && { cookies }),
      ...(isScoped && { scope: (native: any) => native.headers['x-login'] }),
    },
  })
  const { tp, ask, errors } = app
  // With a scope the near cache is asked later, and its hits are counted as others.
  const isArmed = mount.near && !isScoped
  if (isArmed) await arm(app, advance)
  let near = 0
  for (const sent of requests) {
    // A response may be stored after it was sent.
    await new Promise(setImmediate)
    if (sent.wait > 0) {
      await advance(sent.wait)
      if (isArmed) await arm(app, advance)
    }
    const nearBefore = tp.cache.stats().near
    const { path, query, headers } = sent
    const answer = await ask({ path: query === '' ? path : `${path}?${query}`, headers })
    const { cacheControl, reads } = programOf(path)
    const why = JSON.stringify({ sent, mount, program: programOf(path), status: statusOf(answer) })
    if (/hit|collapsed/.test(statusOf(answer))) hits++
    near += tp.cache.stats().near - nearBefore
    expect([answer.status, errors], why).toEqual([200, []])
    const saysPublic = mount.public || (cacheControl?.startsWith('public') ?? false)
    // RFC 9111, 3.5: it may answer requests without the Authorization that it was made for, too.
    const isForAll = mount.ttl === 'auto' && cacheControl === 's-maxage=60'
    const owner = isScoped ? headers['x-login'] : undefined
    // The application says that the cookie tells who the client is.
    const isInKey =
      mount.vary.includes('Cookie') &&
      /\bsid=|\bpromo_/.test(headers['cookie']?.replace(cookies ? /promo_\d=\w/ : '', '') ?? '')
    const body = JSON.parse(answer.text) as Record<string, unknown>
    expect(Object.keys(body), why).toEqual(reads)
    for (const name of reads) {
      const { value, isIdentity = false } = FACETS[name]!
      if (isInKey && (name === 'user' || name === 'session')) continue
      if (isForAll && name === 'authorization') continue
      // The application says that these do not matter, or that the owner alone does.
      if (isIdentity && (saysPublic || (owner !== undefined && name !== 'user'))) continue
      const allowed = [value(sent) ?? null]
      if (isHidden(name, mount)) allowed.push(name === 'utm' || name === 'page' ? [] : null)
      expect(allowed, `${name}: ${why}`).toContainEqual(body[name])
    }
  }
  await tp.close()
  counts.all++
  if (near > 0) counts.near++
  return hits
}

const engines = bothEngines()

describe.each(engines)('the cache on the $name engine', (engine) => {
  test.each(kinds)(
    'nobody gets what the handler made of another request: $name',
    { timeout: 120_000 },
    async (kind) => {
      console.log(`no mixing: SEED=${SEED}`)
      // Programs of its own for each: 12 in all may be 12 that the near cache has no part in.
      const seed = SEED + kinds.indexOf(kind) + kinds.length * engines.indexOf(engine)
      const life = fc.record({
        mount: options,
        programs: fc.array(program, { minLength: 1, maxLength: 4 }),
        requests,
      })
      let hits = 0
      await fc.assert(
        fc.asyncProperty(life, async (each) => void (hits += await play(each, kind, engine))),
        { seed, numRuns: RUNS },
      )
      // Otherwise the test would show nothing.
      expect(hits).toBeGreaterThan(RUNS / 2)
    },
  )
})

test('the near cache answered in a good share of the programs', () => {
  console.log(`no mixing: the near cache answered in ${counts.near} of ${counts.all} programs`)
  expect(counts.all).toBe(RUNS * kinds.length * engines.length)
  expect(counts.near / counts.all).toBeGreaterThan(0.2)
})
