/** A small shop: which route stands behind which limit. */
// oxlint-disable oxc/no-async-endpoint-handlers -- Express 5 hands their errors on
import { setTimeout as pause } from 'node:timers/promises'
import express, { type ErrorRequestHandler, type Express } from 'express'
import type { Request, RequestHandler } from 'express'
import type { EventMap, ExpressTurnpike, Limiter } from 'turnpike/express'
import { trending } from 'turnpike/collections'
import { maintenance } from 'turnpike/flags'
import { apiKeys } from 'turnpike/tokens'
import { commands, type LimitRow } from './commands.ts'
import { invoices } from './invoices.ts'
import { orders } from './orders.ts'
import { page, state } from './page.ts'
import { sessions } from './sessions.ts'
import { verification } from './verify.ts'

export interface ShopOptions {
  /** What one query of the database takes, in milliseconds. */
  databaseMs?: number
  /** Sends a mail. The demo prints it. */
  mail?: (to: string, text: string) => void
  /** Returns the names of the latest spans, for GET /debug/spans. */
  spans?: () => readonly string[]
}

interface Customer {
  id: string
  plan: 'free' | 'pro'
}
/** By the key itself, because this is a demo: a shop of yours keeps digests. */
const customers: Record<string, Customer> = {
  free: { id: 'ada', plan: 'free' },
  pro: { id: 'grace', plan: 'pro' },
}

const products = [
  'Abacus',
  'Bellows',
  'Compass',
  'Dividers',
  'Easel',
  'Funnel',
  'Gimlet',
  'Hourglass',
].map((name, i) => ({ id: i + 1, name, price: 12 + 7 * i }))
const PAGE = 4
const BURST = 20

