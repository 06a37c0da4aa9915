/** What sessions cost Redis, and what they do without it. */
import { describe, expect, test } from 'vitest'
import { apps } from '../../support/apps.ts'
import { startFaultProxy } from '../../support/fault-proxy.ts'
import { until } from '../../support/until.ts'
import { startRedis, testStore } from '../../../src/testing.ts'
import type { Operation } from '../../../src/store/store.ts'
import { turnpike as forExpress } from '../../../src/express.ts'
import { cookiesOf, pause, site } from './support.ts'

const instance = { commandTimeout: 100, requestBudget: 150 }

async function apart(kind: (typeof apps)[number], session: object = {}) {
  const redis = await startRedis()
  const proxy = await startFaultProxy(redis.port)
  const app = site(
    kind,
    { store: undefined as never, prefix: 'away' },
    { session, instance: { ...instance, store: undefined, redis: proxy.url } },
  )
  await app.tp.ready()
  const stop = async (): Promise<void> => {
    await app.tp.close()
    await proxy.close()
    await redis.stop()
  }
  return { redis, proxy, app, someone: app.browser(), stop }
}

describe.each(apps)('$name', (kind) => {
  test('a read-only request: one round trip, one command, no write; a changed one: one more', async () => {
    const { proxy, someone, stop } = await apart(kind)
    try {
      await someone.get('/set?key=a&value=1')
      await someone.get('/count')
      proxy.forget()
      await someone.get('/')
      expect(proxy.traffic.commands).toEqual(['MGET'])
      expect(proxy.traffic.roundTrips).toBe(1)
      proxy.forget()
      await someone.get('/count')
      expect(proxy.traffic.commands).toEqual(['MGET', 'EVALSHA'])
      expect(proxy.traffic.roundTrips).toBe(2)
      proxy.forget()
      await someone.get('/no-such-route')
      expect(proxy.traffic.commands).toEqual(['MGET'])
    } finally {
      await stop()
    }
  })

  test('a request without a cookie asks Redis nothing', async () => {
    const { app, proxy, stop } = await apart(kind)
    try {
      proxy.forget()
      await app.get('/')
      await app.get('/', { Cookie: 'sid=s%3Aforged.AAAA' })
      // TIME and INFO are sent for the connection, at any time.
      const forSessions = proxy.traffic.commands.filter((name) => !/^(TIME|INFO)$/.test(name))
      expect(forSessions).toEqual([])
    } finally {
      await stop()
    }
  })

  test('nobody waits for a touch', async () => {
    const store = testStore()
    const run = store.run.bind(store)
    let touches = 0
    store.run = ((operation: Operation, ...rest: any[]) => {
      if (operation.name !== 'session.touch') return (run as any)(operation, ...rest)
      touches++
      return new Promise(() => {})
    }) as typeof run
    const someone = site(kind, { store, prefix: 'tp' }).browser()
    await someone.get('/set?key=a&value=1')
    await store.advance('3h')
    await someone.get('/')
    await store.advance('3h')
    expect(await someone.json('/')).toEqual({ a: '1' })
    expect(touches).toBe(2)
  })

  test('a touch is sent when it is due', async () => {
    const { proxy, someone, stop } = await apart(kind, { touchAfter: 30 })
    try {
      await someone.get('/set?key=a&value=1')
      await someone.get('/')
      await pause(40)
      await someone.get('/')
      await pause(40)
      proxy.forget()
      proxy.set({ mode: 'ok', latency: 20 })
      await someone.get('/')
      await until('touched', () => proxy.traffic.commands.includes('EVALSHA'))
      expect(proxy.traffic.commands).toEqual(['MGET', 'EVALSHA'])
    } finally {
      await stop()
    }
  })

  test('Redis frozen: 503 within the deadline, anonymous without a cookie, and recovery', async () => {
    const { redis, app, someone, stop } = await apart(kind)
    try {
      await someone.get('/login')
      const before = someone.cookie()
      redis.freeze()
      const took: number[] = []
      for (let i = 0; i < 4; i++) {
        const began = performance.now()
        const refused = await someone.get('/')
        took.push(performance.now() - began)
        expect(refused.status).toBe(503)
        expect(refused.headers['retry-after']).toBe('2')
        expect(refused.headers['content-type']).toContain('problem+json')
        expect(cookiesOf(refused)).toEqual([])
      }
      // By which a busy machine may multiply it once in a while.
      expect(Math.min(...took)).toBeLessThan(100 + 30)
      expect(Math.max(...took)).toBeLessThan(600)
      const anonymous = await app.get('/')
      expect([anonymous.status, anonymous.text]).toEqual([200, '{}'])
      const unsaved = await app.get('/set?key=a&value=1')
      expect(unsaved.status).toBe(503)
      expect(cookiesOf(unsaved)).toEqual([])
      redis.thaw()
      await until('recovery', async () => (await someone.get('/')).status === 200)
      expect(someone.cookie()).toBe(before)
      expect(await someone.json('/')).toMatchObject({ userId: 'ada' })
    } finally {
      redis.thaw()
      await stop()
    }
  })

  test('a logout, a login and a save that could not be stored are errors, and the session lives', async () => {
    const store = testStore()
    const app = site(
      kind,
      { store, prefix: 'tp' },
      {
        routes: {
          '/logout-away': async (native, tp) => {
            store.fail()
            await tp.session.logout(native)
            return {}
          },
          '/logout-not-awaited': (native, tp) => {
            store.fail()
            void tp.session.logout(native)
            return {}
          },
          '/destroy-away': ({ session }) => {
            store.fail()
            return new Promise((resolve, reject) =>
              session.destroy((error?: Error) => (error ? reject(error) : resolve({}))),
            )
          },
          '/save-away': ({ session }) => {
            store.fail()
            session.a = 1
            return {}
          },
        },
      },
    )
    const someone = app.browser()
    await someone.get('/login')
    for (const path of ['/logout-away', '/logout-not-awaited', '/destroy-away', '/save-away']) {
      const refused = await someone.get(path)
      expect([path, refused.status]).toEqual([path, 503])
      expect(cookiesOf(refused)).toEqual([])
      store.recover()
      expect(await someone.json('/')).toEqual({ userId: 'ada' })
    }
  })

  test('fail: open lets the request pass with an empty session that is not saved', async () => {
    const store = testStore()
    const app = site(kind, { store, prefix: 'tp' }, { session: { fail: 'open' } })
    const someone = app.browser()
    await someone.get('/login')
    const cookie = someone.cookie()
    store.fail()
    const events: any[] = []
    app.tp.on('unavailable', (event: any) => events.push(event))
    const open = await someone.get('/count')
    expect([open.status, open.text]).toEqual([200, '{"count":1}'])
    expect(events).toEqual([
      { feature: 'session', name: 'sid', reason: 'not-ready', uncertain: false, rule: 'open' },
    ])
    store.recover()
    expect(someone.cookie()).toBe(cookie)
    expect(await someone.json('/')).toEqual({ userId: 'ada' })
  })

  test('reply phrases the refusal of a session that cannot be loaded', async () => {
    const store = testStore()
    const reply = (_native: unknown, { status, detail }: any) =>
      status === 503
        ? { body: `<p>${detail}</p>`, headers: { 'Content-Type': 'text/html' } }
        : undefined
    const someone = site(kind, { store, prefix: 'tp' }, { session: { reply } }).browser()
    await someone.get('/login')
    store.fail()
    const refused = await someone.get('/')
    expect(refused.status).toBe(503)
    expect(refused.text).toBe('<p>The session could not be loaded. Try again shortly.</p>')
    expect(refused.headers['content-type']).toBe('text/html')
    expect(refused.headers['retry-after']).toBe('2')
  })

  test('in a pipeline the load is issued in the tick of the others: one round trip for all', async () => {
    const redis = await startRedis()
    const proxy = await startFaultProxy(redis.port)
    const app = site(
      kind,
      { store: undefined as never, prefix: 'p' },
      {
        instance: { store: undefined, redis: proxy.url, commandTimeout: 1000 },
        mount: (tp, options) =>
          tp.pipeline(
            tp.session(options),
            tp.rateLimit({ limit: 100, window: '1m', name: 'a' }),
            tp.rateLimit({ limit: 100, window: '1m', name: 'b' }),
          ),
      },
    )
    try {
      await app.tp.ready()
      const someone = app.browser()
      await someone.get('/set?key=a&value=1')
      await someone.get('/')
      proxy.forget()
      expect(await someone.json('/')).toEqual({ a: '1' })
      expect(proxy.traffic.commands.toSorted()).toEqual(['EVALSHA', 'EVALSHA', 'MGET'])
      expect(proxy.traffic.roundTrips).toBe(1)
    } finally {
      await app.tp.close()
      await proxy.close()
      await redis.stop()
    }
  })
})

