/** Direct access to servers, for programs that inspect them. No request of an application uses it. */
import { TurnpikeError } from '../errors.ts'
import { describe, remedyFor, remedyForSilence } from './diagnose.ts'
import { parseInfo } from './info.ts'
import {
  createClient,
  endClient,
  isCluster,
  topologyOf,
  usesTls,
  type Client,
  type ClusterClient,
  type NodeClient,
  type RedisAddress,
} from './redis.ts'

/** Sends commands to one server. */
export interface ServerNode {
  /** Host and port, or the path of a socket. */
  readonly address: string
  /** Sends one command. Strings in the reply are strings. */
  send(command: string, ...args: readonly (string | number)[]): Promise<unknown>
}

/** What an application's store lends to a program: a connection of its own to the same server. */
export interface ClientLender {
  openClient(): Promise<Client>
}

/** How long a command may take, in ms. A server that is slow has to be found, not given up. */
const COMMAND_TIMEOUT = 5000

/** A connection to one server, or to the masters of a Cluster. */
export class ServerAccess {
  readonly topology: 'standalone' | 'sentinel' | 'cluster'
  readonly usesTls: boolean
  /** Where the server is: for a URL of a Sentinel or of a node, the Sentinel's master or the Cluster. */
  readonly address: RedisAddress | undefined
  readonly #client: Client

  private constructor(client: Client, address?: RedisAddress) {
    this.#client = client
    this.address = address
    this.topology = topologyOf(client)
    this.usesTls = usesTls(client)
  }

  /**
   * Connects. A URL that leads to a Cluster or a Sentinel is recognised.
   * @param where names the source in errors
   * @param options.master name of the master, for a Sentinel that watches several
   * @throws ServerUnreachable
   */
  static async open(
    source: RedisAddress,
    { db, master, timeout = 5000 }: { db?: number; master?: string; timeout?: number } = {},
  ): Promise<ServerAccess> {
    const given = typeof source === 'string' ? { url: source } : source
    const timed = 'cluster' in given ? given : { commandTimeout: COMMAND_TIMEOUT, ...given }
    const client = await createClient(timed, db)
    await untilReady(client, timeout)
    const found = await modeOf(client)
    if (isCluster(client) || found === 'standalone') return new ServerAccess(client, source)
    const next = found === 'cluster' ? clusterSource(client) : await sentinelSource(client, master)
    await endClient(client)
    const other = await createClient(next, found === 'cluster' ? undefined : db)
    await untilReady(other, timeout)
    return new ServerAccess(other, next)
  }

  /** Connects to the server of an application's store. @throws ServerUnreachable */
  static async borrow(lender: ClientLender, timeout = 5000): Promise<ServerAccess> {
    const client = await lender.openClient()
    await untilReady(client, timeout)
    return new ServerAccess(client)
  }

