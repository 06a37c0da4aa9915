/** Walks through the sections of the document in their order. */
import type Koa from 'koa'
import request from 'supertest'
import { testStore } from 'turnpike/testing'
import { describe, expect, it, vi } from 'vitest'
import { onBothEngines } from '../engines.ts'
import { createApp } from './app.ts'

async function login(app: Koa) {
  const agent = request.agent(app.callback())
  await agent.post('/login').send({ user: 'john', role: 'admin' }).expect(204)
  return agent
}

onBothEngines((open) => {
  it('Session management', async () => {
    const { app } = await open(createApp)
    const john = await login(app)
    await john.get('/me').expect(200, { userId: 'john', role: 'admin' })
    await request(app.callback()).get('/me').expect(401)
  })

  it('Content caching', async () => {
    const { app } = await open(createApp)
    const john = await login(app)
    await john.put('/drafts/456').send({ text: 'Blog post content here' }).expect(204)
    await john.get('/drafts/456').expect(200, { text: 'Blog post content here' })
    await john.get('/drafts/457').expect(404)
  })

  it('API response caching', async () => {
    const searchWeb = vi.fn(async () => ['a page'])
    const { app } = await open(createApp, { searchWeb })
    const john = await login(app)
    const search = () => john.get('/search').query({ q: 'AI marketing trends' })
    await Promise.all([search(), search()])
    await search().expect(200, ['a page'])
    expect(searchWeb).toHaveBeenCalledTimes(1)
  })

  it('Job queueing', async () => {
    const { app, queue } = await open(createApp)
    const john = await login(app)
    await queue.work({ sigterm: false })
    const { headers } = await john
      .post('/content')
      .send({ campaign: 'tea', type: 'blog' })
      .expect(202)
    await vi.waitFor(async () => {
      const { body } = await john.get(headers['location']!).expect(200)
      expect(body.result).toEqual({ draft: 'blog: A page on tea' })
    }, 10_000)
  })

  it('Rate limiting, distributed locking: a post is sent once', async () => {
    const post = vi.fn(async () => {})
    const { app, queue } = await open(createApp, { post })
    const john = await login(app)
    const send = () =>
      john.post('/posts').set('idempotency-key', 'p1').send({ id: 'p1', text: 'Tea!' }).expect(202)
    const { headers } = await send()
    await send()
    await queue.work({ sigterm: false })
    await vi.waitFor(async () => {
      expect((await john.get(headers['location']!)).body.state).toBe('completed')
    }, 10_000)
    expect(post).toHaveBeenCalledTimes(1)
  })

  it('Agent conversation memory, tool results, shared state', async () => {
    const searchWeb = vi.fn(async () => ['a page'])
    const { app } = await open(createApp, { searchWeb })
    const john = await login(app)
    const ask = () => john.post('/agents/campaign_1/research').send({ text: 'Who drinks tea?' })
    await ask().expect(200, { answer: 'a page', calls: 1 })
    await ask().expect(200, { answer: 'a page', calls: 2 })
    expect(searchWeb).toHaveBeenCalledTimes(1)
    const { body } = await john.get('/agents/campaign_1/research').expect(200)
    expect(body.map(({ role }: { role: string }) => role)).toEqual([
      'user',
      'agent',
      'user',
      'agent',
    ])
  })

  it('Pub/Sub for real-time updates', async () => {
    const { app, live } = await open(createApp)
    const john = await login(app)
    const updates = live.subscribe('content_updates')
    await updates.ready
    await john.put('/drafts/123').send({}).expect(204)
    expect((await updates.next()).value).toMatchObject({
      data: { draft: '123', status: 'changed' },
    })
    await updates.return()
  })

  it('Sorted sets for leaderboards', async () => {
    const { app } = await open(createApp)
    const john = await login(app)
    await john.post('/posts/123/engagements').send({ score: 450 }).expect(200)
    await john.post('/posts/124/engagements').send({ score: 320 }).expect(200)
    await john.get('/posts/top').expect(200, [
      { rank: 1, id: '123', score: 450 },
      { rank: 2, id: '124', score: 320 },
    ])
  })

  it('Monitoring', async () => {
    const { app } = await open(createApp)
    const { body } = await request(app.callback()).get('/health').expect(200)
    expect(body.status).toBe('healthy')
  })
})

describe('as time passes', () => {
  it('sessions live for an hour, search results too, drafts for a day', async () => {
    const store = testStore()
    const searchWeb = vi.fn(async () => ['a page'])
    const { app } = createApp({ store, searchWeb })
    const john = await login(app)
    await john.get('/search?q=tea').expect(200)
    await john.put('/drafts/1').send({ text: 'Tea' }).expect(204)
    await store.advance('61m')
    await john.get('/me').expect(401)
    const again = await login(app)
    await again.get('/search?q=tea').expect(200)
    expect(searchWeb).toHaveBeenCalledTimes(2)
    await again.get('/drafts/1').expect(200)
    await store.advance('23h')
    await (await login(app)).get('/drafts/1').expect(404)
  })

  it('the 101st post of an hour is tried again later', async () => {
    const store = testStore()
    const post = vi.fn(async () => {})
    const { queue } = createApp({ store, post })
    await queue.work({ concurrency: 50 })
    for (let i = 0; i < 101; i++) await queue.add('post.publish', { id: `p${i}`, text: 'Tea!' })
    await queue.idle()
    expect(post).toHaveBeenCalledTimes(100)
    expect((await queue.counts()).delayed).toBe(1)
  })
})
