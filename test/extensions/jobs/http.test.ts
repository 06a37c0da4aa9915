/** Jobs over HTTP, on each framework: accepted requests, the router, streams. */
import { createServer, type Server } from 'node:http'
import express from 'express'
import express4 from 'express4'
import Koa from 'koa'
import Koa2 from 'koa2'
import request from 'supertest'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { turnpike as forExpress } from '../../../src/express.ts'
import { jobs, type JobQueue, type RouterOptions } from '../../../src/jobs.ts'
import { turnpike as forKoa } from '../../../src/koa.ts'
import { turnpike as forNode } from '../../../src/node.ts'
import { testStore, type TestStore } from '../../../src/testing.ts'
import { until } from '../../support/until.ts'
import { follow } from './support.ts'

interface Running {
  server: Server
  store: TestStore
  tp: any
  queue: JobQueue<any, any>
}

interface Setup {
  authorize?: RouterOptions<any>['authorize']
  maxStreams?: number
  maxJobs?: number
  tenant?: (native: any) => string
  parse?: boolean
}

/** Returns what the applications have in common: a queue, its router, and POST /orders. */
function parts(turnpike: any, { authorize = () => true, maxStreams, maxJobs, tenant }: Setup) {
  const store = testStore()
  const tp = turnpike({ store, requestBudget: '10s', ...(tenant && { tenant }) })
  const queue = jobs(tp, maxJobs === undefined ? {} : { maxJobs }) as JobQueue<any, any>
  queue.define('order', {
    schema: {
      '~standard': {
        version: 1,
        vendor: 'test',
        validate: (value: any) =>
          typeof value?.item === 'string'
            ? { value }
            : { issues: [{ message: 'Required', path: ['item'] }] },
      },
    },
  })
  const router = queue.router({ authorize, ...(maxStreams !== undefined && { maxStreams }) })
  const idempotency = tp.idempotency({ scope: () => 'everyone' })
  const accept = queue.accept('order', (native: any) => ({
    item: native.headers['x-item'] ?? native.request?.headers['x-item'],
  }))
  return { store, tp, queue, router, idempotency, accept }
}

function listen(listener: any, { queue, store, tp }: Omit<Running, 'server'>): Running {
  const server = createServer(listener).listen(0)
  onTestFinished(async () => {
    await tp.close()
    server.closeAllConnections()
    server.close()
  })
  return { server, store, tp, queue }
}

const onExpress = (framework: any) => (setup: Setup) => {
  const all = parts(forExpress, setup)
  const app = framework()
  if (setup.parse) app.use(framework.json())
  app.use('/jobs', all.router)
  app.post('/orders', all.idempotency, all.accept)
  return listen(app, all)
}

const onKoa = (Framework: any) => (setup: Setup) => {
  const all = parts(forKoa, setup)
  const app = new Framework()
  app.silent = true
  app.use(all.router)
  app.use((ctx: any, next: any) => (ctx.path === '/orders' ? all.idempotency(ctx, next) : next()))
  app.use((ctx: any, next: any) => (ctx.path === '/orders' ? all.accept(ctx, next) : next()))
  return listen(app.callback(), all)
}

const onNode = (setup: Setup) => {
  const all = parts(forNode, setup)
  return listen((req: any, res: any) => {
    all.router(req, res, () => {
      if (req.url !== '/orders') res.writeHead(404).end()
      else all.idempotency(req, res, () => all.accept(req, res, () => res.end()))
    })
  }, all)
}

const FRAMEWORKS: [string, (setup: Setup) => Running][] = [
  ['Express 5', onExpress(express)],
  ['Express 5 behind a body parser', (setup) => onExpress(express)({ ...setup, parse: true })],
  ['Express 4', onExpress(express4)],
  ['Koa 3', onKoa(Koa)],
  ['Koa 2', onKoa(Koa2)],
  ['node:http', onNode],
]