/** The shop over any instance: `turnpike({ store: testStore() })` in tests. */
export function createShop(
  tp: ExpressTurnpike,
  {
    databaseMs = 150,
    mail = (to, text) => console.log(`mail to ${to}: ${text}`),
    spans = () => [],
  }: ShopOptions = {},
): Express {
  const app = express().disable('x-powered-by')
  // `npx turnpike maintenance on` closes the shop.
  app.use(maintenance(tp))

  const browsing = tp.rateLimit({ name: 'products', limit: 30, window: '1m' })
  const searching = tp.rateLimit({
    name: 'api',
    policies: [
      { name: 'minute', limit: 20, window: '1m' },
      { name: 'hour', limit: 100, window: '1h' },
      { name: 'day', limit: 500, window: '1d' },
    ],
  })
  const table = new Map<string, Customer>()
  // Keys with a checksum come from keys.generate(). These are for typing.
  const keys = apiKeys(tp, { lookup: (digest) => table.get(digest), checksum: false })
  for (const [key, customer] of Object.entries(customers)) table.set(keys.digest(key), customer)
  const byCustomer = { window: '1m', key: (req: Request) => keys.of(req)?.id } as const
  const quotas = {
    free: tp.rateLimit({ name: 'free', limit: 10, ...byCustomer }),
    pro: tp.rateLimit({ name: 'pro', limit: 60, algorithm: 'gcra', burst: BURST, ...byCustomer }),
  }

  app.use(sessions(tp))

  let asked = 0
  const cached = tp.cache({ ttl: '30s', tags: ['products'] })
  app.get('/products', browsing, cached, async (req, res) => {
    const page = Number(req.query['page'] ?? 1)
    if (!Number.isInteger(page) || page < 1) return problem(res, 400, 'page is a number from 1 on')
    asked++
    await pause(databaseMs)
    res.json({ page, products: products.slice((page - 1) * PAGE, page * PAGE) })
  })

  /** Changes a price, and all lists that show it. */
  app.put('/products/1', express.json(), tp.invalidate({ tags: ['products'] }), (req, res) => {
    const { price } = req.body ?? {}
    if (typeof price !== 'number' || !(price > 0)) return problem(res, 400, 'price is a number')
    products[0] = { ...products[0]!, price }
    res.json(products[0])
  })

  /** How often the database was asked for products: what the cache has spared it is the rest. */
  app.get('/debug/origin', (_req, res) => {
    res.set('Cache-Control', 'no-store').json({ asked, cache: tp.cache.stats() })
  })
  app.get('/debug/spans', (_req, res) => {
    res.set('Cache-Control', 'no-store').json(spans())
  })

  const quota: RequestHandler = (req, res, next) => quotas[keys.of(req)!.plan](req, res, next)
  app.get('/api/quota', keys, quota, (req, res) => {
    res.json({ ...keys.of(req), remaining: req.rateLimit?.remaining })
  })

  const searches = trending(tp, 'searches', { halfLife: '1h', max: 100 })
  app.get('/api/search', searching, async (req, res) => {
    const { q } = req.query
    if (typeof q !== 'string') return problem(res, 400, 'q is what to look for')
    const found = products.filter(({ name }) => name.toLowerCase().includes(q.toLowerCase()))
    // What finds nothing is not shown to others. A search is worth more than its count.
    if (q !== '' && found.length > 0) await searches.hit(q.toLowerCase()).catch(() => {})
    res.json({ found })
  })
  app.get('/api/trending', async (_req, res) => {
    res.json((await searches.top(5)).map(({ id }) => id))
  })

  app.use(orders(tp, databaseMs))
  app.use(invoices(tp))
  app.use(verification(tp, mail))
  // The shop is of no use without its database. One process checks it, and all know the result.
  tp.service('database', { check: (signal) => pause(databaseMs, true, { signal }), every: '10s' })
  app.use('/health', tp.health({ cacheFor: '1s', services: ['database'] }))
  // Only from this machine. Behind a proxy, ask for a token in place of the address.
  const isLocal = (req: Request): boolean => /^(::ffff:)?127\.|^::1$/.test(req.ip ?? '')
  app.get('/metrics', tp.metrics({ authorize: isLocal }))
  app.use(
    '/ops',
    tp.dashboard({
      authorize: (req) => isLocal(req) && { can: 'operate', who: 'demo operator' },
    }),
  )

  const recent: EventMap['decision'][] = []
  tp.on('decision', (decision) => {
    recent.unshift(decision)
    recent.length = Math.min(recent.length, 8)
  })

  /** What the caller has left, without using any of it. */
  async function limitsOf(req: Request): Promise<LimitRow[]> {
    const address = tp.key.ip()(req) as string
    const look = async (title: string, limiter: Limiter, subject: string, atOnce?: number) => {
      const { policies } = await limiter.peek(subject)
      const several = policies.length > 1
      return policies.map(({ name, limit, remaining, retryAfterMs }): LimitRow => {
        return {
          title: several ? `${title}, ${name}` : title,
          most: atOnce ?? limit,
          remaining,
          retryAfterMs,
        }
      })
    }
    const rows = await Promise.all([
      look('GET /products', browsing, address),
      look('GET /api/search', searching, address),
      look('GET /api/quota, key free', quotas.free, 'ada'),
      look('GET /api/quota, key pro', quotas.pro, 'grace', BURST),
    ])
    return rows.flat()
  }
  const stateOf = async (req: Request) =>
    state({ status: tp.status(), limits: await limitsOf(req).catch(() => undefined), recent })

  app.get('/state', async (req, res) => {
    res.set('Cache-Control', 'no-store').send(await stateOf(req))
  })

  app.get('/', async (req, res) => {
    const { html, policy } = page(
      commands(`http://127.0.0.1:${req.socket.localPort}`),
      await stateOf(req),
    )
    res.set({ 'Content-Security-Policy': policy, 'Cache-Control': 'no-store' }).send(html)
  })

  const failed: ErrorRequestHandler = (error, _req, res, next) => {
    if (res.headersSent) return next(error)
    const { status = 500, expose = false, message } = error
    if (status >= 500) console.error(error)
    problem(res, status, expose ? message : 'Something went wrong')
  }
  return app.use(failed)
}

function problem(res: express.Response, status: number, title: string): void {
  res.status(status).type('application/problem+json').send(JSON.stringify({ title, status }))
}
