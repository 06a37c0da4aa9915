import { momentOf, type Moment } from '../../clock.ts'
import type { Charge } from './charge.ts'
import { LeasedUnits, type LeaseOwner } from './leased-units.ts'
import { LimitDecision } from './limit-decision.ts'
import type { UnitRequest } from './operations/lease-policies.ts'
import { LEASE_SHARE } from './operations/script.ts'

/** Subjects for which one limiter holds units, and subjects that it remembers to have asked for. */
const MAX_SUBJECTS = 10_000
/** Of the limit, in units that stay unleased near the limit. */
const BAND = 1 / 16
/** What a lease asks for, in terms of what the last one used. */
const GROWTH = 1.5
/** Uses that the first lease of a subject asks for. */
const FIRST = 4
/** The shortest period of a calendar, but for changes of clocks. */
const DAY = 86_400_000

/** A lease that is asked for. */
export interface LeaseAsk {
  readonly tag: string
  readonly request: UnitRequest
  /** When it was asked for. */
  readonly began: Moment
  /** True if the subject was reset or blocked before the reply. */
  isVoid: boolean
}

/** What the leases of a limiter need of the engine and its store. */
export interface LeasesOwner extends LeaseOwner {
  /** Those that hold units now. They are closed with the instance. */
  readonly active: Set<Leases>
}

/**
 * Units of limits that this process may admit without asking Redis. They are charged already. Each
 * lease ends by this process's own clocks, counted from before it was asked for: at that time Redis
 * still counts it.
 */
export class Leases {
  readonly #owner: LeasesOwner
  /** Longest time of a lease, in ms. */
  readonly #length: number
  /** In the order in which they were granted. */
  readonly #leases = new Map<string, LeasedUnits>()
  /** Of each subject one call at a time asks for a lease. */
  readonly #asked = new Map<string, LeaseAsk>()
  /** Subjects with a call since `#seenSince`. A subject that calls once needs no lease. */
  readonly #seen = new Set<string>()
  #seenSince = -Infinity

  constructor(owner: LeasesOwner, length: number) {
    this.#owner = owner
    this.#length = length
  }

  /** Number of subjects that it holds or remembers. */
  get size(): number {
    return this.#leases.size + this.#seen.size
  }

  /** Admits from a lease. Returns undefined if Redis must be asked. */
  take(charges: readonly Charge[]): LimitDecision | undefined {
    const lease = this.#leases.get(charges[0]!.tag)
    const at = lease?.take(charges)
    if (lease === undefined || at === undefined) return undefined
    return new LimitDecision(lease, charges, 'lease', true, lease.statesAt(at), lease.grantedAt)
  }

  /** Returns what to ask for with the next call, undefined if it should ask for no lease. */
  ask(charges: readonly Charge[]): LeaseAsk | undefined {
    const { tag, part } = charges[0]!
    const isCounted = charges.some(({ cost }) => cost > 0)
    if (!isCounted || part !== undefined || this.#asked.has(tag)) return undefined
    const terms = charges.map(termsOf)
    if (charges.some(({ cost }, i) => cost > terms[i]!.share)) return undefined
    const { store } = this.#owner
    const began = momentOf(store)
    const last = this.#leases.get(tag)
    if (last === undefined && !this.#hasSeen(tag, began.monotonic)) return undefined
    this.#leases.delete(tag)
    const isContinued = last?.isFor(charges) === true
    if (last !== undefined && !isContinued) void last.giveBack()
    const wanted = (cost: number, i: number): number =>
      isContinued ? GROWTH * (last.useOf(i, began.monotonic, this.#length) + cost) : FIRST * cost
    const none = charges.map(() => 0)
    const request: UnitRequest = {
      ...(isContinued
        ? last.rest()
        : { back: none, granted: none, grantedAt: 0, lease: charges[0]!.policy.lease }),
      want: charges.map(({ cost }, i) => Math.min(Math.ceil(wanted(cost, i)), terms[i]!.share)),
      band: terms.map(({ band }) => band),
    }
    const ask: LeaseAsk = { tag, request, began, isVoid: false }
    this.#asked.set(tag, ask)
    return ask
  }

  /**
   * Keeps what was granted.
   * @param policies the policies' states, with the leased units among what remains
   * @param grantedAt by Redis's clock
   */
  grant(
    { tag, began, isVoid }: LeaseAsk,
    charges: readonly Charge[],
    { policies, at }: Pick<LimitDecision, 'policies' | 'at'>,
    units: readonly number[],
  ): void {
    this.#asked.delete(tag)
    if (isVoid || !units.some((each) => each > 0)) return
    if (this.#leases.size >= MAX_SUBJECTS) this.#endOldest()
    let length = this.#length
    for (const [i, { policy }] of charges.entries())
      if (policy.algorithm.endsLeases) length = Math.min(length, policies[i]!.resetMs)
    // Clocks differ in speed, and Redis's counts whole milliseconds.
    const usable = length * (63 / 64) - 2
    const isHeld = (lease: LeasedUnits): boolean => this.#leases.get(tag) === lease
    const lease = new LeasedUnits(this.#owner, isHeld, charges, policies, units, at, began, usable)
    this.#leases.set(tag, lease)
    if (this.#owner.active.has(this)) return
    this.#owner.active.add(this)
    void this.#endUnused()
  }

  /** Forgets what was asked for, because no reply came. */
  fail({ tag }: LeaseAsk): void {
    this.#asked.delete(tag)
  }

  /** Ends the lease of a subject, because a process has reset or blocked it. */
  forget(tag: string): void {
    this.#leases.delete(tag)
    const ask = this.#asked.get(tag)
    if (ask) ask.isVoid = true
  }

  /** Gives everything back. */
  async close(): Promise<void> {
    const leases = [...this.#leases.values()]
    this.#leases.clear()
    await Promise.all(leases.map((lease) => lease.giveBack()))
  }

  #hasSeen(tag: string, now: number): boolean {
    if (now - this.#seenSince > this.#length) {
      this.#seen.clear()
      this.#seenSince = now
    }
    if (this.#seen.has(tag)) return true
    // To forget all at once is cheap, and costs no more than to ask Redis again.
    if (this.#seen.size >= MAX_SUBJECTS) this.#seen.clear()
    this.#seen.add(tag)
    return false
  }

  #endOldest(): void {
    const [[tag, lease]] = this.#leases as unknown as [[string, LeasedUnits]]
    this.#leases.delete(tag)
    void lease.giveBack()
  }

  /**
   * Gives back what no call takes up again, one lease's length after its end. Until then the
   * subject's next call gives it back.
   */
  async #endUnused(): Promise<void> {
    const { store, active } = this.#owner
    while (this.#leases.size > 0) {
      await store.sleep(this.#length, undefined, true)
      const end = store.monotonic() - 2 * this.#length
      for (const [tag, lease] of this.#leases) {
        if (lease.began.monotonic > end) break
        this.#leases.delete(tag)
        void lease.giveBack()
      }
    }
    active.delete(this)
  }
}

/** Returns how much of a policy may be leased. */
function termsOf({ policy, limit, window }: Charge): { share: number; band: number } {
  const { algorithm, burst, calendar, lease } = policy
  const parameter = algorithm.parameterOf({ limit, burst, periodStart: undefined })
  const counted = { limit, window: calendar ? DAY : window, parameter }
  const { quota } = algorithm.underLease(counted, lease)
  return { share: Math.floor(quota * LEASE_SHARE), band: Math.ceil(quota * BAND) }
}
