/** The rate limiter without HTTP: charges in, decisions out. */
import type { LimitMode, RuleLookup } from '../../control/active-rules.ts'
import { isUnavailable } from '../../errors.ts'
import type { CounterRow } from '../../feature-counts.ts'
import type { EventBus } from '../../events.ts'
import type { ExtensionContext } from '../../extension.ts'
import type { RequestBudget } from '../../request-budget.ts'
import { isCrossSlotError, retryWhenSplit, type Store } from '../../store/store.ts'
import { applyFailureRule, reportFailureOf } from '../failure-rule.ts'
import {
  areOfOneSubject,
  bySubject,
  instanceShareOf,
  stateKeyOf,
  type Charge,
  type KnownCharge,
} from './charge.ts'
import { ChargeScripts } from './charge-scripts.ts'
import type { Decision, DecisionSource } from './decision.ts'
import { reportDecision } from './decision-report.ts'
import { DenyCache, forgetResets } from './deny-cache.ts'
import type { RateLimitEngineOptions } from './engine-options.ts'
import { LeasedConsume } from './leased-consume.ts'
import {
  combinedDecisionOf,
  decisionOf,
  LimitDecision,
  type ChargeAdjuster,
} from './limit-decision.ts'
import { numbersOf } from './operations/apply-policies.ts'
import { resetPolicies } from './operations/reset.ts'
import type { PolicyAction } from './operations/script.ts'
import { isInShare } from './enforced-share.ts'
import { PoliciesInForce } from './policies-in-force.ts'

/** Counts the charges of one mount against its policies, with one script call for each hash slot. */
export class RateLimitEngine implements ChargeAdjuster {
  readonly options: RateLimitEngineOptions
  readonly #context: ExtensionContext
  readonly #counts: CounterRow
  readonly #denyCache: DenyCache | undefined
  readonly #leased: LeasedConsume | undefined
  readonly #scripts: ChargeScripts
  /** Mounts have modes. Callers of limiters and login guards do not. */
  readonly #modes: Pick<RuleLookup, 'modeOf' | 'enforcedShareOf'> | undefined
  readonly #inForce: PoliciesInForce | undefined

  /**
   * @param known the charges of every request but for their subject, if they are always the same
   * @param rules say the mode of the limit and how its policies are changed
   */
  constructor(
    context: ExtensionContext,
    options: RateLimitEngineOptions,
    known?: readonly KnownCharge[],
    rules?: RuleLookup,
  ) {
    this.#context = context
    this.#modes = options.feature === 'rateLimit' ? rules : undefined
    this.#inForce = rules && new PoliciesInForce(options.name, rules)
    this.options = options
    this.#counts = context.events.counts.row('limit', options.name)
    this.#scripts = new ChargeScripts(context.keys, options, known)
    if (options.denyCache > 0) {
      this.#denyCache = new DenyCache(options.denyCache)
      forgetResets(this.#denyCache, context.store, this.#channel)
    }
    if (options.lease > 0 && context.store.kind === 'redis') {
      this.#leased = new LeasedConsume(
        this,
        context,
        options,
        this.#scripts,
        this.#denyCache,
        this.#inForce,
      )
      forgetResets(this.#leased, context.store, this.#channel)
    }
  }

  /** The mode that an operator has set, undefined if the options decide. */
  get mode(): LimitMode | undefined {
    return this.#modes?.modeOf(this.options.name)
  }

  /** Returns true if a refusal of this client lets the request pass. */
  isShadow({ subject, tenant }: Pick<Decision, 'subject' | 'tenant'>): boolean {
    const { mode } = this
    const { name, shadow } = this.options
    if (mode === undefined) return shadow
    if (mode !== 'on') return mode === 'shadow'
    const share = this.#modes!.enforcedShareOf(name)
    return share < 100 && !isInShare(share, [name, tenant ?? '', ...[subject].flat()])
  }

  get events(): EventBus {
    return this.#context.events
  }

  get #channel(): string {
    return this.#context.keys.channel('limit', 'reset')
  }

