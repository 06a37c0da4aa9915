/** Jobs over a real Redis: killed workers, restarts, outages, what is left in Redis. */
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { Redis } from 'ioredis'
import { Redis as Redis5 } from 'ioredis5'
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest'
import { extension } from '../../../src/extension.ts'
import { jobs, type QueueOptions } from '../../../src/jobs.ts'
import { turnpike } from '../../../src/node.ts'
import { startRedis, type RedisServer } from '../../../src/testing.ts'
import { startFaultProxy } from '../../support/fault-proxy.ts'
import { until } from '../../support/until.ts'
import { follow, startWorker, type Said } from './support.ts'

let redis: RedisServer
beforeEach(async () => {
  redis = await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
})
afterEach(() => redis.stop())

/** A queue of this process, in which no call is too slow for a busy machine. */
async function open(options: QueueOptions = {}, url = redis.url, commandTimeout: any = '10s') {
  const tp = turnpike({ redis: url, commandTimeout })
  onTestFinished(() => tp.close({ drain: 0 }))
  await tp.ready()
  const queue = jobs(tp, options)
  // BullMQ is loaded, and the connection established.
  await until('the queue answers', () => queue.counts().catch(() => undefined), 15_000)
  return { tp, queue }
}

test('a job whose worker is killed runs again, in one worker at a time', async () => {
  const { queue } = await open()
  const router = queue.router({ authorize: () => true })
  const server = createServer((req, res) => {
    router(req, res, () => res.end())
  }).listen(0)
  onTestFinished(() => void server.close())
  queue.define('slow', { retries: 0 })
  const said: Said[] = []
  const first = await startWorker(redis.url, { lease: '1s' }, said)
  const { id } = await queue.add('slow', { ms: 2500 })
  const stream = await follow(server, `/jobs/${id}/stream`)
  await until('its progress is seen', () =>
    stream.events().some(({ data }) => data?.progress.pid === first.pid),
  )
  first.kill('SIGKILL')
  const killedAt = Date.now()
  await first.ended
  await startWorker(redis.url, { lease: '1s' }, said)
  const job = await until(
    'it has completed',
    async () => {
      const job = await queue.get(id)
      return job?.state === 'completed' ? job : undefined
    },
    15_000,
  )
  expect(said.map(({ type }) => type)).toEqual(['ready', 'start', 'ready', 'start', 'end'])
  expect(said[3]!.at).toBeGreaterThanOrEqual(killedAt)
  expect(job).toMatchObject({ result: expect.any(Number), progress: { pid: job.result } })
  expect(job.result).not.toBe(first.pid)
  // Whoever followed the job saw both workers, and its end.
  await until('the stream ends', stream.hasEnded)
  const pids = stream.events().map(({ data }) => data.progress.pid)
  expect([...new Set(pids.filter(Boolean))]).toEqual([first.pid, job.result])
  expect(stream.events().at(-1)).toMatchObject({ name: 'end', data: { state: 'completed' } })
})

test('a job that kills two workers goes to the dead letters', async () => {
  const { queue } = await open()
  queue.define('slow', { retries: 0 })
  const { id } = await queue.add('slow', { ms: 60_000 })
  for (let i = 0; i < 2; i++) {
    const worker = await startWorker(redis.url, { lease: 500 })
    await until('it runs', () => worker.ids('start').length === 1, 10_000)
    worker.kill('SIGKILL')
    await worker.ended
  }
  await startWorker(redis.url, { lease: 500 })
  const [dead] = await until(
    'it is a dead letter',
    async () => {
      const list = await queue.failed.list()
      return list.length > 0 ? list : undefined
    },
    15_000,
  )
  expect(dead).toMatchObject({ id, reason: expect.stringMatching(/stalled/) })
})

