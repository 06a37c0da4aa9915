import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import Koa from 'koa'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { turnpike as forExpress } from '../../../src/express.ts'
import { turnpike as forKoa } from '../../../src/koa.ts'
import type { Turnpike } from '../../../src/turnpike.ts'
import { startRedis, testStore, type RedisServer } from '../../../src/testing.ts'
import { apps } from '../../support/apps.ts'
import { startFaultProxy } from '../../support/fault-proxy.ts'
import { watchStarvation } from '../../support/starvation.ts'
import { until } from '../../support/until.ts'

type AnyTurnpike = Turnpike<any, any>
/** The default one, in ms. */
const TIMEOUT = 100
const OPTIONS = { scope: () => 'me', lease: '3s' } as const

const frameworks: Record<
  string,
  (
    url: string,
    handle: () => Promise<string>,
    options: object,
    instance: object,
  ) => [AnyTurnpike, any]
> = {
  'Express 5': (redis, handle, options, instance) => {
    const tp = forExpress({ redis, ...instance })
    const app = express()
    app.post(
      '/',
      tp.idempotency({ ...OPTIONS, ...options }),
      async (_req, res) => void res.send(await handle()),
    )
    return [tp, app]
  },
  'Koa 3': (redis, handle, options, instance) => {
    const tp = forKoa({ redis, ...instance })
    const app = new Koa()
    app
      .use(tp.idempotency({ ...OPTIONS, ...options }))
      .use(async (ctx) => void (ctx.body = await handle()))
    return [tp, app.callback()]
  },
}

