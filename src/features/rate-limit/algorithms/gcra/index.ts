/**
 * The generic cell rate algorithm (ITU-T I.371), as the leaky bucket that it equals. A level in
 * unit * ms drains by `limit` each ms, and a unit raises it by `window`. All numbers are integers,
 * so that nothing is lost to rounding. The parameter is the burst.
 *
 * Leased units are held apart from the level, and do not drain. They are charged when their process
 * says how many it has used, which is never before their use. So no interval admits more than the
 * burst and what drains in it.
 */
import { MAX_LEASE_PART, type LimitAlgorithm } from '../algorithm.ts'
import apply from './apply.lua'
import fastApply from './fast-apply.lua'
import fastInspect from './fast-inspect.lua'
import functions from './functions.lua'
import inspect from './inspect.lua'
import { GCRA_LAYOUT, type GcraState } from './layout.ts'
import { createGcraMeter } from './meter.ts'

export const gcra: LimitAlgorithm<'gcra', GcraState> = {
  name: 'gcra',
  code: 'g',
  hasBurst: true,
  hasCalendar: false,
  parameterOf: ({ burst, limit }) => burst ?? limit,
  endsLeases: false,
  holdsLeases: true,
  underLease: ({ limit, window, parameter: burst = limit }, lease) => ({
    window,
    quota: lease <= window * MAX_LEASE_PART ? Math.min(limit, burst) : 0,
  }),
  script: {
    layout: GCRA_LAYOUT,
    functions,
    inspect,
    carried: ['clock', 'level', 'drainedAt', 'mark', 'low', 'lowBefore', 'leases', 'held'],
    apply,
    fast: {
      inspect: fastInspect,
      apply: fastApply,
      constantsOf({ window, cost, parameter: burst = 0 }) {
        if (cost > burst) return undefined
        return { BURST: burst, RISE: cost * window, CAPACITY: burst * window }
      },
    },
  },
  createMeter: createGcraMeter,
}