test('of 1,000 jobs, four workers and a Redis that restarts, none is lost and none runs twice', async () => {
  const { queue } = await open()
  queue.define('count', {})
  const said: Said[] = []
  await Promise.all(
    [1, 2, 3, 4].map(() => startWorker(redis.url, { concurrency: 5, lease: '2s' }, said)),
  )
  const ids = Array.from({ length: 1000 }, (_, i) => `job-${i}`)
  for (let from = 0; from < 1000; from += 250)
    await queue.addMany(ids.slice(from, from + 250).map((id) => ({ task: 'count', id })))
  const counted = (): string[] => said.filter(({ type }) => type === 'count').map(({ id }) => id)
  await until('some have run', () => counted().length > 50)
  await redis.restart()
  await until(
    'all have completed',
    async () => (await queue.counts().catch(() => undefined))?.completed === 1000,
    30_000,
  )
  expect(counted().length).toBe(1000)
  expect(new Set(counted()).size).toBe(1000)
  expect(await queue.failed.list()).toEqual([])
})

test('after SIGTERM a worker finishes what it runs, takes nothing else, and ends', async () => {
  const { queue } = await open()
  queue.define('slow', {})
  const worker = await startWorker(redis.url, { concurrency: 2 })
  await queue.addMany([1, 2, 3].map((n) => ({ task: 'slow', payload: { ms: 500 }, id: `s${n}` })))
  await until('two run', () => worker.ids('start').length === 2)
  worker.kill('SIGTERM')
  expect(await worker.ended).toEqual([null, 'SIGTERM'])
  expect(worker.ids('end').toSorted()).toEqual(['s1', 's2'])
  expect(worker.ids('start').length).toBe(2)
  expect(await queue.counts()).toMatchObject({ completed: 2, active: 0, waiting: 1 })
})

test('retries are delayed by 60, 120 and 240 s, up to a tenth longer', async () => {
  const { queue } = await open()
  const delays: number[] = []
  queue.define('mail', () => {
    throw new Error('no mail today')
  })
  await queue.work()
  const board = await queue.board()
  const { id } = await queue.add('mail')
  for (let attempt = 1; attempt <= 3; attempt++) {
    const [waiting] = await until('it waits for its retry', async () => {
      const delayed = await board.getDelayed()
      return delayed.length > 0 && delayed
    })
    delays.push(waiting.delay)
    expect((await queue.get(id))!.attempts).toBe(attempt)
    await waiting.promote()
  }
  const dead = await until('it is a dead letter', async () => (await queue.failed.list())[0])
  expect(dead).toMatchObject({ id, attempts: 4, reason: 'no mail today' })
  expect(dead.stack).toMatch(/^Error: no mail today\n.*redis\.test\.ts/s)
  for (const [i, pause] of [60_000, 120_000, 240_000].entries()) {
    expect(delays[i]).toBeGreaterThanOrEqual(pause)
    expect(delays[i]).toBeLessThanOrEqual(pause * 1.1)
  }
  expect(await queue.failed.retry(id)).toBe(true)
  await until('it waits again', async () => (await queue.get(id))!.state === 'delayed')
  expect((await queue.get(id))!.attempts).toBe(1)
})

test('a poisonous payload ends among the dead letters with its reason, and others go on', async () => {
  const { queue } = await open()
  queue.define('mail', { retries: 0 }, ({ to }: any) => to.toUpperCase())
  await queue.work()
  await queue.addMany([
    { task: 'mail', payload: { to: 'ann' }, id: 'good' },
    { task: 'mail', payload: null, id: 'poison' },
  ])
  await queue.idle()
  expect((await queue.get('good'))!.result).toBe('ANN')
  const [dead] = await queue.failed.list()
  expect(dead).toMatchObject({ id: 'poison', payload: null })
  expect(dead!.reason).toMatch(/Cannot destructure/)
  expect(await queue.failed.drop('poison')).toBe(true)
  expect(await queue.failed.list()).toEqual([])
})

