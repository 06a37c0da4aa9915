/** A request that reaches one limit several times is charged once, and its response has the fields once. */
import express from 'express'
import request from 'supertest'
import { describe, expect, test, vi } from 'vitest'
import { turnpike } from '../../../src/express.ts'
import { testStore } from '../../../src/testing.ts'
import { apps } from '../../support/apps.ts'

describe.each(apps)('one limit on several places of the way: $name', ({ start }) => {
  test('charges a request once, and sends its fields once', async () => {
    const decisions: unknown[] = []
    const app = start({
      options: { store: testStore() },
      mount(tp) {
        const limit = tp.rateLimit({ limit: 5, window: '1m' })
        tp.on('decision', (decision) => decisions.push(decision))
        return [limit, tp.pipeline(limit, limit), limit]
      },
      handle: (native) => [200, String((native.rateLimit ?? native.state.rateLimit).remaining)],
    })
    for (let i = 1; i <= 5; i++) {
      const { status, headers, text } = await app.get()
      expect(status).toBe(200)
      expect(text).toBe(String(5 - i))
      expect(headers['ratelimit']).toBe(`"1m";r=${5 - i};t=60`)
      expect(headers['ratelimit-policy']).toBe('"1m";q=5;w=60')
      expect(decisions).toHaveLength(i)
    }
    expect((await app.get()).status).toBe(429)
  })

  test('gives its charge back once', async () => {
    const store = testStore()
    const app = start({
      options: { store },
      mount(tp) {
        const limit = tp.rateLimit({ name: 'l', limit: 5, window: '1m', skipFailed: true })
        return [limit, limit]
      },
      handle: (native) => [native.url === '/bad' ? 404 : 200, 'x'],
    })
    const limiter = app.tp.limiter('l', { limit: 5, window: '1m' })
    const remaining = async () => (await limiter.peek('127.0.0.1')).remaining
    await app.get('/')
    await app.get('/')
    await app.get('/bad')
    await vi.waitFor(async () => expect(await remaining()).toBe(3))
  })

  test('in shadow reports a request once, too', async () => {
    const shadowed: boolean[] = []
    const app = start({
      options: { store: testStore() },
      mount(tp) {
        const limit = tp.rateLimit({ limit: 1, window: '1m', shadow: true })
        tp.on('decision', ({ shadow }: { shadow: boolean }) => shadowed.push(shadow))
        return [limit, limit]
      },
    })
    for (let i = 0; i < 3; i++) expect((await app.get()).status).toBe(200)
    expect(shadowed).toEqual([false, true, true])
  })

  test('of a login guard counts an attempt once', async () => {
    let checked = 0
    const app = start({
      options: { store: testStore() },
      mount(tp) {
        const guard = tp.loginGuard({ key: (native: any) => native.headers['x-email'] })
        return [guard, tp.pipeline(guard), guard]
      },
      handle() {
        checked++
        return [401, 'no']
      },
    })
    for (let i = 0; i < 7; i++) await app.post('/', { 'x-email': 'a@x.org' })
    expect(checked).toBe(5)
  })

  test('is refused in both places while its key is missing', async () => {
    const app = start({
      options: { store: testStore() },
      mount(tp) {
        const limit = tp.rateLimit({ limit: 5, window: '1m', key: async () => undefined })
        return [limit, limit]
      },
    })
    for (let i = 0; i < 2; i++) expect((await app.get()).status).toBe(500)
    expect(app.errors.map(({ code }) => code)).toEqual(['TP_KEY', 'TP_KEY'])
  })
})

test('a limit on the application and on a router inside it charges a request once', async () => {
  const tp = turnpike({ store: testStore() })
  const limit = tp.rateLimit({ limit: 2, window: '1m' })
  const router = express.Router().get('/', limit, (_req, res) => void res.send('inner'))
  const app = express().use(limit).use('/inner', limit, router)
  const statuses = []
  for (let i = 0; i < 3; i++) statuses.push((await request(app).get('/inner')).status)
  expect(statuses).toEqual([200, 200, 429])
})

test('two requests on one connection are charged both', async () => {
  const tp = turnpike({ store: testStore() })
  const app = express().use(
    tp.rateLimit({ limit: 2, window: '1m' }),
    (_req, res) => void res.send(),
  )
  const agent = request.agent(app)
  const statuses = []
  for (let i = 0; i < 3; i++)
    statuses.push((await agent.get('/').set('Connection', 'keep-alive')).status)
  expect(statuses).toEqual([200, 200, 429])
})
