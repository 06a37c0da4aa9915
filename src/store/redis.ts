/** Creates ioredis clients whose commands neither hang nor run twice. Only this file imports ioredis. */
import type { Cluster, ClusterNode, ClusterOptions, Redis, RedisOptions } from 'ioredis'
import { TurnpikeError } from '../errors.ts'
import {
  HARDENED,
  HARDENED_CLUSTER,
  hardenCluster,
  OPTIONS,
  reconnectDelay,
  type ConnectionPurpose,
} from './client-options.ts'
import { selectedDatabase } from './ioredis-patches.ts'
import type { TracedOperation } from './operation-trace.ts'

/**
 * Where Redis is: a URL, ioredis options (with `sentinels` too), the nodes of a Cluster, or your own
 * ioredis client.
 */
export type RedisSource =
  | string
  | (RedisOptions & {
      /** URL of the server. The other options override its parts. */
      url?: string
    })
  | {
      /** Nodes of a Redis Cluster from which the others are discovered. */
      cluster: ClusterNode[]
      /** Options of ioredis for the Cluster. */
      options?: ClusterOptions
    }
  | IoredisClient

/** Where Redis is, without a client that is connected already. */
export type RedisAddress = Exclude<RedisSource, IoredisClient>

/** A client of the package ioredis, of either kind. */
export type IoredisClient = Redis | Cluster

/** The client behind a store, and the commands that the store sends through it. */
export type Client = IoredisClient & Commands

/** A Cluster's client, and the client of one of its nodes. */
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

/** Returns true for an ioredis client of either kind. */
export const isClient = (source: RedisSource): source is IoredisClient =>
  typeof source === 'object' && typeof (source as { duplicate?: unknown }).duplicate === 'function'

/** Returns true if the source leads to a Cluster. */
export const isCluster = (source: RedisSource): source is Cluster | { cluster: ClusterNode[] } =>
  isClient(source) ? source.isCluster : typeof source === 'object' && 'cluster' in source

/** Returns the `keyPrefix` of a source. It becomes part of ours: keys are built in one place. */
export function prefixOf(source: RedisSource): string {
  if (typeof source === 'string') return ''
  const options = isClient(source) || 'cluster' in source ? source.options : source
  return options?.keyPrefix ?? ''
}

/**
 * Loads ioredis and creates a hardened client for a URL or options.
 * @param db database in place of the one that the source names
 * @throws TP_NO_IOREDIS if ioredis is not installed; TP_OPTION if it rejects the options
 */
export async function createClient(
  source: Exclude<RedisSource, IoredisClient>,
  db?: number,
  purpose: ConnectionPurpose = 'calls',
): Promise<Client> {
  const ioredis = await loadIoredis()
  try {
    if (typeof source === 'object' && 'cluster' in source)
      return new ioredis.Cluster(source.cluster, hardenCluster(source.options, purpose)) as Client
    const { url, ...given } = typeof source === 'string' ? { url: source } : source
    const database = db === undefined ? {} : { db }
    const failoverDetector = 'sentinels' in given
    const own = { ...OPTIONS[purpose], ...database, failoverDetector }
    const options = { ...given, ...own }
    return (
      url === undefined
        ? new ioredis.Redis(options)
        : new ioredis.Redis(withoutDatabase(url, db), options)
    ) as Client
  } catch (error) {
    // The error itself may hold the URL with its password.
    const { message } = error as Error
    throw new TurnpikeError('TP_OPTION', `turnpike(): ioredis rejects the option redis: ${message}`)
  }
}

interface Ioredis {
  readonly Redis: typeof Redis
  readonly Cluster: typeof Cluster
}

async function loadIoredis(): Promise<Ioredis> {
  let loaded: Partial<Ioredis> & { default?: unknown }
  try {
    loaded = await import('ioredis')
  } catch (cause) {
    throw new TurnpikeError(
      'TP_NO_IOREDIS',
      'turnpike needs ioredis to reach Redis. Install it: npm install ioredis',
      { cause },
    )
  }
  // Bundlers put the exports of a CommonJS module under `default`.
  const namespaces = [loaded, loaded.default as Partial<Ioredis> | undefined]
  const found = namespaces.find((each) => typeof each?.Redis === 'function')
  if (found?.Cluster) return found as Ioredis
  throw new TurnpikeError(
    'TP_NO_IOREDIS',
    'The module ioredis was loaded but exports no Redis. If a bundler replaces it, mark it as external.',
  )
}

/** Returns the URL without its database if another one is wanted: ioredis prefers the URL's. */
const withoutDatabase = (url: string, db: number | undefined): string =>
  db === undefined
    ? url
    : url.replace(/^(rediss?:\/\/[^/?]*)\/\d*/i, '$1').replace(/([?&])db=\d*&?/, '$1')

