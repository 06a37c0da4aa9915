/** Hostile clients, careless callers, and what another program has left in Redis. */
import { createServer, type Server } from 'node:http'
import { type } from 'arktype'
import request from 'supertest'
import * as v from 'valibot'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { jobs, type JobQueue } from '../../../src/jobs.ts'
import { turnpike } from '../../../src/node.ts'
import { startRedis, testStore, type RedisServer } from '../../../src/testing.ts'
import { until } from '../../support/until.ts'

function serve(queue: JobQueue<any, any>): Server {
  const router = queue.router({ authorize: () => true })
  const server = createServer((req, res) => {
    router(req, res, (error?: any) => res.writeHead(error ? 500 : 404).end())
  }).listen(0)
  onTestFinished(() => void server.close())
  return server
}

function inProcess(options = {}) {
  const store = testStore()
  const tp = turnpike({ store, requestBudget: '10s', ...options })
  onTestFinished(() => tp.close())
  const queue = jobs(tp) as JobQueue<any, any>
  return { store, tp, queue, server: serve(queue) }
}

describe('a hostile client', () => {
  test('cannot send a job from a form of another site', async () => {
    const { queue, server } = inProcess()
    queue.define('order', {})
    const body = '{"task":"order","payload":1}'
    for (const contentType of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
      'application/jsonp',
      '',
    ])
      await request(server).post('/jobs').set('Content-Type', contentType).send(body).expect(415)
    expect((await queue.counts()).waiting).toBe(0)
    await request(server)
      .post('/jobs')
      .set('Content-Type', 'Application/JSON; charset=utf-8')
      .send(body)
      .expect(202)
  })

  test('is told that its body is too large, or too deep, and nothing is added', async () => {
    const { queue, server } = inProcess()
    queue.define('order', {})
    const post = (payload: string) =>
      request(server).post('/jobs').type('json').send(`{"task":"order","payload":${payload}}`)
    await post(`"${'x'.repeat(2_000_000)}"`).expect(413)
    await post(`"${'x'.repeat(70_000)}"`).expect(413)
    const deep = await post(`${'['.repeat(200_000)}${']'.repeat(200_000)}`)
    expect([413, 422]).toContain(deep.status)
    await post('{"__proto__":{"isAdmin":true},"constructor":1}').expect(202)
    expect(({} as any).isAdmin).toBeUndefined()
    expect((await queue.counts()).waiting).toBe(1)
  })

  test.each([
    'meta',
    'wait',
    'id',
    'events',
    'a%3Ab',
    'repeat%3A~x%3A1',
    '~x',
    'acme~x',
    '%00',
    '%',
    '__proto__',
    'constructor',
    'x@1',
    'x@99999999999999999999',
    'x'.repeat(101),
    '..%2f..',
    'x%0d%0aSet-Cookie:a=b',
    '*',
    '?',
    '{default}',
  ])('finds nothing by the ID %s', async (id) => {
    const { server, queue } = inProcess({ tenant: () => 'acme' })
    queue.define('order', {})
    for (const path of [`/jobs/${id}`, `/jobs/${id}/stream`]) {
      const { status } = await request(server).get(path)
      // An empty ID is the queue itself.
      expect(status).toBe(id === '?' ? 200 : 404)
    }
    expect((await request(server).delete(`/jobs/${id}`)).status).toBe(id === '?' ? 405 : 404)
  })

  test('does not reach the jobs and schedules of another tenant by an ID that looks like theirs', async () => {
    const { queue } = inProcess({ tenant: () => 'acme' })
    queue.define('order', {})
    const { id } = await queue.add('order', 1, { tenant: 'other' })
    await queue.add('order', 1, { tenant: 'other', every: '1h', id: 'nightly' })
    const [schedule] = await queue.schedules.list()
    for (const each of [id, `nightly@${schedule!.nextAt}`]) {
      expect(await queue.get(each, { tenant: 'acme' })).toBeUndefined()
      expect(await queue.remove(each, { tenant: 'acme' })).toBe(false)
      expect(await queue.get(each, { tenant: 'other' })).toBeDefined()
    }
    expect(await queue.schedules.remove('nightly', { tenant: 'acme' })).toBe(false)
    for (const forged of [`other~${id}`, `repeat:~${id}`, `${id}\n`, ` ${id}`])
      await expect(queue.get(forged, { tenant: 'acme' })).rejects.toMatchObject({
        code: 'TP_OPTION',
      })
  })
})

