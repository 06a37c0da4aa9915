/** Calls the scripts: charges in, the numbers of a reply out. */
import { TurnpikeError } from '../../errors.ts'
import type { RequestBudget } from '../../request-budget.ts'
import type { KeySpace } from '../../store/keys.ts'
import type { Operation, OperationArgument, Store } from '../../store/store.ts'
import { areOfOneSubject, keysOf, knownPolicyOf, type Charge, type KnownCharge } from './charge.ts'
import type { RateLimitEngineOptions } from './engine-options.ts'
import {
  applyKnownPolicies,
  applyPolicies,
  numbersOf,
  policyArguments,
} from './operations/apply-policies.ts'
import {
  leaseArguments,
  leasePolicies,
  type ReturnedUnits,
  type UnitRequest,
} from './operations/lease-policies.ts'
import type { KnownPolicy, PolicyAction } from './operations/script.ts'

/** How often a call is repeated whose calendar period ended on the way. */
const MAX_ATTEMPTS = 3

/** The scripts of one engine. The keys of a call must share a hash slot where the store needs that. */
export class ChargeScripts {
  /** What a consume does with a denied request. */
  readonly consumeAction: 'consume' | 'countDenied'
  readonly #keys: KeySpace
  readonly #readsOverrides: boolean
  readonly #known: readonly KnownCharge[] | undefined
  /** The script for charges that equal `#known`. */
  readonly #knownOperation: Operation<Buffer> | undefined

  /** @param known the charges of every request but for their subject, if they are always the same */
  constructor(
    keys: KeySpace,
    { countDenied, overrides }: RateLimitEngineOptions,
    known: readonly KnownCharge[] | undefined,
  ) {
    this.consumeAction = countDenied ? 'countDenied' : 'consume'
    this.#keys = keys
    this.#readsOverrides = overrides
    this.#known = known
    // A calendar period ends. A script in which it is written down would end with it.
    if (known && known.length > 0 && known.every(({ policy }) => !policy.calendar)) {
      const override = overrides ? 1 : 0
      this.#knownOperation = applyKnownPolicies(
        this.consumeAction,
        known.map((charge) => knownPolicyOf(charge, override, 0)),
      )
    }
  }

  /** Returns the short script, which takes no arguments, if it is that of these charges. */
  knownOperation(charges: readonly Charge[]): Operation<Buffer> | undefined {
    return areOfOneSubject(charges) && this.#areKnown(charges) ? this.#knownOperation : undefined
  }

  /** Returns the keys of a call. */
  keys(charges: readonly Charge[]): string[] {
    return keysOf(this.#keys, charges, this.#overrideTags(charges))
  }

  /** Returns true if these are the charges that the engine has a script for. */
  #areKnown(charges: readonly Charge[]): boolean {
    const known = this.#known
    if (known === undefined || known.length !== charges.length) return false
    for (let i = 0; i < charges.length; i++) {
      const { limit, window, cost } = charges[i]!
      const other = known[i]!
      if (limit !== other.limit || window !== other.window || cost !== other.cost) return false
    }
    return true
  }

  /** Applies the policies. @param chargedAt when a charge to refund was made, 0 if unknown */
  run(
    store: Store,
    action: PolicyAction,
    charges: readonly Charge[],
    chargedAt: number,
    budget?: RequestBudget,
  ): Promise<number[]> {
    return this.#run(store, charges, budget, applyPolicies, (policies) =>
      policyArguments(action, policies, chargedAt),
    )
  }

  /** Consumes and leases. The last numbers of the reply are the units leased. */
  lease(
    store: Store,
    charges: readonly Charge[],
    request: UnitRequest,
    budget?: RequestBudget,
  ): Promise<number[]> {
    return this.#run(store, charges, budget, leasePolicies, (policies) =>
      leaseArguments(this.consumeAction, policies, request),
    )
  }

  /** Gives back what is left of a lease. */
  async giveBack(store: Store, charges: readonly Charge[], returned: ReturnedUnits): Promise<void> {
    await this.#run(store, charges, undefined, leasePolicies, (policies) =>
      leaseArguments('giveBack', policies, returned),
    )
  }

  /** Calls the script once, and again if a calendar period ended on the way: then it had no effect. */
  async #run(
    store: Store,
    charges: readonly Charge[],
    budget: RequestBudget | undefined,
    script: Operation<Buffer>,
    argumentsOf: (policies: readonly KnownPolicy[]) => OperationArgument[],
  ): Promise<number[]> {
    const tags = this.#overrideTags(charges)
    const keys = keysOf(this.#keys, charges, tags)
    let now = charges.some(({ policy }) => policy.calendar) ? store.now() : 0
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const policies = charges.map((charge) =>
        knownPolicyOf(charge, tags.indexOf(charge.tag) + 1, now),
      )
      const reply = numbersOf(await store.run(script, keys, argumentsOf(policies), budget))
      if (reply[0] !== -1) return reply
      now = reply[1]!
    }
    throw new TurnpikeError(
      'TP_COMMAND',
      "The server's clock jumps: its time is in no calendar period that was sent to it.",
    )
  }

  /** Returns the subjects whose overrides the script has to read. */
  #overrideTags(charges: readonly Charge[]): readonly string[] {
    if (!this.#readsOverrides) return []
    return areOfOneSubject(charges)
      ? [charges[0]!.tag]
      : [...new Set(charges.map(({ tag }) => tag))]
  }
}
