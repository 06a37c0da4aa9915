import type { Store } from '../../store/store.ts'
import type { Charge } from './charge.ts'
import type { PolicyState } from './decision.ts'
import type { LimitDecision } from './limit-decision.ts'

interface Refusal {
  readonly until: number
  readonly cost: number
  readonly charges: readonly Charge[]
  readonly madeAt: number
  readonly policies: readonly PolicyState[]
  /** The subjects that it is about. */
  readonly tags: readonly string[]
}

/** Refusals that are certain to be repeated. A flood of such requests does not reach Redis. */
export class DenyCache {
  readonly #maxKeys: number
  readonly #refusals = new Map<string, Refusal>()
  /** The refusals of each subject, so that to forget one needs no search. */
  readonly #idsByTag = new Map<string, Set<string>>()

  constructor(maxKeys: number) {
    this.#maxKeys = maxKeys
  }

  /** Number of refusals it holds. */
  get size(): number {
    return this.#refusals.size
  }

  /** Returns the policies of a refusal that still holds for these charges, with their times as of `now`. */
  find(charges: readonly Charge[], now: number): PolicyState[] | undefined {
    const id = idOf(charges)
    const refusal = this.#refusals.get(id)
    if (!refusal) return undefined
    if (refusal.until <= now) {
      this.#remove(id, refusal)
      return undefined
    }
    if (lowestCostOf(charges) < refusal.cost) return undefined
    if (!areAlike(charges, refusal.charges)) return undefined
    const age = Math.max(0, now - refusal.madeAt)
    return refusal.policies.map((policy) => ({
      ...policy,
      resetMs: Math.max(0, policy.resetMs - age),
      retryAfterMs:
        policy.retryAfterMs > 0 ? Math.max(1, policy.retryAfterMs - age) : policy.retryAfterMs,
    }))
  }

  remember(
    charges: readonly Charge[],
    { source, policies, retryAfterMs }: LimitDecision,
    now: number,
  ): void {
    const cost = lowestCostOf(charges)
    if (source !== 'store' || !retryAfterMs || cost === 0) return
    const id = idOf(charges)
    const earlier = this.#refusals.get(id)
    if (earlier) this.#remove(id, earlier)
    // To forget all at once is cheap, and costs no more than to ask Redis again.
    if (this.#refusals.size >= this.#maxKeys) {
      this.#refusals.clear()
      this.#idsByTag.clear()
    }
    const tags = [...new Set(charges.map(({ tag }) => tag))]
    const until = now + retryAfterMs
    this.#refusals.set(id, { until, cost, charges, madeAt: now, policies, tags })
    for (const tag of tags) {
      const ids = this.#idsByTag.get(tag)
      if (ids) ids.add(id)
      else this.#idsByTag.set(tag, new Set([id]))
    }
  }

  /** Forgets the refusals of a subject, because a process has reset it. */
  forget(tag: string): void {
    for (const id of this.#idsByTag.get(tag) ?? []) this.#remove(id, this.#refusals.get(id)!)
  }

  #remove(id: string, { tags }: Refusal): void {
    this.#refusals.delete(id)
    for (const tag of tags) {
      const ids = this.#idsByTag.get(tag)!
      ids.delete(id)
      if (ids.size === 0) this.#idsByTag.delete(tag)
    }
  }
}

const idOf = (charges: readonly Charge[]): string => {
  const { tag, part } = charges[0]!
  const isOne = charges.every((charge) => charge.tag === tag && charge.part === part)
  return isOne && part === undefined
    ? tag
    : charges.map((charge) => `${charge.tag}\n${charge.part ?? ''}`).join('\n')
}

/** Calls may pass limits of their own. A policy without a limit is left out. */
const areAlike = (charges: readonly Charge[], others: readonly Charge[]): boolean =>
  charges.length === others.length &&
  charges.every(({ policy, limit, window }, i) => {
    const other = others[i]!
    return policy === other.policy && limit === other.limit && window === other.window
  })

const lowestCostOf = (charges: readonly Charge[]): number =>
  charges.reduce((lowest, { cost }) => Math.min(lowest, cost), Infinity)

/** Ends the subscription of a cache whose limiter is not used any more. */
const abandoned = new FinalizationRegistry<() => void>((unsubscribe) => unsubscribe())

/** Lets a cache forget the subjects that a process has reset or blocked. */
export function forgetResets(
  cache: Pick<DenyCache, 'forget'>,
  store: Pick<Store, 'subscribe'>,
  channel: string,
): void {
  // The listener must not keep the cache alive: a limiter may be made for a single call.
  const reference = new WeakRef(cache)
  const unsubscribe = store.subscribe(channel, (tag) => reference.deref()?.forget(tag))
  abandoned.register(cache, unsubscribe)
}
