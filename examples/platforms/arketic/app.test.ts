/** Walks through the sections of the document in their order. */
import request from 'supertest'
import { testStore } from 'turnpike/testing'
import { describe, expect, it, vi } from 'vitest'
import { onBothEngines } from '../engines.ts'
import { createApp } from './app.ts'

async function login(app: ReturnType<typeof createApp>['app'], user = 'ann') {
  const agent = request.agent(app)
  await agent.post('/login').set('user-agent', 'desktop chrome').send({ user }).expect(200)
  return agent
}

const models = () => ({
  answer: vi.fn(async () => ({ text: 'an answer', tokens: 100 })),
  embed: vi.fn(async () => Float32Array.of(0.1, 0.2, 0.3)),
})

onBothEngines((open) => {
  it('1. Cache management', async () => {
    const asked = models()
    const { app } = await open(createApp, { models: asked })
    const ann = await login(app)
    await ann.put('/users/1/profile').send({ name: 'Ann' }).expect(204)
    await ann.get('/users?id=1&id=2').expect(200, [{ name: 'Ann' }, null])
    await ann.post('/users/1/visits').expect(200, { visits: 1 })
    await ann.post('/users/1/visits').expect(200, { visits: 2 })
    await ann.delete('/users/1').expect(200)
    await ann.get('/users?id=1').expect(200, [null])

    const ask = () => ann.post('/ai').send({ prompt: 'What is tea?' }).expect(200)
    await ask()
    await ask()
    expect(asked.answer).toHaveBeenCalledTimes(1)
    const add = () => ann.post('/kb/k1/documents').send({ text: 'tea' })
    await add().expect(201, { dimensions: 3 })
    await add().expect(201, { dimensions: 3 })
    expect(asked.embed).toHaveBeenCalledTimes(1)
    await ann.get('/kb/k1/search?q=Tea').expect(200, ['k1: tea'])

    await ann.post('/chats/c1/messages').send({ text: 'hello' }).expect(201)
    const { body } = await ann.get('/chats/c1').expect(200)
    expect(body.messages).toEqual([{ from: 'ann', text: 'hello' }])
    expect(body.participants).toEqual(['ann'])
  })

  it('2. Rate limiting', async () => {
    const { app } = await open(createApp, { models: models() })
    const ann = await login(app)
    for (let i = 0; i < 20; i++)
      await ann
        .post('/ai')
        .send({ prompt: `q${i}` })
        .expect(200)
    await ann.post('/ai').send({ prompt: 'one more' }).expect(429)
    await (await login(app, 'bob')).post('/ai').send({ prompt: 'mine' }).expect(200)
    const { headers } = await ann.post('/chats/c1/messages').send({ text: 'hello' }).expect(201)
    expect(headers['ratelimit']).toMatch(/"user-endpoint";r=99/)
    const file = Buffer.alloc(3000)
    const upload = ann.post('/files').set('content-type', 'application/octet-stream').send(file)
    expect((await upload.expect(201)).headers['ratelimit']).toMatch(/"upload";r=9997/)
    await ann.get('/files/1').expect(200)
  })

  it('2. Rate limiting: tokens are known after the call', async () => {
    const answer = async () => ({ text: 'long', tokens: 9_980 })
    const { app } = await open(createApp, { models: { ...models(), answer } })
    const ann = await login(app)
    await ann.post('/ai').send({ prompt: 'a book' }).expect(200)
    await ann.post('/ai').send({ prompt: 'another' }).expect(429, { reason: 'tokens' })
  })

  it('3. Session management', async () => {
    const { app } = await open(createApp)
    const ann = await login(app)
    await ann
      .get('/me')
      .expect(200, { userId: 'ann', organisation: 'acme', device: 'desktop chrome' })
    expect((await ann.get('/sessions').expect(200)).body).toHaveLength(1)
    await ann.post('/logout').expect(204)
    await ann.get('/me').expect(401)
  })

  it('Real-time features', async () => {
    const { app, live } = await open(createApp)
    const ann = await login(app)
    const events = live.subscribe('chat:c1')
    await events.ready
    await ann.post('/chats/c1/messages').send({ text: 'hello' }).expect(201)
    expect((await events.next()).value).toMatchObject({ data: { from: 'ann', text: 'hello' } })
    await events.return()
  })

  it('Monitoring and health checks', async () => {
    const { app } = await open(createApp)
    expect((await request(app).get('/health').expect(200)).body.status).toBe('healthy')
    await request(app).get('/monitoring/redis').expect(404)
    await request(app).get('/monitoring/redis').set('x-operator', 'secret').expect(200)
    await request(app).get('/metrics').set('x-operator', 'secret').expect(200)
  })
})

describe('TTL strategy', () => {
  it('sessions 1 hour, answers 1 hour, searches 15 minutes', async () => {
    const store = testStore()
    const asked = models()
    const { app } = createApp({ store, models: asked })
    const ann = await login(app)
    for (let i = 0; i < 3; i++) {
      await store.advance('40m')
      await ann.get('/me').expect(200)
    }
    await ann.post('/ai').send({ prompt: 'tea' }).expect(200)
    await store.advance('61m')
    await ann.get('/me').expect(401)
    await (await login(app)).post('/ai').send({ prompt: 'tea' }).expect(200)
    expect(asked.answer).toHaveBeenCalledTimes(2)
  })
})

describe('Error handling', () => {
  it('requests are allowed and answered while Redis is away', async () => {
    const store = testStore()
    const { app } = createApp({ store, models: models() })
    const ann = await login(app)
    store.fail()
    const { body } = await request(app).get('/health').expect(200)
    expect(body.connected).toBe(false)
    await ann.get('/me').expect(503)
    await request(app).get('/nowhere').expect(404)
    store.recover()
    await ann.get('/me').expect(200)
  })
})