test('a careless caller is told what to write, never by a TypeError', async () => {
  const { queue } = inProcess()
  queue.define('order', () => 1)
  const any = queue as any
  const calls: (() => unknown)[] = [
    () => any.add(),
    () => any.add(null),
    () => any.add('order', 1, null),
    () => any.add('order', 1, 'high'),
    () => any.add('order', 1, { every: null }),
    () => any.add('order', 1, { delay: 5 }),
    () => any.add('order', 1, { id: 42 }),
    () => any.addMany(null),
    () => any.addMany([null]),
    () => any.addMany(['order']),
    () => any.addMany([{ name: 'order' }]),
    () => any.addMany(Array.from({ length: 1001 }, () => ({ task: 'order' }))),
    () => any.flow(),
    () => any.flow({ task: 'order', children: {} }),
    () => any.flow({ task: 'order', children: [null] }),
    () => any.flow({ task: 'order', in: '1h' }),
    () => any.flow({ task: 'order', id: 'a', children: [{ task: 'order', id: 'a' }] }),
    () => any.flow({ task: 'order' }, null),
    () => any.get(),
    () => any.get('a', null),
    () => any.get('a', { tenat: 'acme' }),
    () => any.remove({}),
    () => any.schedules.remove(),
    () => any.schedules.list(null),
    () => any.failed.list({ limit: 0 }),
    () => any.failed.retry(7),
    () => any.failed.drop(),
    () => any.define('a'),
    () => any.define('b', {}, 'handler'),
    () => any.define('c', { schema: () => true }),
    () => any.work(null),
    () => any.work({ concurrency: 0 }),
    () => any.router(),
    () => any.router({ authorize: true }),
    () => any.accept('order', 1, null),
    () => any.accept('order', 1, { id: 'fixed' }),
  ]
  const circle: any = { task: 'order', children: [] }
  circle.children.push(circle)
  calls.push(() => any.flow(circle))
  for (const call of calls) {
    const error = await (async () => call())().catch((thrown: unknown) => thrown)
    expect(error, String(call)).toMatchObject({ code: 'TP_OPTION' })
  }
  expect(await queue.counts()).toMatchObject({ waiting: 0, delayed: 0, waitingChildren: 0 })
})

test('schemas of zod, valibot and arktype refuse what is invalid, and hand over what they make of it', async () => {
  const { queue } = inProcess()
  const seen: unknown[] = []
  const note = (payload: unknown): void => void seen.push(payload)
  queue.define('zod', { schema: z.object({ n: z.coerce.number() }) }, note)
  queue.define(
    'valibot',
    { schema: v.object({ n: v.pipe(v.string(), v.transform(Number)) }) },
    note,
  )
  queue.define('arktype', { schema: type({ n: 'string.numeric.parse' }) }, note)
  for (const task of ['zod', 'valibot', 'arktype']) {
    await expect(queue.add(task, { n: {} }), task).rejects.toMatchObject({
      code: 'TP_JOB_PAYLOAD',
      status: 422,
      message: expect.stringMatching(/is invalid: n: /),
    })
    await queue.add(task, { n: '7' })
  }
  await queue.work()
  await queue.idle()
  expect(seen).toEqual([{ n: 7 }, { n: 7 }, { n: 7 }])
})