  /**
   * Charges all or nothing. Never rejects because Redis is away: then the failure rule decides. What
   * this process can decide costs no promise.
   */
  consume(
    asked: readonly Charge[],
    budget?: RequestBudget,
  ): LimitDecision | Promise<LimitDecision> {
    const { store } = this.#context
    const charges = this.#inForce?.apply(asked) ?? asked
    const isOneSubject = areOfOneSubject(charges)
    const leased = isOneSubject ? this.#leased : undefined
    const taken = leased?.take(charges)
    if (taken) return this.report(taken)
    const remembered = this.#denyCache?.find(charges, store.now())
    if (remembered)
      return this.report(new LimitDecision(this, charges, 'deny-cache', false, remembered, 0))
    const asking = leased?.ask(charges, budget)
    if (asking) return asking
    if (this.#denyCache || (store.isSplit && !isOneSubject))
      return this.#consumeInSteps(charges, budget)
    const began = this.events.begin('decision')
    const decide = (numbers: readonly number[]): LimitDecision =>
      this.report(decisionOf(this, charges, 'store', numbers), began)
    const recover = async (error: unknown): Promise<LimitDecision> =>
      isCrossSlotError(error)
        ? this.#consumeInSteps(charges, budget)
        : this.report(await this.decideWithoutStore(error, charges), began)
    const known = this.#scripts.knownOperation(charges)
    if (known === undefined)
      return this.#scripts
        .run(store, this.#scripts.consumeAction, charges, 0, budget)
        .then(decide, recover)
    return store
      .run(known, this.#scripts.keys(charges), [], budget)
      .then((reply) => decide(numbersOf(reply)), recover)
  }

  /** Consumes where the deny cache remembers a refusal, or several hash slots have to agree. */
  async #consumeInSteps(
    charges: readonly Charge[],
    budget?: RequestBudget,
  ): Promise<LimitDecision> {
    const began = this.events.begin('decision')
    let decision: LimitDecision
    try {
      decision = await retryWhenSplit(() =>
        this.#decide(this.#scripts.consumeAction, charges, budget),
      )
    } catch (error) {
      decision = await this.decideWithoutStore(error, charges)
    }
    if (!decision.allowed) this.#denyCache?.remember(charges, decision, this.#context.store.now())
    return this.report(decision, began)
  }

  /** Returns what a consume would be answered. Writes nothing. @throws TP_UNAVAILABLE */
  async peek(asked: readonly Charge[]): Promise<LimitDecision> {
    const charges = this.#inForce?.apply(asked) ?? asked
    const { source, allowed, policies } = await retryWhenSplit(() => this.#decide('peek', charges))
    // Made at 0, so that it cannot be refunded: nothing was charged.
    return new LimitDecision(this, charges, source, allowed, policies, 0)
  }

  async adjust(
    action: 'charge' | 'refund',
    charges: readonly Charge[],
    source: DecisionSource,
    chargedAt: number,
    budget?: RequestBudget,
  ): Promise<void> {
    const store = source === 'local' ? this.#fallback : this.#context.store
    await this.#forEachSlot(this.#inForce?.apply(charges) ?? charges, (group) =>
      this.#scripts.run(store, action, group, chargedAt, budget),
    )
  }

  /**
   * Deletes everything counted for these charges, here and in the deny caches of all processes.
   * Returns true if there was anything.
   * @throws TP_UNAVAILABLE
   */
  async reset(charges: readonly Charge[], budget?: RequestBudget): Promise<boolean> {
    const counts = await Promise.all(
      bySubject(charges).map(async ([tag, group]) => {
        const keys = group.map((charge) => stateKeyOf(this.#context.keys, charge))
        void this.#fallback.run(resetPolicies, keys, ['', '']).catch(() => {})
        const args = [this.#channel, tag]
        const count = await this.#context.store.run(resetPolicies, keys, args, budget)
        // The message may take longer than the reply. The caller's next request must not be refused.
        this.#forget(tag)
        return count
      }),
    )
    return counts.some((count) => count > 0)
  }

  /** Denies everything for `ms`. @throws TP_UNAVAILABLE */
  async block(charges: readonly Charge[], ms: number): Promise<void> {
    const blocks = charges.map((charge) => ({ ...charge, cost: ms }))
    await this.#forEachSlot(blocks, (group) =>
      this.#scripts.run(this.#context.store, 'block', group, 0),
    )
    // Processes with a lease would admit the subject until its end.
    for (const [tag] of bySubject(charges)) {
      this.#forget(tag)
      this.inBackground(this.#context.store.run(resetPolicies, [], [this.#channel, tag]))
    }
  }

  #forget(tag: string): void {
    this.#denyCache?.forget(tag)
    this.#leased?.forget(tag)
  }

  async #decide(
    action: PolicyAction,
    charges: readonly Charge[],
    budget?: RequestBudget,
  ): Promise<LimitDecision> {
    const decideOne = async (group: readonly Charge[]): Promise<LimitDecision> =>
      decisionOf(
        this,
        group,
        'store',
        await this.#scripts.run(this.#context.store, action, group, 0, budget),
      )
    const groups = this.#bySlot(charges)
    if (groups.length === 1) return await decideOne(charges)
    const settled = await Promise.allSettled(groups.map(decideOne))
    const decisions = settled.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
    const failure = settled.find((each) => each.status === 'rejected')
    if (failure || decisions.some((decision) => !decision.allowed)) {
      for (const decision of decisions) this.inBackground(decision.refund())
    }
    if (failure) throw failure.reason
    return combinedDecisionOf(this, charges, decisions)
  }

  /** Decides by the failure rule. @throws the error, unless it says that the store is unavailable */
  async decideWithoutStore(error: unknown, charges: readonly Charge[]): Promise<LimitDecision> {
    const { fail, thenFail } = this.options
    let rule = applyFailureRule(this.events, this.options, fail, error)
    if (rule === 'local') {
      const shares = charges.map((charge) => instanceShareOf(charge, this.#context.instances))
      try {
        const reply = await this.#scripts.run(
          this.#fallback,
          this.#scripts.consumeAction,
          shares,
          0,
        )
        return decisionOf(this, shares, 'local', reply)
      } catch (full) {
        if (!isUnavailable(full)) throw full
        rule = thenFail
      }
    }
    return new LimitDecision(this, charges, rule, rule === 'open', [], 0)
  }

  get #fallback(): Store {
    const { evicting, refusing } = this.#context.fallback
    return this.options.thenFail === 'closed' ? refusing : evicting
  }

  #forEachSlot<Result>(
    charges: readonly Charge[],
    call: (group: readonly Charge[]) => Promise<Result>,
  ): Promise<Result[]> {
    return retryWhenSplit(() => Promise.all(this.#bySlot(charges).map(call)))
  }

  /** Where the keys of a script must share a hash slot, returns one group for each subject. Elsewhere one for all. */
  #bySlot(charges: readonly Charge[]): (readonly Charge[])[] {
    if (!this.#context.store.isSplit || areOfOneSubject(charges)) return [charges]
    return bySubject(charges).map(([, group]) => group)
  }

  /**
   * Counts and emits a decision, and returns it.
   * @param began when a store was asked for it, by `performance.now()`
   */
  report<Made extends Decision>(decision: Made, began?: number): Made {
    const shadow = !decision.allowed && this.isShadow(decision)
    reportDecision(this.events, this.#counts, this.options, decision, shadow, began)
    return decision
  }

  /** Reports the failure of a write that no request waits for. */
  inBackground(write: Promise<unknown>): void {
    reportFailureOf(this.events, this.options, write)
  }
}
