import { Redis } from 'ioredis'
import { expect, onTestFinished, test, vi } from 'vitest'
import type { Client } from '../../src/store/redis.ts'
import { Subscriptions } from '../../src/store/subscriptions.ts'
import { startRedis } from '../../src/testing.ts'
import { until } from '../support/until.ts'

test('a subscriber learns that messages before the confirmation were missed, each for its own channel', async () => {
  await using server = await startRedis()
  const client = new Redis(server.url)
  onTestFinished(() => client.disconnect())
  const subscriptions = new Subscriptions({
    open: () => client as unknown as Client,
    onRefused: vi.fn(),
    onListenerError: vi.fn(),
  })
  const [early, late] = [vi.fn(), vi.fn()]
  subscriptions.add('early', () => {}, early)
  subscriptions.connect()
  await until('the subscription is confirmed', () => early.mock.calls.length === 1)
  subscriptions.add('late', () => {}, late)
  await until('the second is confirmed', () => late.mock.calls.length === 1)
  expect(early).toHaveBeenCalledTimes(1)
  client.disconnect(true)
  await until('both learn of the lost connection and of the new one', () =>
    [early, late].every((gap) => gap.mock.calls.length === 3),
  )
})

test('a second listener of a confirmed channel learns that it is confirmed', async () => {
  await using server = await startRedis()
  const client = new Redis(server.url)
  onTestFinished(() => client.disconnect())
  const subscriptions = new Subscriptions({
    open: () => client as unknown as Client,
    onRefused: vi.fn(),
    onListenerError: vi.fn(),
  })
  const [first, second, gone] = [vi.fn(), vi.fn(), vi.fn()]
  subscriptions.add('news', () => {}, first)
  subscriptions.connect()
  await until('the subscription is confirmed', () => first.mock.calls.length === 1)
  subscriptions.add('news', () => {}, gone)()
  subscriptions.add('news', () => {}, second)
  await until('the second one knows', () => second.mock.calls.length === 1)
  expect(first).toHaveBeenCalledTimes(1)
  expect(gone).not.toHaveBeenCalled()
})
