/**
 * A shop that answers orders with 202 and works on them later, with progress on the page, campaigns
 * that a person approves and that are published at their time, and a page for operators.
 */
// oxlint-disable oxc/no-async-endpoint-handlers -- Express 5 hands their errors on
import express, { type Request, type RequestHandler } from 'express'
import { turnpike, type TurnpikeOptions } from 'turnpike/express'
import type { JobState } from 'turnpike/jobs'
import { boardOf } from './board.ts'
import { createQueue, type Services } from './queue.ts'

export interface AppOptions extends TurnpikeOptions<Request>, Partial<Services> {}

interface Campaign {
  text: string
  status: 'waiting for approval' | 'approved' | 'rejected'
  /** Who decides on it now. */
  claim?: { user: string; until: number }
}

const isClaimed = (claim: Campaign['claim']) => claim !== undefined && claim.until > Date.now()

/** What users read for the state of a publishing job. */
const STATUSES: Record<JobState, string> = {
  delayed: 'scheduled',
  waiting: 'publishing',
  active: 'publishing',
  'waiting-children': 'publishing',
  completed: 'published',
  failed: 'failed',
}

export function createApp({ charge, publish, ...options }: AppOptions = {}) {
  const tp = turnpike(options)
  const campaigns = new Map<string, Campaign>() // your database
  const queue = createQueue(tp, {
    charge: charge ?? (async () => {}),
    publish: publish ?? (async () => {}),
  })
  const app = express().use(express.json())
  const userOf = (req: Request) => req.get('x-user') ?? 'guest' // your login
  const isOperator = (req: Request) => userOf(req).startsWith('operator')
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
  app.get('/campaigns/:id', async (req, res) => {
    const campaign = campaigns.get(req.params.id)
    if (!campaign) res.status(404).end()
    else res.json({ text: campaign.text, ...(await statusOf(req.params.id, campaign)) })
  })
  // Two operators who ask at once get different campaigns. One who goes home blocks none for long.
  app.post('/approvals/claim', operators, (req, res) => {
    const user = userOf(req)
    const next = [...campaigns].find(
      ([, { status, claim }]) =>
        status === 'waiting for approval' && (claim?.user === user || !isClaimed(claim)),
    )
    if (next === undefined) {
      res.status(204).end()
      return
    }
    const [id, campaign] = next
    campaign.claim = { user, until: Date.now() + 600_000 }
    res.json({ id, text: campaign.text })
  })
  app.post('/campaigns/:id/:decision', operators, async (req, res) => {
    const { id, decision } = req.params as { id: string; decision: string }
    const campaign = campaigns.get(id)
    const isOthers = isClaimed(campaign?.claim) && campaign?.claim?.user !== userOf(req)
    if (campaign?.status !== 'waiting for approval' || isOthers) res.status(409).end()
    else if (decision === 'reject') {
      campaign.status = 'rejected'
      res.status(204).end()
    } else {
      const at = new Date(String(req.body?.at))
      // Approved twice, by two operators at once, it is published once.
      const job = await queue.add('campaign.publish', { id, text: campaign.text }, { at, id })
      campaign.status = 'approved'
      res.status(202).json(job)
    }
  })

  /** The job knows what became of it, also if it runs in a worker process. */
  async function statusOf(id: string, { status }: Campaign) {
    if (status !== 'approved') return { status }
    const job = await queue.get(id)
    // Dead letters are kept for longer: a job that is gone has completed.
    if (job === undefined) return { status: 'published' }
    const isRetried = job.state === 'delayed' && job.attempts > 0
    return { status: isRetried ? 'retrying' : STATUSES[job.state], attempts: job.attempts }
  }

  // What could not be published or charged, for operators.
  app.get('/failed', operators, async (_req, res) => {
    const dead = await queue.failed.list()
    res.json(dead.map(({ id, task, reason }) => ({ id, task, reason })))
  })
  app.post('/failed/:id/retry', operators, async (req, res) => {
    res.status((await queue.failed.retry(String(req.params['id']))) ? 202 : 404).end()
  })
  if (options.redis && options.redis !== 'memory')
    app.use('/board', operators, boardOf(queue, '/board'))
  app.use('/health', tp.health({ checks: { orders: () => queue.health() }, cacheFor: '1s' }))
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