describe('over Redis', () => {
  let redis: RedisServer
  beforeAll(async () => {
    redis = await startRedis()
  })
  afterAll(() => redis.stop())

  async function open(prefix: string) {
    const tp = turnpike({ redis: redis.url, prefix, commandTimeout: '10s' })
    tp.on('warning', () => {})
    onTestFinished(() => tp.close({ drain: 0 }))
    const queue = jobs(tp) as JobQueue<any, any>
    await until('the queue answers', () => queue.counts().catch(() => undefined), 15_000)
    return { tp, queue, server: serve(queue) }
  }

  test('jobs that another program has put there harm nothing', async () => {
    const { tp, queue, server } = await open('garbage')
    const ran: unknown[] = []
    const errors: unknown[] = []
    tp.on('error', ({ error }) => errors.push(error))
    queue.define('note', { retries: 0 }, (payload) => void ran.push(payload))
    const board = await queue.board()
    const data = [null, 'text', [], { payload: 1, tenant: 7, steps: [] }, { steps: { a: 1 } }]
    for (const [i, each] of data.entries()) await board.add('note', each, { jobId: `~g${i}` })
    await board.add('x'.repeat(5000), { payload: 1 }, { jobId: '~unknown', attempts: 1 })
    await board.add('note', { payload: 'good' }, { jobId: '~late' })
    // What is no JSON cannot be read by BullMQ's worker either.
    for (const [id, delay] of [
      ['broken', 3_600_000],
      ['poison', 0],
    ] as const) {
      await board.add('note', { payload: 1 }, { jobId: `~${id}`, delay })
      await redis.send('HSET', `garbage:queue:jobs:{default}:default:~${id}`, 'data', '{broken')
    }
    await request(server).get('/jobs/broken').expect(200)
    expect(await queue.get('broken')).toMatchObject({ state: 'delayed', task: '', payload: null })

    await queue.work({ lease: '1s' })
    const dead = await until(
      'both are dead letters',
      async () => {
        const list = await queue.failed.list()
        return list.length === 2 ? list : undefined
      },
      20_000,
    )
    // On a loaded machine a lease can be lost, and its job runs again.
    expect([...new Set(ran)]).toEqual([null, 1, 'good'])
    expect(Object.fromEntries(dead.map(({ id, reason }) => [id, reason]))).toEqual({
      unknown: expect.stringMatching(/^No handler for/),
      poison: 'What is stored of the job cannot be read.',
    })
    expect(await queue.failed.drop('poison')).toBe(true)
    expect(await queue.remove('broken')).toBe(true)
    for (const id of ['g0', 'g3', 'unknown', 'late'])
      await request(server).get(`/jobs/${id}`).expect(200)
    const text: string = await tp.metrics().text()
    expect(text).toContain('task="other",type="failed"')
    expect(text).not.toContain('xxxxx')
    expect(errors).toContainEqual(expect.objectContaining({ code: 'TP_VALUE' }))
    for (const error of errors) expect(String(error)).not.toContain('{broken')
  })

  test('a repeated flow adds nothing, and a flow may name a job that has completed', async () => {
    const { queue } = await open('flows')
    queue.define('part', () => 'part')
    queue.define('whole', (_payload, { children }) => children())
    const flow = { task: 'whole', id: 'w1', children: [{ task: 'part' }, { task: 'part' }] }
    await Promise.all([queue.flow(flow), queue.flow(flow)])
    await queue.flow(flow)
    expect(await queue.counts()).toMatchObject({ waiting: 2, waitingChildren: 1 })
    await queue.work()
    await queue.idle()
    expect((await queue.get('w1'))!.result).toEqual(['part', 'part'])
    await queue.flow(flow)
    expect(await queue.counts()).toMatchObject({ waiting: 0, waitingChildren: 0, completed: 3 })
  })

  test('two instances of other prefixes and names do not meet', async () => {
    const [one, two] = [await open('a'), await open('a:queue')]
    one.queue.define('note', () => 'one')
    two.queue.define('note', () => 'two')
    const other = jobs(one.tp, { name: 'other' })
    other.define('note', {})
    for (const queue of [one.queue, two.queue, other]) await queue.add('note', 1, { id: 'same' })
    await one.queue.work()
    await until('it has run', async () => (await one.queue.get('same'))!.state === 'completed')
    expect((await two.queue.get('same'))!.state).toBe('waiting')
    expect((await other.get('same'))!.state).toBe('waiting')
  })
})