describe.each(Object.keys(frameworks))('%s', (name) => {
  async function shop(
    url: string,
    handle: () => Promise<string> | string = () => 'ok',
    options: object = {},
    instance: object = {},
  ) {
    let runs = 0
    const [tp, app] = frameworks[name]!(
      url,
      async () => (runs++, await handle()),
      options,
      instance,
    )
    const times = new Map<string, number>()
    const server = createServer((req, res) => {
      const lost = watchStarvation()
      const began = performance.now()
      res.on('finish', () =>
        times.set(String(req.headers['idempotency-key']), performance.now() - began - lost()),
      )
      app(req, res)
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(async () => {
      server.closeAllConnections()
      server.close()
      await tp.close()
    })
    const events: string[] = []
    tp.on('idempotency', ({ type: what }) => events.push(what))
    await tp.ready()
    const target = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
    const post = async (key: string) => {
      const res = await fetch(target, { method: 'POST', headers: { 'Idempotency-Key': key } })
      const text = await res.text()
      await until('it is measured', () => times.has(key))
      return {
        status: res.status,
        text,
        replayed: res.headers.get('idempotency-replayed'),
        retryAfter: res.headers.get('retry-after'),
        ms: times.get(key)!,
      }
    }
    return { tp, post, events, runs: () => runs }
  }

  test('round trips: a new key 1 before the handler and 1 for the completion; a replay 1 in all, a long one 2', async () => {
    await using redis = await startRedis()
    await using proxy = await startFaultProxy(redis.port)
    let atHandler = 0
    let body = 'ok'
    const count = (): string => {
      atHandler = proxy.traffic.roundTrips
      return body
    }
    const { post } = await shop(
      proxy.url,
      count,
      {},
      { commandTimeout: '10s', requestBudget: '10s' },
    )
    await post('warm')
    await post('warm')
    proxy.forget()
    await post('k')
    expect(atHandler).toBe(1)
    expect(proxy.traffic.roundTrips).toBe(2)
    expect(proxy.traffic.commands).toEqual(['EVALSHA', 'EVALSHA'])
    proxy.forget()
    expect((await post('k')).replayed).toBe('true')
    expect(proxy.traffic.roundTrips).toBe(1)
    body = 'x'.repeat(70_000)
    await post('long')
    await post('long')
    proxy.forget()
    expect((await post('long')).replayed).toBe('true')
    expect(proxy.traffic.roundTrips).toBe(2)
  })

  test.each(['freeze', 'kill'] as const)(
    'Redis away (%s): 503 + Retry-After within the timeout, before any effect',
    async (how) => {
      await using redis = await startRedis()
      const { post, runs } = await shop(redis.url)
      // On a loaded machine a healthy Redis misses the timeout, too.
      await until('it is warm', async () => (await post('warm')).status === 200)
      await redis[how]()
      for (let i = 0; i < 8; i++) {
        const { status, retryAfter, ms } = await post(`k${i}`)
        expect(status).toBe(503)
        expect(retryAfter).toBe('2')
        expect(ms).toBeLessThan(TIMEOUT + 30)
      }
      expect(runs()).toBe(1)
      if (how === 'freeze') redis.thaw()
    },
  )

  test("fail: 'open' lets requests pass unprotected", async () => {
    await using redis = await startRedis()
    const { post, runs } = await shop(redis.url, () => 'ok', { fail: 'open' })
    await redis.kill()
    expect((await post('k')).status).toBe(200)
    expect((await post('k')).status).toBe(200)
    expect(runs()).toBe(2)
  })

  const midway = async (act: (redis: RedisServer) => unknown) => {
    const redis = await startRedis()
    onTestFinished(() => redis.stop())
    const app = await shop(redis.url, async () => {
      await act(redis)
      return 'answer'
    })
    await app.post('warm').catch(() => {})
    return { redis, ...app }
  }

  test('Redis dies between begin and complete: the client gets its answer, which is stored later', async () => {
    let first = true
    const { redis, post, events, runs, tp } = await midway(async (redis) => {
      if (!first) await redis.kill()
      first = false
    })
    const answer = await post('k')
    expect(answer).toMatchObject({ status: 200, text: 'answer' })
    expect(events.at(-1)).toBe('pending')
    await redis.restart()
    await until('the answer is stored', () => events.at(-1) === 'stored', 4000)
    await tp.ready()
    expect(await post('k')).toMatchObject({ text: 'answer', replayed: 'true' })
    expect(runs()).toBe(2)
  })

  test('it does not come back before the lease ends: the event says so', async () => {
    let first = true
    const { post, events } = await midway(async (redis) => {
      if (!first) await redis.kill()
      first = false
    })
    expect((await post('k')).text).toBe('answer')
    await until('it is given up', () => events.at(-1) === 'unstored', 6000)
  })

  test('FLUSHALL midway: the answer is stored all the same', async () => {
    const { post, runs } = await midway((redis) => redis.send('FLUSHALL'))
    expect((await post('k')).text).toBe('answer')
    expect(await post('k')).toMatchObject({ text: 'answer', replayed: 'true' })
    expect(runs()).toBe(2)
  })

  test('SCRIPT FLUSH at any moment changes nothing', async () => {
    const { redis, post, runs } = await midway((redis) => redis.send('SCRIPT', 'FLUSH'))
    expect((await post('k')).text).toBe('answer')
    await redis.send('SCRIPT', 'FLUSH')
    expect((await post('k')).replayed).toBe('true')
    expect(runs()).toBe(2)
  })

  test('a claim whose reply was lost does not stand in the way of the retry', async () => {
    await using redis = await startRedis()
    await using proxy = await startFaultProxy(redis.port)
    const { post } = await shop(proxy.url, () => 'ok', { lease: '1m' })
    await post('warm')
    proxy.set({ mode: 'stallDown' })
    expect((await post('k')).status).toBe(503)
    proxy.set({ mode: 'ok' })
    await until('the retry runs', async () => (await post('k')).text === 'ok')
  })
})

test.each(apps)(
  '$name: while the store is away: 503 with Retry-After and problem+json',
  async ({ start }) => {
    const store = testStore()
    store.fail()
    let runs = 0
    const app = start({
      options: { store },
      mount: (tp) => [tp.idempotency(OPTIONS)],
      handle: () => [200, `${++runs}`],
    })
    const unavailable = vi.fn()
    app.tp.on('unavailable', unavailable)
    const answer = await app.post('/', { 'Idempotency-Key': 'k' })
    expect(answer.status).toBe(503)
    expect(answer.headers['retry-after']).toBe('2')
    expect(answer.headers['content-type']).toMatch('problem+json')
    expect(unavailable).toHaveBeenCalledWith({
      feature: 'idempotency',
      name: 'default',
      reason: 'not-ready',
      uncertain: false,
      rule: 'closed',
    })
    expect(runs).toBe(0)
    store.recover()
    expect((await app.post('/', { 'Idempotency-Key': 'k' })).status).toBe(200)
  },
)
