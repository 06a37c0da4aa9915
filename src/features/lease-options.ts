/** Options that locks, semaphores and the middlewares over them share. */
import { durationOption, durationValidator, type Duration } from '../duration.ts'
import type { Validator } from '../validate.ts'

export const abortSignal: Validator = {
  expected: 'an AbortSignal',
  accepts: (value) => value instanceof AbortSignal,
}

export const tenantName: Validator = {
  expected: 'a string',
  accepts: (value) => typeof value === 'string',
}

/** Validators of `LeaseTimes`. */
export const leaseTimes: Readonly<Record<keyof LeaseTimes, Validator>> = {
  lease: durationValidator,
  maxLease: durationValidator,
  wait: durationValidator,
}

export interface LeaseTimes {
  lease?: Duration | undefined
  maxLease?: Duration | undefined
  wait?: Duration | undefined
}

const DEFAULT_LEASE = '30s'

/** Shortest lease, in ms. A slow reply outlasts a shorter one. */
export const SHORTEST_LEASE = 50

/** Leases that a request may have one after the other, unless its mount says otherwise. */
const REQUEST_LEASES = 10

/**
 * Returns the times of a lease, in ms.
 * @throws TP_OPTION if one cannot be used
 */
export function leaseTimesOf(
  where: string,
  { lease = DEFAULT_LEASE, maxLease, wait = 0 }: LeaseTimes,
): { lease: number; maxLease: number | undefined; wait: number } {
  return {
    lease: durationOption(lease, where, 'lease', SHORTEST_LEASE),
    maxLease:
      maxLease === undefined
        ? undefined
        : durationOption(maxLease, where, 'maxLease', SHORTEST_LEASE),
    wait: durationOption(wait, where, 'wait', 0),
  }
}

/** Returns the times of a lease that a request holds: it must not last for ever. @throws TP_OPTION */
export function requestLeaseTimes(
  where: string,
  options: LeaseTimes,
): { lease: number; maxLease: number; wait: number } {
  const { maxLease, ...times } = leaseTimesOf(where, options)
  return { ...times, maxLease: maxLease ?? times.lease * REQUEST_LEASES }
}
