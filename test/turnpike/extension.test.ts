/** Extensions share an instance's store, keys, events and middlewares, and cannot get in its way. */
import express from 'express'
import type Koa from 'koa'
import request from 'supertest'
import { afterAll, beforeAll, describe, expect, expectTypeOf, it } from 'vitest'
import { turnpike, type ExpressMiddleware } from '../../src/express.ts'
import { extension, operation, type ExtensionContext, type Instance } from '../../src/extension.ts'
import { turnpike as koaTurnpike } from '../../src/koa.ts'
import { turnpike as nodeTurnpike } from '../../src/node.ts'
import { startRedis, testStore, type RedisServer } from '../../src/testing.ts'
import { until } from '../support/until.ts'

const write = operation<number>({
  name: 'test.write',
  lua: `redis.call('SET', KEYS[1], ARGV[1], 'PX', 60000) return 1`,
  memory(database, [key], [value]) {
    database.set(key!, value, 60_000)
    return 1
  },
})

const contextOf = (tp: any, name = 'stamps'): ExtensionContext =>
  extension(tp, name, (context) => context)

describe('extension()', () => {
  it('creates an extension once for each instance and name', () => {
    const [tp, other] = [turnpike({ store: testStore() }), turnpike({ store: testStore() })]
    const create = (): object => ({})
    const first = extension(tp, 'stamps', create)
    expect(extension(tp, 'stamps', create)).toBe(first)
    expect(extension(tp, 'other', create)).not.toBe(first)
    expect(extension(other, 'stamps', create)).not.toBe(first)
  })

  it('creates an extension again if its creation failed', () => {
    const tp = turnpike({ store: testStore() })
    const fail = (): never => {
      throw new Error('not yet')
    }
    expect(() => extension(tp, 'stamps', fail)).toThrow('not yet')
    expect(extension(tp, 'stamps', () => 1)).toBe(1)
  })

  it("has the types of the instance's framework", () => {
    const mountOf = <Native, Middleware>(tp: Instance<Native, Middleware>): Middleware =>
      extension(tp, 'typed', ({ mount }) => mount({ name: 'x', handle: () => ({}) }))
    expectTypeOf(mountOf(turnpike())).toEqualTypeOf<ExpressMiddleware>()
    expectTypeOf(mountOf(koaTurnpike())).toEqualTypeOf<Koa.Middleware>()
  })

  it.each<[string, unknown]>([
    ['undefined', undefined],
    ['null', null],
    ['an Express application', express()],
    ['a store', testStore()],
    ['the function turnpike itself', turnpike],
    ['a string', 'tp'],
  ])('refuses %s in place of an instance', (_name, tp) => {
    expect(() => extension(tp as never, 'stamps', () => 1)).toThrow(
      expect.objectContaining({ code: 'TP_OPTION' }),
    )
  })

  it.each(['session', 'cache', 'rateLimit', 'idempotency', 'lock', '__proto__', 'constructor'])(
    'refuses the name %s, which has a meaning already',
    (name) => {
      expect(() => contextOf(turnpike({ store: testStore() }), name)).toThrow(
        expect.objectContaining({ code: 'TP_OPTION', option: 'name' }),
      )
    },
  )

  it.each(['', 'a:b', 'a{b}', '*', 'x'.repeat(41), null, 7, '__proto__ '])(
    'refuses the name %j, which cannot stand in keys',
    (name) => {
      expect(() => contextOf(turnpike({ store: testStore() }), name as string)).toThrow(
        expect.objectContaining({ code: 'TP_OPTION', option: 'name' }),
      )
    },
  )

  it('refuses a create that is no function', () => {
    expect(() => extension(turnpike({ store: testStore() }), 'stamps', {} as never)).toThrow(
      expect.objectContaining({ code: 'TP_OPTION', option: 'create' }),
    )
  })
})

describe('a context', () => {
  it('builds keys below the prefix and the name of its extension', () => {
    const { keys } = contextOf(turnpike({ store: testStore(), prefix: 'shop', version: 3 }))
    expect(keys.key('seen', keys.tag('ann'))).toBe('shop~3:stamps:seen:{ann}')
    expect(keys.key('seen', keys.tag('a}:{b'))).toBe('shop~3:stamps:seen:{a%7d%3a%7bb}')
  })

  it('works when its methods are taken out of it', () => {
    const { mount, exchange, forTenant, onClose, once, claimName } = contextOf(
      turnpike({ store: testStore() }),
    )
    expect(mount({ name: 'x', handle: () => ({}) })).toBeTypeOf('function')
    expect(exchange({ headers: {}, method: 'GET', url: '/' }).method).toBe('GET')
    expect(forTenant('t').hasTenants).toBe(false)
    expect(once('part', () => 1)).toBe(1)
    expect(() => onClose(async () => {})).not.toThrow()
    expect(claimName).toBeTypeOf('function')
  })

  it('knows the tenants of the application, and keeps their keys apart', async () => {
    const tenant = (req: { headers: Record<string, unknown> }): string =>
      req.headers['x-tenant'] as string
    const context = contextOf(nodeTurnpike({ store: testStore(), tenant }))
    expect(context.hasTenants).toBe(true)
    expect(await context.tenantOf({ headers: { 'x-tenant': 'acme' } })).toBe('acme')
    await expect(context.tenantOf({ headers: {} })).rejects.toMatchObject({ code: 'TP_KEY' })
    const own = context.forTenant('acme')
    expect(own.hasTenants).toBe(false)
    expect(await own.tenantOf({ headers: {} })).toBeUndefined()
    expect(own.keys.tag('ann')).toBe('acme=ann')
    expect(own.keys.tag('ann')).not.toBe(context.forTenant('other').keys.tag('ann'))
  })
})