test('both engines count, order and describe jobs alike', async () => {
  const { queue } = await open()
  const order: unknown[] = []
  queue.define('note', (payload) => void order.push(payload))
  queue.define('resize', ({ width }: { width: number }) => `${width}.webp`)
  queue.define('publish', (_payload, { children }) => children())
  await queue.add('note', 'l', { priority: 'low' })
  await queue.add('note', 'n')
  await queue.add('note', 'h', { priority: 'high' })
  await queue.add('note', 'later', { in: '1h', id: 'later' })
  await queue.add('note', 'twice', { in: '1h', id: 'later' })
  const { id } = await queue.flow({
    task: 'publish',
    children: [300, 600].map((width) => ({ task: 'resize', payload: { width } })),
  })
  expect(await queue.counts()).toEqual({
    waiting: 5,
    delayed: 1,
    active: 0,
    waitingChildren: 1,
    completed: 0,
    failed: 0,
    priorities: { high: 1, normal: 3, low: 1 },
  })
  expect(await queue.health()).toMatchObject({ status: 'no-worker', backlog: 5, workers: 0 })
  expect(await queue.get('later')).toMatchObject({
    state: 'delayed',
    payload: 'later',
    progress: 0,
  })
  await queue.work()
  await queue.idle()
  expect(order).toEqual(['h', 'n', 'l'])
  expect((await queue.get(id))!.result).toEqual(['300.webp', '600.webp'])
  expect(await queue.health()).toMatchObject({ status: 'ok', backlog: 0, oldestMs: 0, workers: 1 })
  expect(await queue.remove('later')).toBe(true)
  expect(await queue.remove('later')).toBe(false)
})

test('a schedule that three processes declare exists once, and can be removed', async () => {
  const all = await Promise.all([open(), open(), open()])
  for (const { queue } of all) {
    queue.define('report', () => 1)
    await queue.add('report', {}, { every: '30 3 * * *', timeZone: 'Europe/Berlin' })
  }
  const { queue } = all[0]
  const [schedule, ...others] = await queue.schedules.list()
  expect(others).toEqual([])
  expect(schedule).toMatchObject({ id: 'report', task: 'report', every: '30 3 * * *' })
  expect(schedule!.timeZone).toBe('Europe/Berlin')
  expect((await queue.counts()).delayed).toBe(1)
  const next = await queue.get(`report@${schedule!.nextAt}`)
  expect(next).toMatchObject({ state: 'delayed', task: 'report' })
  await expect(queue.remove(next!.id)).rejects.toMatchObject({ code: 'TP_JOB_STATE' })
  await expect(queue.add('report', {}, { every: '99 * * * *' })).rejects.toThrow(/cron expression/)
  expect(await queue.schedules.remove('report')).toBe(true)
  expect((await queue.counts()).delayed).toBe(0)
})

test('while Redis is away, adding rejects in time. A retry with the same ID adds one job', async () => {
  const proxy = await startFaultProxy(redis.port)
  onTestFinished(() => proxy.close())
  const { queue, tp } = await open({}, proxy.url, 300)
  queue.define('mail', {})
  proxy.set({ mode: 'stallDown' })
  const began = performance.now()
  const failure = await queue.add('mail', 1, { id: 'mail-42' }).catch((error: unknown) => error)
  expect(failure).toMatchObject({ code: 'TP_UNAVAILABLE', status: 503, uncertain: true })
  expect(performance.now() - began).toBeLessThan(3000)
  proxy.set({ mode: 'refuse' })
  proxy.reset()
  await expect(queue.add('mail', 1, { id: 'mail-42' })).rejects.toMatchObject({ status: 503 })
  expect(await queue.health()).toMatchObject({ status: 'unavailable' })
  proxy.heal()
  await until(
    'it is added',
    () => queue.add('mail', 1, { id: 'mail-42' }).catch(() => undefined),
    15_000,
  )
  expect(await queue.counts()).toMatchObject({ waiting: 1 })
  await tp.close()
  await expect(queue.add('mail')).rejects.toMatchObject({ code: 'TP_UNAVAILABLE' })
})

