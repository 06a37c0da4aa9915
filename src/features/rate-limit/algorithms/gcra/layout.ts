import type { StateLayout } from '../layout.ts'

/** Time, level, when it has drained, window, mark, low, low before. */
export const GCRA_LAYOUT: StateLayout = { STATE: '>I6dI6I6I6dd' }

/** A state in the in-process engine. */
export interface GcraState {
  time: number
  /** In unit * ms. It drains by `limit` each ms, and a unit raises it by `window`. */
  level: number
  /** When the level has drained, in ms since the epoch. */
  drainedAt: number
  window: number
  /** `low` is the lowest level since `mark`, `lowBefore` that of the window before it. */
  mark: number
  low: number
  lowBefore: number
}
