import type { Charge, LimitDecision } from './charge.ts'
import type { PolicyState } from './decision.ts'

interface Refusal {
  until: number
  cost: number
  limits: readonly number[]
  made: number
  policies: readonly PolicyState[]
}

/** Refusals that are certain to be repeated, so that a flood of them does not reach Redis. */
export class DenyCache {
  readonly #maxKeys: number
  readonly #refusals = new Map<string, Refusal>()

  constructor(maxKeys: number) {
    this.#maxKeys = maxKeys
  }

  /** The policies of a refusal that still stands for these charges, with their times brought up to `now`. */
  find(charges: readonly Charge[], now: number): PolicyState[] | undefined {
    const id = idOf(charges)
    const refusal = this.#refusals.get(id)
    if (!refusal) return undefined
    if (refusal.until <= now) {
      this.#refusals.delete(id)
      return undefined
    }
    if (costOf(charges) < refusal.cost) return undefined
    if (charges.some(({ limit }, i) => limit !== refusal.limits[i])) return undefined
    const age = Math.max(0, now - refusal.made)
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
    const cost = costOf(charges)
    if (source !== 'store' || !retryAfterMs || cost === 0) return
    const id = idOf(charges)
    this.#refusals.delete(id)
    // Forgetting all at once is cheap, and costs no more than asking Redis again.
    if (this.#refusals.size >= this.#maxKeys) this.#refusals.clear()
    this.#refusals.set(id, {
      until: now + retryAfterMs,
      cost,
      limits: charges.map(({ limit }) => limit),
      made: now,
      policies,
    })
  }

  /** What another process said of this tag makes our memory of it worthless. */
  forget(tag: string): void {
    if (this.#refusals.delete(tag)) return
    for (const id of this.#refusals.keys())
      if (id.split('\n').includes(tag)) this.#refusals.delete(id)
  }
}

const idOf = (charges: readonly Charge[]): string => {
  const { tag, sub } = charges[0]!
  const alone = charges.every((charge) => charge.tag === tag && charge.sub === sub)
  return alone && sub === undefined
    ? tag
    : charges.map((charge) => `${charge.tag}\n${charge.sub ?? ''}`).join('\n')
}

const costOf = (charges: readonly Charge[]): number =>
  charges.reduce((least, { cost }) => Math.min(least, cost), Infinity)
