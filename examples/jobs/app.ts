/**
 * A shop that answers orders with 202 and works on them later, with progress on the page, campaigns
 * that a person approves and that are published at their time, and a page for operators.
 */
// oxlint-disable oxc/no-async-endpoint-handlers -- Express 5 hands their errors on
import express, { type Request, type RequestHandler } from 'express'
import { turnpike, type TurnpikeOptions } from 'turnpike/express'
import { createQueue, type Services } from './queue.ts'

export interface AppOptions extends TurnpikeOptions<Request>, Partial<Services> {}

interface Campaign {
  text: string
  status: 'waiting for approval' | 'scheduled' | 'published' | 'rejected'
  job?: string
}

export function createApp({ charge, publish, ...options }: AppOptions = {}) {
  const tp = turnpike(options)
  const campaigns = new Map<string, Campaign>() // your database
  const queue = createQueue(tp, {
    charge: charge ?? (async () => {}),
    publish: async (campaign) => {
      await publish?.(campaign)
      campaigns.get(campaign.id)!.status = 'published'
    },
  })
  const app = express().use(express.json())
  const userOf = (req: Request) => req.get('x-user') ?? 'guest' // your login
  const isOperator = (req: Request) => userOf(req) === 'operator'
  const operators: RequestHandler = (req, res, next) => {
    if (isOperator(req)) next()
    else res.status(403).end()
  }

  // Repeated with the same key, an order is one job.
  app.post(
    '/orders',
    tp.idempotency({ scope: userOf }),
    queue.accept('order.place', (req) => ({ user: userOf(req), item: req.body?.item })),
  )
  // Customers see their own orders, operators everything.
  app.use(
    '/jobs',
    queue.router({
      authorize(req, { job }) {
        const { user } = (job?.payload ?? {}) as { user?: string }
        return isOperator(req) || user === userOf(req)
      },
    }),
  )

  // The approval queue: a campaign waits for a person, and then for its time.
  app.post('/campaigns', (req, res) => {
    const id = `c${campaigns.size + 1}`
    campaigns.set(id, { text: String(req.body?.text), status: 'waiting for approval' })
    res.status(201).json({ id })
  })
  app.get('/campaigns/:id', (req, res) => {
    const campaign = campaigns.get(req.params.id)
    res.status(campaign ? 200 : 404).json(campaign ?? {})
  })
  app.post('/campaigns/:id/:decision', operators, async (req, res) => {
    const { id, decision } = req.params as { id: string; decision: string }
    const campaign = campaigns.get(id)
    if (campaign?.status !== 'waiting for approval') res.status(409).end()
    else if (decision === 'reject') {
      campaign.status = 'rejected'
      res.status(204).end()
    } else {
      const at = new Date(String(req.body?.at))
      // Approved twice, by two operators at once, it is published once.
      const job = await queue.add('campaign.publish', { id, text: campaign.text }, { at, id })
      Object.assign(campaign, { status: 'scheduled', job: job.id })
      res.status(202).json(job)
    }
  })

  // What could not be published or charged, for operators.
  app.get('/failed', operators, async (_req, res) => {
    const dead = await queue.failed.list()
    res.json(dead.map(({ id, task, reason }) => ({ id, task, reason })))
  })
  app.post('/failed/:id/retry', operators, async (req, res) => {
    res.status((await queue.failed.retry(String(req.params['id']))) ? 202 : 404).end()
  })
  app.get('/health/queue', async (_req, res) => {
    const health = await queue.health()
    res.status(health.status === 'ok' ? 200 : 503).json(health)
  })
  app.get('/', (_req, res) => void res.type('html').send(PAGE))
  return { app, tp, queue }
}

const PAGE = `<!doctype html>
<title>Orders</title>
<button>Order tea</button> <progress max="100" value="0"></progress> <output></output>
<script>
  document.querySelector('button').onclick = async () => {
    const headers = { 'content-type': 'application/json', 'idempotency-key': crypto.randomUUID() }
    const body = JSON.stringify({ item: 'tea' })
    const { location } = await (await fetch('/orders', { method: 'POST', headers, body })).json()
    const source = new EventSource(location + '/stream')
    const show = ({ data }) => {
      const job = JSON.parse(data)
      document.querySelector('progress').value = job.state === 'completed' ? 100 : job.progress
      document.querySelector('output').value = job.state
    }
    source.addEventListener('job', show)
    source.addEventListener('end', (event) => (show(event), source.close()))
  }
</script>
`
