/** Verifies e-mail addresses by a code that is right once. */
// oxlint-disable oxc/no-async-endpoint-handlers -- Express 5 hands their errors on
import express, { Router, type Request } from 'express'
import type { ExpressTurnpike } from 'turnpike/express'
import { oneTimeTokens } from 'turnpike/tokens'

/** `Ada@example.com` and `ada@example.com` are one subject, not twice the attempts. */
const emailOf = (req: Request) => String(req.body?.email).trim().toLowerCase()

/** @param mail sends a mail. The demo prints it. */
export function verification(
  tp: ExpressTurnpike,
  mail: (to: string, text: string) => void,
): Router {
  const router = Router()
  const codes = oneTimeTokens(tp, {
    purpose: 'verify-email',
    format: 'digits:6',
    pepper: process.env['TOKEN_PEPPER'] ?? 'only for a demo, 32 characters or more',
    // Short, so that a demo goes on: the default is a minute.
    cooldown: '10s',
  })

  router.post('/verify/send', express.json(), async (req, res) => {
    const email = emailOf(req)
    const issued = await codes.issue(email, { address: req.ip })
    if (issued.sent) mail(email, `Your code is ${issued.code}`)
    else res.set('Retry-After', String(Math.ceil(issued.retryAfterMs / 1000)))
    res.status(issued.sent ? 202 : 429).json({ sent: issued.sent })
  })

  const guard = codes.guard({ subject: emailOf, code: (req) => req.body?.code })
  router.post('/verify', express.json(), guard, (req, res) => {
    res.json({ verified: codes.of(req)?.subject })
  })
  return router
}
