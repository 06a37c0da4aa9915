/** An application on each kind of installation, for the commands to look at. */
import { once } from 'node:events'
import { createServer, request as httpRequest, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import request from 'supertest'
import { turnpike as express5 } from '../../src/express.ts'
import { CONTEXT } from '../../src/extension.ts'
import type { Limiter } from '../../src/features/rate-limit/limiter-options.ts'
import { maintenance } from '../../src/flags.ts'
import { Beat } from '../../src/operations/beat.ts'
import { startRedis } from '../../src/testing.ts'
import type { TurnpikeOptions } from '../../src/turnpike.ts'
import { startCluster } from '../support/cluster.ts'
import { startSentinel } from '../support/sentinel.ts'
import { startTlsRedis } from '../support/tls.ts'

export const SECRET = 'a secret of thirty-two characters'
/** A terminal obeys C1 control characters, too, and a header may contain them. */
export const HOSTILE_AGENT = 'evil\u009b2J'

export interface Installation {
  readonly options: TurnpikeOptions<never>
  readonly args: readonly string[]
  readonly env?: NodeJS.ProcessEnv
  stop(): Promise<void>
}

export const INSTALLATIONS: Record<string, () => Promise<Installation>> = {
  async standalone() {
    const server = await startRedis()
    return { options: { redis: server.url }, args: ['--redis', server.url], stop: server.stop }
  },
  async databases() {
    const server = await startRedis()
    return {
      options: { redis: server.url, layout: 'databases' },
      args: ['--redis', server.url, '--layout', 'databases'],
      stop: server.stop,
    }
  },
  async TLS() {
    const server = await startTlsRedis()
    return {
      options: { redis: { url: server.url, tls: { ca: server.ca } } },
      args: ['--redis', server.url],
      env: { REDIS_SSL_CA_CERTS: server.caFile },
      stop: async () => await server[Symbol.asyncDispose](),
    }
  },
  async Sentinel() {
    const { source, stop } = await startSentinel()
    const [{ host, port }] = source.sentinels as [{ host: string; port: number }]
    return { options: { redis: source }, args: ['--redis', `redis://${host}:${port}`], stop }
  },
  async Cluster() {
    const { startup, stop } = await startCluster({ replicas: 0 })
    const [{ host, port }] = startup as [{ host: string; port: number }]
    return {
      options: { redis: { cluster: startup } },
      args: ['--redis', `redis://${host}:${port}`],
      stop,
    }
  },
}

/** An application that uses everything, after some requests. */
export interface Populated {
  readonly url: string
  peek(): ReturnType<Limiter['peek']>
  /** How often the cached handler ran. */
  made(): number
  /** Reports what is mounted now. */
  report(): Promise<void>
  close(): Promise<void>
}

/** Starts the application. @param every pause between two reports */
export async function populate(
  options: TurnpikeOptions<never>,
  every: '1s' | '20s' = '1s',
): Promise<Populated> {
  const tp = express5({
    ...options,
    prefix: 'shop',
    commandTimeout: 2000,
    requestBudget: 5000,
    logger: false,
    operations: { service: 'shop', release: 'r1', every },
  } as never)
  const app = express()
  let made = 0
  app.use(tp.session({ secret: SECRET }))
  app.post('/login/:user', (req, res, next) => {
    tp.session.login(req, req.params.user).then(() => res.end(), next)
  })
  app.get('/products/:id', tp.cache({ ttl: '5m', tags: ['products'] }), (req, res) => {
    made++
    res.set({ 'x-note': 'kept', 'www-authenticate': 'Basic' }).send(`product ${req.params.id}`)
  })
  app.get('/limited', tp.rateLimit({ name: 'web', limit: 2, window: '1h' }), (_req, res) => {
    res.end()
  })
  app.get('/closed', maintenance(tp), (_req, res) => void res.end())
  app.post('/pay', tp.idempotency({ name: 'pay', scope: () => 'ada' }), (_req, res) => {
    res.status(201).send('paid')
  })
  const server: Server = createServer(app).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  await tp.ready()
  await request(url).post('/login/ada').set('user-agent', 'laptop').expect(200)
  await request(url).post('/login/bob').set('user-agent', 'phone').expect(200)
  const hostile = httpRequest(`${url}/login/ada`, {
    method: 'POST',
    headers: { 'user-agent': HOSTILE_AGENT },
  })
  hostile.end()
  await once(hostile, 'response')
  for (const id of [1, 2]) await request(url).get(`/products/${id}`).expect(200)
  await request(url).post('/pay').set('idempotency-key', 'k1').expect(201)
  await tp.service('search').report({ responseTimeMs: 45 })
  const lock = await tp.lock.acquire('nightly', { lease: '60s' })
  const permit = await tp.semaphore('exports', { limit: 2 }).acquire()
  const limiter = tp.limiter('api', { limit: 5, window: '1h' })
  await tp.overrides.set('eve', { api: 7 }, { ttl: '1d' })
  await limiter.consume('ada')
  for (const status of [200, 200, 429]) await request(url).get('/limited').expect(status)
  /** With a long pause, no report comes by itself while a test compares the data. */
  async function report(): Promise<void> {
    const facts = {
      id: `test/${process.pid}/x`,
      host: 'test',
      pid: process.pid,
      since: Date.now(),
      version: undefined,
      status: () => tp.status(),
    }
    const settings = { service: 'shop', release: 'r1', every: 20_000, subjects: true }
    await new Beat(tp[CONTEXT]('operations'), facts, settings).write()
  }
  return {
    url,
    peek: () => limiter.peek('ada'),
    made: () => made,
    report,
    async close() {
      await lock.release()
      await permit.release()
      server.close()
      await tp.close()
    },
  }
}
