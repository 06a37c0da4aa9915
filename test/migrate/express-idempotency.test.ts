/** What docs/migrate/express-idempotency.md says: first what stays alike, then what is different on purpose. */
// oxlint-disable oxc/no-async-endpoint-handlers -- Express 5 hands their errors on
import express, { type Express, type RequestHandler } from 'express'
import {
  getSharedIdempotencyService,
  idempotency as theirs,
  type IIdempotencyDataAdapter,
} from 'express-idempotency'
import { Redis } from 'ioredis'
import request from 'supertest'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { turnpike } from '../../src/express.ts'
import { startRedis, type RedisServer } from '../../src/testing.ts'

let redis: RedisServer
let client: Redis
beforeAll(async () => {
  redis = await startRedis()
  client = new Redis(redis.url)
})
afterAll(async () => {
  client.disconnect()
  await redis.stop()
})
beforeEach(() => client.flushall())

/** There is none for Redis on npm that is kept up: this is what one writes. */
const adapter = (): IIdempotencyDataAdapter => ({
  async findByIdempotencyKey(key) {
    const found = await client.get(`idem:${key}`)
    return found === null ? null : JSON.parse(found)
  },
  create: async (resource) =>
    void (await client.set(
      `idem:${resource.idempotencyKey}`,
      JSON.stringify(resource),
      'PX',
      86_400_000,
    )),
  update: async (resource) =>
    void (await client.set(
      `idem:${resource.idempotencyKey}`,
      JSON.stringify(resource),
      'PX',
      86_400_000,
    )),
  delete: async (key) => void (await client.del(`idem:${key}`)),
})

interface Shop {
  app: Express
  runs(): number
  post(key: string, body?: object, user?: string): request.Test
}

function shop(
  middleware: RequestHandler,
  isHit: (req: express.Request) => boolean,
  body: (run: number) => unknown = (run) => ({ order: run }),
): Shop {
  let runs = 0
  const app = express()
  app.use(express.json())
  app.post('/', middleware, async (req, res) => {
    if (isHit(req)) return
    runs++
    const run = runs
    await new Promise((resolve) => setTimeout(resolve, 20))
    if (req.body.fail && run === 1) throw new Error('no')
    res.status(201).send(body(run))
  })
  app.use(((_error, _req, res, _next) => {
    if (res.statusCode < 400) res.status(500)
    res.send('error')
  }) as express.ErrorRequestHandler)
  return {
    app,
    runs: () => runs,
    post: (key, json = { item: 1 }, user = 'ann') =>
      request(app).post('/').set({ 'Idempotency-Key': key, Authorization: user }).send(json),
  }
}

function old(body?: (run: number) => unknown): Shop {
  return shop(
    theirs({ dataAdapter: adapter() }),
    (req) => getSharedIdempotencyService().isHit(req),
    body,
  )
}

function fresh(body?: (run: number) => unknown): Shop {
  const tp = turnpike({ redis: redis.url, commandTimeout: '2s', requestBudget: '2s' })
  return shop(tp.idempotency(), () => false, body)
}

/** Deploy 1: both, turnpike first. */
function both(): Shop {
  const tp = turnpike({ redis: redis.url, commandTimeout: '2s', requestBudget: '2s' })
  const chain = express.Router()
  chain.use(tp.idempotency(), theirs({ dataAdapter: adapter() }))
  return shop(chain, (req) => getSharedIdempotencyService().isHit(req))
}

const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 50))

describe.each([
  ['express-idempotency', old],
  ['turnpike', fresh],
] as const)('alike: %s', (_name, make) => {
  test('the second request gets the first one’s answer, and the handler does its work once', async () => {
    const { post, runs } = make()
    const first = await post('k')
    await settled()
    const second = await post('k')
    expect([second.status, second.body]).toEqual([first.status, first.body])
    expect(runs()).toBe(1)
  })

  test('another body under the same key is refused', async () => {
    const { post, runs } = make()
    await post('k')
    await settled()
    expect((await post('k', { item: 2 })).status).toBeGreaterThanOrEqual(400)
    expect(runs()).toBe(1)
  })

  test('a request that comes while the first one runs is refused with 409', async () => {
    const { post } = make()
    const first = post('k').then((answer) => answer)
    await new Promise((resolve) => setTimeout(resolve, 12))
    const statuses = [(await post('k')).status, (await first).status]
    expect(statuses).toContain(409)
    expect(statuses).toContain(201)
  })
})

