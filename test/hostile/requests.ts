/** What hostile clients request, for both versions of HTTP: good requests, most with a deviation or two. */
import type { Random } from './random.ts'

export interface HostileRequest {
  method: string
  target: string
  host: string
  fields: [string, string][]
  /** Undefined for a request without a body. */
  body: string | undefined
}

/** What a client has: everything is real, and belongs to one user. */
export interface Credentials {
  user: string
  /** Cookies of the user's sessions, and those of sessions that may be logged out. */
  cookies: readonly string[]
  doomed: readonly string[]
  keys: readonly string[]
  codes: readonly string[]
  refresh: readonly string[]
  /** The idempotency keys of the phase begin with it: each of them may take effect once. */
  epoch: string
}

const WISHES = ['', '', '', '', '', 'slow', 'slow', 'pieces', 'large', 'throw', 'leave', 'pipe']
const LARGE = 'x'.repeat(70_000)

const get = (target: string, ...fields: [string, string][]): HostileRequest => ({
  method: 'GET',
  target,
  host: 'shop',
  fields,
  body: undefined,
})
const post = (target: string, ...fields: [string, string][]): HostileRequest => ({
  ...get(target, ['content-type', 'application/json'], ...fields),
  method: 'POST',
  body: '{"amount":1}',
})

/** A good request of each feature, by path. `n` is the same for clients that come at the same time. */
const GOOD: Record<string, (random: Random, own: Credentials, n: number) => HostileRequest> = {
  '/session': (random, own) => get('/session', ...cookie(random, own, 0.7)),
  '/me': (random, own) => get('/me', ...cookie(random, own, 0.95)),
  '/signin': (random, own) => post('/signin', ['x-user', own.user], ...cookie(random, own, 0.5)),
  '/signout': (random, own) => post('/signout', ['cookie', random.pick(own.doomed)]),
  '/login': (random, own) => post('/login', ['x-user', own.user + random.pick(['', '.', 'x'])]),
  '/limit': () => get('/limit'),
  '/cache': (random) =>
    get(`/cache/${random.pick(['a', 'a', 'b?x=1', 'slow', `n${random.int(30)}`])}`),
  '/private': (random, own) => get(`/private/${random.int(3)}`, ...cookie(random, own, 0.9)),
  '/invalidate': () => post('/invalidate'),
  '/pay': (random, { epoch }, n) => {
    const key = random.chance(0.5) ? Math.floor(n / 4) : random.int(300)
    const request = post('/pay', ['idempotency-key', `${epoch}-${key}`])
    // A key goes with one body.
    if (key % 10 === 0) request.body = LARGE
    return request
  },
  '/exclusive': (random) => random.pick([get, post])('/exclusive'),
  '/places': (random) => random.pick([get, post])('/places'),
  '/lock': (random, { user }) => get('/lock', ['x-user', random.pick([user, ''])]),
  '/data': (random) => get(`/data?${'x'.repeat(random.int(7))}`),
  '/key': (random, { keys }) =>
    get(
      '/key',
      random.pick([
        ['authorization', `Bearer ${random.pick(keys)}`],
        ['x-api-key', random.pick(keys)],
      ]),
    ),
  '/code': (_random, { codes }, n) =>
    post('/code', ['x-code', codes[Math.floor(n / 2) % codes.length]!]),
  '/refresh': (_random, { refresh }, n) =>
    post('/refresh', ['x-code', refresh[Math.floor(n / 2) % refresh.length]!]),
  '/collections': (random) => post(`/collections?${'x'.repeat(random.int(5))}`),
  '/all': (random, own) => get(`/all/${random.int(3)}`, ...cookie(random, own, 0.9)),
  '/warm': (random, own) => get(`/warm/${random.int(3)}`, ...cookie(random, own, 0.9)),
  '/everything': (random, own) =>
    post(
      '/everything',
      ['idempotency-key', `${own.epoch}-${random.int(300)}`],
      ['x-api-key', random.pick(own.keys)],
      ...cookie(random, own, 0.9),
    ),
}
export const FEATURES: readonly string[] = Object.keys(GOOD)

function cookie(random: Random, own: Credentials, share: number): [string, string][] {
  return random.chance(share) ? [['cookie', random.pick(own.cookies)]] : []
}

