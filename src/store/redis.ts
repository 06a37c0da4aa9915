/** Redis as ioredis reaches it: the only file that knows ioredis. */
import type { Cluster, ClusterNode, ClusterOptions, Redis, RedisOptions } from 'ioredis'
import { TurnpikeError } from '../errors.ts'

/** Where Redis is: a URL, ioredis options (Sentinel too), the nodes of a Cluster, or your own ioredis client. */
export type RedisSource =
  | string
  | (RedisOptions & { url?: string })
  | { cluster: ClusterNode[]; options?: ClusterOptions }
  | Redis
  | Cluster

/** The client behind a store, and the commands that the store sends through it. */
export type Client = (Redis | Cluster) & Commands

/** A Cluster's client, and that to one of its nodes. */
export type ClusterClient = Cluster & Commands
export type NodeClient = Redis

interface Commands {
  call(command: string, ...args: readonly unknown[]): Promise<unknown>
  callBuffer(command: string, ...args: readonly unknown[]): Promise<unknown>
  eval(script: string, ...args: readonly unknown[]): Promise<unknown>
  evalBuffer(script: string, ...args: readonly unknown[]): Promise<unknown>
  evalsha(sha: string, ...args: readonly unknown[]): Promise<unknown>
  evalshaBuffer(sha: string, ...args: readonly unknown[]): Promise<unknown>
  ping(): Promise<unknown>
  info(): Promise<string>
  time(): Promise<(string | number)[]>
}

const backoff = (attempt: number): number =>
  Math.min(50 * 2 ** Math.min(attempt - 1, 5), 1000) * (0.5 + Math.random() / 2)

/**
 * With these nothing hangs and nothing runs twice: a command that its caller gave up is neither
 * kept for later (offline queue) nor sent again (autoResend), and nothing is retried unasked.
 */
const HARDENED = {
  maxRetriesPerRequest: 0,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  autoResubscribe: false,
  enableAutoPipelining: false,
  connectTimeout: 1000,
  // A server that loads its data tells how long that may take; it is asked again all the same.
  maxLoadingRetryTime: 250,
  // An idle connection that went half-open (a subscription's, above all) is found out within 20 s.
  keepAlive: 10_000,
  // A connection that hangs does not answer the farewell either, and is in the next one's way.
  disconnectTimeout: 50,
  retryStrategy: backoff,
  reconnectOnError: null,
  disableClientInfo: true,
  stringNumbers: false,
  replyMapping: 'legacy',
  keyPrefix: '',
  lazyConnect: false,
} satisfies RedisOptions

export const isClient = (source: RedisSource): source is Redis | Cluster =>
  typeof source === 'object' && typeof (source as { duplicate?: unknown }).duplicate === 'function'

/** Does this source lead to a Cluster? */
export const isCluster = (source: RedisSource): source is Cluster | { cluster: ClusterNode[] } =>
  isClient(source) ? source.isCluster : typeof source === 'object' && 'cluster' in source

/** The `keyPrefix` of a source, which becomes part of our own: keys are built in one place. */
export function prefixOf(source: RedisSource): string {
  if (typeof source === 'string') return ''
  const options = isClient(source) || 'cluster' in source ? source.options : source
  return options?.keyPrefix ?? ''
}

/** A hardened client for `source`. @throws TP_NO_IOREDIS when ioredis is not installed */
export async function connect(source: RedisSource, db?: number): Promise<Client> {
  if (isClient(source)) return duplicate(source, db)
  const ioredis = await import('ioredis').catch((cause) => {
    throw new TurnpikeError(
      'TP_NO_IOREDIS',
      'turnpike needs ioredis to reach Redis: npm install ioredis',
      { cause },
    )
  })
  const chosen = db === undefined ? {} : { db }
  if (typeof source === 'string') return connect({ url: source }, db)
  if ('cluster' in source)
    return new ioredis.Cluster(source.cluster, hardenCluster(source.options)) as Client
  const { url, ...own } = source
  const options = { ...own, ...HARDENED, ...chosen, failoverDetector: 'sentinels' in own }
  return (
    url === undefined ? new ioredis.Redis(options) : new ioredis.Redis(within(url, db), options)
  ) as Client
}

/** `url` without the database it names, where another one is wanted: ioredis would heed the URL. */
const within = (url: string, db: number | undefined): string =>
  db === undefined
    ? url
    : url.replace(/^(rediss?:\/\/[^/?]*)\/\d*/i, '$1').replace(/([?&])db=\d*&?/, '$1')

/** A hardened duplicate of somebody's client: its address, TLS and credentials, and their copy of ioredis. */
export function duplicate(client: Redis | Cluster, db?: number): Client {
  if (isCluster(client)) return client.duplicate([], hardenCluster(client.options)) as Client
  const chosen = db === undefined ? {} : { db }
  const failoverDetector = Boolean(client.options.sentinels)
  return client.duplicate({ ...HARDENED, ...chosen, failoverDetector }) as Client
}

