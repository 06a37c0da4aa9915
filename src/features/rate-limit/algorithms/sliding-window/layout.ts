import { joined, sizeOf, type StateLayout, type StructFormat } from '../layout.ts'

/** One run: the time of its last use, and its units. */
const RUN: StructFormat = '>I6I5'
const TOTAL: StructFormat = '>I5'
/** The ring of the other runs: the slot it begins at, how many runs it holds, how many slots it has. */
const RING: StructFormat = '>BBB'

/** Total, last run, first run, ring, then the slots of the ring. */
const STATE: StructFormat = joined(TOTAL, RUN, RUN, RING)

/** Positions are those of Lua, from 1, within the state without its header. */
export const SLIDING_WINDOW_LAYOUT: StateLayout = {
  STATE,
  TOTAL,
  RING,
  RUN,
  RUN_SIZE: sizeOf(RUN),
  LAST_RUN: sizeOf(TOTAL) + 1,
  FIRST_RUN: sizeOf(TOTAL) + sizeOf(RUN) + 1,
  SLOTS: sizeOf(STATE) + 1,
  STATE_SIZE: sizeOf(STATE),
}

/** A state in the in-process engine. */
export interface SlidingWindowState {
  /** Runs in the order of time: time of the last use, units, and so on. */
  runs: readonly number[]
}
