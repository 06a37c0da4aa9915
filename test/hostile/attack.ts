/** Attacks an application with hostile connections while Redis is well, frozen, killed or flushed. */
import { spawn, type ChildProcess } from 'node:child_process'
import { connect } from 'node:net'
import { request } from 'node:http'
import { once } from 'node:events'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { startRedis, type RedisServer } from '../../src/testing.ts'
import { startFaultProxy, type FaultProxy } from '../support/fault-proxy.ts'
import { expectEveryKeyToExpire } from '../support/ttl.ts'
import { until } from '../support/until.ts'
import { http1Bytes } from './http1.ts'
import { http2Bytes } from './http2.ts'
import { Random } from './random.ts'
import type { RequestSource } from './requests.ts'

export interface AttackOptions {
  seed: number
  connections: number
  /** The program that runs the application. Default: this Node */
  node?: string
}

interface Counts {
  listeners: number
  timers: number
  collected: number
  heap: number
}

const AT_A_TIME = 50
const PHASES = ['well', 'frozen', 'killed', 'flushed'] as const
type Phase = (typeof PHASES)[number]

/** The process of the application, and what it answers. */
class Application {
  readonly #process: ChildProcess
  readonly #waiting = new Map<number, (answer: never) => void>()
  readonly #ended: Promise<undefined>
  #stderr = ''
  #id = 0
  ports: Record<string, number> = {}

