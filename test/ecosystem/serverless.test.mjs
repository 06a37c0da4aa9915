/** Applications in a function of AWS Lambda, whose responses are no sockets. */
import { EventEmitter } from 'node:events'
import serverlessExpress from '@codegenie/serverless-express'
import serverless from 'serverless-http'
import { turnpike } from 'turnpike/express'
import { turnpike as koaTurnpike } from 'turnpike/koa'
import { describe, expect, it } from 'vitest'
import { expresses, koas, open, SECRET, useRedis } from './support.mjs'

const redis = useRedis()

/** An event of API Gateway's HTTP API (version 2.0). */
const eventOf = (method, path, { headers = {}, body, cookies = [] } = {}) => ({
  version: '2.0',
  routeKey: '$default',
  rawPath: path,
  rawQueryString: '',
  cookies,
  headers: { host: 'api.example.com', 'x-forwarded-proto': 'https', ...headers },
  requestContext: {
    http: { method, path, protocol: 'HTTP/1.1', sourceIp: '203.0.113.7', userAgent: 'test' },
    domainName: 'api.example.com',
    stage: '$default',
    requestId: 'id',
  },
  body,
  isBase64Encoded: false,
})

const context = Object.assign(new EventEmitter(), {
  callbackWaitsForEmptyEventLoop: true,
  functionName: 'test',
})

const wrappers = [
  ['serverless-http', (app) => serverless(app)],
  [
    '@codegenie/serverless-express',
    (app) => {
      const handler = serverlessExpress({ app })
      return (event) => handler(event, context, () => {})
    },
  ],
]

const cookiesFrom = (answer) => {
  const list = answer.cookies ?? answer.multiValueHeaders?.['set-cookie'] ?? []
  return list.map((cookie) => cookie.split(';')[0])
}

const cases = wrappers.flatMap(([wrapper, wrap]) =>
  expresses.map(([framework, express]) => [
    `${String(framework)} in ${String(wrapper)}`,
    express,
    wrap,
  ]),
)

describe.each(cases)('%s', (_name, express, wrap) => {
  async function createHandler() {
    const tp = await open(turnpike, redis)
    const app = express()
    app.set('trust proxy', 1)
    // @codegenie/serverless-express ends the request in the first tick: a parser must come before
    // whatever is asynchronous, with turnpike or without.
    app.use(express.json())
    app.use(tp.session({ secret: SECRET }))
    const counts = { page: 0, orders: 0 }
    app.get('/visit', (req, res) => {
      req.session.visits = (req.session.visits ?? 0) + 1
      res.json({ visits: req.session.visits })
    })
    app.get('/limited', tp.rateLimit({ limit: 2, window: '1m' }), (_req, res) => res.send('passed'))
    app.get(
      '/refunded',
      tp.rateLimit({ name: 'refunded', limit: 2, window: '1m', skipSuccessful: true }),
      (_req, res) => res.send('free'),
    )
    app.get('/page', tp.cache({ ttl: '1m' }), (_req, res) => res.send(`page ${++counts.page}`))
    app.post('/orders', tp.idempotency(), (req, res) => {
      res.status(201).json({ number: ++counts.orders, item: req.body.item })
    })
    app.post('/exclusive', tp.exclusive({ key: 'one' }), (_req, res) => res.send('done'))
    app.post('/few', tp.concurrency({ name: 'few', limit: 1 }), (_req, res) => res.send('done'))
    const handler = wrap(app)
    return (method, path, options) => handler(eventOf(method, path, options), context)
  }

  it('the session arrives, with its cookie', async () => {
    const call = await createHandler()
    const first = await call('GET', '/visit')
    expect(first.statusCode).toBe(200)
    expect(JSON.parse(first.body)).toEqual({ visits: 1 })
    const cookies = cookiesFrom(first)
    expect(cookies).toHaveLength(1)
    const second = await call('GET', '/visit', { cookies, headers: { cookie: cookies.join('; ') } })
    expect(JSON.parse(second.body)).toEqual({ visits: 2 })
  })

  it('a limit refuses, and gives charges back', async () => {
    const call = await createHandler()
    const seen = []
    for (let i = 0; i < 3; i++) seen.push((await call('GET', '/limited')).statusCode)
    expect(seen).toEqual([200, 200, 429])
    for (let i = 0; i < 5; i++) {
      expect((await call('GET', '/refunded')).statusCode).toBe(200)
      // The refund is written after the response.
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  })

  it('a page is cached, and a repeated order has one effect', async () => {
    const call = await createHandler()
    expect((await call('GET', '/page')).body).toBe('page 1')
    expect((await call('GET', '/page')).body).toBe('page 1')
    const order = () =>
      call('POST', '/orders', {
        headers: { 'content-type': 'application/json', 'idempotency-key': '"o1"' },
        body: JSON.stringify({ item: 'compass' }),
      })
    for (let i = 0; i < 2; i++) {
      const { statusCode, body } = await order()
      expect([statusCode, JSON.parse(body)]).toEqual([201, { number: 1, item: 'compass' }])
    }
  })

  it.each(['/exclusive', '/few'])('what a request held is released: %s', async (path) => {
    const call = await createHandler()
    for (let i = 0; i < 3; i++) {
      expect((await call('POST', path)).statusCode).toBe(200)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  })
})

describe.each(koas)('%s in serverless-http', (_name, Koa) => {
  it('sessions and limits work', async () => {
    const tp = await open(koaTurnpike, redis)
    const app = new Koa({ proxy: true, maxIpsCount: 1 })
    app.use(tp.session({ secret: SECRET }))
    app.use(tp.rateLimit({ limit: 3, window: '1m' }))
    app.use((ctx) => {
      ctx.session.visits = (ctx.session.visits ?? 0) + 1
      ctx.body = { visits: ctx.session.visits }
    })
    const handler = serverless(app)
    const first = await handler(eventOf('GET', '/'), context)
    const cookies = cookiesFrom(first)
    const headers = { cookie: cookies.join('; ') }
    const second = await handler(eventOf('GET', '/', { cookies, headers }), context)
    expect([JSON.parse(first.body), JSON.parse(second.body)]).toEqual([
      { visits: 1 },
      { visits: 2 },
    ])
    await handler(eventOf('GET', '/'), context)
    expect((await handler(eventOf('GET', '/'), context)).statusCode).toBe(429)
  })
})
