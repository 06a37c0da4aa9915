/** Options of ioredis with which commands neither hang nor run twice. */
import type { ClusterOptions, RedisOptions } from 'ioredis'

type HardenedOptions = RedisOptions & {
  retryStrategy: (attempt: number) => number
  replyMapping: 'legacy'
}

/** Returns the pause before an attempt to reconnect, in ms: 50 ms, doubling to 1 s, with jitter. */
export const reconnectDelay = (attempt: number): number =>
  Math.min(50 * 2 ** Math.min(attempt - 1, 5), 1000) * (0.5 + Math.random() / 2)

/**
 * A command whose caller gave up is neither kept for later (offline queue) nor sent again
 * (autoResend), and ioredis retries nothing by itself.
 */
export const HARDENED: HardenedOptions = {
  maxRetriesPerRequest: 0,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  autoResubscribe: false,
  enableAutoPipelining: false,
  connectTimeout: 1000,
  // A server that loads its data says how long that may take. Ask it again earlier.
  maxLoadingRetryTime: 250,
  // An idle connection that became half-open, above all a subscription's, is detected within 20 s.
  keepAlive: 10_000,
  // A connection that hangs does not reply to QUIT either, and delays the next one.
  disconnectTimeout: 50,
  retryStrategy: reconnectDelay,
  reconnectOnError: null,
  disableClientInfo: true,
  stringNumbers: false,
  replyMapping: 'legacy',
  keyPrefix: '',
  lazyConnect: false,
}

/**
 * What a connection is for. `calls`: commands whose callers give up. `blocking`: commands that wait
 * in Redis, and are sent again after a lost connection. It connects at its first command.
 */
export type ConnectionPurpose = 'calls' | 'blocking'

export const OPTIONS: Readonly<Record<ConnectionPurpose, HardenedOptions>> = {
  calls: HARDENED,
  blocking: {
    ...HARDENED,
    maxRetriesPerRequest: null,
    enableOfflineQueue: true,
    autoResendUnfulfilledCommands: true,
    lazyConnect: true,
  },
}

/** What a Cluster's client needs besides. */
export const HARDENED_CLUSTER: ClusterOptions = {
  enableOfflineQueue: false,
  // A replica may lack what was just written.
  scaleReads: 'master',
  // ioredis would send a command again later, by itself. After a lost connection it may have run.
  retryDelayOnFailover: 0,
  retryDelayOnClusterDown: 0,
}

export function hardenCluster(
  { redisOptions, ...given }: ClusterOptions = {},
  purpose: ConnectionPurpose = 'calls',
): object {
  const { retryStrategy, lazyConnect, ...hardened } = OPTIONS[purpose]
  const isBlocking = purpose === 'blocking'
  return {
    ...given,
    ...HARDENED_CLUSTER,
    ...(isBlocking && { enableOfflineQueue: true, retryDelayOnFailover: 100 }),
    ...(isBlocking && { retryDelayOnClusterDown: 100 }),
    lazyConnect,
    enableAutoPipelining: false,
    maxRedirections: 5,
    retryDelayOnTryAgain: 15,
    // cluster-nodes.ts refreshes the slots, with timers that do not keep the process alive.
    slotsRefreshInterval: isBlocking ? 5000 : 0,
    slotsRefreshTimeout: 500,
    shardedSubscribers: false,
    clusterRetryStrategy: retryStrategy,
    keyPrefix: '',
    redisOptions: { ...redisOptions, ...hardened, ...(!isBlocking && { commandTimeout: 1000 }) },
  }
}
