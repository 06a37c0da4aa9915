/** Walks through the sections of the document in their order. */
import request, { type Test } from 'supertest'
import { testStore } from 'turnpike/testing'
import { describe, expect, it, vi } from 'vitest'
import { onBothEngines } from '../engines.ts'
import { createApp } from './app.ts'

async function login(
  app: ReturnType<typeof createApp>['app'],
  user: string,
  ...permissions: string[]
) {
  const agent = request.agent(app)
  await agent.post('/login').send({ user, permissions }).expect(204)
  return agent
}

onBothEngines((open) => {
  it('1. User sessions and authentication', async () => {
    const { app } = await open(createApp)
    const ann = await login(app, 'ann')
    expect((await ann.get('/sessions').expect(200)).body).toHaveLength(1)
    const { key } = (await ann.post('/keys').expect(201)).body
    const me = await request(app).get('/api/me').set('authorization', `Bearer ${key}`).expect(200)
    expect(me.body).toMatchObject({ user: 'ann', perMinute: 1000 })
    await request(app).get('/sessions').expect(401)
  })

  it('2. Rate limiting', async () => {
    const { app } = await open(createApp)
    const ann = await login(app, 'ann')
    const status = async (test: Test) => (await test).status
    for (let i = 0; i < 60; i++) expect(await status(ann.get('/hashtags'))).toBe(200)
    expect(await status(ann.get('/hashtags'))).toBe(429)
    const admin = await login(app, 'root', 'admin:*')
    await admin.put('/admin/limits/ann').send({ minute: 600 }).expect(204)
    expect(await status(ann.get('/hashtags'))).toBe(200)
    await ann.put('/admin/limits/ann').send({ minute: 6000 }).expect(403)
  })

  it('3. Real-time workflow progress', async () => {
    const { app } = await open(createApp)
    const ann = await login(app, 'ann')
    const create = () => ann.post('/workflows').set('idempotency-key', 'w1').send({ id: 'w1' })
    await create().expect(202)
    await create().expect(202)
    expect((await ann.get('/workflows').expect(200)).body.active).toEqual(['w1'])
    await ann.post('/workflows/w1/run').expect(204)
    const state = await ann.get('/progress/w1').expect(200)
    expect(state.body).toMatchObject({ status: 'done', percent: 100, steps: 5, step: 'analytics' })
    expect(state.body.cost).toBeCloseTo(0.09)
    const { body } = await ann.get('/workflows').expect(200)
    expect(body).toEqual({ active: [], all: { w1: { user: 'ann', status: 'completed' } } })
    await (await login(app, 'bob')).get('/progress/w1').expect(404)
  })

  it('4. Real-time notifications', async () => {
    const { app } = await open(createApp)
    const ann = await login(app, 'ann')
    await ann.put('/topics/workflow:w1').expect(200, ['workflow:w1'])
    await ann.put('/push-tokens/fcm_1').expect(200, ['fcm_1'])
    await ann.post('/workflows').set('idempotency-key', 'w1').send({ id: 'w1' })
    await ann.post('/workflows/w1/run').expect(204)
    const admin = await login(app, 'root', 'admin:*')
    await admin.post('/admin/announcements').send({ title: 'Maintenance tonight' }).expect(201)
    const { body } = await ann.get('/notifications').expect(200)
    expect(body.messages[0].data).toMatchObject({ type: 'workflow_completed', workflow: 'w1' })
    expect(body.unread).toEqual({ messages: 1, announcements: 1 })
    await ann.post('/notifications/read').send({ all: true }).expect(200)
    expect((await ann.get('/notifications')).body.unread.messages).toBe(0)
  })

  it('5. Content scheduling and publishing', async () => {
    const publish = vi.fn(async () => 'fb_1')
    const { app, queue } = await open(createApp, { publish })
    await queue.work({ sigterm: false })
    const author = await login(app, 'eve', 'write:content')
    await author.post('/posts').send({ id: 'p1', platform: 'facebook', text: 'Tea!' }).expect(201)
    const admin = await login(app, 'root', 'admin:*')
    const at = new Date(0).toISOString()
    await author.post('/posts/p1/approve').send({ at }).expect(403)
    await admin.post('/posts/p1/approve').send({ at }).expect(202)
    await admin.post('/posts/p1/approve').send({ at }).expect(404)
    await vi.waitFor(async () => {
      const { body } = await author.get('/publications/p1').expect(200)
      expect(body).toMatchObject({ state: 'completed', result: { platformPostId: 'fb_1' } })
    }, 10_000)
    expect(publish).toHaveBeenCalledTimes(1)
  })

  it('6. Campaign and analytics cache', async () => {
    const { app, stats } = await open(createApp)
    const ann = await login(app, 'ann')
    const send = (body: object) => request(app).post('/campaigns/abc/events').send(body).expect(202)
    await send({ impressions: 15_420 })
    await send({ clicks: 892, conversions: 43 })
    await stats.flush()
    const { body } = await request(app).get('/campaigns/abc/stats').expect(200)
    expect(body).toMatchObject({ impressions: 15_420, clicks: 892, conversions: 43 })
    expect(body.engagementRate).toBeCloseTo(5.78, 1)
    for (const tag of ['tea', 'coffee', 'coffee']) await ann.post(`/hashtags/${tag}`).expect(204)
    await ann.get('/hashtags').expect(200, ['coffee', 'tea'])
    await ann.get('/dashboard').expect(200)
    await ann.get('/platforms/facebook').expect(200)
  })

  it('7. System health and monitoring', async () => {
    const { app } = await open(createApp)
    await login(app, 'ann')
    await request(app).get('/health/ready').expect(200)
    await request(app).get('/metrics').expect(404)
    const { text } = await request(app).get('/metrics').set('x-monitoring', 'secret').expect(200)
    expect(text).toContain('turnpike_store_up 1')
  })

  it('8. Federation and client management', async () => {
    const { app } = await open(createApp)
    const ann = await login(app, 'ann')
    await ann.put('/clients/c1').send({ health: 'healthy', connections: 5 }).expect(204)
    expect((await ann.get('/clients/c1').expect(200)).body.health).toBe('healthy')
    await ann.get('/clients/c2').expect(404)
    expect((await ann.get('/capabilities/content').expect(200)).body.tools).toEqual(['create_blog'])
    expect((await ann.get('/providers/content').expect(200)).body.best).toBe('openai')
  })

  it('9. Caching strategies', async () => {
    const call = vi.fn(async () => ({ text: 'an answer', tokens: 450 }))
    const settings = () => ({ maxConcurrentWorkflows: 7 })
    const { app } = await open(createApp, { call, settings })
    const ann = await login(app, 'ann')
    const ask = () => ann.post('/ask').send({ prompt: 'What is tea?' }).expect(200)
    await Promise.all([ask(), ask(), ask()])
    expect((await ask()).body).toEqual({ text: 'an answer', tokens: 450, cost: 0.018 })
    expect(call).toHaveBeenCalledTimes(1)

    const read = async () => {
      const { headers, body } = await ann.get('/campaigns/abc').set('host', 'a.test').expect(200)
      return [body.name, /hit/.test(headers['cache-status'] ?? '')]
    }
    expect(await read()).toEqual(['Coffee launch', false])
    await vi.waitFor(async () => expect(await read()).toEqual(['Coffee launch', true]))
    await ann.put('/campaigns/abc').set('host', 'a.test').send({ name: 'Tea launch' }).expect(204)
    expect(await read()).toEqual(['Tea launch', false])

    const admin = await login(app, 'root', 'admin:*')
    await admin.post('/admin/configuration/reload').expect(200, { maxConcurrentWorkflows: 7 })
  })

  it('10. Distributed locks and coordination', async () => {
    const { app, tp } = await open(createApp)
    const ann = await login(app, 'ann')
    await ann.post('/workflows').set('idempotency-key', 'w1').send({ id: 'w1' })
    const other = await tp.lock.acquire(['workflow', 'w1'])
    await ann.post('/workflows/w1/run').expect(423)
    await other.release()
    await ann.post('/workflows/w1/run').expect(204)
    const bill = () => ann.post('/billing').set('idempotency-key', 'b1').expect(201)
    await bill()
    expect((await bill()).headers['idempotency-replayed']).toBe('true')
  })
})

