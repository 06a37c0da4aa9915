/** The rate limiter without HTTP: charges in, decisions out. */
import { isUnavailable, TurnpikeError } from '../../errors.ts'
import type { EventBus } from '../../events.ts'
import type { RequestBudget } from '../../request-budget.ts'
import { isCrossSlotError, retryWhenSplit, type Operation, type Store } from '../../store/store.ts'
import type { ExtensionContext } from '../../extension.ts'
import { decisionOf, LimitDecision, unitedOf } from './charge.ts'
import type { Charge } from './charge.ts'
import { DenyCache } from './deny-cache.ts'
import type { Decision, DecisionSource } from './decision.ts'
import type { RateLimitEngineOptions } from './engine-options.ts'
import { reset } from './reset.ts'
import { argumentsOf, ofOneSubject, written, type Verb } from './question.ts'
import { numbersOf, take } from './take.ts'

/** Counts the charges of one mount against its policies, by one script call for each slot. */
export class RateLimitEngine {
  readonly options: RateLimitEngineOptions
  readonly #context: ExtensionContext
  readonly #denied: DenyCache | undefined
  readonly #constants: readonly Omit<Charge, 'tag'>[] | undefined
  /** The script for charges as `#constants` has them. */
  readonly #written: Operation<Buffer> | undefined

  /** @param constants what every charge is but for its subject, where that is known beforehand */
  constructor(
    context: ExtensionContext,
    options: RateLimitEngineOptions,
    constants?: readonly Omit<Charge, 'tag'>[],
  ) {
    this.#context = context
    this.options = options
    this.#constants = constants
    this.#written = constants && written(this.#verb, constants, options.overrides)
    if (options.denyCache > 0) {
      this.#denied = new DenyCache(options.denyCache)
      context.store.subscribe(this.#channel, (tag) => this.#denied!.forget(tag))
    }
  }

  get events(): EventBus {
    return this.#context.events
  }

  get #verb(): 'c' | 'd' {
    return this.options.countDenied ? 'd' : 'c'
  }