test('Redis killed and empty again: nobody hangs, and whoever was logged in is not any more', async () => {
  const { redis, someone, stop } = await apart(apps[0]!)
  try {
    await someone.get('/login')
    await redis.kill()
    expect((await someone.get('/')).status).toBe(503)
    await redis.restart()
    await until('recovery', async () => (await someone.get('/')).status === 200)
    expect(await someone.json('/')).toEqual({})
  } finally {
    await stop()
  }
})

test('a session takes at most 1.15 times the memory of connect-redis’s', async () => {
  const { default: express } = await import('express')
  const { default: session } = await import('express-session')
  const { RedisStore } = await import('connect-redis')
  const { Redis } = await import('ioredis')
  const { default: request } = await import('supertest')
  const redis = await startRedis()
  const client = new Redis(redis.url)
  const tp = forExpress({ redis: redis.url, prefix: 'tp' })
  try {
    const data = {
      userId: 12_345,
      name: 'Ada Lovelace',
      cart: [
        { sku: 'A-1', count: 2 },
        { sku: 'B-2', count: 1 },
      ],
      csrf: 'd2f1c3b4a5968778695a4b3c2d1e0f',
    }
    const fill = async (middleware: any): Promise<void> => {
      const app = express().use(middleware, (req: any, res: any) => {
        Object.assign(req.session, data)
        res.end()
      })
      await request(app).get('/')
    }
    await fill(
      session({
        secret: 's',
        resave: false,
        saveUninitialized: false,
        store: new RedisStore({ client }),
      }),
    )
    await fill(tp.session({ secret: 's', cookie: { secure: false } }))
    const usage = async (pattern: string): Promise<number> => {
      const [key] = await client.keys(pattern)
      return Number(await client.memory('USAGE', key!))
    }
    const [theirs, ours] = [await usage('sess:*'), await usage('tp:session:*')]
    console.log(`memory of one session: connect-redis ${theirs} bytes, turnpike ${ours}`)
    expect(ours).toBeLessThanOrEqual(theirs * 1.15)
  } finally {
    client.disconnect()
    await tp.close()
    await redis.stop()
  }
})