describe.each(FRAMEWORKS)('%s', (_name, start) => {
  test('answers 202 with the job and where to look for it', async () => {
    const { server, queue } = start({})
    const { body, headers } = await request(server).post('/orders').set('x-item', 'tea').expect(202)
    expect(headers['location']).toBe(`/jobs/${body.id}`)
    expect(body).toEqual({ id: body.id, task: 'order', location: `/jobs/${body.id}` })
    expect(headers['cache-control']).toBe('no-store')
    const seen = await request(server).get(headers['location']!).expect(200)
    expect(seen.body).toMatchObject({ id: body.id, state: 'waiting', attempts: 0 })
    expect(seen.body).not.toHaveProperty('payload')
    expect((await queue.get(body.id))!.payload).toEqual({ item: 'tea' })
  })

  test('adds one job for one idempotency key', async () => {
    const { server, queue } = start({})
    const send = (key: string) =>
      request(server).post('/orders').set('x-item', 'tea').set('Idempotency-Key', key).expect(202)
    const [first, again, other] = [await send('k1'), await send('k1'), await send('k2')]
    expect(again.body).toEqual(first.body)
    expect(other.body.id).not.toBe(first.body.id)
    expect((await queue.counts()).waiting).toBe(2)
    // The response was lost, and so was what is stored of it: the job's ID is still the same.
    expect(first.body.id).toMatch(/^[\w-]{43}$/)
  })

  test('answers 422 for an invalid payload, and 503 while the store is away', async () => {
    const { server, store, queue } = start({})
    const invalid = await request(server).post('/orders').expect(422)
    expect(invalid.headers['content-type']).toMatch('application/problem+json')
    expect(invalid.body.detail).toBe("The payload of 'order' is invalid: item: Required.")
    store.fail()
    const away = await request(server).post('/orders').set('x-item', 'tea').expect(503)
    expect(away.headers['retry-after']).toBe('2')
    await request(server).get('/jobs/x').expect(503)
    store.recover()
    expect((await queue.counts()).waiting).toBe(0)
  })

  test('answers 503 with Retry-After while the queue is full', async () => {
    const { server, queue, tp } = start({ maxJobs: 1 })
    tp.on('warning', () => {})
    const order = { task: 'order', payload: { item: 'tea' } }
    const send = (key: string) =>
      request(server).post('/orders').set('x-item', 'tea').set('Idempotency-Key', key)
    const { body } = await send('k1').expect(202)
    for (const full of [await request(server).post('/jobs').send(order), await send('k2')]) {
      expect(full.status).toBe(503)
      expect(full.headers['retry-after']).toBe('5')
      expect(full.body).toMatchObject({ detail: 'Too many jobs are queued. Try again later.' })
    }
    await queue.remove(body.id)
    // A refusal is no response to keep: the client tries again with the same key.
    await send('k2').expect(202)
  })

  test('serves jobs: adds, shows, counts and removes them', async () => {
    const { server, queue } = start({})
    const order = { task: 'order', payload: { item: 'tea' } }
    const { body } = await request(server).post('/jobs').send(order).expect(202)
    expect((await request(server).get(`/jobs/${body.id}`).expect(200)).body.task).toBe('order')
    await request(server).head(`/jobs/${body.id}`).expect(200)
    expect((await request(server).get('/jobs').expect(200)).body).toMatchObject({ waiting: 1 })
    await request(server).delete(`/jobs/${body.id}`).expect(204)
    await request(server).delete(`/jobs/${body.id}`).expect(404)
    await request(server).get(`/jobs/${body.id}`).expect(404)
    expect((await queue.counts()).waiting).toBe(0)
  })

  test('follows a job by server-sent events, from its state now to its end', async () => {
    const { server, queue } = start({})
    let proceed: () => void = () => {}
    const step = (): Promise<void> => new Promise((resolve) => (proceed = resolve))
    queue.define('long', async (_payload, { progress }) => {
      await step()
      await progress(50)
      await step()
      return 'done'
    })
    const { id } = await queue.add('long')
    const stream = await follow(server, `/jobs/${id}/stream`)
    expect(stream.response.statusCode).toBe(200)
    expect(stream.response.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
    })
    const last = (): any => stream.events().at(-1)?.data
    await until('it waits', () => last()?.state === 'waiting')
    await queue.work()
    await until('it runs', () => last()?.state === 'active')
    proceed()
    await until('half is done', () => last()?.progress === 50)
    proceed()
    await until('the stream ends', stream.hasEnded)
    expect(stream.events().at(-1)).toMatchObject({
      id: 'end',
      name: 'end',
      data: { id, state: 'completed', result: 'done' },
    })
    // An EventSource connects again, and is told to stop.
    const again = await follow(server, `/jobs/${id}/stream`, { 'Last-Event-ID': 'end' })
    expect(again.response.statusCode).toBe(204)
  })

  test('refuses what authorize does not allow, and does not tell strangers which jobs exist', async () => {
    const actions: unknown[] = []
    const { server, queue } = start({
      authorize: (native, { type, task, job }) => {
        actions.push([type, task, job?.id])
        return native.headers['x-user'] === 'ann' || 'yes'
      },
    })
    const { id } = await queue.add('order', { item: 'tea' })
    await request(server).get(`/jobs/${id}`).expect(404)
    await request(server).get(`/jobs/${id}/stream`).expect(404)
    await request(server).delete(`/jobs/${id}`).expect(404)
    await request(server).get('/jobs').expect(403)
    await request(server)
      .post('/jobs')
      .send({ task: 'order', payload: { item: 'x' } })
      .expect(403)
    await request(server).post('/jobs').send({ task: 'none' }).expect(403)
    expect(await queue.counts()).toMatchObject({ waiting: 1 })
    expect(actions).toEqual([
      ['read', 'order', id],
      ['stream', 'order', id],
      ['remove', 'order', id],
      ['counts', undefined, undefined],
      ['add', 'order', undefined],
      ['add', 'none', undefined],
    ])
    await request(server).get(`/jobs/${id}`).set('x-user', 'ann').expect(200)
  })

  test('lets other paths pass, and refuses other methods', async () => {
    const { server } = start({})
    for (const path of ['/jobs/a/b', '/jobs/a/stream/c', '/jobs/%2e%2e', '/jobs/a%3Ab', '/jobsx'])
      await request(server).get(path).expect(404)
    const { headers } = await request(server).put('/jobs/a').expect(405)
    expect(headers['allow']).toBe('GET, HEAD, DELETE')
  })

  test.each([
    ['no JSON', '{', 400],
    ['a list', '[]', 400],
    ['no task', '{"payload":1}', 400],
    ['a task that is no string', '{"task":{}}', 400],
    ['another member', '{"task":"order","id":"x"}', 400],
    ['an unknown task', '{"task":"__proto__"}', 422],
    ['an invalid payload', '{"task":"order","payload":{}}', 422],
  ])('refuses a body with %s', async (_what, body, status) => {
    const { server, queue } = start({})
    const sent = await request(server).post('/jobs').type('json').send(body)
    expect(sent.status).toBe(status)
    expect((await queue.counts()).waiting).toBe(0)
  })
})

