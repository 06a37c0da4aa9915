/** Locks without HTTP. */
import { StoreUnavailable } from '../../errors.ts'
import type { ExtensionContext } from '../../extension.ts'
import { LeaseEngine, type HeldLease, type LeaseGrant, type LeaseRequest } from '../lease-engine.ts'
import { processOf } from '../lease-owner.ts'
import { QUEUE_PLACE_TTL, type AcquireRefused } from '../waiters.ts'
import {
  acquireLock,
  coolDownLock,
  readHolder,
  releaseLock,
  renewLock,
  revokeLock,
  waitForReplicas,
} from './operations.ts'
import type { LockHolder } from './options.ts'

/** How a lock is asked for. */
export interface LockRequest extends LeaseRequest {
  /** Replicas that must have the lock before it counts. */
  waitReplicas?: number
}

/** Time that replicas may take, in ms. WAIT holds up everything behind it on the connection. */
const REPLICATION = 50

export class LockEngine extends LeaseEngine<LockRequest> {
  protected readonly noun = 'lock'

  /** @param space first part of the keys: locks of two spaces are different locks */
  constructor(context: ExtensionContext, space: string) {
    super(context, 'lock', space)
  }

  /** Releases a lock, and lets no owner acquire it for `ms`. Resolves with true if it was still held. */
  cooldown(held: HeldLease, tag: string, ms: number): Promise<boolean> {
    const { store } = this.context
    return held.endWith(() => store.run(coolDownLock, [this.key(tag)], [held.owner, ms]))
  }

  /** Resolves with the holder of a lock, in any process. @throws TP_UNAVAILABLE */
  async holder(tag: string): Promise<LockHolder | undefined> {
    const reply = await this.context.store.run(readHolder, [this.key(tag)], [])
    if (reply.length === 0) return undefined
    const [owner, token, since, until] = reply
    return { ...processOf(owner), token, since: new Date(since), expires: new Date(until) }
  }

  /**
   * Releases a lock in its holder's place.
   * @param token of the holder; undefined releases it for any holder
   * @returns true if it was held
   * @throws TP_UNAVAILABLE
   */
  async revoke(tag: string, token: number | undefined): Promise<boolean> {
    const keys = [this.key(tag), ...this.#queueKeys(tag)]
    const args = [token ?? '', this.channel(tag)]
    return (await this.context.store.run(revokeLock, keys, args)) === 1
  }

  protected async grant(
    tag: string,
    owner: string,
    request: LockRequest,
  ): Promise<LeaseGrant | AcquireRefused> {
    const { store } = this.context
    const { lease, fair, waitReplicas = 0, budget } = request
    const since = store.monotonic()
    const keys = [this.key(tag), this.key(tag, 'token'), ...this.#queueKeys(tag)]
    const args = [owner, lease, fair ? QUEUE_PLACE_TTL : 0]
    const [granted, value, heldMs] = await store.run(acquireLock, keys, args, budget)
    if (granted === 0) return { waitMs: value, heldMs }
    if (waitReplicas > 0) await this.#replicated(waitReplicas, budget)
    return { token: value, since, more: false }
  }

  protected renew(tag: string, owner: string, lease: number): Promise<number> {
    return this.context.store.run(renewLock, [this.key(tag)], [owner, lease])
  }

  protected release(tag: string, owner: string): Promise<number> {
    const keys = [this.key(tag), ...this.#queueKeys(tag)]
    return this.context.store.run(releaseLock, keys, [owner, this.channel(tag)])
  }

  /** @throws TP_UNAVAILABLE if a failover now could lose the lock */
  async #replicated(count: number, budget: LockRequest['budget']): Promise<void> {
    const { store } = this.context
    const have = await store.run(waitForReplicas, [], [count, REPLICATION], budget)
    if (have >= count) return
    const cause = new Error(`${have} of ${count} replicas have the lock.`)
    throw new StoreUnavailable('error', true, cause)
  }

  #queueKeys(tag: string): [queue: string, alive: string] {
    return [this.key(tag, 'queue'), this.key(tag, 'alive')]
  }
}
