/** The lease of a job: a worker that loses it notices by itself, and another one goes on. */
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { jobs, type JobEvent } from '../../../src/jobs.ts'
import { turnpike } from '../../../src/node.ts'
import { startRedis, type RedisServer } from '../../../src/testing.ts'
import { startFaultProxy } from '../../support/fault-proxy.ts'
import { until } from '../../support/until.ts'
import { startWorker } from './support.ts'

let redis: RedisServer
beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.stop())

async function open(name: string, url = redis.url) {
  const tp = turnpike({ redis: url, commandTimeout: '10s' })
  onTestFinished(() => tp.close({ drain: 0 }))
  const events: JobEvent[] = []
  tp.on('job', (event) => events.push(event))
  const queue = jobs(tp, { name })
  await until('the queue answers', () => queue.counts().catch(() => undefined), 15_000)
  return { queue, events }
}

test('the signal of a job fires by itself, before another worker takes the job', async () => {
  const proxy = await startFaultProxy(redis.port)
  onTestFinished(() => proxy.close())
  const [first, second] = [await open('cut-off', proxy.url), await open('cut-off')]
  let cutOff: { at: number; reason: unknown } | undefined
  let secondAt = 0
  let isRunning = false
  first.queue.define('slow', { retries: 0 }, (_payload, { signal }) => {
    isRunning = true
    return new Promise((resolve) => {
      signal.addEventListener('abort', () => {
        cutOff = { at: performance.now(), reason: signal.reason }
        resolve('of the first')
      })
    })
  })
  second.queue.define('slow', { retries: 0 }, (_payload, { attempt }) => {
    secondAt = performance.now()
    return `of the second, attempt ${attempt}`
  })
  await first.queue.work({ lease: '1s' })
  const { id } = await second.queue.add('slow')
  await until('it runs', () => isRunning)
  // The renewals of the lease do not arrive.
  proxy.set({ mode: 'stall' })
  await second.queue.work({ lease: '1s' })
  await until('the other worker has run it', () => secondAt > 0, 15_000)
  expect(cutOff!.reason).toMatchObject({ code: 'TP_LOCK_LOST' })
  expect(cutOff!.at).toBeLessThan(secondAt)
  proxy.heal()
  await until('it has completed', async () => (await second.queue.get(id))!.state === 'completed')
  expect(await second.queue.get(id)).toMatchObject({ result: 'of the second, attempt 1' })
  const told = second.events.filter((event) => event.id === id).map(({ type }) => type)
  expect(told).toEqual(['added', 'stalled', 'started', 'completed'])
})

test('a worker process that is frozen for longer than its lease ends nothing when it goes on', async () => {
  const { queue, events } = await open('default')
  // This process has no handler for 'count': the job waits for a worker that has one.
  queue.define('count', { retries: 100, backoff: { delay: 50 } })
  queue.define('slow', { retries: 0 }, async () => 'of the second')
  const frozen = await startWorker(redis.url, { lease: 500 })
  const { id } = await queue.add('slow', { ms: 3000 })
  await until('it runs', () => frozen.ids('start').length === 1)
  frozen.kill('SIGSTOP')
  await queue.work({ lease: 500 })
  await until('it has completed', async () => (await queue.get(id))!.state === 'completed', 15_000)
  frozen.kill('SIGCONT')
  // The frozen process takes this one when its handler has ended.
  await until('it works again', async () => {
    await queue.add('count')
    return frozen.ids('count').length > 0
  })
  expect(frozen.ids('end')).toEqual([])
  expect(await queue.get(id)).toMatchObject({ state: 'completed', result: 'of the second' })
  expect(await queue.failed.list()).toEqual([])
  expect(events.filter(({ type }) => type === 'stalled')).toMatchObject([{ id, task: undefined }])
})
