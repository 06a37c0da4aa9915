/** A request waits for Redis no longer than its budget, however often it asks. */
import { expect, test } from 'vitest'
import { startRedis } from '../../src/testing.ts'
import { apps } from '../support/apps.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'

test.each(apps)('$name: an answer is not held back until it is stored', async ({ start }) => {
  await using redis = await startRedis()
  await using proxy = await startFaultProxy(redis.port)
  const app = start({
    options: { redis: proxy.url, commandTimeout: '2s', requestBudget: '300ms' },
    mount: (tp) => [tp.idempotency({ scope: () => 'me', lease: '5s' })],
  })
  await using tp = app.tp
  const events: string[] = []
  tp.on('idempotency', ({ type: what }) => events.push(what))
  await tp.ready()
  await app.post('/', { 'Idempotency-Key': 'warm' })
  events.length = 0
  // A round trip takes 200 ms: one fits into the budget, and a second one does not.
  proxy.set({ latency: 100 })
  const answer = await app.post('/', { 'Idempotency-Key': 'k' })
  expect([answer.status, answer.text]).toEqual([200, 'ok'])
  expect(events).toEqual(['first', 'pending'])
  proxy.heal()
})