test('a full Redis refuses every way to add a job as an outage, and adds nothing', async () => {
  const { queue } = await open()
  queue.define('t', {})
  await queue.add('t', 0)
  await redis.send('CONFIG', 'SET', 'maxmemory', '1')
  const child = { task: 't', payload: 2 }
  for (const add of [
    () => queue.add('t', 1),
    () => queue.addMany([child, child]),
    () => queue.flow({ ...child, children: [child] }),
    () => queue.add('t', 1, { every: '1h' }),
  ])
    await expect(add()).rejects.toMatchObject({ code: 'TP_UNAVAILABLE', uncertain: false })
  await redis.send('CONFIG', 'SET', 'maxmemory', '0')
  expect(await queue.counts()).toMatchObject({ waiting: 1, delayed: 0, waitingChildren: 0 })
})

test('a job runs again, without a failed attempt, if closing breaks it off', async () => {
  const { queue, tp } = await open()
  queue.define(
    'slow',
    (_payload, { signal }) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason))
      }),
  )
  await queue.work()
  const { id } = await queue.add('slow')
  await until('it runs', async () => (await queue.get(id))?.state === 'active')
  await tp.close({ drain: 10 })
  const { queue: later } = await open()
  expect(await later.get(id)).toMatchObject({ state: 'waiting', attempts: 0 })
})

test('what closes before the queue can still add jobs', async () => {
  const tp = turnpike({ redis: redis.url, commandTimeout: '10s' })
  await tp.ready()
  let late: Promise<unknown> | undefined
  // Registered first, it is closed after all that has no order.
  extension(tp, 'outbox', ({ onClose }) => {
    onClose(async () => {
      late = queue.add('note', 1, { id: 'late' })
      await late
    })
  })
  const queue = jobs(tp)
  queue.define('note', () => 1)
  await until('the queue answers', () => queue.counts().catch(() => undefined), 15_000)
  await queue.work()
  await tp.close()
  await expect(late).resolves.toMatchObject({ id: 'late' })
  await expect(queue.add('note')).rejects.toMatchObject({ code: 'TP_UNAVAILABLE' })
  expect(await (await open()).queue.get('late')).toMatchObject({ state: 'waiting' })
})

test('finished jobs are kept up to a number, and events too. Nothing else grows', async () => {
  const { queue } = await open({ keep: { completed: { count: 10 }, failed: { count: 5 } } })
  queue.define('note', { retries: 0 }, (n: number) => {
    if (n % 2) throw new Error('odd')
  })
  await queue.work({ concurrency: 20 })
  const keys = async (): Promise<number> => Number((await redis.send('DBSIZE')).slice(1))
  const run = async (): Promise<number> => {
    await queue.addMany(Array.from({ length: 500 }, (_, n) => ({ task: 'note', payload: n })))
    await queue.idle()
    return keys()
  }
  await run()
  const before = await keys()
  expect(await run()).toBeLessThanOrEqual(before + 2)
  expect(await queue.counts()).toMatchObject({ completed: 10, failed: 5 })
  const events = await redis.send('XLEN', 'tp:queue:jobs:{default}:default:events')
  expect(Number(events.slice(1))).toBeLessThan(1500)
})

test('the published permissions are enough', async () => {
  const text = readFileSync(new URL('../../../docs/jobs.md', import.meta.url), 'utf8')
  const [rules] = /^\+@read .*$/m.exec(text)!
  const own = ['reset', 'on', '>pw', '~tp[:~]*', '&tp[:~]*', ...rules.split(' ')]
  await redis.send('ACL', 'SETUSER', 'app', ...own)
  const { queue } = await open({ concurrency: 5 }, redis.url.replace('//', '//app:pw@'))
  queue.define('part', (n: number) => n)
  queue.define('whole', { retries: 0 }, async (_payload, { children, progress, step }) => {
    await progress(1)
    return step('sum', async () => (await children()).length)
  })
  queue.define('bad', { retries: 0 }, () => {
    throw new Error('bad')
  })
  await queue.work({ concurrency: 3, lease: 300 })
  await queue.addMany([
    { task: 'part', in: 50 },
    { task: 'bad', id: 'bad' },
  ])
  const { id } = await queue.flow({ task: 'whole', children: [{ task: 'part', payload: 1 }] })
  await queue.add('part', {}, { every: '0 3 * * *' })
  await until('all have run', async () => {
    const { completed, failed } = await queue.counts()
    return completed === 3 && failed === 1
  })
  expect((await queue.get(id))!.result).toBe(1)
  expect(await queue.failed.drop('bad')).toBe(true)
  expect(await queue.schedules.remove('part')).toBe(true)
  expect(await queue.health()).toMatchObject({ status: 'ok', workers: 1 })
  expect(await redis.send('ACL', 'LOG')).toBe('*0\r\n')
})

