/** The masters of a Cluster, each with a guard and a clock: one that fails does not affect the others. */
import type { StoreUnavailable, TurnpikeError } from '../errors.ts'
import { ConnectionGuard, type GuardedClient, type GuardOptions } from './connection-guard.ts'
import { toCallerError } from './diagnose.ts'
import { unrefSocket } from './ioredis-patches.ts'
import { HANDSHAKE_TIMEOUT } from './maintain-connection.ts'
import { nodeName, type ClusterClient, type NodeClient } from './redis.ts'
import { ServerClock } from './server-clock.ts'
import type { SlowCall } from './slow-calls.ts'
import { slotOf } from './slot.ts'

/** The guard and the clock of one server. */
export interface ServerRoute {
  readonly guard: ConnectionGuard
  readonly clock: ServerClock
}

/** After so many ms without the reply that is due, a connection is replaced. */
const HANG_TIMEOUT = 300

/** Returns the guard and the clock of a server. @param commands asks that server */
export function createRoute(
  client: GuardedClient,
  options: Omit<GuardOptions, 'probe' | 'explain' | 'hangTimeout'>,
  commands: { ping(): Promise<unknown>; time(): Promise<(string | number)[]> },
): ServerRoute {
  const guard = new ConnectionGuard(client, {
    ...options,
    hangTimeout: HANG_TIMEOUT,
    probe: () => commands.ping(),
    explain(error, name): TurnpikeError {
      const callerError = toCallerError(error, name)
      if ((callerError as StoreUnavailable).reason === 'late') void clock.measure()
      return callerError
    },
  })
  const readTime = { name: 'time', send: () => commands.time() }
  const clock = new ServerClock(() => guard.run(readTime))
  return { guard, clock }
}

/** The connection to one node. ioredis creates a new client each time; this one stays. */
export class NodeConnection implements GuardedClient {
  client: NodeClient | undefined
  readonly #listeners = new Set<() => void>()

  get status(): string {
    return this.client?.status ?? 'end'
  }

  get stream(): NodeClient['stream'] | undefined {
    return this.client?.stream
  }

  on(_event: 'ready', listener: () => void): void {
    this.#listeners.add(listener)
  }

  off(_event: 'ready', listener: () => void): void {
    this.#listeners.delete(listener)
  }

  emitReady(): void {
    for (const listener of this.#listeners) listener()
  }

  disconnect(): void {
    this.client?.disconnect()
  }
}

/** One master. */
export interface ClusterNode extends ServerRoute {
  readonly connection: NodeConnection
}

type NodeGuardOptions = Omit<
  GuardOptions,
  'probe' | 'explain' | 'hangTimeout' | 'onBreaker' | 'onSlow'
> & {
  onBreaker(state: 'open' | 'closed', reason: string | undefined, node?: string): void
  onSlow(call: SlowCall, node?: string): void
}

export interface ClusterNodesOptions {
  guard: NodeGuardOptions
  /** True if the application passed the client: its sockets stay as they are. */
  reuse: boolean
  /** The connection to a node was lost. */
  onLost(node: string): void
  /** The connection to a node is ready. */
  onReady(): void
}

/** Pauses between refreshes of the slots, in ms: while all nodes are well, and the first and longest while one is lost. */
const REFRESH_INTERVAL = 5000
const FIRST_RETRY = 50
const MAX_RETRY = 500

/** Maintains the connections to a Cluster's masters and finds the one for a key. */
export class ClusterNodes {
  readonly #cluster: ClusterClient
  readonly #options: ClusterNodesOptions
  readonly #nodes = new Map<string, ClusterNode>()
  /** The clients that are watched, and how to stop watching each. */
  readonly #watched = new Map<NodeClient, () => void>()
  #refreshTimer: NodeJS.Timeout | undefined
  #retryAfter = FIRST_RETRY
  #isClosed = false

