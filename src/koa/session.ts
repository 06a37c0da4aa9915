/**
 * Types of `ctx.session` for Koa. An application that uses `tp.session()` imports them once:
 *
 *     import 'turnpike/koa/session'
 */
import type { KoaSessionProperties } from '../features/session/types.ts'

declare module 'koa' {
  interface DefaultContext extends KoaSessionProperties {}
}

export type { KoaSessionProperties, KoaSessionData } from '../features/session/types.ts'
