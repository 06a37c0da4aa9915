/** What operators see of jobs: metrics, and the health of a queue within that of the application. */
import { describe, expect, onTestFinished, test } from 'vitest'
import { jobs } from '../../../src/jobs.ts'
import { turnpike } from '../../../src/node.ts'
import { testStore } from '../../../src/testing.ts'
import { apps } from '../../support/apps.ts'

/** Returns the values of the metrics of jobs by name and labels. */
async function valuesOf(tp: { metrics(): any }): Promise<Record<string, number>> {
  const text: string = await tp.metrics().text()
  const lines = text.split('\n').filter((line) => line.startsWith('turnpike_job_'))
  return Object.fromEntries(lines.map((line) => [line.split(' ')[0], Number(line.split(' ')[1])]))
}

test('metrics count jobs by queue, task and what happened, and measure attempts and the backlog', async () => {
  const store = testStore()
  const tp = turnpike({ store })
  onTestFinished(() => tp.close())
  const queue = jobs(tp, { name: 'mails' })
  queue.define('send', { retries: 1 }, async (ok: boolean) => {
    await store.sleep(2000)
    if (!ok) throw new Error('no')
  })
  await queue.add('send', true)
  await queue.add('send', false)
  await store.advance('7s')
  await queue.health()
  expect(await valuesOf(tp)).toEqual({
    'turnpike_job_events_total{queue="mails",task="send",type="added"}': 2,
    'turnpike_job_backlog{queue="mails"}': 2,
    'turnpike_job_oldest_seconds{queue="mails"}': 7,
  })
  await queue.work()
  for (let i = 0; i < 2; i++) {
    await new Promise((resolve) => setTimeout(resolve, 5))
    await store.advance('2s')
  }
  await queue.idle()
  await queue.health()
  expect(await valuesOf(tp)).toMatchObject({
    'turnpike_job_events_total{queue="mails",task="send",type="started"}': 2,
    'turnpike_job_events_total{queue="mails",task="send",type="completed"}': 1,
    'turnpike_job_events_total{queue="mails",task="send",type="retrying"}': 1,
    'turnpike_job_seconds_bucket{queue="mails",task="send",le="1"}': 0,
    'turnpike_job_seconds_bucket{queue="mails",task="send",le="2.5"}': 2,
    'turnpike_job_seconds_sum{queue="mails",task="send"}': 4,
    'turnpike_job_backlog{queue="mails"}': 0,
    'turnpike_job_oldest_seconds{queue="mails"}': 0,
  })
})

describe.each(apps)('$name', ({ start }) => {
  test('the health of the application includes the queue: its backlog, and that nothing works', async () => {
    const store = testStore()
    let queue: any
    const { get } = start({
      options: { store },
      mount(tp: any) {
        queue = jobs(tp)
        queue.define('send', () => 1)
        const checks = { orders: () => queue.health() }
        const options = { checks, cacheFor: 0 }
        return [
          tp.health({ path: '/health', ...options }),
          tp.health({ path: '/strict', strict: true, ...options }),
          tp.health({ path: '/public', details: false, ...options }),
        ]
      },
    })
    const ok = { status: 'ok', backlog: 0, oldestMs: 0, workers: 0 }
    expect((await get('/health')).body).toMatchObject({ status: 'healthy', checks: { orders: ok } })
    await queue.add('send', 1)
    await store.advance('90s')
    const { status, body } = await get('/health')
    expect(status).toBe(200)
    expect(body).toMatchObject({
      status: 'degraded',
      connected: true,
      reason: 'orders: no-worker',
      checks: { orders: { status: 'no-worker', backlog: 1, oldestMs: 90_000, workers: 0 } },
    })
    expect((await get('/public')).body).toEqual({
      status: 'degraded',
      connected: true,
      reason: 'A check failed',
    })
    expect((await get('/strict')).status).toBe(503)
    // A web process that is restarted does not bring a worker.
    expect((await get('/strict/ready')).status).toBe(200)
    store.fail()
    const { body: away } = await get('/health')
    expect(away).toMatchObject({ status: 'degraded', reason: 'Redis is away' })
    expect(away.checks.orders).toEqual({ status: 'unavailable' })
    store.recover()
    await queue.work()
    await queue.idle()
    expect((await get('/strict')).status).toBe(200)
  })
})
