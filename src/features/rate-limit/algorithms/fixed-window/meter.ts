import { MAX_UNITS, type Meter, type PolicyCall } from '../algorithm.ts'
import type { FixedWindowState } from './layout.ts'

/** Opens a count in the in-process engine. Returns undefined if the call's period is not the current one. */
export function createFixedWindowMeter(
  { limit, window, cost, parameter: start, now }: PolicyCall,
  state: FixedWindowState | undefined,
): Meter<FixedWindowState> | undefined {
  let end = start === undefined ? (Math.floor(now / window) + 1) * window : start + window
  let count = 0
  if (now >= end || now < end - window) return undefined
  if (state !== undefined && state.end > now && state.end - now <= 2 * window) {
    end = Math.max(end, state.end)
    count = state.count
  }
  const add = (units: number): boolean => {
    count += units
    return units !== 0
  }
  return {
    exceeds: count + cost > limit,
    chargeableIfDenied: cost <= limit ? cost : 0,
    charge: (units) => add(Math.min(units, MAX_UNITS - count)),
    refund: (chargedAt) =>
      (chargedAt === 0 || (chargedAt >= end - window && chargedAt < end)) &&
      add(-Math.min(cost, count)),
    remaining: () => Math.max(0, limit - count),
    resetMs: () => end - now,
    retryAfterMs: () => (count + cost <= limit ? 0 : cost > limit ? -1 : end - now),
    snapshot: () => ({ state: { end, count }, countsUntil: count > 0 ? end : 0 }),
  }
}
