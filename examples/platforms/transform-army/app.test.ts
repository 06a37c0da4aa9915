/** Walks through the sections of the document in their order. */
import request from 'supertest'
import { testStore } from 'turnpike/testing'
import { describe, expect, it, vi } from 'vitest'
import { onBothEngines } from '../engines.ts'
import { createApp } from './app.ts'

type Application = ReturnType<typeof createApp>['app']

/** A client of a tenant. */
function clientOf(app: Application, tenant: string) {
  const own = { 'x-tenant': tenant, host: 'army.test' }
  return {
    get: (path: string) => request(app).get(path).set(own),
    put: (path: string, body: object) => request(app).put(path).set(own).send(body),
    post: (path: string, body: object = {}, key = 'none') =>
      request(app).post(path).set(own).set('idempotency-key', key).send(body),
    delete: (path: string) => request(app).delete(path).set(own),
  }
}

const DRAFT = { name: 'draft', steps: ['draft', 'send'] }

onBothEngines((open) => {
  it('Caching strategy: types, tenants, the decorator', async () => {
    const { app, reads } = await open(createApp)
    const acme = clientOf(app, 'acme')
    await acme.put('/workflows/w1', DRAFT).expect(204)
    await Promise.all([acme.get('/workflows/w1'), acme.get('/workflows/w1')])
    await acme.get('/workflows/w1').expect(200, DRAFT)
    expect(reads.workflows).toBe(1)
    await clientOf(app, 'other').get('/workflows/w1').expect(404)
    await acme.get('/config').expect(200, { tenant: { plan: 'pro' }, provider: { name: 'crm' } })
    const read = async () => (await acme.get('/contacts').expect(200)).headers['cache-status']
    expect(await read()).toContain('fwd=miss')
    expect(await read()).toContain('hit')
  })

  it('Cache invalidation: by event, by pattern', async () => {
    const { app, reads } = await open(createApp)
    const acme = clientOf(app, 'acme')
    await acme.put('/workflows/w1', DRAFT)
    await acme.get('/workflows/w1').expect(200, DRAFT)
    await acme.put('/workflows/w1', { ...DRAFT, name: 'changed' }).expect(204)
    expect((await acme.get('/workflows/w1')).body.name).toBe('changed')
    await clientOf(app, 'other').delete('/cache/*').expect(200, { removed: 0 })
    await acme.delete('/cache/*').expect(200, { removed: 1 })
    await acme.get('/workflows/w1')
    expect(reads.workflows).toBe(3)
  })

  it('Job queue system: priorities, status, the same key is one job', async () => {
    const execute = vi.fn(async () => {})
    const mail = vi.fn(async () => {})
    const { app, queue } = await open(createApp, { services: { execute, mail } })
    const acme = clientOf(app, 'acme')
    const operators = clientOf(app, 'operators')
    await acme.post('/warm', { ids: ['w1'] }).expect(202)
    await acme.post('/mails', { to: 'ann' }).expect(202)
    const accepted = await acme.post('/workflows/w1/execute', {}, 'k1').expect(202)
    const again = await acme.post('/workflows/w1/execute', {}, 'k1').expect(202)
    expect(again.body).toEqual(accepted.body)
    const { body: counts } = await operators.get('/queue').expect(200)
    expect(counts).toMatchObject({ waiting: 3 })
    await acme.get('/queue').expect(404)
    await queue.work({ concurrency: 1, sigterm: false })
    await vi.waitFor(async () => {
      const { body } = await acme.get(accepted.headers['location']!).expect(200)
      expect(body.state).toBe('completed')
    }, 10_000)
    await vi.waitFor(() => expect(mail).toHaveBeenCalledTimes(1), 10_000)
    expect(execute).toHaveBeenCalledTimes(1)
    await clientOf(app, 'other').get(accepted.headers['location']!).expect(404)
  })

  it('Pub/Sub: a stream for each workflow of a tenant', async () => {
    const { app, queue, live } = await open(createApp)
    const events = live.subscribe<{ type: string }>('workflow:w1', { tenant: 'acme' })
    await events.ready
    await queue.work({ sigterm: false })
    await clientOf(app, 'other').post('/workflows/w1/execute', {}, 'k1').expect(202)
    await clientOf(app, 'acme').post('/workflows/w1/execute', {}, 'k1').expect(202)
    const types: string[] = []
    for await (const event of events) {
      if (!event.gap) types.push(event.data.type)
      if (types.length === 2) break
    }
    expect(types).toEqual(['workflow.started', 'workflow.completed'])
  })

  it('Monitoring: health, and details for those who may see them', async () => {
    const { app } = await open(createApp)
    expect((await clientOf(app, 'acme').get('/health').expect(200)).body).not.toHaveProperty(
      'version',
    )
    await clientOf(app, 'acme').get('/metrics').expect(404)
    await clientOf(app, 'operators').get('/metrics').expect(200)
  })
})

describe('as time passes', () => {
  it('a job runs again after 60, 120 and 240 seconds, and then is a dead letter', async () => {
    const store = testStore()
    const execute = vi.fn(async () => {
      throw new Error('no network')
    })
    const { app, queue } = createApp({ store, services: { execute } })
    await queue.work()
    await clientOf(app, 'acme').post('/workflows/w1/execute', {}, 'k1').expect(202)
    for (const [attempts, pause] of [
      [1, '66s'],
      [2, '132s'],
      [3, '264s'],
    ] as const) {
      await queue.idle()
      expect(execute).toHaveBeenCalledTimes(attempts)
      await store.advance(pause)
    }
    await queue.idle()
    expect(execute).toHaveBeenCalledTimes(4)
    const { body } = await clientOf(app, 'operators').get('/dead-letters').expect(200)
    expect(body).toMatchObject([{ task: 'workflow.execute', reason: 'no network' }])
  })

  it('a definition is read again after two hours', async () => {
    const store = testStore()
    const { app, reads } = createApp({ store })
    const acme = clientOf(app, 'acme')
    await acme.put('/workflows/w1', DRAFT)
    await acme.get('/workflows/w1').expect(200)
    await store.advance('115m')
    await acme.get('/workflows/w1').expect(200)
    expect(reads.workflows).toBe(1)
    await store.advance('10m')
    await acme.get('/workflows/w1').expect(200)
    expect(reads.workflows).toBe(2)
  })

  it('while Redis is away values are loaded, and jobs are refused', async () => {
    const store = testStore()
    const { app } = createApp({ store })
    const acme = clientOf(app, 'acme')
    await acme.put('/workflows/w1', DRAFT)
    store.fail()
    await acme.get('/workflows/w1').expect(200, DRAFT)
    await acme.post('/mails', { to: 'ann' }).expect(503)
  })
})