describe('connect()', () => {
  let redis: RedisServer
  beforeAll(async () => {
    redis = await startRedis()
  })
  afterAll(() => redis.stop())

  it('has no connection for the in-process engine', async () => {
    for (const tp of [turnpike({ store: testStore() }), turnpike({ redis: 'memory' })])
      expect(await contextOf(tp).connect('calls')).toBeUndefined()
  })

  it("opens the extension's own database, and belongs to the caller", async () => {
    const tp = turnpike({ redis: redis.url, databases: { stamps: 7 } })
    await tp.ready()
    for (const purpose of ['calls', 'blocking'] as const) {
      const connection = await contextOf(tp).connect(purpose)
      const client = connection!.client as any
      if (client.status !== 'ready') {
        if (client.status === 'wait') void client.connect()
        await new Promise((resolve) => client.once('ready', resolve))
      }
      expect(await client.call('CLIENT', 'INFO')).toMatch(/ db=7 /)
      expect(connection!.commandTimeout).toBe(100)
      expect(client.options.maxRetriesPerRequest).toBe(purpose === 'calls' ? 0 : null)
      await connection!.end()
      await until('the connection has ended', () => client.status === 'end')
    }
    await tp.close()
  })

  it("puts a reused client's prefix into the hands of the caller", async () => {
    const { Redis } = await import('ioredis')
    const client = new Redis(redis.url, { keyPrefix: 'outer:' })
    for (const [reuse, prefix] of [
      [true, 'outer:'],
      [false, ''],
    ] as const) {
      const tp = turnpike({ redis: client, reuse })
      const connection = await contextOf(tp).connect('calls')
      expect(connection!.keyPrefix).toBe(prefix)
      await connection!.end()
      await tp.close()
    }
    client.disconnect()
  })
})

describe('close()', () => {
  it('closes extensions before the connections, the last first', async () => {
    const store = testStore()
    const tp = turnpike({ store })
    const order: string[] = []
    for (const name of ['first', 'second']) {
      extension(tp, name, ({ store, keys, onClose }) => {
        onClose(async () => {
          await store.run(write, [keys.key('closed', keys.tag(name))], [1])
          order.push(name)
        })
      })
    }
    await Promise.all([tp.close(), tp.close()])
    await tp.close()
    expect(order).toEqual(['second', 'first'])
    expect(store.status().status).toBe('down')
  })

  it('closes what is to be last after what was registered later', async () => {
    const tp = turnpike({ store: testStore() })
    const order: string[] = []
    for (const [name, last] of [
      ['first', true],
      ['second', false],
      ['third', true],
      ['fourth', false],
    ] as const) {
      extension(tp, name, ({ onClose }) => {
        onClose(async () => void order.push(name), last ? 'last' : undefined)
      })
    }
    await tp.close()
    expect(order).toEqual(['fourth', 'second', 'third', 'first'])
  })

  it.each([
    [
      'throws',
      () => {
        throw new Error('stuck')
      },
    ],
    ['rejects', () => Promise.reject(new Error('stuck'))],
  ])('closes everything else if an extension %s, and reports it', async (_how, fail) => {
    const store = testStore()
    const tp = turnpike({ store })
    const errors: unknown[] = []
    let isClosed = false
    tp.on('error', (event) => errors.push(event))
    extension(tp, 'good', ({ onClose }) => onClose(async () => void (isClosed = true)))
    extension(tp, 'bad', ({ onClose }) => onClose(fail))
    await tp.close()
    expect(isClosed).toBe(true)
    expect(store.status().status).toBe('down')
    expect(errors).toEqual([{ feature: 'bad', name: 'close', error: new Error('stuck') }])
  })
})

describe('over Redis', () => {
  let redis: RedisServer
  beforeAll(async () => {
    redis = await startRedis()
  })
  afterAll(() => redis.stop())

  it("an extension's data goes to the database that `databases` names", async () => {
    await using tp = turnpike({ redis: redis.url, databases: { stamps: 7 } })
    await tp.ready()
    const { store, keys } = contextOf(tp)
    await store.ready()
    await store.run(write, [keys.key('seen', keys.tag('ann'))], ['x'])
    expect(await redis.send('SELECT', '7')).toContain('OK')
    expect(await redis.send('INFO', 'keyspace')).toContain('db7:keys=1')
  })
})

describe('copies of the package in one process', () => {
  it('recognise what the other has left on a request, a response or a middleware', async () => {
    const tp = turnpike({ store: testStore() })
    const members = [
      tp.session({ secret: 'a secret that is long enough' }),
      tp.rateLimit({ limit: 5, window: '1m', key: tp.key.ip() }),
      tp.cache({ ttl: '1m', public: true }),
    ]
    const symbols = new Set<symbol>()
    const collect = (...objects: object[]): void => {
      for (const object of objects)
        for (const symbol of Object.getOwnPropertySymbols(object)) symbols.add(symbol)
    }
    const pipeline = tp.pipeline(...members)
    collect(pipeline, ...members, tp.key.ip())
    const app = express()
    const key = tp.idempotency({ ttl: '1h', required: false })
    app.post('/', express.json(), key, (req, res) => {
      collect(req, res)
      res.send('done')
    })
    app.use(pipeline, (req, res) => {
      collect(req, res)
      res.send('done')
    })
    await request(tp.cacheListener(app)).get('/').expect(200)
    await request(app).post('/').set('Idempotency-Key', '"1"').send({ a: 1 }).expect(200)

    const own = [...symbols].filter(({ description = '' }) => description.startsWith('turnpike'))
    const local = own.filter((symbol) => Symbol.keyFor(symbol) === undefined)
    // An exchange belongs to one instance.
    expect(local.map(({ description }) => description)).toEqual(['turnpike.exchange'])
    expect(own.length).toBeGreaterThan(4)
  })
})
