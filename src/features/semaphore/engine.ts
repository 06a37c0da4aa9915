/** Semaphores without HTTP. */
import type { ExtensionContext } from '../../extension.ts'
import { LeaseEngine, type LeaseGrant, type LeaseRequest } from '../lease-engine.ts'
import { QUEUE_PLACE_TTL, type AcquireRefused } from '../waiters.ts'
import { acquirePermit, countPermits, releasePermit, renewPermit } from './operations.ts'

/** How a permit is asked for. */
export interface PermitRequest extends LeaseRequest {
  /** Returns the number of permits. Called for each attempt: it may change during a wait. */
  limit(): number | Promise<number>
}

export class SemaphoreEngine extends LeaseEngine<PermitRequest> {
  protected readonly noun = 'permit'

  /** @param space first part of the keys: semaphores of two spaces are different semaphores */
  constructor(context: ExtensionContext, space: string) {
    super(context, 'semaphore', space)
  }

  /** Resolves with the number of permits that are held, over all processes. @throws TP_UNAVAILABLE */
  count(tag: string): Promise<number> {
    return this.context.store.run(countPermits, [this.key(tag)], [])
  }

  protected async grant(
    tag: string,
    owner: string,
    request: PermitRequest,
  ): Promise<LeaseGrant | AcquireRefused> {
    const { store } = this.context
    const { lease, fair, budget } = request
    const limit = await request.limit()
    const since = store.monotonic()
    const args = [owner, limit, lease, fair ? QUEUE_PLACE_TTL : 0]
    const [granted, value] = await store.run(acquirePermit, this.#keys(tag), args, budget)
    return granted === 0 ? { waitMs: value } : { token: 0, since, more: value < limit }
  }

  protected renew(tag: string, owner: string, lease: number): Promise<number> {
    return this.context.store.run(renewPermit, [this.key(tag)], [owner, lease])
  }

  protected release(tag: string, owner: string): Promise<number> {
    return this.context.store.run(releasePermit, this.#keys(tag), [owner, this.channel(tag)])
  }

  #keys(tag: string): [permits: string, queue: string, alive: string] {
    return [this.key(tag), this.key(tag, 'queue'), this.key(tag, 'alive')]
  }
}
