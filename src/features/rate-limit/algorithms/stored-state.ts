/** Reads states as Redis stores them, for programs that inspect Redis. Requests never need that. */
import type { FixedWindowState } from './fixed-window/layout.ts'
import { FIXED_WINDOW_LAYOUT } from './fixed-window/layout.ts'
import { GCRA_LAYOUT, type GcraState, type HeldUnits } from './gcra/layout.ts'
import type { RateLimitAlgorithm } from './index.ts'
import { sizeOf, STATE_BLOCK, STATE_HEADER, type StructFormat } from './layout.ts'
import { SLIDING_WINDOW_LAYOUT, type SlidingWindowState } from './sliding-window/layout.ts'

/** A state with its block, as the in-process engine stores it. */
export interface DecodedState {
  readonly block: { readonly end: number; readonly strikes: number; readonly length: number }
  /** State of the algorithm. */
  readonly state: unknown
}

/** Returns the values of a packed record, as `struct.unpack` of Redis does. @throws RangeError if it is too short */
function unpackStruct(format: StructFormat, bytes: Buffer, from: number): number[] {
  const values: number[] = []
  let at = from
  for (const [, type, width] of format.matchAll(/([IBd])(\d*)/g)) {
    const size = type === 'd' ? 8 : Number(width || 1)
    values.push(type === 'd' ? bytes.readDoubleBE(at) : bytes.readUIntBE(at, size))
    at += size
  }
  return values
}

const DECODERS: Record<RateLimitAlgorithm, (bytes: Buffer) => unknown> = {
  'fixed-window': (bytes): FixedWindowState => {
    const [end, count] = unpackStruct(FIXED_WINDOW_LAYOUT.STATE, bytes, 0) as [number, number]
    return { end, count }
  },
  gcra: (bytes): GcraState => {
    const [time, level, drainedAt, window, mark, low, lowBefore] = unpackStruct(
      GCRA_LAYOUT.STATE,
      bytes,
      0,
    ) as [number, number, number, number, number, number, number]
    const leases: HeldUnits[] = []
    for (let at = GCRA_LAYOUT.STATE_SIZE; at < bytes.length; at += GCRA_LAYOUT.LEASE_SIZE) {
      const [end, units] = unpackStruct(GCRA_LAYOUT.LEASE, bytes, at) as [number, number]
      leases.push({ end, units })
    }
    return { time, level, drainedAt, window, mark, low, lowBefore, leases }
  },
  'sliding-window': decodeRuns,
}

function decodeRuns(bytes: Buffer): SlidingWindowState {
  const { STATE, RUN } = SLIDING_WINDOW_LAYOUT
  const [total, last, lastUnits, first, firstUnits, start, held, slots] = unpackStruct(
    STATE,
    bytes,
    0,
  ) as [number, number, number, number, number, number, number, number]
  if (total === 0) return { runs: [] }
  if (first === last) return { runs: [last, lastUnits] }
  const between: number[] = []
  for (let i = 0; i < held; i++) {
    const slot = (start + i) % slots
    between.push(
      ...unpackStruct(
        RUN as StructFormat,
        bytes,
        sizeOf(STATE) + slot * sizeOf(RUN as StructFormat),
      ),
    )
  }
  return { runs: [first, firstUnits, ...between, last, lastUnits] }
}

/** Returns a stored state. Undefined for what turnpike has not written: anyone with access can write. */
export function decodeState(
  algorithm: RateLimitAlgorithm,
  bytes: Buffer,
): DecodedState | undefined {
  try {
    const [, isBlocked] = unpackStruct(STATE_HEADER, bytes, 0) as [number, number]
    const header = sizeOf(STATE_HEADER)
    const [end, strikes, length] = (
      isBlocked === 0 ? [0, 0, 0] : unpackStruct(STATE_BLOCK, bytes, header)
    ) as [number, number, number]
    const from = header + (isBlocked === 0 ? 0 : sizeOf(STATE_BLOCK))
    return { block: { end, strikes, length }, state: DECODERS[algorithm](bytes.subarray(from)) }
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}
