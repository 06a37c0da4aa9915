/** What counts as much: one table for checks, alerts and pages. */

/** How bad something is. */
export type Severity = 'ok' | 'warn' | 'critical'

/** From which value on something is worth a look, and from which it is critical. */
export interface Threshold {
  readonly unit: 'ms' | 'share' | 'bytes' | 'count'
  /** Whether high or low values are bad. */
  readonly bad: 'above' | 'below'
  readonly warn: number
  readonly critical?: number
}

/** What has a threshold. */
export type ThresholdName =
  | 'ping'
  | 'memory'
  | 'fragmentation'
  | 'evictions'
  | 'hitRate'
  | 'slowCommand'
  | 'keysWithoutTtl'
  | 'clockSkew'
  | 'replicaLag'
  | 'clients'
  | 'stuckKey'

export const THRESHOLDS: Readonly<Record<ThresholdName, Threshold>> = {
  /** Median time of a PING, as the caller sees it. */
  ping: { unit: 'ms', bad: 'above', warn: 10, critical: 50 },
  /** Memory in use, of what Redis may use. */
  memory: { unit: 'share', bad: 'above', warn: 0.8, critical: 0.9 },
  /** Memory of the process beyond what is in use. */
  fragmentation: { unit: 'bytes', bad: 'above', warn: 64 * 2 ** 20 },
  /** Keys that Redis has evicted. */
  evictions: { unit: 'count', bad: 'above', warn: 0 },
  /** Reads that found a key. Above 80 % is good. */
  hitRate: { unit: 'share', bad: 'below', warn: 0.5 },
  /** Time of a command, from which it counts as slow. */
  slowCommand: { unit: 'ms', bad: 'above', warn: 10 },
  /** Keys of ours that never expire. */
  keysWithoutTtl: { unit: 'count', bad: 'above', warn: 0 },
  /** Difference between Redis's clock and the local one. */
  clockSkew: { unit: 'ms', bad: 'above', warn: 500, critical: 5000 },
  /** How long ago a replica has last spoken. */
  replicaLag: { unit: 'ms', bad: 'above', warn: 10_000 },
  /** Connections, of those that Redis accepts. */
  clients: { unit: 'share', bad: 'above', warn: 0.8, critical: 0.9 },
  /** Time since the lease of an idempotency key ended that was neither completed nor released. */
  stuckKey: { unit: 'ms', bad: 'above', warn: 60_000 },
}

/** Returns how bad a value is. */
export function severityOf({ bad, warn, critical }: Threshold, value: number): Severity {
  const isBeyond = (mark: number | undefined): boolean =>
    mark !== undefined && (bad === 'above' ? value > mark : value < mark)
  return isBeyond(critical) ? 'critical' : isBeyond(warn) ? 'warn' : 'ok'
}
