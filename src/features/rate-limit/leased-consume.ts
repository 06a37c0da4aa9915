import type { EventBus } from '../../events.ts'
import type { ExtensionContext } from '../../extension.ts'
import type { RequestBudget } from '../../request-budget.ts'
import type { Charge } from './charge.ts'
import type { ChargeScripts } from './charge-scripts.ts'
import type { DenyCache } from './deny-cache.ts'
import type { RateLimitEngineOptions } from './engine-options.ts'
import { Leases, type LeaseAsk, type LeasesOwner } from './leases.ts'
import type { PoliciesInForce } from './policies-in-force.ts'
import { decisionOf, type ChargeAdjuster, type LimitDecision } from './limit-decision.ts'

/** What leased charges need of the engine. */
interface LeasingEngine extends ChargeAdjuster {
  report(decision: LimitDecision, began?: number): LimitDecision
  decideWithoutStore(error: unknown, charges: readonly Charge[]): Promise<LimitDecision>
}

/** Consumes from leases of one subject each, and asks for them. The engine consumes what this does not. */
export class LeasedConsume {
  readonly #engine: LeasingEngine
  readonly #context: ExtensionContext
  readonly #scripts: ChargeScripts
  readonly #denyCache: DenyCache | undefined
  readonly #leases: Leases

  constructor(
    engine: LeasingEngine,
    context: ExtensionContext,
    { lease }: RateLimitEngineOptions,
    scripts: ChargeScripts,
    denyCache: DenyCache | undefined,
    inForce: PoliciesInForce | undefined,
  ) {
    this.#engine = engine
    this.#context = context
    this.#scripts = scripts
    this.#denyCache = denyCache
    const adjust: ChargeAdjuster['adjust'] = (...args) => engine.adjust(...args)
    const { store } = context
    const owner: LeasesOwner = {
      store,
      active: activeOf(context),
      adjust,
      giveBack: (charges, returned) =>
        scripts.giveBack(store, inForce?.apply(charges) ?? charges, returned),
    }
    this.#leases = new Leases(owner, lease)
  }

  /** Admits from a lease. Returns undefined if Redis must be asked. */
  take(charges: readonly Charge[]): LimitDecision | undefined {
    return this.#leases.take(charges)
  }

  /** Consumes in Redis, and asks for a lease. Returns undefined if the call should ask for none. */
  ask(charges: readonly Charge[], budget?: RequestBudget): Promise<LimitDecision> | undefined {
    const ask = this.#leases.ask(charges)
    return ask && this.#ask(ask, charges, budget)
  }

  /** Ends the lease of a subject, because a process has reset or blocked it. */
  forget(tag: string): void {
    this.#leases.forget(tag)
  }

  async #ask(
    ask: LeaseAsk,
    charges: readonly Charge[],
    budget?: RequestBudget,
  ): Promise<LimitDecision> {
    const { store, events } = this.#context
    const began = events.begin('decision')
    let reply: number[]
    try {
      reply = await this.#scripts.lease(store, charges, ask.request, budget)
    } catch (error) {
      this.#leases.fail(ask)
      return this.#engine.report(await this.#engine.decideWithoutStore(error, charges), began)
    }
    const units = reply.splice(-charges.length)
    // What this process leases is left for the subject.
    for (const [i, each] of units.entries()) reply[3 + i * 5]! += each
    const decision = decisionOf(this.#engine, charges, 'store', reply)
    this.#leases.grant(ask, charges, decision, units)
    if (!decision.allowed) this.#denyCache?.remember(charges, decision, store.now())
    return this.#engine.report(decision, began)
  }
}

/** The leases of each instance that hold units. A limiter may be made for a single call. */
const activeLeases = new WeakMap<EventBus, Set<Leases>>()

/** Returns the set of an instance. The instance gives their units back before it closes its connections. */
function activeOf({ events, onClose }: ExtensionContext): Set<Leases> {
  const known = activeLeases.get(events)
  if (known) return known
  const active = new Set<Leases>()
  activeLeases.set(events, active)
  onClose(async () => {
    await Promise.all([...active].map((leases) => leases.close()))
  })
  return active
}
