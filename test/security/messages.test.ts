/** Attack: anybody who can reach Redis can publish, from any database: no message may do harm. */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import { Redis } from 'ioredis'
import request from 'supertest'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, onTestFinished } from 'vitest'
import { turnpike } from '../../src/express.ts'
import { startRedis, type RedisServer } from '../../src/testing.ts'
import { apiKeys } from '../../src/tokens.ts'
import { expectEveryKeyToExpire } from '../support/ttl.ts'
import { until } from '../support/until.ts'

let server: RedisServer
let attacker: Redis
const unhandled: unknown[] = []
const note = (error: unknown): void => void unhandled.push(error)

beforeAll(async () => {
  server = await startRedis()
  attacker = new Redis(server.url, { db: 5 })
})
beforeEach(() => {
  process.on('unhandledRejection', note)
  process.on('uncaughtException', note)
})
afterEach(async () => {
  await sleep(20)
  process.off('unhandledRejection', note)
  process.off('uncaughtException', note)
  expect(unhandled.splice(0)).toEqual([])
})
afterAll(async () => {
  attacker.disconnect()
  await expectEveryKeyToExpire(server)
  await server.stop()
})

const MESSAGES: readonly (string | Buffer)[] = [
  '',
  'x',
  '*',
  '>',
  ' ',
  '[',
  '[]',
  '[1]',
  '[""]',
  '["","","",""]',
  '["a","b","c","d"]',
  '["a","1","2","hard"]',
  '["a","NaN","NaN","hard","tag"]',
  '{"a":1}',
  'null',
  'filled',
  'filled x',
  '0',
  '\u0000',
  '__proto__',
  '["__proto__","0","1","hard","__proto__"]',
  Buffer.from([0xff, 0xfe, 0x00]),
  randomBytes(1000),
  `[${'['.repeat(100_000)}`,
  '"'.repeat(100_000),
  JSON.stringify(Array.from({ length: 20_000 }, (_, i) => String(i))),
]

/** What the channels of the features are called after the prefix. */
const CHANNELS = [
  ':inv',
  ':cache!fills',
  ':idempotency!',
  ':limit!reset',
  ':lock!',
  ':session!near',
  ':tokens:api-key!',
]

let count = 0

/** Serves on one port: the host is part of a cache's key. Returns the address. */
async function serve(app: RequestListener): Promise<string> {
  const web = createServer(app).listen(0, '127.0.0.1')
  onTestFinished(() => void web.close())
  await once(web, 'listening')
  return `http://127.0.0.1:${(web.address() as AddressInfo).port}`
}

/** An application in which every feature that subscribes has done so. */
async function started() {
  const prefix = `messages-${++count}`
  const options = { redis: server.url, prefix, commandTimeout: '2s', requestBudget: '2s' } as const
  const [tp, other] = [turnpike(options), turnpike(options)]
  onTestFinished(async () => void (await Promise.all([tp.close(), other.close()])))
  await Promise.all([tp.ready(), other.ready()])
  const app = express()
  const url = await serve(app)
  let renders = 0
  const near = tp.cache({ ttl: '1h', public: true, near: true, tags: ['news'] })
  app.get('/news', near, (_req, res) => void res.send(`news ${++renders}`))
  // Two processes: one waits for the response that the other makes.
  const filling = [other, tp].map((each) => {
    const slow = express()
    slow.get('/slow', each.cache({ ttl: '1h', public: true }), async (_req, res) => {
      await sleep(500)
      res.send('slow')
    })
    return slow
  })
  app.post('/pay', tp.idempotency({ ttl: '1h', wait: '2s' }), async (_req, res) => {
    await sleep(500)
    res.send('paid')
  })
  const limiter = tp.limiter('used', { limit: 1, window: '1h', denyCache: true })
  apiKeys(tp, { near: '10s', lookup: async () => undefined as never })
  app.get(
    '/me',
    tp.session({ secret: 'a secret', near: '1m', cookie: { secure: false } }),
    (req, res) => {
      Object.assign(req.session, { userId: 'ann' })
      res.send('me')
    },
  )
  const held = await tp.lock.acquire('job')
  const waiting = tp.lock('job', { wait: '10s' }, () => 'done')
  for (let i = 0; i < 3; i++) await request(url).get('/news')
  const [cookie = ''] = (await request(url).get('/me')).get('Set-Cookie') ?? []
  await request(url).get('/me').set('Cookie', cookie.split(';', 1)[0]!)
  await limiter.consume('ann')
  await limiter.consume('ann')
  const paying = [1, 2].map(() => request(url).post('/pay').set('Idempotency-Key', 'k-1234567'))
  const paid = Promise.all(paying.map(async (each) => (await each).text))
  const filled = Promise.all(
    filling.map(async (each) => (await request(each).get('/slow').set('Host', 'shop')).text),
  )
  // A test that does not need them ends before they do.
  for (const work of [waiting, paid, filled]) work.catch(() => {})
  return { tp, url, prefix, limiter, held, waiting, paid, filled }
}

it('attack: garbage on every channel neither ends the process nor stops a feature', async () => {
  const { tp, url, prefix, limiter, held, waiting, paid, filled } = await started()
  const errors: unknown[] = []
  tp.on('error', (event) => errors.push(event))
  const channels = await until('all have subscribed', async () => {
    const found = (await attacker.pubsub('CHANNELS', `${prefix}:*`)) as string[]
    return CHANNELS.every((part) => found.some((name) => name.includes(part))) ? found : undefined
  })
  for (const channel of channels)
    for (const message of MESSAGES) await attacker.publish(channel, message)
  await sleep(100)

  expect(await paid).toEqual(['paid', 'paid'])
  expect(await filled).toEqual(['slow', 'slow'])
  await held.release()
  expect(await waiting).toBe('done')
  expect((await limiter.consume('ann')).allowed).toBe(false)
  await limiter.reset('ann')
  expect((await limiter.consume('ann')).allowed).toBe(true)
  const before = (await request(url).get('/news').expect(200)).text
  await tp.cache.invalidate({ tags: ['news'] })
  expect((await request(url).get('/news').expect(200)).text).not.toBe(before)
  expect(errors).toEqual([])
})

it('attack: a near cache never serves what was invalidated, whatever is published beside it', async () => {
  const { tp, url, prefix } = await started()
  const [channel] = (await attacker.pubsub('CHANNELS', `${prefix}:inv*`)) as string[]
  expect(channel).toBeDefined()
  let isOver = false
  const attack = (async () => {
    for (let i = 0; !isOver; i++) await attacker.publish(channel!, MESSAGES[i % MESSAGES.length]!)
  })()
  for (let i = 0; i < 50; i++) {
    const { text: before } = await request(url).get('/news').expect(200)
    await tp.cache.invalidate({ tags: ['news'] })
    const { text: after } = await request(url).get('/news').expect(200)
    expect(after).not.toBe(before)
  }
  isOver = true
  await attack
})
