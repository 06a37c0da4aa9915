/** A policy as one call of `take` asks for it. Times in ms. */
export interface Asked {
  limit: number
  window: number
  cost: number
  /** Sliding window: runs at most; fixed window: the calendar period's start; GCRA: burst. */
  aux: number | undefined
  now: number
}

/** A policy's state as it is at `now`, which can be charged and then kept. */
export interface Usage<State = unknown> {
  /** Would the cost exceed the limit? */
  readonly over: boolean
  /** What a refusal may be charged where refusals count: nothing if it can never be admitted. */
  readonly chargeable: number
  /** Charges `units`, beyond the limit if need be. True if that changed anything. */
  charge(units: number, refused: boolean): boolean
  /** Gives the cost back that was charged at `at` (0: unknown). True if that changed anything. */
  refund(at: number): boolean
  remaining(): number
  reset(): number
  /** Milliseconds until the cost is admitted: 0 at once, -1 never. */
  retry(): number
  /** What is to be kept, and until when it counts: 0 if nothing does. */
  keep(): { state: State; life: number }
}

/** Units that a run can hold: 5 bytes in Redis. */
const MOST = 1099511627775
/** Milliseconds that 6 bytes hold beside the time of day. */
const LONGEST = 10_000_000_000_000

/** A run-length log: the uses of one cell of time share the run `runs[i]` (last time), `runs[i + 1]` (count). */
export interface SlidingState {
  total: number
  runs: readonly number[]
}

/** Never admits more than `limit` in any window; over-holds by a cell at most. */
export function slidingWindow(
  { limit, window, cost, aux = 0, now }: Asked,
  state: SlidingState | undefined,
): Usage<SlidingState> {
  const coarse = Math.floor(window / aux) + 1
  let runs: readonly number[] = state?.runs ?? []
  let total = state?.total ?? 0
  let clock = now
  if (runs.length > 0) {
    const last = runs[runs.length - 2]!
    // A log that is newer than now by more than the window: the clock was set back.
    const from =
      last - now <= window ? firstAfter((clock = Math.max(now, last)) - window) : runs.length
    if (from > 0) runs = runs.slice(from)
  }
  if (runs.length === 0) total = 0

  function firstAfter(edge: number): number {
    let i = 0
    for (; i < runs.length && runs[i]! <= edge; i += 2) total -= runs[i + 1]!
    return i
  }

  function compacted(log: number[]): number[] {
    const result: number[] = []
    for (let i = 0; i < log.length; i += 2) {
      const end = result.length
      if (end > 0 && Math.floor(log[i]! / coarse) === Math.floor(result[end - 2]! / coarse)) {
        result[end - 2] = log[i]!
        result[end - 1]! += log[i + 1]!
      } else {
        result.push(log[i]!, log[i + 1]!)
      }
    }
    return result
  }

  return {
    over: total + cost > limit,
    chargeable: cost <= limit ? cost : 0,
    charge(asked) {
      const units = Math.min(asked, MOST - total)
      if (units <= 0) return false
      const cell = limit > aux || runs.length > aux * 2 ? coarse : 1
      let log = [...runs]
      const end = log.length
      if (end > 0 && Math.floor(log[end - 2]! / cell) === Math.floor(clock / cell)) {
        log[end - 2] = clock
        log[end - 1]! += units
      } else {
        log.push(clock, units)
        if (log.length > (aux + 1) * 2) log = compacted(log)
      }
      runs = log
      total += units
      return true
    },
    refund(at) {
      // Only from the run that holds `at`: a later one would stop counting a use too early.
      const log: number[] = []
      let left = cost
      for (let i = 0; i < runs.length; i += 2) {
        const [time, count] = [runs[i]!, runs[i + 1]!]
        let taken = 0
        if (left > 0 && time >= at) {
          if (at === 0 || Math.floor(time / coarse) === Math.floor(at / coarse)) {
            taken = Math.min(left, count)
          }
          left = at === 0 ? left - taken : 0
          total -= taken
        }
        if (count > taken) log.push(time, count - taken)
      }
      const changed = sum(log) !== sum(runs)
      runs = log
      return changed
    },
    remaining: () => Math.max(0, limit - total),
    reset: () => (runs.length > 0 ? runs[0]! + window - now : window),
    retry() {
      if (total + cost <= limit) return 0
      if (cost > limit) return -1
      let need = total + cost - limit
      let i = 0
      while ((need -= runs[i + 1]!) > 0) i += 2
      return runs[i]! + window - now
    },
    keep: () => ({
      state: { total, runs },
      life: runs.length > 0 ? runs[runs.length - 2]! + window : 0,
    }),
  }
}

