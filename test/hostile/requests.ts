/** What hostile clients request, for both versions of HTTP: targets, fields and bodies, good and strange. */
import type { Random } from './random.ts'

/** What the application knows. */
const PATHS = [
  '/session',
  '/login',
  '/limit',
  '/cache/a',
  '/cache/b?x=1',
  '/cache/slow',
  '/cache/stream',
  '/invalidate',
  '/pay',
  '/exclusive',
  '/places',
  '/all',
  '/everything',
]
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
const METHODS = ['GET', 'GET', 'GET', 'POST', 'POST', 'POST', 'HEAD', 'PUT', 'DELETE', 'OPTIONS']
const STRANGE_METHODS = ['TRACE', 'PURGE', 'M-SEARCH', 'CONNECT', 'LINK', 'PATCH', 'get']
/** Fields by name, each with what may stand in it. */
const FIELDS: Record<string, readonly string[]> = {
  accept: ['*/*', 'application/json', ',,,;q=', 'text/html;q=0'],
  'accept-encoding': ['gzip', 'br;q=1.0, gzip;q=', 'identity;q=0', ', '.repeat(300)],
  'accept-language': ['en', 'de;q=0.5, *', ' '.repeat(500), 'x-'.repeat(300)],
  authorization: ['Bearer x', 'Basic !!!', 'Bearer', ''],
  'cache-control': ['no-store', 'max-age=0', ',,,"', 'only-if-cached', 'max-age=-1', 'max-age="'],
  'content-encoding': ['gzip', 'identity', 'x'],
  'content-type': ['application/json', 'text/plain', 'application/json; charset=x', '/'],
  cookie: ['connect.sid=s%3Ax.y', ';;==;', `connect.sid=${'a'.repeat(2000)}`, '__proto__=1', 'a=b'],
  expect: ['100-continue', 'x'],
  'idempotency-key': ['', '"', 'u-1', `u${'k'.repeat(300)}`, '"u-2"', 'a, b'],
  'if-modified-since': ['Thu, 01 Jan 1970 00:00:00 GMT', 'x'],
  'if-none-match': ['*', '"a", W/"b', '"'],
  forwarded: ['for=1.2.3.4', 'for="[::1'],
  range: ['bytes=0-1', 'bytes=9-1,0-', 'bytes=-'],
  'x-api-key': ['k', ''],
  'x-forwarded-for': ['1.2.3.4', 'x, ,', '::ffff:1.2.3.4'],
  'x-forwarded-host': ['', 'other'],
  'x-forwarded-proto': ['https', 'x', 'https,http'],
  'x-user': ['ann', 'b\u00e9a', ''],
  __proto__x: ['1'],
}
const NAMES = Object.keys(FIELDS)
const BODIES = ['', '{}', '{"a":1}', '{"a":', `"${'x'.repeat(2000)}"`, '[[[[[[', '\u0000']

export interface HostileRequest {
  method: string
  target: string
  host: string
  fields: [string, string][]
  /** Undefined for a request without a body. */
  body: string | undefined
}

/** What the requests of a phase have in common. */
export interface RequestSource {
  /** Cookies of sessions that exist. */
  cookies: readonly string[]
  /** The keys of the phase begin with it: each of them may take effect once. Undefined: none is used. */
  epoch: string | undefined
}

/** A third are payments under one of a few keys, a third are good requests, the rest is strange. */
export function randomRequest(random: Random, { cookies, epoch }: RequestSource): HostileRequest {
  if (epoch !== undefined && random.chance(0.3)) return payment(random, epoch)
  const isStrange = random.chance(0.4)
  const method =
    isStrange && random.chance(0.3) ? random.pick(STRANGE_METHODS) : random.pick(METHODS)
  const target = isStrange && random.chance(0.5) ? random.pick(STRANGE_TARGETS) : random.pick(PATHS)
  const host = isStrange ? random.pick(['shop', 'SHOP:80', '', 'a b', 'x'.repeat(300)]) : 'shop'
  const fields: [string, string][] = []
  for (let count = random.int(isStrange ? 8 : 3); count > 0; count--) {
    const name = random.pick(NAMES)
    fields.push([name, random.pick(FIELDS[name]!)])
  }
  if (random.chance(0.4) && cookies.length > 0) fields.push(['cookie', random.pick(cookies)])
  const hasBody = method !== 'GET' && method !== 'HEAD' && random.chance(0.7)
  return { method, target, host, fields, body: hasBody ? random.pick(BODIES) : undefined }
}

const payment = (random: Random, epoch: string): HostileRequest => ({
  method: 'POST',
  target: '/pay',
  host: 'shop',
  fields: [
    ['idempotency-key', `${epoch}-${random.int(300)}`],
    ['content-type', 'application/json'],
  ],
  body: '{"amount":1}',
})
