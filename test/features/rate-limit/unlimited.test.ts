/** `Infinity` is no limit: wherever a limit may stand, and as soon as a function returns it. */
import { describe, expect, test, vi } from 'vitest'
import { turnpike } from '../../../src/express.ts'
import { testStore } from '../../../src/testing.ts'
import { apps } from '../../support/apps.ts'
import { bothEngines } from '../../support/engines.ts'

describe.each(apps)('limit: Infinity, $name', ({ start }) => {
  test('admits every request, calls no store and sends no fields', async () => {
    const store = testStore()
    const run = vi.spyOn(store, 'run')
    const decisions: unknown[] = []
    const app = start({
      options: { store },
      mount(tp) {
        tp.on('decision', (decision) => decisions.push(decision))
        return [tp.rateLimit({ limit: Infinity, window: '1m', legacyHeaders: true })]
      },
      async handle(native) {
        const { allowed, source, limit, refund, settle } =
          native.rateLimit ?? native.state.rateLimit
        await refund()
        await settle(5)
        return [200, { allowed, source, limit: limit ?? 'none' }]
      },
    })
    for (let i = 0; i < 3; i++) {
      const { status, body, text, headers } = await app.get()
      expect(status).toBe(200)
      expect(Object.keys(body).length > 0 ? body : JSON.parse(text)).toEqual({
        allowed: true,
        source: 'unlimited',
        limit: 'none',
      })
      expect(Object.keys(headers).filter((name) => /ratelimit/i.test(name))).toEqual([])
    }
    expect(run).not.toHaveBeenCalled()
    expect(decisions).toHaveLength(3)
  })

  test('from a function applies to its request alone', async () => {
    const app = start({
      options: { store: testStore() },
      mount: (tp) => [
        tp.rateLimit({
          window: '1m',
          key: (native: any) => native.headers['x-user'],
          limit: async (native: any) => (native.headers['x-user'] === 'admin' ? Infinity : 1),
        }),
      ],
    })
    const statuses = async (user: string): Promise<number[]> => [
      (await app.get('/', { 'x-user': user })).status,
      (await app.get('/', { 'x-user': user })).status,
    ]
    expect(await statuses('ann')).toEqual([200, 429])
    expect(await statuses('admin')).toEqual([200, 200])
  })

  test('of one policy leaves the others as they are', async () => {
    const app = start({
      options: { store: testStore() },
      mount: (tp) => [
        tp.rateLimit({
          policies: [
            { name: 'burst', limit: Infinity, window: '1s' },
            { name: 'day', limit: 1, window: '1d' },
          ],
        }),
      ],
    })
    const first = await app.get()
    expect(first.status).toBe(200)
    expect(first.headers['ratelimit-policy']).toBe('"day";q=1;w=86400')
    expect((await app.get()).status).toBe(429)
  })

  test('of a login guard: addressLimit alone may be given up', async () => {
    let checked = 0
    const app = start({
      options: { store: testStore() },
      mount: (tp) => [
        tp.loginGuard({ addressLimit: Infinity, key: (native: any) => native.headers['x-email'] }),
      ],
      handle() {
        checked++
        return [401, 'no']
      },
    })
    for (let i = 0; i < 110; i++) await app.post('/', { 'x-email': `user${i}@x.org` })
    expect(checked).toBe(110)
    for (let i = 0; i < 6; i++) await app.post('/', { 'x-email': 'a@x.org' })
    expect(checked).toBe(115)
    // Nothing is left to count for a client that names no identity.
    for (let i = 0; i < 3; i++) expect((await app.post('/')).status).toBe(401)
  })
})

describe.each(bothEngines())('on the $name engine', ({ open }) => {
  test('a limiter takes it in its options, in calls and from overrides', async () => {
    const { store, prefix } = open()
    const tp = turnpike({ store, prefix })
    const none = tp.limiter('none', { limit: Infinity, window: '1m' })
    for (const call of [none.consume, none.peek, none.wait])
      expect(await call('a', 1_000)).toMatchObject({ allowed: true, source: 'unlimited' })
    await none.refund('a', 5)
    expect(await none.reset('a')).toBe(false)

    const one = tp.limiter('one', { limit: 1, window: '1m' })
    for (let i = 0; i < 3; i++)
      expect((await one.consume('a', { limits: { one: Infinity } })).allowed).toBe(true)

    await tp.overrides.set('b', { one: Infinity })
    expect(await tp.overrides.get('b')).toEqual({ one: Infinity })
    for (let i = 0; i < 3; i++)
      expect(await one.consume('b')).toMatchObject({
        allowed: true,
        limit: Infinity,
        remaining: Infinity,
      })
    await tp.overrides.delete('b')
    expect((await one.consume('b')).allowed).toBe(false)
  })

  test('a finite limit that takes its place counts from its first request on', async () => {
    const { store, prefix } = open()
    const tp = turnpike({ store, prefix })
    const limiter = tp.limiter('l', { limit: 2, window: '1m' })
    const infinite = { limits: { l: Infinity } }
    for (let i = 0; i < 5; i++) await limiter.consume('a', infinite)
    const allowed = []
    for (let i = 0; i < 3; i++) allowed.push((await limiter.consume('a')).allowed)
    expect(allowed).toEqual([true, true, false])
    expect((await limiter.consume('a', infinite)).allowed).toBe(true)
  })
})

test('an override without a limit sends no fields', async () => {
  const { default: express } = await import('express')
  const { default: request } = await import('supertest')
  const tp = turnpike({ store: testStore() })
  await tp.overrides.set('127.0.0.1', { api: Infinity })
  const limit = tp.rateLimit({ name: 'api', limit: 1, window: '1m', legacyHeaders: true })
  const app = express().use(limit, (_req, res) => void res.send('ok'))
  for (let i = 0; i < 3; i++) {
    const { status, headers } = await request(app).get('/')
    expect(status).toBe(200)
    expect(Object.keys(headers).filter((name) => /ratelimit/i.test(name))).toEqual([])
  }
})
