/** Transform Army: what its Redis document describes, section by section, as an Express application with tenants. */
// oxlint-disable oxc/no-async-endpoint-handlers -- Express 5 hands their errors on
import express, { type Request, type RequestHandler } from 'express'
import { turnpike, type TurnpikeOptions } from 'turnpike/express'
import { sse } from 'turnpike/realtime'
import { createQueue, type Services } from './queue.ts'

export interface AppOptions extends TurnpikeOptions<Request> {
  services?: Services
}

interface Workflow {
  name: string
  steps: string[]
}

const tenantOf = (req: Request): string => req.get('x-tenant') ?? 'public' // your login

export function createApp({ services = {}, ...options }: AppOptions = {}) {
  // Every key of every feature belongs to the tenant of the request.
  const tp = turnpike({ prefix: 'army', tenant: tenantOf, ...options })
  const app = express().use(express.json())
  const table = new Map<string, Workflow>() // your database
  const reads = { workflows: 0 }

  // Monitoring: health for probes, kept for 30 s, and the numbers for those who may see them.
  app.use(
    '/health',
    tp.health({ cacheFor: '30s', details: (req) => tenantOf(req) === 'operators' }),
  )
  const operators: RequestHandler = (req, res, next) => {
    if (tenantOf(req) === 'operators') next()
    else res.status(404).end()
  }
  app.use('/metrics', operators, tp.metrics())

  app.use(tp.rateLimit({ limit: 100, window: '1m', key: (req) => req.ip }))

  // Caching: one namespace for each type, with its time to live.
  const definitions = tp.data.namespace('workflow_def', { ttl: '2h' })
  const tenants = tp.data.namespace('tenant_config', { ttl: '30m' })
  const providers = tp.data.namespace('provider_config', { ttl: '30m' })
  // The decorator: the results of a function, by its arguments. One load at a time in all processes,
  // and for five minutes the old value meanwhile, so that there is no stampede.
  const getWorkflow = definitions.wrap(
    (tenant: string, id: string) => {
      reads.workflows++
      return table.get(`${tenant} ${id}`)
    },
    {
      name: 'workflow',
      staleWhileRevalidate: '5m',
      tenant: (tenant) => tenant,
      tags: (_found, _tenant, id) => [`workflow:${id}`],
    },
  )
  app.get('/workflows/:id', async (req, res) => {
    const found = await getWorkflow(tenantOf(req), req.params.id)
    res.status(found ? 200 : 404).json(found ?? {})
  })
  app.put('/workflows/:id', async (req, res) => {
    const { id } = req.params
    table.set(`${tenantOf(req)} ${id}`, req.body)
    // Event-based: what the write concerns.
    await tp.data.invalidate({ tags: [`workflow:${id}`], tenant: tenantOf(req) })
    res.status(204).end()
  })
  app.delete('/cache/:pattern', async (req, res) => {
    const removed = await definitions.invalidatePattern(req.params.pattern, {
      tenant: tenantOf(req),
    })
    res.json({ removed })
  })
  app.get('/config', async (req, res) => {
    const tenant = tenantOf(req)
    res.json({
      tenant: await tenants.getOrFetch('own', () => ({ plan: 'pro' }), { tenant }),
      provider: await providers.getOrFetch('crm', () => ({ name: 'crm' }), { tenant }),
    })
  })
  app.get('/contacts', tp.cache({ ttl: '5m', public: true }), (_req, res) => {
    res.json(['ann', 'bob'])
  })

  // Jobs: added here, run by workers.
  const { queue, live } = createQueue(tp, services)
  const accept = (priority: 'high' | 'normal' | 'low', task: string) =>
    queue.accept(
      task,
      (req) => ({
        ...req.body,
        ...(req.params['id'] && { id: req.params['id'] }),
        tenant: tenantOf(req),
      }),
      { priority },
    )
  app.post(
    '/workflows/:id/execute',
    tp.idempotency({ scope: tenantOf }),
    accept('high', 'workflow.execute'),
  )
  app.post('/mails', accept('normal', 'email.send'))
  app.post('/warm', accept('low', 'cache.warm'))
  app.post('/cleanup', async (req, res) => {
    const options = { in: '1h', priority: 'low', tenant: tenantOf(req) } as const
    res.status(202).json(await queue.add('data.cleanup', { type: 'old_logs' }, options))
  })
  app.use('/jobs', queue.router({ authorize: (req) => tenantOf(req) !== 'public' }))
  app.get('/queue', operators, async (_req, res) => void res.json(await queue.counts()))
  app.get('/dead-letters', operators, async (_req, res) => {
    res.json((await queue.failed.list()).map(({ id, task, reason }) => ({ id, task, reason })))
  })

  // Events: a stream for each workflow. No client gets the events of another one to filter out.
  app.get('/workflows/:id/stream', sse(live, { topics: (req) => [`workflow:${req.params['id']}`] }))
  return { app, tp, queue, live, reads }
}