/** What a Cluster's client must have besides. */
const HARDENED_CLUSTER = {
  enableOfflineQueue: false,
  // A replica may lack what was just written.
  scaleReads: 'master',
  // ioredis would send a command again, by itself and later: after a lost connection it may have run already.
  retryDelayOnFailover: 0,
  retryDelayOnClusterDown: 0,
} satisfies ClusterOptions

function hardenCluster({ redisOptions, ...own }: ClusterOptions = {}): object {
  const { retryStrategy, lazyConnect, ...hardened } = HARDENED
  return {
    ...own,
    ...HARDENED_CLUSTER,
    lazyConnect,
    enableAutoPipelining: false,
    maxRedirections: 5,
    retryDelayOnTryAgain: 15,
    // nodes.ts asks for the map of slots, with timers that keep no process alive.
    slotsRefreshInterval: 0,
    slotsRefreshTimeout: 500,
    shardedSubscribers: false,
    clusterRetryStrategy: retryStrategy,
    keyPrefix: '',
    redisOptions: { ...redisOptions, ...hardened, commandTimeout: 1000 },
  }
}

/** The options of a client that `reuse: true` keeps although they let commands run late or twice. */
export function unsafeOptions(client: Redis | Cluster): string[] {
  // A Cluster's nodes never resend by themselves, and keep nothing for later: the Cluster does.
  const [options, vital]: [object, object] = isCluster(client)
    ? [client.options, HARDENED_CLUSTER]
    : [
        client.options,
        {
          maxRetriesPerRequest: HARDENED.maxRetriesPerRequest,
          enableOfflineQueue: HARDENED.enableOfflineQueue,
          autoResendUnfulfilledCommands: HARDENED.autoResendUnfulfilledCommands,
        },
      ]
  const given = new Map(Object.entries(options))
  return Object.entries(vital).flatMap(([name, safe]) => (given.get(name) === safe ? [] : [name]))
}

/** How ioredis names a node in the map of slots. */
export const keyOf = ({ options }: NodeClient): string => `${options.host}:${options.port}`

/**
 * A connection of its own to some master of a Cluster, and when it is lost to another one: for
 * subscriptions, whose messages reach every node. ioredis's own would stay with a node that hangs.
 */
export function toSomeNode(cluster: Cluster): Client {
  const some = (): Redis | undefined => {
    const nodes = cluster.nodes('master')
    const well = nodes.filter(({ status }) => status === 'ready')
    const among = well.length > 0 ? well : nodes
    return among[Math.floor(Math.random() * among.length)]
  }
  const elsewhere = (attempt: number): number => {
    const { host, port } = some()?.options ?? client.options
    Object.assign(client.options, { host, port })
    return backoff(attempt)
  }
  const client = some()!.duplicate({ ...HARDENED, readOnly: false, retryStrategy: elsewhere })
  return client as Client
}

/** The keys that match `pattern`, in batches, on every node. @param run sends one command to one node */
export async function* keysLike(
  client: Client,
  pattern: string,
  run: <Answer>(send: () => Promise<Answer>, node: Redis) => Promise<Answer>,
): AsyncGenerator<string[]> {
  const nodes = isCluster(client) ? client.nodes('master') : [client as Redis]
  // A client that was handed in puts its prefix before keys, but neither before patterns nor off replies.
  const prefix = isCluster(client) ? '' : ((client as Redis).options.keyPrefix ?? '')
  for (const node of nodes) {
    let cursor = '0'
    do {
      const [next, keys] = await run(
        () => node.scan(cursor, 'MATCH', prefix + pattern, 'COUNT', 500),
        node,
      )
      cursor = next
      if (keys.length > 0) yield keys.map((key) => key.slice(prefix.length))
    } while (cursor !== '0')
  }
}

/** Where a client writes; undefined on a Cluster, whose nodes have a stream each. */
export const streamOf = (client: Client): Redis['stream'] | undefined =>
  isCluster(client) ? undefined : (client as Redis).stream

/** Does this client speak TLS? */
export const isSecure = (client: Client): boolean =>
  Boolean(isCluster(client) ? client.options.redisOptions?.tls : (client as Redis).options.tls)

/** Idle sockets do not keep the process alive; calls in flight do, by the guard's timer. */
export function unref(client: Redis | Cluster): void {
  const nodes = isCluster(client) ? client.nodes('all') : [client]
  for (const node of nodes) node.stream?.unref?.()
}

/** Nor does waiting to reconnect. */
export function unrefRetry(client: Client): void {
  const { reconnectTimeout } = client as unknown as { reconnectTimeout?: NodeJS.Timeout | null }
  reconnectTimeout?.unref?.()
}

/** What kind of installation a client talks to. */
export function topologyOf(client: Client | undefined): 'standalone' | 'sentinel' | 'cluster' {
  if (!client) return 'standalone'
  if (isCluster(client)) return 'cluster'
  return (client as Redis).options.sentinels ? 'sentinel' : 'standalone'
}

/** Ends a client; `quit()` hangs on a hung server, so it is raced against half a second. */
export async function end(client: Client): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const patience = new Promise<void>((resolve) => (timer = setTimeout(resolve, 500)))
  if (client.status === 'ready') await Promise.race([client.quit().catch(() => {}), patience])
  clearTimeout(timer)
  client.disconnect()
}
