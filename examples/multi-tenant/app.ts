/** One application for several tenants, each with budgets of its own. */
import express, { type Request, type RequestHandler } from 'express'
import { turnpike, type TurnpikeOptions } from 'turnpike/express'

const tenants = new Set(['acme', 'globex'])

/** acme.example.com is acme's. */
const tenantOf = (req: Request): string => req.hostname.split('.', 1)[0]!

export function createApp(options: TurnpikeOptions<Request> = {}) {
  const tp = turnpike({ ...options, tenant: tenantOf })
  const app = express()

  // Check the tenant first. A client that invents tenants would get a new limit with each.
  const known: RequestHandler = (req, res, next) => {
    if (tenants.has(tenantOf(req))) next()
    else res.status(404).json({ message: 'There is no such tenant' })
  }
  app.use(known)

  app.use(
    tp.rateLimit({
      name: 'requests',
      policies: [
        { name: 'visitor', limit: 2, window: '1m' },
        { name: 'tenant', limit: 3, window: '1m', key: () => 'everybody' },
      ],
    }),
  )
  app.get('/', (req, res) => {
    res.json({ tenant: tenantOf(req), left: req.rateLimit?.remaining })
  })

  /** A tenant buys more; nothing changes for the others. */
  const grant = async (tenant: string, perMinute: number): Promise<void> => {
    await tp.forTenant(tenant).overrides.set('everybody', { tenant: perMinute })
  }
  return { app, tp, grant }
}