  constructor(node: string, url: string) {
    const file = path.join(import.meta.dirname, 'application.mjs')
    this.#process = spawn(node, ['--expose-gc', file], {
      env: { PATH: process.env['PATH'], URL: url },
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    this.#ended = once(this.#process, 'exit').then(() => undefined)
    this.#process.stderr!.on('data', (text) => (this.#stderr += String(text)))
    this.#process.on('message', ({ id, answer, ports }: any) => {
      if (ports) this.ports = ports
      else this.#waiting.get(id)?.(answer as never)
    })
  }

  async ready(): Promise<void> {
    await until('the application serves', () => this.expectAlive() && 'node' in this.ports, 20_000)
  }

  expectAlive(): true {
    expect(this.#process.exitCode ?? this.#process.signalCode, this.#stderr).toBe(null)
    return true
  }

  async ask<Answer>(
    question: 'counts' | 'isOver' | 'open' | 'effects' | 'faults' | 'end',
  ): Promise<Answer> {
    const id = ++this.#id
    const answer = new Promise<Answer>((resolve) => this.#waiting.set(id, resolve))
    this.#process.send({ id, ask: question })
    const result = await Promise.race([answer, this.#ended])
    this.#waiting.delete(id)
    if (result === undefined && question !== 'end') this.expectAlive()
    return result as Answer
  }

  /** Ends it, and expects that nothing keeps it alive. */
  async end(): Promise<void> {
    await this.ask('end')
    await Promise.race([this.#ended, sleep(20_000)])
    expect(this.#process.exitCode, this.#stderr).toBe(0)
  }

  kill(): void {
    this.#process.kill('SIGKILL')
  }
}

/** Runs one connection: what it sends and how it ends depend on its seed alone. */
async function runConnection(
  seed: number,
  ports: Readonly<Record<string, number>>,
  source: RequestSource,
): Promise<void> {
  const random = new Random(seed)
  const name = random.pick(Object.keys(ports))
  const written = (name.includes('HTTP/2') ? http2Bytes : http1Bytes)(random, source)
  const end = random.pick(['reset', 'reset', 'finish', 'answered', 'answered', 'later'] as const)
  const patience = random.int(15)
  const socket = connect({
    port: ports[name]!,
    host: '127.0.0.1',
    // One address would run out of ports.
    localAddress: `127.0.0.${2 + random.int(250)}`,
    noDelay: true,
  })
  socket.on('error', () => {}).resume()
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  await Promise.race([once(socket, 'connect').catch(() => {}), closed])
  for (const [i, piece] of written.entries()) {
    if (i > 0) await new Promise((resolve) => setImmediate(resolve))
    if (!socket.writable) break
    socket.write(piece)
  }
  if (end === 'finish') socket.end()
  if (end === 'answered')
    await Promise.race([once(socket, 'data').catch(() => {}), closed, sleep(60)])
  if (end !== 'reset') await Promise.race([closed, sleep(patience)])
  // A socket that has sent its end cannot be reset any more.
  if (socket.writableEnded) socket.destroy()
  else socket.resetAndDestroy()
  await closed
}

async function get(
  port: number,
  target: string,
  headers = {},
): Promise<{ status: number; cookie: string }> {
  const req = request({
    port,
    path: target,
    headers: { host: 'shop', ...headers },
    agent: false,
  }).end()
  const [res] = await once(req, 'response')
  res.resume()
  await once(res, 'end')
  return { status: res.statusCode, cookie: res.headers['set-cookie']?.[0]?.split(';')[0] ?? '' }
}

/** Puts Redis into a state while connections run, again and again. */
async function disturb(
  phase: Phase,
  redis: RedisServer,
  proxy: FaultProxy,
  isOver: () => boolean,
): Promise<void> {
  while (!isOver()) {
    if (phase === 'frozen') proxy.set({ mode: 'stall' })
    else if (phase === 'killed') await redis.kill()
    else if (phase === 'flushed')
      await redis.send('FLUSHALL').then(() => redis.send('SCRIPT', 'FLUSH'))
    await sleep(phase === 'flushed' ? 20 : 300)
    proxy.heal()
    if (phase === 'killed') await redis.restart()
    if (phase !== 'flushed') await sleep(300)
  }
}

export interface AttackResult {
  connections: number
  seconds: number
  effects: number
  heap: number[]
}

/** Attacks in all phases. Fails if the process does not live, or if anything is held that should not be. */
export async function attack({
  seed,
  connections,
  node = process.execPath,
}: AttackOptions): Promise<AttackResult> {
  await using redis = await startRedis()
  await using proxy = await startFaultProxy(redis.port)
  const application = new Application(node, proxy.url)
  const began = performance.now()
  const heap: number[] = []
  try {
    await application.ready()
    const { ports } = application
    const cookies = await warm(ports)
    await expectFree(ports)
    const before = await settled(application)
    let next = seed
    for (const [i, phase] of PHASES.entries()) {
      // A server that loses its data forgets keys: there, none is counted.
      const losesData = phase === 'killed' || phase === 'flushed'
      const source = { cookies, epoch: losesData ? undefined : `k${i}` }
      const share = Math.ceil(connections / PHASES.length)
      const last = next + share
      if (process.env['FIGURES'])
        console.log(phase, next - seed, performance.now() - began, heap.at(-1))
      let isOver = false
      const disturbance = disturb(phase, redis, proxy, () => isOver)
      const worker = async (): Promise<void> => {
        while (next < last) {
          await runConnection(next++, ports, source)
          // Clients that do not wait for an answer would only fill the queue of the listening socket.
          if (next % 50 === 0) await application.ask('isOver')
        }
      }
      await Promise.all(Array.from({ length: AT_A_TIME }, worker))
      isOver = true
      await disturbance
      if (process.env['FIGURES']) console.log('attacked', performance.now() - began)
      const after = await settled(application, before)
      heap.push(after.heap)
      await expectFree(ports)
      expect(await application.ask('faults'), `phase ${phase}`).toEqual([])
      const { twice } = await application.ask<{ twice: string[] }>('effects')
      expect(twice, 'keys that took effect twice').toEqual([])
      await expectEveryKeyToExpire(redis)
    }
    const { keys } = await application.ask<{ keys: number }>('effects')
    await application.end()
    return {
      connections: next - seed,
      seconds: (performance.now() - began) / 1000,
      effects: keys,
      heap,
    }
  } finally {
    application.kill()
  }
}

/** Uses everything once, so that what stays is there. Returns cookies of sessions. */
async function warm(ports: Readonly<Record<string, number>>): Promise<string[]> {
  const cookies: string[] = []
  const targets = [
    '/session',
    '/limit',
    '/cache/a',
    '/cache/a',
    '/login',
    '/invalidate',
    '/pay',
    '/exclusive',
    '/places',
    '/all',
    '/everything',
  ]
  for (const name of ['express', 'koa', 'node'])
    for (const target of targets) {
      const { cookie } = await get(ports[name]!, target, {
        'x-user': 'ann',
        'idempotency-key': 'u-0',
      })
      if (cookie !== '') cookies.push(cookie)
    }
  return cookies
}

/** What the application holds once all connections have ended and Redis is well. */
async function settled(application: Application, before?: Counts): Promise<Counts> {
  const isOver = async (): Promise<boolean> => {
    // To count objects stops the process for longer than to serve a request.
    await sleep(50)
    return await application.ask<boolean>('isOver')
  }
  await until('all connections have ended, and Redis is well', isOver, 60_000).catch(
    async (error) => {
      expect(await application.ask('open'), String(error)).toEqual([])
      throw error
    },
  )
  let counts = await application.ask<Counts>('counts')
  const isHeld = ({ listeners, timers }: Counts): boolean =>
    before !== undefined && (listeners > before.listeners || timers > before.timers)
  for (let i = 0; i < 10 && isHeld(counts); i++) {
    await sleep(300)
    counts = await application.ask<Counts>('counts')
  }
  if (!before) return counts
  expect(isHeld(counts), JSON.stringify({ before, counts })).toBe(false)
  // What is remembered is bounded. It does not grow with connections.
  expect(counts.collected - before.collected).toBeLessThan(MAX_REMEMBERED)
  return counts
}

/** Names, cached responses, fallback counters and refusals that three instances may remember. */
const MAX_REMEMBERED = 25_000

/** Expects that every permit and every lock can be had again, by the end of a lost lease at the latest. */
async function expectFree(ports: Readonly<Record<string, number>>): Promise<void> {
  for (const name of ['express', 'koa', 'node'])
    await until(`${name}: five places and the lock are free`, async () => {
      const places = await Promise.all(
        Array.from({ length: 5 }, () => get(ports[name]!, '/places')),
      )
      const { status } = await get(ports[name]!, '/exclusive')
      return places.every((each) => each.status === 200) && status === 200
    })
}
