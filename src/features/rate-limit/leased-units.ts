import type { Moment } from '../../clock.ts'
import type { Store } from '../../store/store.ts'
import type { Charge } from './charge.ts'
import type { PolicyState } from './decision.ts'
import type { ChargeAdjuster } from './limit-decision.ts'
import type { ReturnedUnits } from './operations/lease-policies.ts'

/** A lease that is used up at once asks for at most so many times as much. */
const MAX_RATE = 8

/** What a lease needs of the engine and its store. */
export interface LeaseOwner extends ChargeAdjuster {
  readonly store: Pick<Store, 'monotonic' | 'wallClock' | 'sleep'>
  /** @throws TP_UNAVAILABLE */
  giveBack(charges: readonly Charge[], returned: ReturnedUnits): Promise<void>
}

/** Units of one subject that this process may admit until their lease ends, one number for each policy. */
export class LeasedUnits implements ChargeAdjuster {
  readonly held: number[]
  readonly grantedAt: number
  readonly began: Moment
  readonly #owner: LeaseOwner
  readonly #isHeld: (lease: LeasedUnits) => boolean
  readonly #charges: readonly Charge[]
  readonly #states: readonly PolicyState[]
  readonly #granted: readonly number[]
  /** Time from `began` on in which the units may be used, in ms. */
  readonly #usable: number

  constructor(
    owner: LeaseOwner,
    isHeld: (lease: LeasedUnits) => boolean,
    charges: readonly Charge[],
    states: readonly PolicyState[],
    granted: readonly number[],
    grantedAt: number,
    began: Moment,
    usable: number,
  ) {
    this.#owner = owner
    this.#isHeld = isHeld
    this.#charges = charges
    this.#states = states
    this.#granted = granted
    this.held = [...granted]
    this.grantedAt = grantedAt
    this.began = began
    this.#usable = usable
  }

  /** Returns true if the policies count as they did when the lease was granted. */
  isFor(charges: readonly Charge[]): boolean {
    if (charges.length !== this.#charges.length) return false
    for (let i = 0; i < charges.length; i++) {
      const [charge, other] = [charges[i]!, this.#charges[i]!]
      if (charge.policy !== other.policy || charge.limit !== other.limit) return false
      if (charge.window !== other.window || charge.part !== other.part) return false
    }
    return true
  }

  /**
   * Takes the units of a request, all or none. Returns when, on the monotonic clock, or undefined if
   * it took none.
   */
  take(charges: readonly Charge[]): number | undefined {
    if (!this.isFor(charges)) return undefined
    for (let i = 0; i < charges.length; i++) if (charges[i]!.cost > this.held[i]!) return undefined
    // Read the clocks last. A process that is stopped before this finds that its lease has ended.
    const now = this.#owner.store.monotonic()
    if (!this.#isUsable(now)) return undefined
    for (let i = 0; i < charges.length; i++) this.held[i]! -= charges[i]!.cost
    return now
  }

  /**
   * Returns true if the lease has not ended on either clock. The monotonic clock may stand still while
   * the machine is suspended, and the wall clock may be set.
   */
  #isUsable(now: number): boolean {
    const { monotonic, wall } = this.began
    if (now - monotonic >= this.#usable) return false
    const passed = this.#owner.store.wallClock() - wall
    return passed >= 0 && passed < this.#usable
  }

  /** Returns the units of a policy that a lease would need, as this one was used. */
  useOf(i: number, now: number, length: number): number {
    const used = this.#granted[i]! - this.held[i]!
    const age = now - this.began.monotonic
    return age >= this.#usable ? used : (used * length) / Math.max(age, length / MAX_RATE)
  }

  /** Returns the policies' states. What other processes have used since the grant is not known. */
  statesAt(now: number): PolicyState[] {
    const age = now - this.began.monotonic
    return this.#states.map((state, i) => ({
      name: state.name,
      subject: state.subject,
      limit: state.limit,
      windowMs: state.windowMs,
      remaining: state.remaining - this.#granted[i]! + this.held[i]!,
      resetMs: Math.max(0, Math.ceil(state.resetMs - age)),
      retryAfterMs: 0,
      violated: false,
      blocked: false,
    }))
  }

  async adjust(
    action: 'charge' | 'refund',
    charges: readonly Charge[],
    _source: unknown,
    chargedAt: number,
  ): Promise<void> {
    if (this.#isHeld(this)) {
      if (action === 'charge' && this.take(charges) !== undefined) return
      if (action === 'refund' && this.#isUsable(this.#owner.store.monotonic())) {
        for (let i = 0; i < charges.length; i++) this.held[i]! += charges[i]!.cost
        return
      }
    }
    await this.#owner.adjust(action, charges, 'store', chargedAt)
  }

  /** Returns what to give back. */
  rest(): ReturnedUnits {
    return {
      back: [...this.held],
      granted: this.#charges.map(({ policy }, i) =>
        policy.algorithm.holdsLeases ? this.#granted[i]! : 0,
      ),
      grantedAt: this.grantedAt,
      lease: this.#charges[0]!.policy.lease,
    }
  }

  /** Gives back what is left. The lease must not be used any more. */
  async giveBack(): Promise<void> {
    const rest = this.rest()
    if (![...rest.back, ...rest.granted].some((units) => units > 0)) return
    try {
      await this.#owner.giveBack(this.#charges, rest)
    } catch {
      // Redis counts the units as used, until their window ends.
    }
  }
}