/**
 * Returns a hardened duplicate of a client: with its address, TLS, credentials and database, and of
 * its own copy of ioredis.
 * @param options.db database in place of the client's
 * @param options.keyPrefix precedes all keys. By default none does
 */
export function duplicateClient(
  client: IoredisClient,
  {
    db,
    keyPrefix = '',
    purpose = 'calls',
  }: { db?: number | undefined; keyPrefix?: string; purpose?: ConnectionPurpose } = {},
): Client {
  if (isCluster(client))
    return client.duplicate([], { ...hardenCluster(client.options, purpose), keyPrefix }) as Client
  return client.duplicate({
    ...OPTIONS[purpose],
    keyPrefix,
    db: db ?? selectedDatabase(client),
    failoverDetector: Boolean(client.options.sentinels),
  }) as Client
}

/** Returns the options with which a reused client lets commands run late or twice. */
export function unsafeOptions(client: IoredisClient): string[] {
  const { maxRetriesPerRequest, enableOfflineQueue, autoResendUnfulfilledCommands } = HARDENED
  // A Cluster's nodes never resend and keep nothing for later by themselves: the Cluster does.
  const safe: Record<string, unknown> = isCluster(client)
    ? { ...HARDENED_CLUSTER }
    : { maxRetriesPerRequest, enableOfflineQueue, autoResendUnfulfilledCommands }
  const given = client.options as Record<string, unknown>
  return Object.keys(safe).filter((name) => given[name] !== safe[name])
}

/** Returns the name of a node in ioredis's map of slots. */
export const nodeName = ({ options }: NodeClient): string => `${options.host}:${options.port}`

/**
 * Returns a connection to any master of a Cluster that reconnects to another one when it is lost.
 * For subscriptions, whose messages reach every node: ioredis's own would stay with a node that
 * hangs.
 */
export function connectToAnyNode(cluster: Cluster): Client {
  const pickNode = (): Redis | undefined => {
    const nodes = cluster.nodes('master')
    const ready = nodes.filter(({ status }) => status === 'ready')
    const candidates = ready.length > 0 ? ready : nodes
    return candidates[Math.floor(Math.random() * candidates.length)]
  }
  const retryStrategy = (attempt: number): number => {
    const { host, port } = pickNode()?.options ?? client.options
    Object.assign(client.options, { host, port })
    return reconnectDelay(attempt)
  }
  const client = pickNode()!.duplicate({ ...HARDENED, readOnly: false, retryStrategy })
  return client as Client
}

/**
 * Yields the keys that match `pattern`, in batches, from every master.
 * @param run sends one command to one node
 */
export async function* scanKeys(
  client: Client,
  pattern: string,
  run: <Reply>(send: () => Promise<Reply>, node: Redis) => Promise<Reply>,
): AsyncGenerator<string[]> {
  const nodes = isCluster(client) ? client.nodes('master') : [client as Redis]
  // ioredis puts the keyPrefix of a reused client before keys, but neither before patterns nor off replies.
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

/** Returns the socket of a client; undefined on a Cluster, whose nodes have one each. */
export const socketOf = (client: Client): Redis['stream'] | undefined =>
  isCluster(client) ? undefined : (client as Redis).stream

/** Returns where a client is connected to. A Cluster and a Sentinel decide that themselves. */
export function addressOf(client: Client): Pick<TracedOperation, 'host' | 'port' | 'database'> {
  if (isCluster(client)) return { host: undefined, port: undefined, database: undefined }
  const { db: database, host, path, port, sentinels } = (client as Redis).options
  const isKnown = path === undefined && !sentinels
  return { host: isKnown ? host : undefined, port: isKnown ? port : undefined, database }
}

/** Returns true if the client uses TLS. */
export const usesTls = (client: Client): boolean =>
  Boolean(isCluster(client) ? client.options.redisOptions?.tls : (client as Redis).options.tls)

/** Returns the kind of installation that a client is connected to. */
export function topologyOf(client: Client | undefined): 'standalone' | 'sentinel' | 'cluster' {
  if (!client) return 'standalone'
  if (isCluster(client)) return 'cluster'
  return (client as Redis).options.sentinels ? 'sentinel' : 'standalone'
}

/** How long a server may take to reply to QUIT, in ms. */
const QUIT_TIMEOUT = 500

/** Ends a client, within half a second: QUIT hangs on a server that hangs. */
export async function endClient(client: Client): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<void>((resolve) => (timer = setTimeout(resolve, QUIT_TIMEOUT)))
  if (client.status === 'ready') await Promise.race([client.quit().catch(() => {}), timeout])
  clearTimeout(timer)
  client.disconnect()
}
