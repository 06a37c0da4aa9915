/** Attack: input that is long. Twice the input costs at most about twice the work, which is counted, not timed. */
import { once } from 'node:events'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { turnpike } from '../../src/express.ts'
import { testStore } from '../../src/testing.ts'
import { workOf } from './work.ts'

const tp = turnpike({ store: testStore(), requestBudget: '10s', logger: false })
const web = createServer({ maxHeaderSize: 1 << 20 }, application())
let port = 0

function application(): express.Express {
  const app = express()
  app.set('trust proxy', true)
  app.use(express.json({ limit: '1mb' }))
  const secret = [
    'one secret that is long enough',
    'another that is long enough',
    'and a third one here',
  ]
  app.use(tp.session({ secret, name: 'sid' }))
  app.use(tp.rateLimit({ limit: 1e6, window: '1m', key: (req) => req.get('x-user') ?? 'nobody' }))
  const login = tp.loginGuard({ limit: 1e6, addressLimit: 1e6, key: (req) => req.body?.email })
  app.post('/login', login, (_req, res) => void res.status(401).end())
  const pay = tp.idempotency({ ttl: '1m', scope: () => 'me', required: false })
  app.post('/pay', pay, (_req, res) => void res.send('paid'))
  const cache = tp.cache({
    ttl: '1m',
    public: true,
    vary: ['accept-language'],
    query: { ignore: ['utm_*'] },
  } as never)
  app.use(cache, (_req, res) => void res.set('ETag', '"a"').send('page'))
  app.use(
    (error: any, _req: any, res: any, _next: any) => void res.status(error.status ?? 500).end(),
  )
  return app
}

beforeAll(async () => {
  web.listen(0, '127.0.0.1')
  await once(web, 'listening')
  port = (web.address() as AddressInfo).port
})
afterAll(async () => {
  web.closeAllConnections()
  web.close()
  await tp.close()
})

interface Input {
  method?: string
  path?: string
  headers?: Record<string, string | string[]>
  body?: string
}

async function send({
  method = 'GET',
  path = '/page',
  headers = {},
  body,
}: Input): Promise<number> {
  const type = body === undefined ? {} : { 'content-type': 'application/json' }
  const req = request({ port, path, method, headers: { ...type, ...headers }, agent: false })
  req.on('error', () => {}).end(body)
  const [res] = await once(req, 'response')
  res.resume()
  await once(res, 'close')
  return res.statusCode
}

/** A unit, so many times. */
const field =
  (name: string, unit: string, start = '', end = '') =>
  (length: number): Input => ({
    headers: { [name]: `${start}${unit.repeat(length / unit.length)}${end}` },
  })
const json =
  (path: string, make: (length: number) => unknown, headers = {}) =>
  (length: number): Input => ({
    method: 'POST',
    path,
    headers,
    body: JSON.stringify(make(length)),
  })
const KEY = { 'idempotency-key': 'k-1234567' }

const inputs: Record<string, (length: number) => Input> = {
  'Accept: ,': field('accept', ',a'),
  'Accept-Encoding: gzip,': field('accept-encoding', 'gzip;q=0.1, '),
  'Accept-Language: blanks': field('accept-language', ' ', 'a', 'b'),
  'Accept-Language: a list': field('accept-language', 'de;q=0.5, '),
  'Authorization: one word': field('authorization', 'a', 'Bearer '),
  'Cache-Control: commas': field('cache-control', ',', '', '"'),
  'Cache-Control: quotes': field('cache-control', '"\\'),
  'Cache-Control: directives': field('cache-control', 'max-age=1, '),
  'Cookie: one name': field('cookie', 'sid=s%3Aabc.def; '),
  'Cookie: one long value': field('cookie', 'a', 'sid=s%3A'),
  'Cookie: separators': field('cookie', ';'),
  'Cookie: equals signs': field('cookie', '=', 'sid='),
  'Forwarded: a list': field('forwarded', 'for=1.2.3.4, '),
  'Host: one long name': field('host', 'a'),
  'Idempotency-Key: one long key': (length) => ({
    ...field('idempotency-key', 'a')(length),
    method: 'POST',
    path: '/pay',
  }),
  'If-Modified-Since: digits': field('if-modified-since', '1'),
  'If-None-Match: a list': field('if-none-match', '"b", '),
  'If-None-Match: a quote that is not closed': field('if-none-match', 'W/"'),
  'Range: a list': field('range', '0-1,', 'bytes='),
  'X-Forwarded-For: a list': field('x-forwarded-for', '1.2.3.4, '),
  'X-Forwarded-Host: a list': field('x-forwarded-host', 'a, '),
  'X-Forwarded-Proto: a list': field('x-forwarded-proto', 'https, '),
  'a subject of one letter': field('x-user', 'a'),
  'a subject of blanks': field('x-user', ' ', 'a', 'b'),
  'a path of slashes': (length) => ({ path: '/'.repeat(length) }),
  'a path of escapes': (length) => ({ path: `/${'%41'.repeat(length / 3)}` }),
  'a path of dots': (length) => ({ path: `/${'../'.repeat(length / 3)}` }),
  'a query of empty parameters': (length) => ({ path: `/page?${'&'.repeat(length)}` }),
  'a query of parameters': (length) => ({ path: `/page?${'a=1&'.repeat(length / 4)}` }),
  'a query of one parameter': (length) => ({ path: `/page?a=${'b'.repeat(length)}` }),
  'a query of plus signs': (length) => ({ path: `/page?a=${'+'.repeat(length)}` }),
  'an identity of one letter': json('/login', (length) => ({ email: 'a'.repeat(length) })),
  'an identity of ligatures': json('/login', (length) => ({ email: '\uFDFA'.repeat(length / 3) })),
  'an identity of combining marks': json('/login', (length) => ({
    email: `a${'\u0327\u0301'.repeat(length / 4)}`,
  })),
  'an identity of blanks': json('/login', (length) => ({ email: `a${' '.repeat(length)}b` })),
  'a body of one string': json('/pay', (length) => ({ a: 'b'.repeat(length) }), KEY),
  'a body of numbers': json('/pay', (length) => Array.from({ length: length / 2 }, () => 1), KEY),
  'a body of names': json(
    '/pay',
    (length) => Object.fromEntries(Array.from({ length: length / 8 }, (_, i) => [`k${i}`, i])),
    KEY,
  ),
}

describe('attack: four times the length is no more than five times the work', () => {
  it.each(Object.keys(inputs))('%s', async (name) => {
    const input = inputs[name]!
    // What is done once (a parsed target, a compiled pattern) is not counted.
    for (let i = 0; i < 2; i++) await send(input(256))
    let growth = Infinity
    // What else this process does meanwhile is counted, too. Other lengths are new input to a cache.
    for (let attempt = 0; attempt < 3 && growth >= 5; attempt++) {
      const short = await workOf(() => send(input(8_192 + 48 * attempt)))
      const long = await workOf(() => send(input(32_768 + 192 * attempt)))
      if (process.env['FIGURES']) console.log(name, short, long, (long / short).toFixed(1))
      expect(short).toBeGreaterThan(0)
      growth = long / short
    }
    expect(growth).toBeLessThan(5)
  })

  it('the count sees work that is quadratic', async () => {
    const quadratic = (text: string): number => {
      let rest = text
      let count = 0
      while (rest !== '') {
        rest = rest.slice(1)
        count += rest.includes('x') ? 1 : 0
      }
      return count
    }
    const short = await workOf(async () => quadratic('a'.repeat(500)))
    const long = await workOf(async () => quadratic('a'.repeat(2000)))
    expect(long).toBeGreaterThan(12 * short)
  })
})
