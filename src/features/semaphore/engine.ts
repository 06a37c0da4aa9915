/** Semaphores without HTTP. */
import type { ExtensionContext } from '../../extension.ts'
import { LeaseEngine, type LeaseGrant, type LeaseRequest } from '../lease-engine.ts'
import { QUEUE_PLACE_TTL, type AcquireRefused } from '../waiters.ts'
import { processOf } from '../lease-owner.ts'
import {
  acquirePermit,
  countPermits,
  readHolders,
  releasePermit,
  renewPermit,
} from './operations.ts'
import type { PermitHolder } from './options.ts'

/** How a permit is asked for. */
export interface PermitRequest extends LeaseRequest {
  /** Returns the number of permits. Called for each attempt: it may change during a wait. */
  limit(): number | Promise<number>
}

/** Holders that one reply contains at most. */
const MAX_HOLDERS = 1000

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

  /** Resolves with the holders of permits, over all processes. @throws TP_UNAVAILABLE */
  async holders(tag: string): Promise<PermitHolder[]> {
    const keys = [this.key(tag), this.key(tag, 'since')]
    const reply = await this.context.store.run(readHolders, keys, [MAX_HOLDERS])
    const holders: PermitHolder[] = []
    for (let i = 0; i + 2 < reply.length; i += 3) {
      const [owner, since, until] = reply.slice(i, i + 3) as [string, number, number]
      holders.push({ ...processOf(owner), since: new Date(since), expires: new Date(until) })
    }
    return holders
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
    return granted === 0
      ? { waitMs: value, permits: limit }
      : { token: 0, since, more: value < limit }
  }

  protected renew(tag: string, owner: string, lease: number): Promise<number> {
    return this.context.store.run(
      renewPermit,
      [this.key(tag), this.key(tag, 'since')],
      [owner, lease],
    )
  }

  protected release(tag: string, owner: string): Promise<number> {
    return this.context.store.run(releasePermit, this.#keys(tag), [owner, this.channel(tag)])
  }

  #keys(tag: string): [permits: string, since: string, queue: string, alive: string] {
    const of = (part: string): string => this.key(tag, part)
    return [this.key(tag), of('since'), of('queue'), of('alive')]
  }
}