test('closes in time although Redis is gone and a job is followed', async () => {
  const { queue, tp } = await open()
  queue.define('note', {})
  const { id } = await queue.add('note')
  const router = queue.router({ authorize: () => true })
  const server = createServer((req, res) => {
    router(req, res, () => res.end())
  }).listen(0)
  onTestFinished(() => void server.close())
  const stream = await follow(server, `/jobs/${id}/stream`)
  await until('it is seen', () => stream.events().length > 0)
  await redis.kill()
  await until('the outage is noticed', () => tp.status().status !== 'ok')
  await tp.close({ drain: 0 })
  await until('the stream ends', stream.hasEnded)
})

test('a worker without jobs does not wait for a connection that an outage has taken', async () => {
  const { queue, tp } = await open()
  queue.define('note', () => 'done')
  await queue.work()
  await redis.kill()
  await until('the outage is noticed', () => tp.status().status !== 'ok')
  let isClosed = false
  void tp.close({ drain: '10m' }).then(() => (isClosed = true))
  await until('it is closed', () => isClosed, 15_000)
})

test('a worker process without jobs ends after SIGTERM while Redis is away', async () => {
  const worker = await startWorker(redis.url, { drain: '10m' })
  await redis.kill()
  let hasEnded = false
  void worker.ended.then(() => (hasEnded = true))
  worker.kill('SIGTERM')
  await until('it has ended', () => hasEnded, 15_000)
})

test('the first stream of a process shows the end of a job that was quicker than its subscription', async () => {
  const { queue } = await open()
  queue.define('quick', () => 'done')
  const router = queue.router({ authorize: () => true })
  const server = createServer((req, res) => {
    router(req, res, () => res.end())
  }).listen(0)
  onTestFinished(() => void server.close())
  const { id } = await queue.add('quick')
  const stream = await follow(server, `/jobs/${id}/stream`)
  await until('it is seen', () => stream.events().length > 0)
  await queue.work()
  // Sooner than the state is asked for again.
  await until('the stream ends', stream.hasEnded, 10_000)
  expect(stream.events().at(-1)!.data).toMatchObject({ state: 'completed', result: 'done' })
})

test('warns of a Redis that evicts jobs when its memory is full', async () => {
  await redis.send('CONFIG', 'SET', 'maxmemory-policy', 'volatile-lru')
  const tp = turnpike({ redis: redis.url })
  onTestFinished(() => tp.close())
  const warnings: string[] = []
  tp.on('warning', ({ message }) => warnings.push(message))
  jobs(tp)
  await until('the warning', () =>
    warnings.find((each) => /maxmemory-policy is volatile-lru/.test(each)),
  )
})

test('a worker that is started before Redis begins when Redis is there', async () => {
  const proxy = await startFaultProxy(redis.port)
  onTestFinished(() => proxy.close())
  proxy.set({ mode: 'refuse' })
  const tp = turnpike({ redis: proxy.url })
  onTestFinished(() => tp.close({ drain: 0 }))
  const worker = jobs(tp)
  worker.define('note', (n: number) => n + 1)
  const begun = worker.work()
  const { queue } = await open()
  queue.define('note', {})
  const { id } = await queue.add('note', 1)
  await expect(worker.add('note', 1)).rejects.toMatchObject({ code: 'TP_UNAVAILABLE' })
  proxy.heal()
  await begun
  await until('it has run', async () => (await queue.get(id))?.result === 2, 10_000)
})

