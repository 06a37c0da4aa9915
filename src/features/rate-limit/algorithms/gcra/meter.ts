import { LEASE_LIVES, MAX_MS, MAX_UNITS, type Meter, type PolicyCall } from '../algorithm.ts'
import type { GcraState, HeldUnits } from './layout.ts'

/** Opens a level in the in-process engine. */
export function createGcraMeter(call: PolicyCall, state: GcraState | undefined): Meter<GcraState> {
  return new GcraMeter(call, state)
}

class GcraMeter implements Meter<GcraState> {
  readonly #call: PolicyCall
  readonly #burst: number
  readonly #capacity: number
  readonly #state: GcraState
  /** Level of the units that processes hold. They do not drain. */
  #held = 0

  constructor(call: PolicyCall, stored: GcraState | undefined) {
    const { window, now, parameter: burst = 0 } = call
    this.#call = call
    this.#burst = burst
    this.#capacity = burst * window
    const state: GcraState = {
      time: now,
      level: 0,
      drainedAt: now,
      window,
      mark: now,
      low: 0,
      lowBefore: 0,
      leases: [],
    }
    // A state that is newer than `now` by more than the window was written before the clock was set back.
    if (stored !== undefined && now < stored.drainedAt && stored.time - now <= window) {
      Object.assign(state, stored, { time: Math.max(now, stored.time), window })
      if (stored.window !== window) {
        state.level = Math.ceil((stored.level / stored.window) * window)
        state.low = Math.floor((stored.low / stored.window) * window)
        state.lowBefore = Math.floor((stored.lowBefore / stored.window) * window)
      }
      this.#pass(state, stored)
    }
    this.#state = state
  }

  /** Drains the level from the stored time on. Leases that have ended count as used at their end. */
  #pass(state: GcraState, { leases, ...stored }: GcraState): void {
    const { limit, window } = this.#call
    let { time } = stored
    for (const { end, units } of leases) {
      if (end > state.time) {
        this.#held += units * window
        continue
      }
      state.level = Math.max(0, state.level - Math.max(0, end - time) * limit)
      state.low = Math.min(state.low, state.level)
      state.level += units * window
      time = Math.max(time, end)
    }
    state.leases = leases.filter(({ end }) => end > state.time)
    state.level = Math.max(0, state.level - (state.time - time) * limit)
    state.low = Math.min(state.low, state.level)
  }

  get exceeds(): boolean {
    const { limit, window, cost } = this.#call
    return limit === 0 || this.#state.level + this.#held + cost * window > this.#capacity
  }

  get chargeableIfDenied(): number {
    const { limit, cost } = this.#call
    return limit > 0 && cost <= this.#burst ? cost : 0
  }

  charge(units: number, isDenied: boolean): boolean {
    if (units === 0) return false
    const { lease } = this.#call
    if (lease !== undefined) return this.#lease(units, lease)
    this.#raise(units, isDenied)
    return this.#drain()
  }

  #raise(units: number, isDenied: boolean): void {
    const state = this.#state
    const { window } = this.#call
    const { time, mark } = state
    if (time - mark >= window || time < mark) {
      state.lowBefore = time >= mark && time - mark < 2 * window ? state.low : 0
      state.mark = time
      state.low = state.level
    }
    // A denied charge fills the level, no more. Otherwise the wait would grow with every attempt.
    const top = isDenied ? Math.max(state.level, this.#capacity) : MAX_UNITS * window
    state.level = Math.min(state.level + units * window, top)
  }

  refund(chargedAt: number): boolean {
    const state = this.#state
    const { limit, window, cost, lease, granted } = this.#call
    if (lease !== undefined && granted !== undefined)
      return this.#giveBack(endOf(chargedAt, lease), granted)
    // With `chargedAt`, only what cannot have drained since: the charge less the drain, or as much as the level always held.
    let back = cost * window
    if (chargedAt > 0) {
      const { mark, low, lowBefore } = state
      const held =
        chargedAt >= mark ? low : chargedAt >= mark - window ? Math.min(low, lowBefore) : 0
      const drained = Math.max(0, state.time - chargedAt) * limit
      back = Math.max(back - drained, Math.min(back, held))
    }
    back = Math.min(back, state.level)
    if (back <= 0) return false
    state.level -= back
    state.low = Math.max(0, state.low - back)
    state.lowBefore = Math.max(0, state.lowBefore - back)
    return this.#drain()
  }

  #lease(units: number, lease: number): boolean {
    const { leases, time } = this.#state
    const end = endOf(time, lease)
    this.#state.leases = withLease(leases, end, unitsUntil(leases, end) + units)
    this.#held += units * this.#call.window
    return this.#drain()
  }

  /** Charges what was used of `granted` units. Without a lease at that end they count as used already. */
  #giveBack(end: number, granted: number): boolean {
    const { leases } = this.#state
    const { cost, window } = this.#call
    const known = unitsUntil(leases, end)
    if (known === 0) return false
    const returned = Math.min(known, granted)
    this.#state.leases = withLease(leases, end, known - returned)
    this.#held -= returned * window
    const used = Math.max(0, granted - cost)
    if (used > 0) this.#raise(used, false)
    return this.#drain()
  }

  #drain(): true {
    const { limit, window } = this.#call
    const { leases, level, time } = this.#state
    const ms = limit > 0 ? Math.ceil((level + this.#held) / limit) : window
    const last = leases.reduce((latest, { end }) => Math.max(latest, end), time)
    this.#state.drainedAt = last + Math.min(ms, MAX_MS)
    return true
  }

  remaining(): number {
    const { limit, window } = this.#call
    return limit === 0
      ? 0
      : Math.max(0, Math.floor((this.#capacity - this.#state.level - this.#held) / window))
  }

  resetMs(): number {
    const { limit, window } = this.#call
    if (limit === 0) return window
    const remaining = this.remaining()
    if (remaining >= this.#burst) return 0
    return Math.max(0, this.#untilLevel((this.#burst - remaining - 1) * window))
  }

  retryAfterMs(): number {
    const { limit, window, cost } = this.#call
    if (limit === 0) return -1
    if (!this.exceeds) return 0
    return cost > this.#burst ? -1 : this.#untilLevel(this.#capacity - cost * window)
  }

  /** Milliseconds until the level has drained to `level`. */
  #untilLevel(level: number): number {
    const { time, drainedAt } = this.#state
    const at = Math.ceil((this.#state.level + this.#held - level) / this.#call.limit) + time
    return Math.min(at, drainedAt) - this.#call.now
  }

  snapshot(): { state: GcraState; countsUntil: number } {
    const { level, drainedAt } = this.#state
    return { state: this.#state, countsUntil: level + this.#held > 0 ? drainedAt : 0 }
  }
}

/** Returns when units count as used that were leased at `time`. */
const endOf = (time: number, lease: number): number =>
  (Math.floor(time / lease) + LEASE_LIVES) * lease

const unitsUntil = (leases: readonly HeldUnits[], end: number): number =>
  leases.find((each) => each.end === end)?.units ?? 0

/** Returns leases with `units` that end at `end`. */
function withLease(leases: readonly HeldUnits[], end: number, units: number): HeldUnits[] {
  const isKnown = leases.some((each) => each.end === end)
  const changed = isKnown
    ? leases.map((each) => (each.end === end ? { end, units } : each))
    : [...leases, { end, units }]
  return changed.filter((each) => each.units > 0)
}
