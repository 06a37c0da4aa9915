/** What counts as much: one table for doctor, the rules of alerts, those for Prometheus, and the dashboard. */

/** How bad something is. */
export type Severity = 'ok' | 'warn' | 'critical'

/** From which value on something is worth a look, and from which it is critical. */
export interface Threshold {
  readonly unit: 'ms' | 'share' | 'bytes' | 'count'
  /** Whether high or low values are bad. */
  readonly bad: 'above' | 'below'
  readonly warn: number
  readonly critical?: number
  /** From which value on all is well. Between it and `warn` a value is worth a look at leisure. */
  readonly good?: number
}

/** What has a threshold. */
export type ThresholdName =
  | 'ping'
  | 'memory'
  | 'fragmentation'
  | 'evictions'
  | 'hitRate'
  | 'slowCommand'
  | 'slowCall'
  | 'keysWithoutTtl'
  | 'clockSkew'
  | 'replicaLag'
  | 'clients'
  | 'stuckKey'
  | 'lostProcesses'
  | 'waitingJob'

export const THRESHOLDS: Readonly<Record<ThresholdName, Threshold>> = {
  /** Median time of a PING, as the caller sees it. */
  ping: { unit: 'ms', bad: 'above', warn: 10, critical: 50 },
  /** Memory in use, of what Redis may use. */
  memory: { unit: 'share', bad: 'above', warn: 0.8, critical: 0.9 },
  /** Memory of the process beyond what is in use. */
  fragmentation: { unit: 'bytes', bad: 'above', warn: 64 * 2 ** 20 },
  /** Keys that Redis has evicted. */
  evictions: { unit: 'count', bad: 'above', warn: 0 },
  /** Reads that found a key, or requests that a cache answered. */
  hitRate: { unit: 'share', bad: 'below', warn: 0.5, good: 0.8 },
  /** Time of a command, from which it counts as slow. */
  slowCommand: { unit: 'ms', bad: 'above', warn: 10 },
  /** The 99th percentile of calls to Redis. */
  slowCall: { unit: 'ms', bad: 'above', warn: 50 },
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
  /** Processes that ended without `tp.close()`, or cannot reach Redis. */
  lostProcesses: { unit: 'count', bad: 'above', warn: 0 },
  /** How long the oldest job of a queue has waited. */
  waitingJob: { unit: 'ms', bad: 'above', warn: 300_000 },
}

/** Returns how bad a value is. */
export function severityOf({ bad, warn, critical }: Threshold, value: number): Severity {
  const isBeyond = (mark: number | undefined): boolean =>
    mark !== undefined && (bad === 'above' ? value > mark : value < mark)
  return isBeyond(critical) ? 'critical' : isBeyond(warn) ? 'warn' : 'ok'
}
