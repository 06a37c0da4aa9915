import express from 'express'
import request from 'supertest'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { turnpike, type WaitingLimiter } from '../../src/express.ts'
import type { Turnpike } from '../../src/turnpike.ts'
import { startCluster, type TestCluster } from '../support/cluster.ts'
import { until } from '../support/until.ts'

// A managed service may show one address for servers that share the keys among them: nothing tells
// the client, but a script with keys of two slots is refused.
let cluster: TestCluster
let count = 0
beforeAll(async () => {
  cluster = await startCluster({ masters: 1, replicas: 0 })
})
afterAll(() => cluster.stop())

/** An instance that does not know yet. */
async function behindOneAddress(): Promise<Turnpike<any, any>> {
  const [redis, prefix] = [cluster.nodes[0]!.url, `one${++count}`]
  const tp = turnpike({ redis, prefix, commandTimeout: '2s', requestBudget: '4s' })
  onTestFinished(() => tp.close())
  await tp.ready()
  return tp
}

test('behind one address for many slots the cache and tp.data work as on one server', async () => {
  const tp = await behindOneAddress()
  let made = 0
  const app = express()
  app.get('/', tp.cache({ ttl: '1m', tags: ['all'] }), (_req, res) => void res.send(`${++made}`))
  const server = app.listen(0)
  onTestFinished(() => void server.close())
  const get = async () => {
    const { text, status, headers } = await request(server).get('/')
    return { text, status, cache: String(headers['cache-status']) }
  }
  expect(await get()).toMatchObject({ status: 200, text: '1' })
  await until('it is stored', () => tp.cache.stats().stored === 1)
  expect(await get()).toMatchObject({ text: '1', cache: expect.stringContaining('hit') })
  await tp.cache.invalidate({ tags: ['all'] })
  expect(await get()).toMatchObject({ status: 200, text: '2' })
  let loads = 0
  const load = () => tp.data.getOrFetch('key', () => ++loads, { ttl: '1m', tags: ['all'] })
  expect(await load()).toBe(1)
  await expect.poll(() => tp.data.get('key')).toBe(1)
  expect(await load()).toBe(1)
})

describe('a limiter with several subjects', () => {
  const policies = [
    { name: 'each', limit: 3, window: '1h' },
    { name: 'all', limit: 4, window: '1h' },
  ] as const
  const of = (each: string) => ({ each, all: 'everybody' })

  test('admits what all of them do, and its first calls may come at once', async () => {
    const tp = await behindOneAddress()
    const limiter = tp.limiter('jobs', { policies })
    const first = await Promise.all(
      ['ann', 'ann', 'ann', 'bob'].map((each) => limiter.consume(of(each))),
    )
    expect(first.map(({ allowed, source }) => [allowed, source])).toEqual(
      first.map(() => [true, 'store']),
    )
    const { allowed, policies: states } = await limiter.consume(of('cleo'))
    expect(allowed).toBe(false)
    expect(states.map(({ name, violated }) => [name, violated])).toEqual([
      ['each', false],
      ['all', true],
    ])
    // What the one admitted and the other did not is given back.
    await until('nothing is charged', async () => {
      const { policies: left } = await limiter.peek(of('cleo'))
      return left[0]!.remaining === 3
    })
  })

  const firsts: [name: string, call: (limiter: WaitingLimiter) => unknown][] = [
    ['peek', (limiter) => limiter.peek(of('ann'))],
    ['reset', (limiter) => limiter.reset(of('ann'))],
    ['refund', (limiter) => limiter.refund(of('ann'))],
    ['block', (limiter) => limiter.block(of('ann'), '1m')],
  ]
  test.each(firsts)('%s may be the first of all calls', async (name, call) => {
    const tp = await behindOneAddress()
    const limiter = tp.limiter('jobs', { policies })
    await call(limiter)
    const blocked = await limiter.consume(of('ann'))
    expect(blocked).toMatchObject({ allowed: name !== 'block', source: 'store' })
    await limiter.reset(of('ann'))
    const decision = await limiter.consume(of('ann'), 2)
    expect(decision).toMatchObject({ allowed: true, source: 'store' })
    await decision.refund()
    expect((await limiter.peek(of('ann'))).policies.map(({ remaining }) => remaining)).toEqual([
      3, 4,
    ])
  })
})
