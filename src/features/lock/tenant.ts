/** The locks of one tenant. */
import type { Locking } from './index.ts'
import type { LockOptions } from './options.ts'

/** What of locks is there outside a request. */
export type TenantLocks = Pick<Locking<never, never>, 'lock' | 'once'>

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