describe('TTL strategy', () => {
  it('sessions live for 24 hours after their last use', async () => {
    const store = testStore()
    const ann = await login(createApp({ store }).app, 'ann')
    for (let i = 0; i < 3; i++) {
      await store.advance('20h')
      await ann.get('/sessions').expect(200)
    }
    await store.advance('25h')
    await ann.get('/sessions').expect(401)
  })

  it('posts are published at their time, and again 60 seconds after a failure', async () => {
    const publish = vi.fn(async () => 'fb_1')
    publish.mockRejectedValueOnce(new Error('no network'))
    const store = testStore()
    const { app, queue } = createApp({ store, publish })
    await queue.work()
    const admin = await login(app, 'root', 'admin:*', 'write:*')
    await admin.post('/posts').send({ id: 'p1', platform: 'facebook', text: 'Tea!' }).expect(201)
    const at = new Date(store.now() + 3_600_000).toISOString()
    await admin.post('/posts/p1/approve').send({ at }).expect(202)
    expect(publish).not.toHaveBeenCalled()
    await store.advance('1h')
    await vi.waitFor(() => expect(publish).toHaveBeenCalledTimes(1))
    await store.advance('66s')
    await vi.waitFor(() => expect(publish).toHaveBeenCalledTimes(2))
  })

  it('answers of models live for an hour, the status of a client for five minutes', async () => {
    const call = vi.fn(async () => ({ text: 'an answer', tokens: 450 }))
    const store = testStore()
    const ann = await login(createApp({ store, call }).app, 'ann')
    const ask = () => ann.post('/ask').send({ prompt: 'What is tea?' }).expect(200)
    await ask()
    await ann.put('/clients/c1').send({ health: 'healthy' }).expect(204)
    await store.advance('5m')
    await ann.get('/clients/c1').expect(404)
    await store.advance('1h')
    await ask()
    expect(call).toHaveBeenCalledTimes(2)
  })
})
