/** The tasks, declared alike in the process that adds jobs and in those that run them. */
import { jobs, type PayloadSchema } from 'turnpike/jobs'
import type { Turnpike } from 'turnpike/node'

export interface Order {
  user: string
  item: string
}

export interface Services {
  /** Charges an order. The ID is the same in each attempt: the provider can recognise it. */
  charge: (order: Order, id: string) => Promise<void>
  /** Publishes a campaign. */
  publish: (campaign: { id: string; text: string }) => Promise<void>
}

/** A schema by hand. With zod: z.object({ user: z.string(), item: z.string() }). */
const order: PayloadSchema<Order> = {
  '~standard': {
    version: 1,
    vendor: 'example',
    validate(value) {
      const { user, item } = value as Partial<Order>
      if (typeof user === 'string' && typeof item === 'string') return { value: { user, item } }
      return { issues: [{ message: 'Required', path: ['item'] }] }
    },
  },
}

export function createQueue<Native, Middleware>(
  tp: Turnpike<Native, Middleware, any>,
  { charge, publish }: Services,
) {
  const queue = jobs(tp)
  queue.define('order.place', { schema: order, timeout: '30s' }, async (placed, job) => {
    // Done once, also if the worker dies after it and another one goes on.
    await job.step('charge', () => charge(placed, job.id))
    await job.progress(50)
    await job.step('pack', () => {})
    await job.progress(90)
    return { shipped: placed.item }
  })
  queue.define('campaign.publish', { retries: 3 }, publish)
  return queue
}
