import { sizeOf, type StateLayout, type StructFormat } from '../layout.ts'

/** Time, level, when it has drained, window, mark, low, low before. Then come the leases. */
const STATE: StructFormat = '>I6dI6I6I6dd'
/** When leases end, and the units that processes hold until then. */
const LEASE: StructFormat = '>I6I6'

export const GCRA_LAYOUT: StateLayout & {
  readonly STATE_SIZE: number
  readonly LEASE: StructFormat
  readonly LEASE_SIZE: number
} = { STATE, STATE_SIZE: sizeOf(STATE), LEASE, LEASE_SIZE: sizeOf(LEASE) }

/** Units that processes hold. They do not drain. */
export interface HeldUnits {
  /** When they count as used, in ms since the epoch. */
  readonly end: number
  readonly units: number
}

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
  /** In the order in which they were leased. */
  leases: readonly HeldUnits[]
}