describe('different on purpose', () => {
  test('two requests at the same moment: there both run, here one', async () => {
    const [before, after] = [old(), fresh()]
    for (const { post } of [before, after]) await Promise.all([post('k'), post('k')])
    expect(before.runs()).toBe(2)
    expect(after.runs()).toBe(1)
  })

  test('the same key of two users: there the second is given the first one’s answer, here it is another key', async () => {
    const [before, after] = [old(), fresh()]
    for (const { post } of [before, after]) {
      await post('k', {}, 'ann')
      await settled()
    }
    expect((await before.post('k', {}, 'bob')).body).toEqual({ order: 1 })
    expect((await after.post('k', {}, 'bob')).body).toEqual({ order: 2 })
  })

  test('bytes: there a Buffer comes back as JSON, here as it was', async () => {
    const bytes = Buffer.from([0, 255, 254, 1])
    const [before, after] = [old(() => bytes), fresh(() => bytes)]
    for (const { post } of [before, after]) {
      await post('k')
      await settled()
    }
    expect((await before.post('k')).text ?? '').not.toBe(bytes.toString('latin1'))
    expect((await after.post('k')).body).toEqual(bytes)
  })

  test('the handler runs for a repeated request there, and has to look; here it does not', async () => {
    const [before, after] = [shop(theirs({ dataAdapter: adapter() }), () => false), fresh()]
    for (const { post } of [before, after]) {
      await post('k')
      await settled()
      await post('k')
    }
    expect(before.runs()).toBe(2)
    expect(after.runs()).toBe(1)
  })

  test('a mismatch is 417 there and 422 here, with problem+json', async () => {
    const [before, after] = [old(), fresh()]
    for (const { post } of [before, after]) {
      await post('k')
      await settled()
    }
    expect((await before.post('k', { item: 2 })).status).toBe(417)
    const refused = await after.post('k', { item: 2 })
    expect(refused.status).toBe(422)
    expect(refused.headers['content-type']).toMatch('problem+json')
  })

  test('a 4xx is an answer here; there it is forgotten', async () => {
    const make = (made: Shop): Shop => made
    let runs = 0
    const app = express()
    const tp = turnpike({ redis: redis.url, commandTimeout: '2s', requestBudget: '2s' })
    app.post(
      '/old',
      theirs({ dataAdapter: adapter() }),
      (_req, res) => void res.status(404).send(`${++runs}`),
    )
    app.post(
      '/new',
      tp.idempotency({ scope: () => 'me' }),
      (_req, res) => void res.status(404).send(`${++runs}`),
    )
    make(old())
    const post = (path: string) => request(app).post(path).set('Idempotency-Key', 'k')
    expect([(await post('/old')).text, (await settled(), await post('/old')).text]).toEqual([
      '1',
      '2',
    ])
    expect([(await post('/new')).text, (await post('/new')).text]).toEqual(['3', '3'])
  })
})

describe('deploys', () => {
  test('a key of the old code is answered by deploy 1 and by deploy 2, without a second effect', async () => {
    const before = old()
    await before.post('k').expect(201, { order: 1 })
    await settled()
    const [first, second] = [both(), fresh()]
    await first.post('k').expect(201, { order: 1 })
    await second.post('k').expect(201, { order: 1 })
    expect([first.runs(), second.runs()]).toEqual([0, 0])
  })

  test('a key of deploy 1 is known to the old code, when it is rolled back', async () => {
    const first = both()
    await first.post('k').expect(201, { order: 1 })
    await settled()
    const before = old()
    await before.post('k').expect(201, { order: 1 })
    expect([first.runs(), before.runs()]).toEqual([1, 0])
  })
})