describe('streams', () => {
  const [, start] = FRAMEWORKS[0]!

  test('end when the client leaves, and are bounded in number', async () => {
    const { server, queue } = start({ maxStreams: 1 })
    const { id } = await queue.add('order', { item: 'tea' }, { in: '1h' })
    const first = await follow(server, `/jobs/${id}/stream`)
    await request(server).get(`/jobs/${id}/stream`).expect(503)
    first.leave()
    await until('there is room', async () => {
      const next = await follow(server, `/jobs/${id}/stream`)
      if (next.response.statusCode === 200) next.leave()
      return next.response.statusCode === 200
    })
  })

  test('end when the job is removed, and when the instance is closed', async () => {
    const { server, queue, tp } = start({})
    const [{ id }, other] = [
      await queue.add('order', { item: 'tea' }),
      await queue.add('order', { item: 'coffee' }),
    ]
    const stream = await follow(server, `/jobs/${id}/stream`)
    const rest = await follow(server, `/jobs/${other.id}/stream`)
    await until('it is seen', () => stream.events().length > 0 && rest.events().length > 0)
    await queue.remove(id)
    await until('the stream ends', stream.hasEnded)
    expect(stream.events().at(-1)).toEqual({ id: 'end', name: 'end', data: null })
    await tp.close()
    await until('the other one ends', rest.hasEnded)
    expect(rest.events().at(-1)!.name).toBe('job')
  })

  test.each(FRAMEWORKS)(
    'do not begin while the instance closes: %s',
    { timeout: 10_000 },
    async (_name, open) => {
      let closed: Promise<void> | undefined
      const { server, queue, tp } = open({
        authorize: (_native: unknown, { type }: { type: string }) => {
          if (type === 'stream') closed = tp.close()
          return true
        },
      })
      const { id } = await queue.add('order', { item: 'tea' }, { in: '1h' })
      await request(server).get(`/jobs/${id}/stream`).expect(503)
      await closed
    },
  )

  test('outlive an outage of the store', async () => {
    const { server, queue, store } = start({})
    const { id } = await queue.add('order', { item: 'tea' }, { in: '1m' })
    const stream = await follow(server, `/jobs/${id}/stream`)
    await until('it is seen', () => stream.events().length === 1)
    store.fail()
    await store.advance('1m')
    store.recover()
    await store.advance('2s')
    await queue.remove(id)
    await until('the stream ends', stream.hasEnded)
  })
})

test('each tenant sees its own jobs', async () => {
  const [, start] = FRAMEWORKS[0]!
  const authorize = vi.fn(() => true)
  const { server } = start({ authorize, tenant: (req) => req.headers['x-tenant'] })
  const post = request(server).post('/jobs').set('x-tenant', 'acme')
  const { body } = await post.send({ task: 'order', payload: { item: 'tea' } }).expect(202)
  await request(server).get(`/jobs/${body.id}`).set('x-tenant', 'acme').expect(200)
  await request(server).get(`/jobs/${body.id}`).set('x-tenant', 'other').expect(404)
  expect(authorize).toHaveBeenCalledTimes(2)
})
