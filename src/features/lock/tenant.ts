/** The locks of one tenant. */
import type { Duration } from '../../duration.ts'
import type { LockOptions, LockFunction, OnceResult, OnceOptions } from './options.ts'

/** What of locks is there outside a request. */
export interface TenantLocks {
  /** One holder at a time, over all processes: `tp.lock(name, options, work)` and `tp.lock.acquire(name, options)`. */
  readonly lock: LockFunction
  /**
   * Do some work unless it was done within the last `ttl`, by whichever process; who comes meanwhile is
   * answered `{ ran: false }` at once. Work that fails, or whose process dies, may be done again.
   * @throws TP_UNAVAILABLE when Redis cannot answer: the work is not begun
   * @throws TP_LOCK_LOST when the lease was lost before the work was done
   */
  once<Result>(
    key: string,
    ttl: Duration,
    work: (signal: AbortSignal) => Promise<Result> | Result,
    options?: OnceOptions,
  ): Promise<OnceResult<Result>>
}

/** `lock` and `once` of an instance, with each name meant as the tenant's own. */
export function locksOf({ lock, once }: TenantLocks, tenant: string): TenantLocks {
  const acquire: TenantLocks['lock']['acquire'] = (names, options?: LockOptions) =>
    lock.acquire(names, { ...options, tenant })
  const within = ((names, options, work) =>
    lock(names, { ...options, tenant }, work)) as TenantLocks['lock']
  return {
    lock: Object.assign(within, { acquire }),
    once: (key, ttl, work, options) => once(key, ttl, work, { ...options, tenant }),
  }
}
