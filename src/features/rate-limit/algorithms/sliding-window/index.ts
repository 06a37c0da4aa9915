/**
 * A sliding log with run-length encoding: it never admits more than `limit` in any window. Uses of
 * the same cell of time share a run. A cell is 1 ms while no more than `parameter` runs are needed,
 * else window / parameter. A use may count for so much longer, never shorter.
 */
import { MAX_LEASE_PART, type LimitAlgorithm } from '../algorithm.ts'
import apply from './apply.lua'
import fastApply from './fast-apply.lua'
import fastInspect from './fast-inspect.lua'
import functions from './functions.lua'
import inspect from './inspect.lua'
import { SLIDING_WINDOW_LAYOUT, type SlidingWindowState } from './layout.ts'
import { createSlidingWindowMeter } from './meter.ts'

/** Runs that a log holds at most. Limits up to it are exact. */
const MAX_RUNS = 64

export const slidingWindow: LimitAlgorithm<'sliding-window', SlidingWindowState> = {
  name: 'sliding-window',
  code: 's',
  hasBurst: false,
  hasCalendar: false,
  parameterOf: () => MAX_RUNS,
  endsLeases: false,
  holdsLeases: false,
  // A unit is used up to a lease after its charge, and counts for a window after that.
  underLease({ limit, window }, lease) {
    const isPossible = lease <= window * MAX_LEASE_PART
    return {
      window: isPossible ? window + lease : window,
      quota: isPossible ? limit : 0,
    }
  },
  script: {
    layout: SLIDING_WINDOW_LAYOUT,
    functions,
    inspect,
    carried: ['log', 'from', 'total', 'first', 'last', 'lastUnits', 'clock'],
    apply,
    fast: {
      inspect: fastInspect,
      apply: fastApply,
      constantsOf({ limit, window, cost, parameter = MAX_RUNS }) {
        if (cost > limit) return undefined
        return {
          CELL: limit > parameter ? Math.floor(window / parameter) + 1 : 1,
          LIFE: window + Math.floor(window / 8),
        }
      },
    },
  },
  createMeter: createSlidingWindowMeter,
}