function sum(runs: readonly number[]): number {
  let result = 0
  for (let i = 1; i < runs.length; i += 2) result += runs[i]!
  return result
}

/** The count of one period. */
export interface FixedState {
  end: number
  count: number
}

/** A count per period: of the calendar, or aligned to the epoch. Undefined if the period asked for is not the current one. */
export function fixedWindow(
  { limit, window, cost, aux: start, now }: Asked,
  state: FixedState | undefined,
): Usage<FixedState> | undefined {
  let end = start === undefined ? (Math.floor(now / window) + 1) * window : start + window
  let count = 0
  if (now >= end || now < end - window) return undefined
  if (state && state.end > now && state.end - now <= 2 * window) {
    end = Math.max(end, state.end)
    count = state.count
  }

  function add(units: number): boolean {
    count += units
    return units !== 0
  }

  return {
    over: count + cost > limit,
    chargeable: cost <= limit ? cost : 0,
    charge: (units) => add(Math.min(units, MOST - count)),
    refund: (at) => (at === 0 || (at >= end - window && at < end)) && add(-Math.min(cost, count)),
    remaining: () => Math.max(0, limit - count),
    reset: () => end - now,
    retry: () => (count + cost <= limit ? 0 : cost > limit ? -1 : end - now),
    keep: () => ({ state: { end, count }, life: count > 0 ? end : 0 }),
  }
}

/**
 * A level in unit * ms: it drains by `limit` each ms, and a unit raises it by `window`. Whole
 * numbers, so nothing is lost to rounding.
 */
export interface GcraState {
  time: number
  level: number
  /** When it has drained. */
  stop: number
  window: number
  /** Since when `low` is the lowest level; `before` is that of the span before it. */
  mark: number
  low: number
  before: number
}

/** The generic cell rate algorithm, as the leaky bucket that it equals. */
export function gcra(
  { limit, window, cost, aux: burst = 0, now }: Asked,
  state: GcraState | undefined,
): Usage<GcraState> {
  const capacity = burst * window
  let clock = now
  let [level, low, before, mark, stop] = [0, 0, 0, now, now]
  if (state && now < state.stop && state.time - now <= window) {
    clock = Math.max(now, state.time)
    ;({ level, low, before, mark, stop } = state)
    if (state.window !== window) {
      level = Math.ceil((level / state.window) * window)
      low = Math.floor((low / state.window) * window)
      before = Math.floor((before / state.window) * window)
    }
    level = Math.max(0, level - (clock - state.time) * limit)
    low = Math.min(low, level)
  }

  function drain(): true {
    stop = clock + Math.min(limit > 0 ? Math.ceil(level / limit) : window, LONGEST)
    return true
  }

  function remaining(): number {
    return limit === 0 ? 0 : Math.max(0, Math.floor((capacity - level) / window))
  }

  return {
    over: limit === 0 || level + cost * window > capacity,
    chargeable: limit > 0 && cost <= burst ? cost : 0,
    charge(units, refused) {
      if (units === 0) return false
      if (clock - mark >= window || clock < mark) {
        before = clock >= mark && clock - mark < 2 * window ? low : 0
        mark = clock
        low = level
      }
      // A refused charge fills the level, no more: the wait must not grow with every attempt.
      const top = refused ? Math.max(level, capacity) : MOST * window
      level = Math.min(level + units * window, top)
      return drain()
    },
    refund(at) {
      // With `at`, only what surely has not drained since: that much of it, or as much as the level always held.
      let back = cost * window
      if (at > 0) {
        const held = at >= mark ? low : at >= mark - window ? Math.min(low, before) : 0
        back = Math.max(back - Math.max(0, clock - at) * limit, Math.min(back, held))
      }
      back = Math.min(back, level)
      if (back <= 0) return false
      level -= back
      low = Math.max(0, low - back)
      before = Math.max(0, before - back)
      return drain()
    },
    remaining,
    reset() {
      if (limit === 0) return window
      if (remaining() >= burst) return 0
      const until = Math.ceil((level - (burst - remaining() - 1) * window) / limit) + clock
      return Math.max(0, Math.min(until, stop) - now)
    },
    retry() {
      if (limit === 0) return -1
      if (level + cost * window <= capacity) return 0
      if (cost > burst) return -1
      const until = Math.ceil((level + cost * window - capacity) / limit) + clock
      return Math.min(until, stop) - now
    },
    keep: () => ({
      state: { time: clock, level, stop, window, mark, low, before },
      life: level > 0 ? stop : 0,
    }),
  }
}
