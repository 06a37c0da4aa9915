/** Walks through the sections of the document in their order. */
import type Koa from 'koa'
import request from 'supertest'
import { testStore } from 'turnpike/testing'
import { describe, expect, it, vi } from 'vitest'
import { onBothEngines } from '../engines.ts'
import { createApp } from './app.ts'

async function login(app: Koa, email = 'ann@example.org', organisation = 'acme') {
  const agent = request.agent(app.callback())
  const { body } = await agent
    .post('/login')
    .send({ email, password: 'correct', organisation })
    .expect(200)
  return { agent, refresh: body.refresh as string }
}

onBothEngines((open) => {
  it('1. Sessions', async () => {
    const { app } = await open(createApp)
    const { agent, refresh } = await login(app)
    await login(app)
    expect((await agent.get('/sessions').expect(200)).body).toHaveLength(2)
    const { body } = await agent.post('/refresh').send({ refresh }).expect(200)
    expect(body.user).toBe('ann@example.org')
    await vi.waitFor(() => agent.get('/online').expect(200, ['ann@example.org']))
  })

  it('2. Cache', async () => {
    const { app, reads } = await open(createApp)
    const { agent } = await login(app)
    const find = async (text: string) => (await agent.get('/campaigns').query({ text })).body
    expect(await find('Spr')).toEqual([{ id: 'c1', name: 'Spring' }])
    expect(await find('Spr')).toEqual([{ id: 'c1', name: 'Spring' }])
    expect(reads.campaigns).toBe(1)
    await agent.get('/campaigns/c1').expect(200, { id: 'c1', name: 'Spring' })
    await agent.put('/campaigns/c1').send({ name: 'Sprint' }).expect(204)
    await agent.get('/campaigns/c1').expect(200, { id: 'c1', name: 'Sprint' })
    expect(await find('Spr')).toEqual([{ id: 'c1', name: 'Sprint' }])
    await agent.get('/campaigns/c2').expect(404)
  })

  it('3. Rate limiting', async () => {
    const { app } = await open(createApp)
    const attempt = (password: string) =>
      request(app.callback()).post('/login').send({ email: 'eve@example.org', password })
    for (let i = 0; i < 5; i++) await attempt('wrong').expect(401)
    await attempt('correct').expect(429)
    const { agent } = await login(app)
    const { headers } = await agent.get('/campaigns').expect(200)
    expect(headers['ratelimit']).toMatch(/"organisation";r=999/)
  })

  it('4. Real-time features', async () => {
    const { app, live, stats } = await open(createApp)
    const { agent } = await login(app)
    const updates = live.subscribe<{ name: string }>('campaign:c1')
    await updates.ready
    await agent.put('/campaigns/c1').send({ name: 'Summer' }).expect(204)
    const { value } = await updates.next()
    expect(value).toMatchObject({ data: { name: 'Summer' } })
    await updates.return()
    await agent.post('/campaigns/c1/events').send({ views: 10, clicks: 2 }).expect(202)
    await stats.flush()
    await agent.get('/campaigns/c1/live').expect(200, { views: 10, clicks: 2, conversions: 0 })
  })

  it('5. Queue management', async () => {
    const { app, queue, sent } = await open(createApp)
    const { agent } = await login(app)
    const accepted = await agent.post('/mails').send({ to: 'ann@example.org' }).expect(202)
    await queue.work({ sigterm: false })
    await vi.waitFor(async () => {
      const { body } = await agent.get(accepted.headers['location']!).expect(200)
      expect(body).toMatchObject({ state: 'completed', progress: 100 })
    }, 10_000)
    expect(sent).toEqual(['ann@example.org'])
    expect((await agent.get('/notifications').expect(200)).body.unread.messages).toBe(1)
    await (await login(app, 'bob')).agent.get(accepted.headers['location']!).expect(404)
  })

  it('6. Analytics cache', async () => {
    const { app, stats } = await open(createApp)
    const { agent } = await login(app)
    const event = (body: object) => agent.post('/campaigns/c1/events').send(body).expect(202)
    await event({ clicks: 2, creator: 'cat', post: 'p1' })
    await event({ clicks: 5, creator: 'dan', post: 'p2' })
    await event({ views: 1, post: 'p2' })
    await stats.flush()
    await agent.get('/creators').expect(200, [
      { rank: 1, id: 'dan', score: 5 },
      { rank: 2, id: 'cat', score: 2 },
    ])
    await agent.get('/trending').expect(200, ['p2', 'p1'])
    const daily = () => agent.get('/campaigns/c1/periods/daily')
    const { body } = await daily().expect(200)
    expect(body).toEqual({ period: 'daily', views: 1, clicks: 7, conversions: 0 })
    await event({ clicks: 1 })
    await daily().expect(200, body)
  })

  it('7. Feature flags and configuration', async () => {
    const { app, feature } = await open(createApp)
    const { agent } = await login(app)
    const other = await login(app, 'bob', 'other')
    await feature.set('newDashboard', { organisations: ['acme'] })
    const off = { newDashboard: false, layout: { columns: 2 } }
    await agent.get('/features').expect(200, { ...off, newDashboard: true })
    await other.agent.get('/features').expect(200, off)
  })

  it('8. Locks and semaphores', async () => {
    const { app, tp } = await open(createApp)
    const { agent } = await login(app)
    const other = await tp.lock.acquire(['campaign', 'c1'])
    const change = agent.put('/campaigns/c1').send({ name: 'Summer' }).expect(204)
    setTimeout(() => void other.release(), 50)
    await change
    await agent.post('/videos').expect(200, { processed: true })
  })

  it('9. Temporary data', async () => {
    const mails: string[] = []
    const mail = (_to: string, text: string) => void mails.push(text)
    const { app } = await open(createApp, { mail })
    const { agent } = await login(app)
    const email = 'ann@example.org'
    await agent.post('/codes/verify').send({ email }).expect(202)
    await agent.post('/codes/verify/use').send({ email, code: mails[0] }).expect(200)
    const again = await agent.post('/codes/verify/use').send({ email, code: mails[0] })
    expect(again.status).toBe(410)
    await agent.post('/codes/reset').send({ email }).expect(202)
    await agent.post('/codes/reset/use').send({ code: mails[1] }).expect(200, { subject: email })
    await agent.get('/sessions').expect(401)
  })

  it('10. Search and autocomplete', async () => {
    const { app } = await open(createApp)
    const { agent } = await login(app)
    for (const text of ['Spring', 'Sprint', 'Spring']) await agent.get('/campaigns').query({ text })
    await agent.get('/suggestions?prefix=spr').expect(200, ['Spring', 'Sprint'])
    await agent.get('/searches').expect(200, ['Spring', 'Sprint'])
  })
})

describe('as time passes', () => {
  it('users are online for five minutes, lists are kept as long, refresh tokens for seven days', async () => {
    const store = testStore()
    const { app, reads } = createApp({ store })
    const { agent, refresh } = await login(app)
    await login(app, 'bob')
    const find = () => agent.get('/campaigns?text=Spr').expect(200)
    await find()
    await store.advance('5m')
    await find()
    expect(reads.campaigns).toBe(2)
    expect((await agent.get('/online').expect(200)).body).toEqual(['ann@example.org'])
    await store.advance('8d')
    await request(app.callback()).post('/refresh').send({ refresh }).expect(401)
  })

  it('a campaign is remembered at its time', async () => {
    const store = testStore()
    const { app, queue } = createApp({ store })
    const { agent } = await login(app)
    await queue.work()
    const at = new Date(store.now() + 3_600_000)
    await agent.post('/reminders').send({ campaign: 'c1', at }).expect(202)
    await store.advance('61m')
    await queue.idle()
    expect((await agent.get('/notifications').expect(200)).body.announcements).toHaveLength(1)
  })
})
