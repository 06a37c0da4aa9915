import { MAX_MS, MAX_UNITS, type Meter, type PolicyCall } from '../algorithm.ts'
import type { GcraState } from './layout.ts'

/** Opens a level in the in-process engine. */
export function createGcraMeter(call: PolicyCall, state: GcraState | undefined): Meter<GcraState> {
  return new GcraMeter(call, state)
}

class GcraMeter implements Meter<GcraState> {
  readonly #call: PolicyCall
  readonly #burst: number
  readonly #capacity: number
  readonly #state: GcraState

  constructor(call: PolicyCall, stored: GcraState | undefined) {
    const { limit, window, now, parameter: burst = 0 } = call
    this.#call = call
    this.#burst = burst
    this.#capacity = burst * window
    const state = { time: now, level: 0, drainedAt: now, window, mark: now, low: 0, lowBefore: 0 }
    // A state that is newer than `now` by more than the window was written before the clock was set back.
    if (stored !== undefined && now < stored.drainedAt && stored.time - now <= window) {
      Object.assign(state, stored, { time: Math.max(now, stored.time), window })
      if (stored.window !== window) {
        state.level = Math.ceil((stored.level / stored.window) * window)
        state.low = Math.floor((stored.low / stored.window) * window)
        state.lowBefore = Math.floor((stored.lowBefore / stored.window) * window)
      }
      state.level = Math.max(0, state.level - (state.time - stored.time) * limit)
      state.low = Math.min(state.low, state.level)
    }
    this.#state = state
  }

  get exceeds(): boolean {
    const { limit, window, cost } = this.#call
    return limit === 0 || this.#state.level + cost * window > this.#capacity
  }

  get chargeableIfDenied(): number {
    const { limit, cost } = this.#call
    return limit > 0 && cost <= this.#burst ? cost : 0
  }

  charge(units: number, isDenied: boolean): boolean {
    if (units === 0) return false
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
    return this.#drain()
  }

  refund(chargedAt: number): boolean {
    const state = this.#state
    const { limit, window, cost } = this.#call
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

  #drain(): true {
    const { limit, window } = this.#call
    const ms = limit > 0 ? Math.ceil(this.#state.level / limit) : window
    this.#state.drainedAt = this.#state.time + Math.min(ms, MAX_MS)
    return true
  }

  remaining(): number {
    const { limit, window } = this.#call
    return limit === 0 ? 0 : Math.max(0, Math.floor((this.#capacity - this.#state.level) / window))
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
    const at = Math.ceil((this.#state.level - level) / this.#call.limit) + time
    return Math.min(at, drainedAt) - this.#call.now
  }

  snapshot(): { state: GcraState; countsUntil: number } {
    const { level, drainedAt } = this.#state
    return { state: this.#state, countsUntil: level > 0 ? drainedAt : 0 }
  }
}
