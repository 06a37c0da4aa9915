import type { StateLayout } from '../layout.ts'

/** End of the period, units counted in it. */
export const FIXED_WINDOW_LAYOUT: StateLayout = { STATE: '>I6I6' }

/** A state in the in-process engine. */
export interface FixedWindowState {
  /** In ms since the epoch. */
  end: number
  count: number
}
