import type { InvalidationLog } from './invalidation-log.ts'

/** Logs of tenants that are kept. Those that nothing depends on make room first. */
const MAX_LOGS = 1_000

/** The invalidation logs of an instance: one, or one for each tenant. */
export class InvalidationLogs {
  readonly #create: (tenant: string | undefined, retries: boolean) => InvalidationLog
  readonly #tenants = new Map<string, InvalidationLog>()
  #instance: InvalidationLog | undefined

  constructor(create: (tenant: string | undefined, retries: boolean) => InvalidationLog) {
    this.#create = create
  }

  get size(): number {
    return this.#tenants.size
  }

  of(tenant: string | undefined): InvalidationLog {
    if (tenant === undefined) return (this.#instance ??= this.#create(undefined, true))
    const known = this.#tenants.get(tenant)
    if (known) {
      this.#tenants.delete(tenant)
      this.#tenants.set(tenant, known)
      return known
    }
    if (this.#tenants.size >= MAX_LOGS) this.#evict()
    // While Redis is away, each log may hold what Redis does not know of. Their number is bounded, too.
    const isKept = this.#tenants.size < 2 * MAX_LOGS
    const log = this.#create(tenant, isKept)
    if (isKept) this.#tenants.set(tenant, log)
    return log
  }

  #evict(): void {
    for (const [tenant, log] of this.#tenants) {
      if (log.isInUse) continue
      this.#tenants.delete(tenant)
      return
    }
  }
}
