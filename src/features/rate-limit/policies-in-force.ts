import type { PolicyChange, RuleLookup } from '../../control/active-rules.ts'
import type { Charge } from './charge.ts'
import type { Policy } from './policy.ts'

/** The policies of one limiter, as `tp.control.policy()` has changed them. */
export class PoliciesInForce {
  readonly #limiter: string
  readonly #rules: Pick<RuleLookup, 'changes' | 'changeOf'>
  /** A policy with another burst is always the same object: deny caches compare policies. */
  readonly #withBurst = new WeakMap<
    Policy<never>,
    { change: PolicyChange; policy: Policy<never> }
  >()

  /** @param limiter its name */
  constructor(limiter: string, rules: Pick<RuleLookup, 'changes' | 'changeOf'>) {
    this.#limiter = limiter
    this.#rules = rules
  }

  /** Returns charges by what their policies count by now. Without changes they are returned as they are. */
  apply(charges: readonly Charge[]): readonly Charge[] {
    return this.#rules.changes === 0 ? charges : charges.map((charge) => this.#changed(charge))
  }

  #changed(charge: Charge): Charge {
    const { policy } = charge
    const isOnly = policy.name === this.#limiter
    const change = this.#rules.changeOf(isOnly ? policy.name : `${this.#limiter}.${policy.name}`)
    if (change === undefined) return charge
    const { limit = charge.limit } = change
    // A calendar says how long its periods are.
    const window = policy.calendar ? charge.window : (change.window ?? charge.window)
    return { ...charge, policy: this.#policyWith(change, policy), limit, window }
  }

  #policyWith(change: PolicyChange, policy: Policy<never>): Policy<never> {
    const { burst } = change
    if (burst === undefined || !policy.algorithm.hasBurst) return policy
    const known = this.#withBurst.get(policy)
    if (known?.change === change) return known.policy
    const changed = { ...policy, burst }
    this.#withBurst.set(policy, { change, policy: changed })
    return changed
  }
}
