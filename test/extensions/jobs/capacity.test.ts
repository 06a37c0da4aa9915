/** The bound of a queue, on both engines. */
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { JobCapacity, MAX_SCHEDULES } from '../../../src/extensions/jobs/capacity.ts'
import { jobs, type JobQueue } from '../../../src/jobs.ts'
import { turnpike } from '../../../src/node.ts'
import { startRedis, testStore, type RedisServer } from '../../../src/testing.ts'
import { until } from '../../support/until.ts'

let redis: RedisServer
beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.stop())

let prefixes = 0

/** Opens several instances over one queue. */
const ENGINES: [string, (count: number, maxJobs: number) => Promise<JobQueue<any, any>[]>][] = [
  [
    'in the process',
    async (count, maxJobs) => {
      const store = testStore()
      return Array.from({ length: count }, () => jobs(turnpike({ store }), { maxJobs }))
    },
  ],
  [
    'in Redis',
    async (count, maxJobs) => {
      const prefix = `c${++prefixes}`
      const open = async (): Promise<JobQueue<any, any>> => {
        const tp = turnpike({ redis: redis.url, prefix, commandTimeout: '10s' })
        tp.on('warning', () => {})
        onTestFinished(() => tp.close({ drain: 0 }))
        const queue = jobs(tp, { maxJobs })
        await until('it answers', () => queue.counts().catch(() => undefined), 15_000)
        return queue
      }
      return Promise.all(Array.from({ length: count }, open))
    },
  ],
]

const FULL = {
  code: 'TP_QUEUE_FULL',
  status: 503,
  headers: { 'Retry-After': '5' },
  message: expect.stringMatching(/^The queue 'default' is full: it has maxJobs \(5\) unfinished/),
}

describe.each(ENGINES)('%s', (_name, open) => {
  test('a full queue refuses further jobs of each kind, and takes them when some have finished', async () => {
    const [queue] = await open(1, 5)
    queue!.define('note', () => 1)
    await queue!.add('note')
    await queue!.add('note', 1, { in: '1h' })
    await queue!.add('note', 1, { priority: 'low', id: 'n1' })
    await expect(queue!.addMany([1, 2, 3].map(() => ({ task: 'note' })))).rejects.toMatchObject(
      FULL,
    )
    await queue!.flow({ task: 'note', children: [{ task: 'note' }] })
    await expect(queue!.add('note')).rejects.toMatchObject(FULL)
    await expect(queue!.add('note', 1, { in: '1m' })).rejects.toMatchObject(FULL)
    await expect(queue!.flow({ task: 'note' })).rejects.toMatchObject(FULL)
    // A repeated addition finds its job.
    expect(await queue!.add('note', 1, { id: 'n1' })).toEqual({ id: 'n1', task: 'note' })
    const all = await queue!.counts()
    expect(all.waiting + all.delayed + all.waitingChildren).toBe(5)
    await queue!.work()
    await until('all have run', async () => (await queue!.counts()).completed === 4)
    await queue!.add('note')
  })

  test('processes that add at the same time exceed it by little', async () => {
    const all = await open(3, 20)
    for (const queue of all) queue.define('note', () => 1)
    let refused = 0
    for (let i = 0; i < 30; i++)
      await Promise.all(
        all.map((queue) =>
          queue.add('note').catch((error: { code: string }) => {
            expect(error.code).toBe('TP_QUEUE_FULL')
            refused++
          }),
        ),
      )
    const { waiting } = await all[0]!.counts()
    expect(waiting).toBeGreaterThanOrEqual(20)
    expect(waiting).toBeLessThanOrEqual(26)
    expect(refused).toBe(90 - waiting)
  })
})

test('schedules are bounded, too', async () => {
  const queue = jobs(turnpike({ store: testStore() }))
  queue.define('report', {})
  for (let i = 0; i < MAX_SCHEDULES; i++) await queue.add('report', 1, { every: '1h', id: `s${i}` })
  await expect(queue.add('report', 1, { every: '1h', id: 'more' })).rejects.toMatchObject({
    code: 'TP_QUEUE_FULL',
    message: expect.stringMatching(/10000 schedules/),
  })
  await queue.add('report', 1, { every: '2h', id: 's7' })
  expect(await queue.schedules.list()).toHaveLength(1000)
  expect(await queue.schedules.list({ offset: 9999, limit: 10 })).toMatchObject([{ id: 's9999' }])
})

test('most additions ask nothing besides', async () => {
  const capacity = new JobCapacity(10_000)
  let [asked, inRedis] = [0, 0]
  const count = async (): Promise<number> => {
    asked++
    return inRedis
  }
  for (let i = 0; i < 1000; i++) if (await capacity.take(1, count)) inRedis++
  expect(inRedis).toBe(1000)
  expect(asked).toBeLessThanOrEqual(11)
  // A count that fails refuses nothing while there is room.
  expect(await capacity.take(200, () => Promise.reject(new Error('away')))).toBe(true)
})
