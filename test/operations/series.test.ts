/**
 * However many addresses, URLs, users, keys and tags come, the metrics have the same series.
 *
 *   REQUESTS=1000000 npx vitest run test/operations/series.test.ts
 */
import { IncomingMessage, ServerResponse } from 'node:http'
import { Duplex } from 'node:stream'
import type { Socket } from 'node:net'
import { expect, it, onTestFinished } from 'vitest'
import { turnpike } from '../../src/node.ts'
import { testStore } from '../../src/testing.ts'

const REQUESTS = Number(process.env.REQUESTS ?? 8000)
/** Requests that are in progress at a time. */
const AT_ONCE = 50

type Listener = (req: IncomingMessage, res: ServerResponse) => void

/** Sends a request to a listener without a connection. Resolves when it is answered. */
function inject(listen: Listener, i: number): Promise<number> {
  const socket = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
  const address = `${1 + (i % 223)}.${(i >> 8) % 256}.${(i >> 16) % 256}.${i % 256}`
  Object.assign(socket, { remoteAddress: address })
  const req = new IncomingMessage(socket as Socket)
  req.method = i % 7 === 0 ? 'POST' : 'GET'
  req.url = `/canary-${i}?canary=${i}`
  req.headers = {
    host: `canary-${i}.example`,
    'x-user': `canary-${i}`,
    'user-agent': `canary-${i}`,
    'idempotency-key': `canary-${i}`,
    'content-length': '0',
    cookie: `sid=s%3Acanary-${i}.canary; canary${i}=1`,
  }
  req.push(null)
  req.complete = true
  const res = new ServerResponse(req)
  res.assignSocket(socket as Socket)
  return new Promise((resolve) => {
    res.on('finish', () => {
      resolve(res.statusCode)
      socket.destroy()
    })
    listen(req, res)
  })
}

it(
  `${REQUESTS} requests from other addresses, for other URLs and users, with other keys and tags, add no series`,
  async () => {
    const tp = turnpike({ store: testStore(), operations: true })
    onTestFinished(() => tp.close())
    const userOf = (req: IncomingMessage): string => String(req.headers['x-user'])
    const stack = tp.pipeline(
      tp.session({ secret: 'a secret that is long enough 123' }),
      tp.rateLimit({ name: 'address', limit: 1, window: '1h' }),
      tp.rateLimit({ name: 'user', limit: 1, window: '1h', key: userOf }),
      tp.idempotency({ name: 'pay', scope: userOf }),
      tp.cache({ name: 'pages', ttl: '1m', scope: userOf, tags: (req) => [`user:${userOf(req)}`] }),
    )
    const limiter = tp.limiter('jobs', { limit: 1, window: '1h' })
    const listen: Listener = (req, res) =>
      stack(req, res, () => {
        res.statusCode = Number(userOf(req).slice(7)) % 11 === 0 ? 500 : 200
        res.end('ok')
      })
    const metrics = tp.metrics()
    const statuses = new Map<number, number>()
    const series = async (): Promise<string[]> =>
      (await metrics.text())
        .split('\n')
        .filter((line) => line !== '' && !line.startsWith('#'))
        .map((line) => line.replace(/ \S+$/, ''))
    async function use(i: number): Promise<void> {
      const status = await inject(listen, i)
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
      if (i % 10 !== 0) return
      await limiter.consume(`canary-${i}`)
      await limiter.consume(`canary-${i}`)
      await tp.lock(`canary-${i}`, {}, () => {})
      await tp.cache.invalidate({ tags: [`user:canary-${i}`] })
      await tp.data.getOrFetch(`canary-${i}`, () => i, { ttl: '1m' })
    }
    // Everything that can happen has happened, also to a request that is repeated.
    for (let i = 0; i < 400; i++) await use(i % 200)
    const before = await series()
    expect(before.length).toBeGreaterThan(60)
    for (let i = 1000; i < 1000 + REQUESTS; i += AT_ONCE)
      await Promise.all(Array.from({ length: AT_ONCE }, (_, j) => use(i + j)))
    const after = await series()
    expect(after).toEqual(before)
    expect(after.join('\n')).not.toContain('canary')
    expect([...statuses.keys()].toSorted((a, b) => a - b)).toEqual([200, 429, 500])
    expect(statuses.get(200)).toBeGreaterThan(REQUESTS / 2)
  },
  60_000 + REQUESTS,
)
