import type { Request } from 'express'
// Types of req.session.
import 'turnpike/express/session'

declare global {
  interface TurnpikeSessionData {
    userId: string
    organisation: string
    device: string
  }
}

/** The user of a request behind `tp.session.require()`. */
export const userOf = (req: Request): string => String(req.session.userId)
