/** A queue does over each kind of installation what it does over one server, with ioredis 5 and 6. */
import { Cluster } from 'ioredis'
import { Cluster as Cluster5, Redis as Redis5 } from 'ioredis5'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { jobs } from '../../../src/jobs.ts'
import { turnpike } from '../../../src/node.ts'
import type { RedisSource } from '../../../src/store/redis.ts'
import { startRedis, type RedisServer } from '../../../src/testing.ts'
import { startCluster, type TestCluster } from '../../support/cluster.ts'
import { startSentinel, type TestSentinel } from '../../support/sentinel.ts'
import { until } from '../../support/until.ts'

let standalone: RedisServer
let cluster: TestCluster
let sentinel: TestSentinel
const ends: (() => void)[] = []

beforeAll(async () => {
  ;[standalone, cluster, sentinel] = await Promise.all([
    startRedis(),
    startCluster({ masters: 3, replicas: 0 }),
    startSentinel(),
  ])
}, 60_000)
afterAll(async () => {
  for (const end of ends) end()
  await Promise.all([standalone.stop(), cluster.stop(), sentinel.stop()])
})

function keep(client: { disconnect(): void }): RedisSource {
  ends.push(() => client.disconnect())
  return client as unknown as RedisSource
}

const sources: [string, () => RedisSource, object?][] = [
  ['one server, with a client of ioredis 5', () => keep(new Redis5(standalone.url))],
  [
    'one server, with a client that is used itself and has a prefix',
    () => keep(new Redis5(standalone.url, { keyPrefix: 'outer:' })),
    { reuse: true },
  ],
  ['one server, in a database of its own', () => standalone.url, { databases: { queue: 4 } }],
  ['Sentinel', () => sentinel.source],
  ['a Cluster', () => ({ cluster: cluster.startup })],
  ['a Cluster, with a client of ioredis 6', () => keep(new Cluster(cluster.startup))],
  ['a Cluster, with a client of ioredis 5', () => keep(new Cluster5(cluster.startup))],
]

describe.each(sources)('%s', (_name, source, options = {}) => {
  test('jobs are added, delayed, run, retried, followed, scheduled and removed', async () => {
    const prefix = `t${sources.findIndex(([, each]) => each === source)}`
    const given = source()
    const open = async (): Promise<any> => {
      const tp = turnpike({ redis: given, prefix, commandTimeout: '10s', ...options })
      onTestFinished(() => tp.close({ drain: 0 }))
      await tp.ready()
      const queue = jobs(tp, { name: 'mails' })
      await until('it answers', () => queue.counts().catch(() => undefined), 15_000)
      return queue
    }
    const [producer, worker] = [await open(), await open()]
    let attempts = 0
    for (const queue of [producer, worker]) {
      queue.define('double', { backoff: { delay: 10 } }, async (n: number, context: any) => {
        await context.progress(n)
        if (n === 3 && ++attempts === 1) throw new Error('once more')
        return context.step('double', () => n * 2)
      })
      queue.define('sum', async (_payload: unknown, { children }: any) =>
        (await children()).reduce((sum: number, each: number) => sum + each, 0),
      )
    }
    await producer.addMany([1, 2, 3].map((n) => ({ task: 'double', payload: n, id: `d${n}` })))
    await producer.add('double', 4, { id: 'd4', in: 100, priority: 'high' })
    const { id } = await producer.flow({
      task: 'sum',
      children: [10, 20].map((payload) => ({ task: 'double', payload })),
    })
    await producer.add('sum', {}, { every: '0 3 * * *', timeZone: 'Europe/Berlin' })
    await worker.work({ concurrency: 3 })
    await until('all have completed', async () => (await producer.counts()).completed === 7, 15_000)
    for (const n of [1, 2, 3, 4])
      expect(await producer.get(`d${n}`)).toMatchObject({ state: 'completed', result: n * 2 })
    expect(attempts).toBe(2)
    expect(await producer.get(id)).toMatchObject({ state: 'completed', result: 60 })
    expect(await producer.schedules.list()).toMatchObject([{ id: 'sum' }])
    expect(await producer.schedules.remove('sum')).toBe(true)
    expect(await producer.remove('d1')).toBe(true)
    expect(await producer.health()).toMatchObject({ status: 'ok', backlog: 0, workers: 1 })
  })
})
