/** Semaphores: `tp.semaphore()`, `tp.concurrency()`. */
import type { ExtensionContext } from '../../extension.ts'
import { RequestHoldings } from '../request-holdings.ts'
import { createConcurrency } from './concurrency.ts'
import { SemaphoreEngine } from './engine.ts'
import type { ConcurrencyOptions, SemaphoreScope } from './options.ts'
import { createSemaphore } from './semaphore.ts'

/** The semaphores of an instance. */
export interface Semaphores<Native, Middleware> extends SemaphoreScope {
  /**
   * Returns a middleware that admits at most `limit` requests at a time. Other requests wait, or are
   * refused with Retry-After: 503, or 429 with a `key`.
   *
   * @throws TP_OPTION for an option that cannot be used
   * @example
   * app.get('/export', tp.concurrency({ limit: 10, wait: '2s' }), exportAll)
   */
  concurrency(options: ConcurrencyOptions<Native>): Middleware
}

/** Creates the semaphores of an instance. */
export function createSemaphores<Native, Middleware>(
  context: ExtensionContext<Native, Middleware>,
): { api: Semaphores<Native, Middleware>; forTenant(tenant: string): SemaphoreScope } {
  /** Created at first use: that opens the store. */
  const engine = (space: 'semaphore' | 'concurrency'): SemaphoreEngine =>
    context.once(space, () => {
      const engine = new SemaphoreEngine(context, space)
      context.onClose((signal) => engine.close(signal))
      return engine
    })
  const holdings = new RequestHoldings('permits')
  const scopeOf = (own: ExtensionContext): SemaphoreScope => ({
    semaphore: (name, options) => createSemaphore(own, engine('semaphore'), name, options),
  })
  return {
    api: {
      ...scopeOf(context),
      concurrency: (options) =>
        context.mount(createConcurrency(context, engine('concurrency'), holdings, options)),
    },
    forTenant: (tenant) => scopeOf(context.forTenant(tenant)),
  }
}
