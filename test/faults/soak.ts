/** Runs many calls while Redis fails and returns. Nothing may grow, and the process must exit by itself. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { startRedis } from '../../src/testing.ts'
import { startScript } from '../support/child.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { expectOnlyOutages } from '../support/stderr.ts'

export interface SoakResult {
  calls: number
  seconds: number
  faults: number
  /** How many calls and requests had each outcome. */
  outcomes: Record<string, number>
  /** Heap after a collection, in MB, at equal distances. */
  heap: number[]
  /** Listeners on the process, the Redis clients and their sockets, sampled while Redis is up. */
  listeners: number[]
  /** Time from `close()` to the exit of the process, in ms. */
  ended: number
  code: number | null
  stderr: string
}

/** 200 workers; each fiftieth call is an HTTP request through session, limit, cache or idempotency. */
const SCRIPT = `
import { createServer, Agent, request } from 'node:http'
import { once } from 'node:events'
import { Redis } from 'ioredis'
import { turnpike } from 'turnpike/node'

let goOn
const orders = createInterface({ input: process.stdin })
orders.on('line', () => goOn())
const healed = () => new Promise((resolve) => (goOn = resolve))
const CALLS = Number(process.env.CALLS)
const clients = new Set()
const connect = Redis.prototype.connect
Redis.prototype.connect = function (...args) {
  clients.add(this)
  return connect.apply(this, args)
}
const tp = turnpike({ redis: process.env.URL, fallbackMaxKeys: 5_000 })
tp.on('warning', () => {})
const limiter = tp.limiter('soak', { limit: 1_000_000_000, window: '1m' })
const permits = tp.semaphore('soak', { limit: 20, lease: '2s' })

const handlers = {
  '/session': [tp.session({ secret: 'only for tests' })],
  '/limit': [tp.rateLimit({ limit: 1_000_000_000, window: '1m' })],
  '/cache': [tp.cache({ ttl: '5s', near: true, tags: ['all'] })],
  '/pay': [tp.idempotency({ scope: () => 'me', ttl: '10s', lease: '2s' })],
}
const server = createServer((req, res) => {
  const path = req.url.split('?')[0]
  const stack = handlers[path]
  const step = (i) => (error) => {
    if (error) return res.writeHead(error.status ?? 500).end()
    if (i < stack.length) return stack[i](req, res, step(i + 1))
    if (req.session) req.session.n = (req.session.n ?? 0) + 1
    res.end('ok')
  }
  step(0)()
}).listen(0, '127.0.0.1')
await once(server, 'listening')
const { port } = server.address()
const agent = new Agent({ keepAlive: true, maxSockets: 20 })
let cookie = ''
async function ask(i) {
  const path = Object.keys(handlers)[i % 4]
  const headers = path === '/session' && cookie ? { cookie } : path === '/pay' ? { 'idempotency-key': 'k' + (i % 5_000) } : {}
  const req = request({ port, path: path + '?' + (i % 500), method: path === '/pay' ? 'POST' : 'GET', agent, headers }).end()
  const [res] = await once(req, 'response')
  const [sent] = res.headers['set-cookie'] ?? []
  if (sent) cookie = sent.split(';')[0]
  res.resume()
  await once(res, 'end')
  return path + ' ' + res.statusCode
}

const outcomes = {}
const count = (what) => (outcomes[what] = (outcomes[what] ?? 0) + 1)
const calls = [
  async (i) => 'limiter ' + (await limiter.consume('k' + (i % 20_000))).source,
  async (i) => tp.lock('l' + (i % 1_000), { lease: '2s' }, () => 'lock held'),
  async () => permits.using(() => 'permit held'),
  async (i) => (await tp.data.getOrFetch('d' + (i % 2_000), () => i, { ttl: '2s' }), 'data'),
]
const kinds = [0, 0, 0, 0, 0, 0, 1, 2, 3, 3]

const listenersOf = (emitter) => emitter.eventNames().reduce((sum, name) => sum + emitter.listenerCount(name), 0)
const listeners = () =>
  listenersOf(process) + [...clients].reduce((sum, client) => sum + listenersOf(client) + (client.stream ? listenersOf(client.stream) : 0), 0)

await tp.ready()
for (let i = 0; i < 4; i++) await ask(i)
// A waiting caller subscribes, and the connection for that stays open.
const held = await tp.lock.acquire('warm')
await tp.lock('warm', { wait: '50ms' }, () => {}).catch(() => {})
await held.release()
console.log('warm')
const samples = { heap: [], listeners: [] }
let done = 0
let isPaused = false
let isSampled = false
async function worker() {
  while (done < CALLS || !isSampled) {
    if (isPaused) {
      await new Promise((resolve) => setTimeout(resolve, 5))
      continue
    }
    const i = done++
    try {
      count(i % 50 === 0 ? await ask(i / 50) : await calls[kinds[i % 10]](i))
    } catch (error) {
      count(error.code ?? String(error))
    }
  }
}
/** Samples while Redis is up and no call is in flight. What exists then is retained. */
async function sample() {
  isPaused = true
  console.log('pause ' + samples.heap.length)
  await healed()
  await tp.ready('20s')
  while ([...clients].some((client) => client.status !== 'ready')) await new Promise((resolve) => setTimeout(resolve, 10))
  await new Promise((resolve) => setTimeout(resolve, 1_500))
  gc()
  samples.heap.push(process.memoryUsage().heapUsed / 2 ** 20)
  samples.listeners.push(listeners())
  isPaused = false
  console.log('on ' + samples.heap.length)
}
const began = performance.now()
const workers = Array.from({ length: 200 }, worker)
const POINTS = 8
for (let point = 1; point <= POINTS; point++) {
  // Leave time for a fault between two points, however fast the calls are.
  const from = performance.now()
  while (done < (CALLS * point) / (POINTS + 1) || performance.now() - from < 600) await new Promise((resolve) => setTimeout(resolve, 10))
  await sample()
}
isSampled = true
await Promise.all(workers)
const seconds = (performance.now() - began) / 1000
console.log('RESULT ' + JSON.stringify({ calls: done, seconds, outcomes, ...samples }))
console.log('end')
await healed()
orders.close()
process.stdin.destroy()
agent.destroy()
server.close()
server.closeAllConnections()
await tp.close()
`

