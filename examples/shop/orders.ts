/** Orders that may be repeated, and a rebuild that runs alone. */
// oxlint-disable oxc/no-async-endpoint-handlers -- Express 5 hands their errors on
import { setTimeout as pause } from 'node:timers/promises'
import express, { Router } from 'express'
import type { ExpressTurnpike } from 'turnpike/express'

/** A bank that takes the same key twice for one charge, as real ones do. */
function openBank() {
  const charges = new Map<string, string>()
  return {
    charge(key: string): string {
      const charge = charges.get(key) ?? `charge-${charges.size + 1}`
      charges.set(key, charge)
      return charge
    },
  }
}

export function orders(tp: ExpressTurnpike, databaseMs: number): Router {
  const router = Router()
  const bank = openBank()

  const once = tp.idempotency({
    required: true,
    scope: (req) => req.get('x-api-key') ?? `${req.ip}`,
  })
  router.post('/orders', once, express.json(), async (req, res) => {
    const { item } = (req.body ?? {}) as Record<string, unknown>
    const charge = await req.idempotency?.step('charge', ({ key }) => bank.charge(key))
    await pause(databaseMs)
    res.status(201).json({ item, charge })
  })

  const alone = tp.exclusive({ key: 'inventory', lease: '10s' })
  router.post('/inventory/rebuild', alone, async (req, res) => {
    await pause(databaseMs)
    req.lock?.throwIfLost()
    res.json({ rebuilt: true })
  })
  return router
}
