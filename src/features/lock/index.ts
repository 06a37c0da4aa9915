/** Locks: `tp.lock()`, `tp.once()`, `tp.exclusive()`. */
import type { ExtensionContext } from '../../extension.ts'
import { RequestHoldings } from '../request-holdings.ts'
import { LockEngine } from './engine.ts'
import { createExclusive } from './exclusive.ts'
import { createLockScope, type LockEngines } from './locks.ts'
import type { ExclusiveOptions, LockScope } from './options.ts'

/** The locks of an instance. */
export interface Locking<Native, Middleware> extends LockScope {
  /**
   * Returns a middleware that lets one request at a time use a resource. Other requests wait, or are
   * refused: 423 with Retry-After. The handler finds the lock in `req.lock` (Koa: `ctx.state.lock`).
   *
   * @throws TP_OPTION for an option that cannot be used
   * @example
   * app.post('/carts/:id/checkout', tp.exclusive({ key: (req) => ['cart', String(req.params.id)] }), checkout)
   */
  exclusive(options: ExclusiveOptions<Native>): Middleware
}

/** Creates the locks of an instance. */
export function createLocking<Native, Middleware>(
  context: ExtensionContext<Native, Middleware>,
): { api: Locking<Native, Middleware>; forTenant(tenant: string): LockScope } {
  const engines = (): LockEngines =>
    context.once('locks', () => {
      const locks = new LockEngine(context, 'lock')
      const runs = new LockEngine(context, 'once')
      context.onClose(
        async (signal) => void (await Promise.all([locks.close(signal), runs.close(signal)])),
      )
      return { locks, runs }
    })
  const holdings = new RequestHoldings('locks')
  return {
    api: {
      ...createLockScope(context, engines),
      exclusive: (options) =>
        context.mount(createExclusive(context, engines().locks, holdings, options)),
    },
    forTenant: (tenant) => createLockScope(context.forTenant(tenant), engines),
  }
}
