import { MAX_UNITS, type Meter, type PolicyCall } from '../algorithm.ts'
import type { SlidingWindowState } from './layout.ts'

/** Opens a log in the in-process engine. It never admits more than `limit` in any window. */
export function createSlidingWindowMeter(
  call: PolicyCall,
  state: SlidingWindowState | undefined,
): Meter<SlidingWindowState> {
  return new SlidingWindowMeter(call, state)
}

class SlidingWindowMeter implements Meter<SlidingWindowState> {
  readonly #call: PolicyCall
  readonly #maxRuns: number
  /** Milliseconds of a cell where the log has too many runs to be exact. */
  readonly #coarseCell: number
  /** When a charge counts from: `now`, or later if the clock was set back. */
  readonly #clock: number
  #runs: readonly number[]
  #total: number

  constructor(call: PolicyCall, state: SlidingWindowState | undefined) {
    const { window, now, parameter: maxRuns = 0 } = call
    this.#call = call
    this.#maxRuns = maxRuns
    this.#coarseCell = Math.floor(window / maxRuns) + 1
    const { runs = [] } = state ?? {}
    const last = runs.at(-2)
    // A log that is newer than `now` by more than the window was written before the clock was set back.
    const isLive = last !== undefined && last - now <= window
    this.#clock = isLive ? Math.max(now, last) : now
    this.#runs = isLive ? withoutOlder(runs, this.#clock - window) : []
    this.#total = unitsOf(this.#runs)
  }

  get exceeds(): boolean {
    return this.#total + this.#call.cost > this.#call.limit
  }

  get chargeableIfDenied(): number {
    const { cost, limit } = this.#call
    return cost <= limit ? cost : 0
  }

  charge(asked: number): boolean {
    const units = Math.min(asked, MAX_UNITS - this.#total)
    if (units <= 0) return false
    const isCoarse = this.#call.limit > this.#maxRuns || this.#runs.length > this.#maxRuns * 2
    const cell = isCoarse ? this.#coarseCell : 1
    let runs = [...this.#runs]
    const end = runs.length
    if (end > 0 && areInOneCell(runs[end - 2]!, this.#clock, cell)) {
      runs[end - 2] = this.#clock
      runs[end - 1]! += units
    } else {
      runs.push(this.#clock, units)
      if (runs.length > (this.#maxRuns + 1) * 2) runs = compacted(runs, this.#coarseCell)
    }
    this.#runs = runs
    this.#total += units
    return true
  }

  refund(chargedAt: number): boolean {
    // Only from the run that holds `chargedAt`. Taken from a later run, a use would stop to count too early.
    const runs: number[] = []
    let left = this.#call.cost
    let refunded = 0
    for (let i = 0; i < this.#runs.length; i += 2) {
      const [time, units] = [this.#runs[i]!, this.#runs[i + 1]!]
      let taken = 0
      if (left > 0 && time >= chargedAt) {
        if (chargedAt === 0 || areInOneCell(time, chargedAt, this.#coarseCell))
          taken = Math.min(left, units)
        left = chargedAt === 0 ? left - taken : 0
        refunded += taken
      }
      if (units > taken) runs.push(time, units - taken)
    }
    this.#runs = runs
    this.#total -= refunded
    return refunded > 0
  }

  remaining(): number {
    return Math.max(0, this.#call.limit - this.#total)
  }

  resetMs(): number {
    const { window, now } = this.#call
    return this.#runs.length > 0 ? this.#runs[0]! + window - now : window
  }

  retryAfterMs(): number {
    const { limit, window, cost, now } = this.#call
    if (!this.exceeds) return 0
    if (cost > limit) return -1
    let need = this.#total + cost - limit
    let i = 0
    while ((need -= this.#runs[i + 1]!) > 0) i += 2
    return this.#runs[i]! + window - now
  }

  snapshot(): { state: SlidingWindowState; countsUntil: number } {
    const last = this.#runs.at(-2)
    return {
      state: { runs: this.#runs },
      countsUntil: last === undefined ? 0 : last + this.#call.window,
    }
  }
}

const areInOneCell = (a: number, b: number, cell: number): boolean =>
  Math.floor(a / cell) === Math.floor(b / cell)

function withoutOlder(runs: readonly number[], edge: number): readonly number[] {
  let from = 0
  while (from < runs.length && runs[from]! <= edge) from += 2
  return from === 0 ? runs : runs.slice(from)
}

function unitsOf(runs: readonly number[]): number {
  let sum = 0
  for (let i = 1; i < runs.length; i += 2) sum += runs[i]!
  return sum
}

/** Returns the runs of each cell as one. */
function compacted(runs: readonly number[], cell: number): number[] {
  const result: number[] = []
  for (let i = 0; i < runs.length; i += 2) {
    const end = result.length
    if (end > 0 && areInOneCell(runs[i]!, result[end - 2]!, cell)) {
      result[end - 2] = runs[i]!
      result[end - 1]! += runs[i + 1]!
    } else {
      result.push(runs[i]!, runs[i + 1]!)
    }
  }
  return result
}
