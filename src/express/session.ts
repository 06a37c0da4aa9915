/**
 * Types of `req.session` for Express. An application that uses `tp.session()` imports them once:
 *
 *     import 'turnpike/express/session'
 *
 * An application that has the types of express-session installed needs no import: they describe
 * `req.session` already, and win if both are there.
 */
import type { SessionProperties } from '../features/session/types.ts'

declare global {
  namespace Express {
    interface Request extends SessionProperties {}
  }
}

export type { SessionProperties, RequestSessionData } from '../features/session/types.ts'
