/** Invoices are made by jobs: the request is answered 202, and the job tells how far it is. */
import { setTimeout as pause } from 'node:timers/promises'
import express, { Router } from 'express'
import type { ExpressTurnpike } from 'turnpike/express'
import { jobs } from 'turnpike/jobs'

export function invoices(tp: ExpressTurnpike): Router {
  const queue = jobs(tp, { path: '/invoices' })
  queue.define(
    'invoice.make',
    { timeout: '10s' },
    async ({ order }, { progress, signal, step }) => {
      await step('collect', () => pause(50, undefined, { signal }))
      await progress(50)
      await step('print', () => pause(50, undefined, { signal }))
      return { invoice: `invoice-${order}.pdf` }
    },
  )
  // A demo is one process. In production, workers are processes of their own.
  queue.work({ concurrency: 2, sigterm: false }).catch(console.error)

  const once = tp.idempotency({ scope: (req) => req.ip })
  const router = Router()
  router.post(
    '/invoices',
    express.json(),
    once,
    queue.accept('invoice.make', (req) => ({ order: String(req.body?.order).slice(0, 20) })),
  )
  // The ID is hard to guess, and an invoice of this shop is no secret. Yours is: compare its customer.
  const authorize = (_req: unknown, { type }: { type: string }) =>
    type === 'read' || type === 'stream'
  return router.use('/invoices', queue.router({ authorize }))
}