const STRANGE_TARGETS = [
  '*',
  '//',
  '///cache/a',
  '/cache/%00',
  '/cache/%zz',
  '/cache/a#/../session',
  '/cache/../all',
  '/cache/%2e%2e/pay',
  '/cache/\\a',
  '/cache/a;b=c',
  '/cache?__proto__=1&constructor=2',
  '/cache/?x[]=1&x[y]=2&x=3',
  `/cache/${'a'.repeat(3000)}`,
  `/cache/?${'x&'.repeat(500)}`,
  'http://other/cache/a',
  'http://other:99999/cache/a',
  'http://[::1/cache/a',
  'shop:80',
  '?',
  'cache',
  '/caf\u00e9',
]
const STRANGE_METHODS = ['TRACE', 'PURGE', 'M-SEARCH', 'CONNECT', 'LINK', 'PATCH', 'get']
/** Fields by name, each with what may stand in it. */
const FIELDS: Record<string, readonly string[]> = {
  accept: ['*/*', 'application/json', ',,,;q=', 'text/html;q=0'],
  'accept-encoding': ['gzip', 'br;q=1.0, gzip;q=', 'identity;q=0', ', '.repeat(300)],
  'accept-language': ['en', 'de;q=0.5, *', ' '.repeat(500), 'x-'.repeat(300)],
  authorization: ['Bearer x', 'Basic !!!', 'Bearer', '', `Bearer ${'a'.repeat(3000)}`],
  'cache-control': ['no-store', 'max-age=0', ',,,"', 'only-if-cached', 'max-age=-1', 'max-age="'],
  'content-encoding': ['gzip', 'identity', 'x'],
  'content-type': ['application/json', 'text/plain', 'application/json; charset=x', '/'],
  cookie: [
    'sid=s%3Ax.y',
    ';;==;',
    `sid=${'a'.repeat(2000)}`,
    '__proto__=1',
    'a=b',
    'sid='.repeat(50),
  ],
  expect: ['100-continue', '100-continue', 'x'],
  'idempotency-key': ['', '"', 'u-1', `u${'k'.repeat(300)}`, '"u-2"', 'a, b'],
  'if-modified-since': ['Thu, 01 Jan 1970 00:00:00 GMT', 'x'],
  'if-none-match': ['*', '"a", W/"b', '"'],
  forwarded: ['for=1.2.3.4', 'for="[::1'],
  range: ['bytes=0-1', 'bytes=9-1,0-', 'bytes=-'],
  'x-api-key': ['k', '', 'fuzz_'.repeat(100)],
  'x-code': ['', 'once_x', 'refresh_x'.repeat(200)],
  'x-forwarded-for': ['1.2.3.4', 'x, ,', '::ffff:1.2.3.4'],
  'x-forwarded-host': ['', 'other'],
  'x-forwarded-proto': ['https', 'x', 'https,http'],
  'x-user': ['b\u00e9a', '', 'x'.repeat(3000)],
  __proto__x: ['1'],
}
const NAMES = Object.keys(FIELDS)
const BODIES = ['', '{}', '{"a":1}', '{"a":', `"${'x'.repeat(2000)}"`, '[[[[[[', '\u0000']
const HOSTS = ['SHOP', 'SHOP:80', 'shop.', '', 'a b', 'x'.repeat(300), '[::1]', 'other']
const otherCase = (name: string): string => name.toUpperCase()

/** What hostile clients do to a good request. */
const DEVIATIONS: readonly ((request: HostileRequest, random: Random) => void)[] = [
  (request, random) => void (request.target = random.pick(STRANGE_TARGETS)),
  (request, random) =>
    void (request.target += random.pick(['#x', '?a=1', '/', '/..', '%00', ';a'])),
  (request, random) =>
    void (request.target = request.target.replace('/', random.pick(['//', '/.']))),
  (request, random) => void (request.method = random.pick(STRANGE_METHODS)),
  (request, random) =>
    void (request.method = random.pick([
      'GET',
      'POST',
      'HEAD',
      'HEAD',
      'PUT',
      'DELETE',
      'OPTIONS',
    ])),
  (request, random) => void (request.host = random.pick(HOSTS)),
  (request, random) => void (request.body = random.pick(BODIES)),
  addField,
  addField,
  addField,
  (request, random) => {
    for (let count = random.int(8); count > 0; count--) addField(request, random)
  },
  /** A field of its own, twice. */
  (request, random) => {
    if (request.fields.length > 0) request.fields.push(random.pick(request.fields))
  },
  /** A field without its value. */
  (request, random) => {
    if (request.fields.length > 0) request.fields[random.int(request.fields.length)]![1] = ''
  },
  /** A credential with other bits. */
  (request, random) => {
    const field = request.fields.at(-1)
    if (field) field[1] = field[1].slice(0, -2) + random.pick(['x', '==', '\u00e9', 'ab'])
  },
]

function addField(request: HostileRequest, random: Random): void {
  const name = random.pick(NAMES)
  const written = random.chance(0.1) ? otherCase(name) : name
  request.fields.push([written, random.pick(FIELDS[name]!)])
}

/**
 * Returns a request of a feature.
 * @param deviations how much of it is hostile
 * @param n as in `GOOD`
 */
export function randomRequest(
  random: Random,
  own: Credentials,
  feature: string,
  deviations: number,
  n: number,
): HostileRequest {
  const request = GOOD[feature]!(random, own, n)
  request.fields = request.fields.map(([name, value]) => [name, value])
  const wish = random.pick(WISHES)
  if (wish !== '') request.fields.push(['x-do', wish])
  for (let i = 0; i < deviations; i++) random.pick(DEVIATIONS)(request, random)
  return request
}