export async function soak(calls: number, patience: number): Promise<SoakResult> {
  await using server = await startRedis()
  await using proxy = await startFaultProxy(server.port)
  const script = startScript(SCRIPT, {
    env: { URL: proxy.url, CALLS: String(calls) },
    node: ['--expose-gc', '--max-old-space-size=256'],
    patience,
  })
  let isOver = false
  let faults = 0
  const heal = (): void => {
    proxy.heal()
    server.thaw()
  }
  const faultInjections = [
    () => proxy.set({ mode: 'stall' }),
    () => server.freeze(),
    () => {
      proxy.set({ mode: 'refuse' })
      proxy.reset()
    },
    () => proxy.set({ drops: 0.2 }),
    () => proxy.set({ latency: 150 }),
    () => proxy.set({ mode: 'stallDown' }),
    () => proxy.set({ jitter: 80 }),
    () => proxy.reset(),
  ]
  let isPaused = false
  await script.says('warm')
  const flapping = (async () => {
    while (!isOver) {
      if (!isPaused) faultInjections[faults++ % faultInjections.length]!()
      await sleep(300)
      heal()
      await sleep(200)
    }
  })()
  try {
    for (let point = 0; point < 8; point++) {
      await script.says(`pause ${point}`)
      isPaused = true
      heal()
      script.tell('healed')
      await script.says(`on ${point + 1}`)
      isPaused = false
    }
    await script.says('end')
    isOver = true
    await flapping
    script.tell('healed')
    const { code, stdout, stderr, ms } = await script.ended
    const result = JSON.parse(/RESULT (.*)/.exec(stdout)![1]!) as SoakResult
    return { ...result, faults, ended: ms, code, stderr }
  } finally {
    isOver = true
    await flapping
  }
}

/** How calls end: by a reply of Redis, by the local fallback, or without Redis. */
const USUAL = [
  'limiter store',
  'limiter local',
  'lock held',
  'permit held',
  'data',
  'TP_UNAVAILABLE',
  '/session 200',
  '/session 503',
  '/limit 200',
  '/cache 200',
  '/pay 200',
  '/pay 503',
]
/** All permits taken, a lock that is not released yet, or a session that twenty requests change at once. */
const RARE = ['TP_SEMAPHORE_FULL', 'TP_LOCKED', 'TP_LOCK_LOST', '/session 409', '/pay 409']

/** Expects that nothing grew, nothing was left behind, and no request failed in an unlisted way. */
export function expectSound({ heap, listeners, ended, code, stderr, outcomes }: SoakResult): void {
  expectOnlyOutages(stderr, 'back')
  expect(code).toBe(0)
  // The bounded per-key state is full after the first half.
  const half = heap.length / 2
  const grown = Math.min(...heap.slice(half)) - Math.max(...heap.slice(1, half))
  expect(grown).toBeLessThan(3)
  expect(Math.max(...listeners)).toBe(Math.min(...listeners))
  expect(ended).toBeLessThan(3_000)
  const seen = new Set(Object.keys(outcomes))
  for (const what of USUAL) expect(seen).toContain(what)
  for (const what of seen) expect([...USUAL, ...RARE]).toContain(what)
}