  /** Returns the server, or the masters of a Cluster. */
  nodes(): ServerNode[] {
    const nodes = isCluster(this.#client) ? this.#client.nodes('master') : [this.#client]
    return nodes.map((node) => {
      const { host, port, path } = node.options
      return {
        address: path ?? `${host}:${port}`,
        send: (command, ...args) => (node as Client).call(command, ...args),
      }
    })
  }

  /** Sends a command to the server of its first key. */
  send(command: string, ...args: readonly (string | number)[]): Promise<unknown> {
    return this.#client.call(command, ...args)
  }

  /** Does the same, with Buffers in the reply. */
  sendForBytes(command: string, ...args: readonly (string | number)[]): Promise<unknown> {
    return this.#client.callBuffer(command, ...args)
  }

  async close(): Promise<void> {
    await endClient(this.#client)
  }
}

/** The server cannot be reached, or refused the user name and password. */
export class ServerUnreachable extends TurnpikeError {
  /** True if the server replied, and refused. */
  readonly isRefused: boolean

  constructor(message: string, isRefused: boolean) {
    super('TP_UNAVAILABLE', message)
    this.isRefused = isRefused
  }
}

async function untilReady(client: Client, timeout: number): Promise<void> {
  let last: Error | undefined
  let failures = 0
  let closes = 0
  const isFinal = (): boolean =>
    last === undefined ? closes >= 3 : failures >= 2 || /WRONGPASS|NOAUTH|NOPERM/.test(last.message)
  client.on('close', () => closes++)
  client.on('error', (error: Error) => {
    last = error
    failures++
  })
  const deadline = performance.now() + timeout
  while (client.status !== 'ready') {
    if (performance.now() > deadline || isFinal()) {
      client.disconnect()
      const reason = last ? describe(last) : closes > 0 ? 'it closes the connection' : 'no reply'
      const remedy =
        (last && remedyFor(last)) ?? remedyForSilence(last, usesTls(client), closes > 0)
      const isRefused = /WRONGPASS|NOAUTH|NOPERM|invalid (username-)?password/i.test(reason)
      const what = isRefused ? 'Redis refuses the connection' : 'Redis cannot be reached'
      throw new ServerUnreachable([`${what}: ${reason}.`, remedy].join(' ').trim(), isRefused)
    }
    await pause()
  }
  if (isCluster(client)) await untilNodesReady(client)
}

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 10))

/** How long the masters of a Cluster may take to accept connections, in ms. */
const NODES_TIMEOUT = 2000

/** Connects to all masters. ioredis would do it at the first command, and that command would fail. */
async function untilNodesReady(client: Pick<ClusterClient, 'nodes'>): Promise<void> {
  const deadline = performance.now() + NODES_TIMEOUT
  const nodes = client.nodes('master')
  for (const node of nodes) if (node.status === 'wait') node.connect().catch(() => {})
  while (nodes.some(({ status }) => status !== 'ready') && performance.now() < deadline)
    await pause()
}

/** Returns what kind of server a URL has led to. */
async function modeOf(client: Client): Promise<'standalone' | 'sentinel' | 'cluster'> {
  if (isCluster(client)) return 'cluster'
  try {
    const { redis_mode: mode, server_mode: own } = parseInfo(
      String(await client.call('INFO', 'server')),
    )
    const found = mode ?? own
    return found === 'cluster' || found === 'sentinel' ? found : 'standalone'
  } catch {
    // Without the permission for INFO.
    return 'standalone'
  }
}

function clusterSource(client: Client): Exclude<RedisAddress, string> {
  const { host, port, username, password, tls } = (client as NodeClient).options
  return {
    cluster: [{ host: host!, port: port! }],
    options: {
      // A Cluster that is not well must be reached, too: to say so.
      enableReadyCheck: false,
      redisOptions: {
        ...(username != null && { username }),
        ...(password != null && { password }),
        ...(tls && { tls }),
      },
    },
  }
}

async function sentinelSource(
  client: Client,
  master: string | undefined,
): Promise<Exclude<RedisAddress, string>> {
  const { host, port, username, password, tls } = (client as NodeClient).options
  const masters = (await client.call('SENTINEL', 'MASTERS')) as string[][]
  const names = masters.map((fields) => fields[fields.indexOf('name') + 1]!)
  const name = master ?? (names.length === 1 ? names[0] : undefined)
  if (name === undefined || !names.includes(name)) {
    await endClient(client)
    throw new TurnpikeError(
      'TP_OPTION',
      `The Sentinel watches ${names.join(', ') || 'no master'}. Name one: --master ${names[0] ?? 'NAME'}.`,
    )
  }
  return {
    sentinels: [{ host: host!, port: port! }],
    name,
    commandTimeout: COMMAND_TIMEOUT,
    ...(username != null && { username, sentinelUsername: username }),
    ...(password != null && { password, sentinelPassword: password }),
    ...(tls && { tls, sentinelTLS: tls, enableTLSForSentinelMode: true }),
  }
}
