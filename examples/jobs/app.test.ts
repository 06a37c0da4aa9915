import request from 'supertest'
import { startRedis, testStore } from 'turnpike/testing'
import { expect, test, vi } from 'vitest'
import { createApp } from './app.ts'

const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5))

test('an order is accepted, worked on once, and seen by its customer alone', async () => {
  const charge = vi.fn(async () => {})
  const { app, queue } = createApp({ store: testStore(), charge })
  const order = () =>
    request(app)
      .post('/orders')
      .set({ 'x-user': 'ann', 'Idempotency-Key': 'k1' })
      .send({ item: 'tea' })
      .expect(202)
  const { body, headers } = await order()
  expect((await order()).body).toEqual(body)
  await request(app).get(headers['location']!).set('x-user', 'bob').expect(404)
  await queue.work()
  await queue.idle()
  const seen = await request(app).get(headers['location']!).set('x-user', 'ann').expect(200)
  expect(seen.body).toMatchObject({ state: 'completed', result: { shipped: 'tea' } })
  expect(charge).toHaveBeenCalledTimes(1)
  await request(app).post('/orders').send({}).expect(422)
})

test('progress is followed to the end', async () => {
  const { app, queue } = createApp({ store: testStore() })
  const { headers } = await request(app).post('/orders').send({ item: 'tea' })
  const stream = request(app).get(`${headers['location']}/stream`)
  const ended = stream.buffer(true).then(({ text }) => text)
  await settle()
  await queue.work()
  expect(await ended).toMatch(/event: end\ndata: .*"state":"completed"/)
})

test('a campaign waits for approval and for its time, and is tried again when it fails', async () => {
  const store = testStore()
  const publish = vi.fn(async () => {})
  publish.mockRejectedValueOnce(new Error('no network'))
  const { app, queue } = createApp({ store, publish })
  await queue.work()
  const { body } = await request(app).post('/campaigns').send({ text: 'Tea!' }).expect(201)
  const status = async (): Promise<string> =>
    (await request(app).get(`/campaigns/${body.id}`)).body.status
  const at = new Date(store.now() + 3_600_000).toISOString()
  await request(app).post(`/campaigns/${body.id}/approve`).send({ at }).expect(403)
  expect(await status()).toBe('waiting for approval')
  const approve = () =>
    request(app).post(`/campaigns/${body.id}/approve`).set('x-user', 'operator').send({ at })
  await approve().expect(202)
  await approve().expect(409)
  expect(await status()).toBe('scheduled')
  await store.advance('1h')
  await settle()
  expect(publish).toHaveBeenCalledTimes(1)
  expect(await status()).toBe('retrying')
  await store.advance('66s')
  await settle()
  expect(publish).toHaveBeenCalledTimes(2)
  expect(await status()).toBe('published')
})

test('what fails for good is shown to operators, who may try it again', async () => {
  const store = testStore()
  const charge = vi.fn(async () => {
    throw Object.assign(new Error('card refused'), { retry: false })
  })
  const { app, queue } = createApp({ store, charge })
  await queue.work()
  const order = request(app).post('/orders').set('x-user', 'ann')
  const { body } = await order.send({ item: 'tea' }).expect(202)
  await queue.idle()
  await request(app).get('/failed').expect(403)
  const operator = { 'x-user': 'operator' }
  const { body: dead } = await request(app).get('/failed').set(operator).expect(200)
  expect(dead).toEqual([{ id: body.id, task: 'order.place', reason: 'card refused' }])
  charge.mockResolvedValue(undefined as never)
  await request(app).post(`/failed/${body.id}/retry`).set(operator).expect(202)
  await queue.idle()
  expect((await queue.get(body.id))!.state).toBe('completed')
  const { body: health } = await request(app).get('/health').expect(200)
  expect(health).toMatchObject({ status: 'healthy', checks: { orders: { status: 'ok' } } })
})

test('operators claim different campaigns, and each decides on their own', async () => {
  const { app } = createApp({ store: testStore() })
  for (const text of ['Tea!', 'Coffee!']) await request(app).post('/campaigns').send({ text })
  const as = (user: string, path: string) => request(app).post(path).set('x-user', user)
  await as('bob', '/approvals/claim').expect(403)
  const claims = await Promise.all(
    ['operator-1', 'operator-2'].map((user) => as(user, '/approvals/claim').expect(200)),
  )
  expect(claims.map(({ body }) => String(body.id)).toSorted()).toEqual(['c1', 'c2'])
  await as('operator-3', '/approvals/claim').expect(204)
  const [{ body: mine }] = claims as [request.Response, request.Response]
  await as('operator-2', `/campaigns/${mine.id}/reject`).expect(409)
  await as('operator-1', `/campaigns/${mine.id}/reject`).expect(204)
  await as('operator-1', `/campaigns/${mine.id}/approve`).expect(409)
  expect((await request(app).get(`/campaigns/${mine.id}`)).body.status).toBe('rejected')
})

test('bull-board shows the queue to operators, and nothing of it to others', async () => {
  await using redis = await startRedis()
  const { app, queue, tp } = createApp({ redis: redis.url, commandTimeout: '10s' })
  await tp.ready()
  await queue.add('order.place', { user: 'ann', item: 'tea' }, { id: 'order-1', in: '1h' })
  const board = (path: string, user: string) =>
    request(app).get(`/board${path}`).set('x-user', user)
  for (const path of [
    '',
    '/',
    '/api/queues',
    '/api/queues/default/order-1',
    '/static/',
    '/../board/api/queues',
  ])
    await board(path, 'ann').expect(403)
  await request(app).put('/board/api/queues/default/order-1/promote').expect(403)
  expect((await queue.get('order-1'))!.state).toBe('delayed')

  expect((await board('', 'operator').expect(200)).text).toMatch(/<html/i)
  const { body } = await board('/api/queues?activeQueue=default&status=delayed', 'operator')
  expect(body.queues[0]).toMatchObject({ name: 'default', counts: { delayed: 1 } })
  expect(body.queues[0].jobs[0]).toMatchObject({
    name: 'order.place',
    data: { payload: { user: 'ann' } },
  })
  await tp.close()
})
