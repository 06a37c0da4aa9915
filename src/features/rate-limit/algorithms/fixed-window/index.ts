/**
 * A count for each period. Periods are aligned to the epoch, or they are days or months of a
 * calendar. Then the parameter is the period's start.
 */
import { MAX_LEASE_PART, type LimitAlgorithm } from '../algorithm.ts'
import apply from './apply.lua'
import fastApply from './fast-apply.lua'
import fastInspect from './fast-inspect.lua'
import inspect from './inspect.lua'
import { FIXED_WINDOW_LAYOUT, type FixedWindowState } from './layout.ts'
import { createFixedWindowMeter } from './meter.ts'

export const fixedWindow: LimitAlgorithm<'fixed-window', FixedWindowState> = {
  name: 'fixed-window',
  code: 'f',
  hasBurst: false,
  hasCalendar: true,
  parameterOf: ({ periodStart }) => periodStart,
  // A lease ends with its period, so its units are used in the period to which they are charged.
  endsLeases: true,
  holdsLeases: false,
  underLease: ({ limit, window }, lease) => ({
    window,
    quota: lease <= window * MAX_LEASE_PART ? limit : 0,
  }),
  script: {
    layout: FIXED_WINDOW_LAYOUT,
    functions: '',
    inspect,
    carried: ['periodEnd', 'count'],
    apply,
    fast: {
      inspect: fastInspect,
      apply: fastApply,
      constantsOf: ({ limit, cost, parameter }) =>
        cost > limit || parameter !== undefined ? undefined : {},
    },
  },
  createMeter: createFixedWindowMeter,
}