  get #channel(): string {
    return this.#context.keys.channel('limit', 'reset')
  }

  /** Charge, all or nothing. Never rejects because Redis is away: then the failure rule decides. */
  consume(charges: readonly Charge[], budget?: RequestBudget): Promise<LimitDecision> {
    const { store } = this.#context
    const alone = ofOneSubject(charges)
    if (this.#denied || (store.isSplit && !alone)) return this.#considered(charges, budget)
    const decided = (numbers: readonly number[]): LimitDecision =>
      this.report(decisionOf(this, charges, 'store', numbers))
    const failed = async (error: unknown): Promise<LimitDecision> =>
      isCrossSlotError(error)
        ? this.#considered(charges, budget)
        : this.report(await this.withoutStore(error, charges))
    if (!this.#written || !alone || !this.#areConstant(charges)) {
      return this.#run(store, this.#verb, charges, 0, budget).then(decided, failed)
    }
    const keys = this.#keys(charges, this.#tags(charges))
    return store
      .run(this.#written, keys, [], budget)
      .then((reply) => decided(numbersOf(reply)), failed)
  }

  /** Are these the charges that the engine has a script for? */
  #areConstant(charges: readonly Charge[]): boolean {
    const constants = this.#constants!
    for (let i = 0; i < charges.length; i++) {
      const { limit, window, cost } = charges[i]!
      const constant = constants[i]!
      if (limit !== constant.limit || window !== constant.window || cost !== constant.cost)
        return false
    }
    return true
  }

  /** As consume, where memory may know the answer, or several slots have to agree. */
  async #considered(charges: readonly Charge[], budget?: RequestBudget): Promise<LimitDecision> {
    const remembered = this.#denied?.find(charges, this.#context.store.now())
    if (remembered)
      return this.report(new LimitDecision(this, charges, 'deny-cache', false, remembered, 0))
    let decision: LimitDecision
    try {
      decision = await retryWhenSplit(() => this.#decide(this.#verb, charges, budget))
    } catch (error) {
      decision = await this.withoutStore(error, charges)
    }
    if (!decision.allowed) this.#denied?.remember(charges, decision, this.#context.store.now())
    return this.report(decision)
  }

  /** What a consume would be answered; nothing is written. @throws TP_UNAVAILABLE */
  async peek(charges: readonly Charge[]): Promise<LimitDecision> {
    const { source, allowed, policies } = await retryWhenSplit(() => this.#decide('p', charges))
    // At 0, so that it cannot be refunded: nothing was charged.
    return new LimitDecision(this, charges, source, allowed, policies, 0)
  }

  /** Charge even beyond the limit, or give back, where a decision was made. @throws TP_UNAVAILABLE */
  async adjust(
    verb: 'f' | 'r',
    charges: readonly Charge[],
    source: DecisionSource,
    at: number,
    budget?: RequestBudget,
  ): Promise<void> {
    const store = source === 'local' ? this.#floor : this.#context.store
    await this.#each(charges, (group) => this.#run(store, verb, group, at, budget))
  }

  /** Forget everything counted for these charges, here and in other processes' deny caches. @throws TP_UNAVAILABLE */
  async reset(charges: readonly Charge[], budget?: RequestBudget): Promise<boolean> {
    const forgotten = await Promise.all(
      bySubject(charges).map(([tag, group]) => {
        const keys = group.map((charge) => this.#key(charge))
        void this.#floor.run(reset, keys, ['', '']).catch(() => {})
        return this.#context.store.run(reset, keys, [this.#channel, tag], budget)
      }),
    )
    return forgotten.some((count) => count > 0)
  }

  /** Refuse everything for `ms`. @throws TP_UNAVAILABLE */
  async block(charges: readonly Charge[], ms: number): Promise<void> {
    const blocks = charges.map((charge) => ({ ...charge, cost: ms }))
    await this.#each(blocks, (group) => this.#run(this.#context.store, 'b', group, 0))
  }

  async #decide(
    verb: Verb,
    charges: readonly Charge[],
    budget?: RequestBudget,
  ): Promise<LimitDecision> {
    const groups = this.#groups(charges)
    if (groups.length === 1) {
      return decisionOf(
        this,
        charges,
        'store',
        await this.#run(this.#context.store, verb, charges, 0, budget),
      )
    }
    const settled = await Promise.allSettled(
      groups.map(async (group) =>
        decisionOf(
          this,
          group,
          'store',
          await this.#run(this.#context.store, verb, group, 0, budget),
        ),
      ),
    )
    const decisions = settled.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
    const failure = settled.find((each) => each.status === 'rejected')
    if (failure || decisions.some((decision) => !decision.allowed)) {
      for (const decision of decisions) this.inBackground(decision.refund())
    }
    if (failure) throw failure.reason
    return unitedOf(this, charges, decisions)
  }

  /** What the failure rule says when the store could not be asked; other errors are thrown on. */
  async withoutStore(error: unknown, charges: readonly Charge[]): Promise<LimitDecision> {
    if (!isUnavailable(error)) throw error
    const { feature, name, fail, thenFail } = this.options
    if (this.events.hasListeners('unavailable')) {
      const { reason, uncertain } = error
      this.events.emit('unavailable', { feature, name, reason, uncertain, rule: fail })
    }
    if (fail === 'local') {
      const part = charges.map((charge) => this.#partOf(charge))
      try {
        return decisionOf(this, part, 'local', await this.#run(this.#floor, this.#verb, part, 0))
      } catch (full) {
        if (!isUnavailable(full)) throw full
      }
    }
    const rule = fail === 'local' ? thenFail : fail
    return new LimitDecision(this, charges, rule, rule === 'open', [], 0)
  }

  /** What one of several processes admits. */
  #partOf({ policy, limit, ...charge }: Charge): Charge {
    const { instances } = this.#context
    const burst = policy.burst && Math.ceil(policy.burst / instances)
    return {
      ...charge,
      limit: Math.ceil(limit / instances),
      policy: burst === policy.burst ? policy : { ...policy, burst },
    }
  }

  get #floor(): Store {
    const { evicting, refusing } = this.#context.fallback
    return this.options.thenFail === 'closed' ? refusing : evicting
  }

  /** One script call; again, if a calendar period ended on the way. */
  async #run(
    store: Store,
    verb: Verb,
    charges: readonly Charge[],
    at: number,
    budget?: RequestBudget,
  ): Promise<number[]> {
    const tags = this.#tags(charges)
    const keys = this.#keys(charges, tags)
    let now = charges.some(({ policy }) => policy.calendar) ? store.now() : 0
    for (let attempt = 0; attempt < 3; attempt++) {
      const reply = numbersOf(
        await store.run(take, keys, argumentsOf(verb, charges, tags, at, now), budget),
      )
      if (reply[0] !== -1) return reply
      now = reply[1]!
    }
    throw new TurnpikeError('TP_COMMAND', "The server's clock jumps: no calendar period holds it.")
  }

  /** Whose stored limits the script has to look at. */
  #tags(charges: readonly Charge[]): readonly string[] {
    if (!this.options.overrides) return []
    return ofOneSubject(charges) ? [charges[0]!.tag] : [...new Set(charges.map(({ tag }) => tag))]
  }

  #keys(charges: readonly Charge[], tags: readonly string[]): string[] {
    const keys: string[] = []
    for (const charge of charges) keys.push(this.#key(charge))
    for (const tag of tags) keys.push(this.#context.keys.key('limits', tag))
    return keys
  }

  #key({ policy, tag, sub }: Charge): string {
    return this.#context.keys.key(
      'limit',
      tag,
      sub === undefined ? policy.sub : `${policy.sub}:${sub}`,
    )
  }

  /** One call for all charges, or where they cannot share one, for those of each subject. */
  #each<Result>(
    charges: readonly Charge[],
    call: (group: readonly Charge[]) => Promise<Result>,
  ): Promise<Result[]> {
    return retryWhenSplit(() => Promise.all(this.#groups(charges).map(call)))
  }

  /** Where a script's keys must share a slot, one group for each subject. Elsewhere one for all. */
  #groups(charges: readonly Charge[]): (readonly Charge[])[] {
    if (!this.#context.store.isSplit || ofOneSubject(charges)) return [charges]
    return bySubject(charges).map(([, group]) => group)
  }

  /** Tells whoever listens, and gives the decision back. */
  report<Made extends Decision>(decision: Made): Made {
    if (!this.events.hasListeners('decision')) return decision
    const { allowed, source, subject, tightest, limit, remaining, retryAfterMs } = decision
    const { feature, name } = this.options
    const shadow = this.options.shadow && !allowed
    const policy = tightest?.name
    this.events.emit('decision', {
      feature,
      name,
      allowed,
      shadow,
      source,
      policy,
      limit,
      remaining,
      retryAfterMs,
      subject,
    })
    return decision
  }

  /** For a write that nobody waits for: its failure is reported, never swallowed. */
  inBackground(write: Promise<unknown>): void {
    const { feature, name } = this.options
    write.catch((error: unknown) => this.events.emit('error', { feature, name, error }))
  }
}

/** Charges by the hash tag of whom they are for. */
function bySubject(charges: readonly Charge[]): [tag: string, group: readonly Charge[]][] {
  const groups = new Map<string, Charge[]>()
  for (const charge of charges) groups.set(charge.tag, [...(groups.get(charge.tag) ?? []), charge])
  return [...groups]
}