test('limits of rate and concurrency hold over all workers', async () => {
  const all = await Promise.all([1, 2].map(() => open({ name: 'limited', concurrency: 3 })))
  let [running, most] = [0, 0]
  for (const { queue } of all) {
    queue.define('slow', async () => {
      most = Math.max(most, ++running)
      await new Promise((resolve) => setTimeout(resolve, 30))
      running--
    })
    await queue.work({ concurrency: 5 })
  }
  const { queue } = all[0]!
  await queue.addMany(Array.from({ length: 20 }, () => ({ task: 'slow' })))
  await queue.idle()
  expect(most).toBe(3)
  const limited = (await open({ name: 'rated', rateLimit: { limit: 3, window: '10m' } })).queue
  limited.define('call', () => 1)
  await limited.work({ concurrency: 10 })
  await limited.addMany(Array.from({ length: 9 }, () => ({ task: 'call' })))
  await until('three have run', async () => (await limited.counts()).completed === 3)
  await new Promise((resolve) => setTimeout(resolve, 200))
  expect(await limited.counts()).toMatchObject({ completed: 3, waiting: 6 })
})

test.each([
  ['ioredis', Redis],
  ['ioredis 5', Redis5 as unknown as typeof Redis],
])(
  'with %s, batches and flows are added although Redis has lost all scripts',
  async (_, Client) => {
    const client = new Client(redis.url, { maxRetriesPerRequest: null })
    onTestFinished(() => client.disconnect())
    const tp = turnpike({ redis: client, commandTimeout: '10s', logger: false })
    onTestFinished(() => tp.close({ drain: 0 }))
    const queue = jobs(tp)
    queue.define('note', () => 1)
    await until('the queue answers', () => queue.counts().catch(() => undefined), 15_000)
    const batch = [{ task: 'note' }, { task: 'note' }]
    const flow = { task: 'note', children: batch }
    for (let i = 0; i < 3; i++) {
      await queue.addMany(batch)
      await queue.flow(flow)
      await redis.send('SCRIPT', 'FLUSH')
      // In a transaction of which Redis knows some scripts.
      if (i === 1) await queue.add('note')
    }
    expect(await queue.counts()).toMatchObject({ waiting: 13, waitingChildren: 3 })
  },
)

test('a worker that gets no connection begins as soon as there is one', async () => {
  const { queue } = await open()
  queue.define('note', () => 1)
  const clients = /connected_clients:(\d+)/.exec(await redis.send('INFO', 'clients'))![1]!
  await redis.send('CONFIG', 'SET', 'maxclients', clients)
  const begun = queue.work()
  const { id } = await queue.add('note')
  await until('a connection was refused', async () =>
    /rejected_connections:[1-9]/.test(await queue.counts().then(() => redis.send('INFO', 'stats'))),
  )
  await redis.send('CONFIG', 'SET', 'maxclients', '1000')
  await begun
  await until('it has run', async () => (await queue.get(id))?.result === 1, 10_000)
})

test('a call of work() that nobody waits for ends with the instance, without an unhandled rejection', async () => {
  const unhandled: unknown[] = []
  const note = (error: unknown): void => void unhandled.push(error)
  process.on('unhandledRejection', note)
  onTestFinished(() => void process.off('unhandledRejection', note))
  const { tp, queue } = await open()
  queue.define('note', () => 1)
  await redis.kill()
  const begun = queue.work()
  await until('Redis is missed', () =>
    queue.counts().then(
      () => false,
      () => true,
    ),
  )
  await tp.close({ drain: 0 })
  await new Promise((resolve) => setImmediate(resolve))
  expect(unhandled).toEqual([])
  await expect(begun).rejects.toMatchObject({ code: 'TP_UNAVAILABLE' })
  await redis.restart()
})