  constructor(cluster: ClusterClient, options: ClusterNodesOptions) {
    this.#cluster = cluster
    this.#options = options
    cluster.on('+node', this.#adopt)
    cluster.on('refresh', this.#update)
    cluster.on('ready', this.#update)
    this.#update()
  }

  /** Number of calls in progress. */
  get inFlight(): number {
    return [...this.#nodes.values()].reduce((sum, { guard }) => sum + guard.inFlight, 0)
  }

  /** Returns the route to the master of these keys, to any master without keys; undefined before the slots are known. */
  routeTo(keys: readonly string[]): ServerRoute | undefined {
    if (keys.length === 0) return this.any()
    const owner = this.#cluster.slots[slotOf(keys[0]!)]?.[0]
    return owner === undefined ? undefined : this.#nodeNamed(owner)
  }

  /** Returns a master, one that is well if there is one. */
  any(): ClusterNode | undefined {
    let any: ClusterNode | undefined
    for (const node of this.#nodes.values()) {
      any ??= node
      if (node.guard.isReady && !node.guard.refusal()) return node
    }
    return any
  }

  /** Returns the route to the node of this client. */
  routeOf(client: NodeClient): ServerRoute {
    return this.#nodeNamed(nodeName(client))
  }

  /** Returns what is wrong with the master in the worst state; undefined if all are well. */
  problem(): { breaker: 'closed' | 'open' | 'half-open'; reason: string } | undefined {
    const unwell = [...this.#nodes].filter(
      ([, { guard }]) => guard.breaker !== 'closed' || !guard.isReady,
    )
    const worst = unwell.find(([, { guard }]) => guard.breaker !== 'closed') ?? unwell[0]
    if (!worst) return undefined
    const [name, { guard, connection }] = worst
    const reason = guard.lastError ?? `the connection is ${connection.status}`
    return { breaker: guard.breaker, reason: `${name}: ${reason}` }
  }

  /** True if all masters that are known are connected and reply. */
  get areWell(): boolean {
    return this.#nodes.size > 0 && this.problem() === undefined
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#refreshTimer)
    this.#cluster.off('+node', this.#adopt)
    this.#cluster.off('refresh', this.#update)
    this.#cluster.off('ready', this.#update)
    for (const unwatch of this.#watched.values()) unwatch()
    await Promise.all([...this.#nodes.values()].map(({ guard }) => guard.close()))
  }

  #nodeNamed(name: string): ClusterNode {
    const known = this.#nodes.get(name)
    if (known) return known
    const { guard } = this.#options
    const connection = new NodeConnection()
    const onBreaker: NodeGuardOptions['onBreaker'] = (state, reason) =>
      guard.onBreaker(state, reason, name)
    const commands = {
      ping: () => connection.client!.ping(),
      time: () => connection.client!.time(),
    }
    const onSlow = (call: SlowCall): void => guard.onSlow(call, name)
    const own = { ...guard, onBreaker, onSlow }
    const node = { connection, ...createRoute(connection, own, commands) }
    this.#nodes.set(name, node)
    return node
  }

  /** Connects to the masters in the new map of slots and forgets the others. */
  readonly #update = (): void => {
    // Until it is ready, ioredis asks one node for the Cluster's state and takes a connecting one for dead.
    if (this.#cluster.status !== 'ready') return
    const owners = new Set(this.#cluster.slots.map(([owner]) => owner))
    for (const [name, { guard }] of this.#nodes) {
      if (owners.has(name)) continue
      this.#nodes.delete(name)
      void guard.close()
    }
    for (const client of this.#cluster.nodes('master')) this.#adopt(client)
    if (this.#refreshTimer === undefined) this.#scheduleRefresh(REFRESH_INTERVAL)
  }

  readonly #adopt = (client: NodeClient): void => {
    const isReplica = client.options.readOnly === true
    if (this.#isClosed || isReplica || this.#cluster.status !== 'ready') return
    const name = nodeName(client)
    const { clock, connection } = this.#nodeNamed(name)
    if (connection.client === client) return
    connection.client = client
    clock.disconnected()
    if (!this.#watched.has(client)) this.#watch(client, name)
    if (client.status === 'wait') client.connect().catch(() => {})
    else if (client.status === 'ready') this.#onReady(client, name)
  }

  #watch(client: NodeClient, name: string): void {
    const listeners = {
      ready: () => this.#onReady(client, name),
      connect: () =>
        setTimeout(
          () => client.status === 'connect' && client.disconnect(),
          HANDSHAKE_TIMEOUT,
        ).unref(),
      close: () => this.#onClose(client, name),
      end: () => this.#watched.get(client)?.(),
    }
    for (const [event, listener] of Object.entries(listeners)) client.on(event, listener)
    this.#watched.set(client, () => {
      for (const [event, listener] of Object.entries(listeners)) client.off(event, listener)
      this.#watched.delete(client)
    })
  }

  /** Returns the node if `client` is its present client. */
  #nodeOf(client: NodeClient, name: string): ClusterNode | undefined {
    const node = this.#nodes.get(name)
    return node?.connection.client === client ? node : undefined
  }

  #onReady(client: NodeClient, name: string): void {
    if (!this.#options.reuse) unrefSocket(client)
    const node = this.#nodeOf(client, name)
    node?.connection.emitReady()
    void node?.clock.measure()
    this.#options.onReady()
  }

  #onClose(client: NodeClient, name: string): void {
    const node = this.#nodeOf(client, name)
    node?.guard.disconnected()
    node?.clock.disconnected()
    this.#options.onLost(name)
    // ioredis connects to this node again only if a new map of slots names it.
    this.#scheduleRefresh(this.#retryAfter)
    this.#retryAfter = Math.min(this.#retryAfter * 2, MAX_RETRY)
  }

  #scheduleRefresh(pause: number): void {
    clearTimeout(this.#refreshTimer)
    if (this.#isClosed) return
    this.#refreshTimer = setTimeout(() => {
      this.#refreshTimer = undefined
      this.#cluster.refreshSlotsCache(() => {
        if (this.areWell) this.#retryAfter = FIRST_RETRY
        if (this.#refreshTimer === undefined)
          this.#scheduleRefresh(this.areWell ? REFRESH_INTERVAL : MAX_RETRY)
      })
    }, pause)
    this.#refreshTimer.unref()
  }
}
