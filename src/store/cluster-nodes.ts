/** The masters of a Cluster, each with a guard and a clock of its own: one that is dead does not shut the others. */
import type { StoreUnavailable } from '../errors.ts'
import { ConnectionGuard, type GuardedClient, type GuardOptions } from './connection-guard.ts'
import { keyOf, unref, type ClusterClient, type NodeClient } from './redis.ts'
import { explained } from './diagnose.ts'
import { ServerClock } from './server-clock.ts'
import { slotOf } from './slot.ts'
import { GREETING } from './maintain-connection.ts'

/** How a command gets to its server. */
export interface ServerRoute {
  readonly guard: ConnectionGuard
  readonly clock: ServerClock
}

/** A connection that owes an answer for so many ms is replaced. */
const HUNG_AFTER = 300

/** A guard and a clock for a server. @param commands asks it */
export function routeThrough(
  client: GuardedClient,
  options: Omit<GuardOptions, 'probe' | 'explain' | 'hungAfter'>,
  commands: { ping(): Promise<unknown>; time(): Promise<(string | number)[]> },
): ServerRoute {
  const guard = new ConnectionGuard(client, {
    ...options,
    hungAfter: HUNG_AFTER,
    probe: () => commands.ping(),
    explain(error, name) {
      const told = explained(error, name)
      if ((told as StoreUnavailable).reason === 'late') void clock.learn()
      return told
    },
  })
  const clock = new ServerClock(() => guard.run('time', () => commands.time()))
  return { guard, clock }
}

/** The connection to one node, whichever it is at the moment: ioredis makes a new one each time. */
export class NodeConnection implements GuardedClient {
  client: NodeClient | undefined
  readonly #listeners = new Set<() => void>()

  get status(): string {
    return this.client?.status ?? 'end'
  }

  on(_event: 'ready', listener: () => void): void {
    this.#listeners.add(listener)
  }

  off(_event: 'ready', listener: () => void): void {
    this.#listeners.delete(listener)
  }

  ready(): void {
    for (const listener of this.#listeners) listener()
  }

  disconnect(): void {
    this.client?.disconnect()
  }
}

/** One master. */
export interface ClusterNode extends ServerRoute {
  readonly link: NodeConnection
}

type NodeGuard = Omit<GuardOptions, 'probe' | 'explain' | 'hungAfter' | 'onBreaker'> & {
  onBreaker(state: 'open' | 'closed', reason: string | undefined, node?: string): void
}

export interface ClusterNodesOptions {
  guard: NodeGuard
  /** Is the client somebody else's? Then its sockets are their business. */
  reuse: boolean
  /** A node's connection was lost. */
  onLost(node: string): void
}

/** How often the map of slots is asked for: while all is well, and at first and at most while a node is lost. In ms. */
const [USUALLY, AT_FIRST, AT_MOST] = [5000, 50, 500]

/** Looks after the connections to a Cluster's masters, and finds the one for a key. */
export class ClusterNodes {
  readonly #cluster: ClusterClient
  readonly #options: ClusterNodesOptions
  readonly #nodes = new Map<string, ClusterNode>()
  /** The connections that are watched, and how that ends. */
  readonly #watched = new Map<NodeClient, () => void>()
  #timer: NodeJS.Timeout | undefined
  #pause = AT_FIRST
  #closed = false

  constructor(cluster: ClusterClient, options: ClusterNodesOptions) {
    this.#cluster = cluster
    this.#options = options
    cluster.on('+node', this.#adopt)
    cluster.on('refresh', this.#take)
    cluster.on('ready', this.#take)
    this.#take()
  }

  /** The way to the master of these keys, or to any where there are none; undefined before the map is known. */
  to(keys: readonly string[]): ServerRoute | undefined {
    if (keys.length === 0) return this.any()
    const owner = this.#cluster.slots[slotOf(keys[0]!)]?.[0]
    return owner === undefined ? undefined : this.#node(owner)
  }

  /** The way to a master that is well, if there is one. */
  any(): ClusterNode | undefined {
    let any: ClusterNode | undefined
    for (const node of this.#nodes.values()) {
      any ??= node
      if (node.link.status === 'ready' && !node.guard.refusal()) return node
    }
    return any
  }

  /** The way to this node. */
  of(client: NodeClient): ServerRoute {
    return this.#node(keyOf(client))
  }

  /** What is wrong with the worst of the masters; undefined: nothing. */
  trouble(): { breaker: 'closed' | 'open' | 'half-open'; reason: string } | undefined {
    const bad = [...this.#nodes].filter(
      ([, { guard, link }]) => guard.breaker !== 'closed' || link.status !== 'ready',
    )
    const [key, node] = bad.find(([, { guard }]) => guard.breaker !== 'closed') ?? bad[0] ?? []
    if (!node) return undefined
    const reason = node.guard.lastError ?? `the connection is ${node.link.status}`
    return { breaker: node.guard.breaker, reason: `${key}: ${reason}` }
  }

  /** Are all masters connected and answering, as far as the map is known? */
  get areWell(): boolean {
    return this.#nodes.size > 0 && this.trouble() === undefined
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#cluster.off('+node', this.#adopt)
    this.#cluster.off('refresh', this.#take)
    this.#cluster.off('ready', this.#take)
    for (const leave of this.#watched.values()) leave()
    await Promise.all([...this.#nodes.values()].map(({ guard }) => guard.close()))
  }

  #node(key: string): ClusterNode {
    const known = this.#nodes.get(key)
    if (known) return known
    const { guard: options } = this.#options
    const link = new NodeConnection()
    const onBreaker: NodeGuard['onBreaker'] = (state, reason) =>
      options.onBreaker(state, reason, key)
    const commands = { ping: () => link.client!.ping(), time: () => link.client!.time() }
    const node = { link, ...routeThrough(link, { ...options, onBreaker }, commands) }
    this.#nodes.set(key, node)
    return node
  }

  /** The map of slots was learned anew: connect to who is in it, forget who is not. */
  readonly #take = (): void => {
    // Before that ioredis asks one of them how the Cluster is, and takes one that is connecting for a dead one.
    if (this.#cluster.status !== 'ready') return
    const owners = new Set(this.#cluster.slots.map(([owner]) => owner))
    for (const [key, { guard }] of this.#nodes) {
      if (owners.has(key)) continue
      this.#nodes.delete(key)
      void guard.close()
    }
    for (const client of this.#cluster.nodes('master')) this.#adopt(client)
    if (this.#timer === undefined) this.#lookAgain(USUALLY)
  }

  readonly #adopt = (client: NodeClient): void => {
    const isReplica = client.options.readOnly === true
    if (this.#closed || isReplica || this.#cluster.status !== 'ready') return
    const key = keyOf(client)
    const node = this.#node(key)
    if (node.link.client === client) return
    node.link.client = client
    if (!this.#watched.has(client)) this.#watch(client, key)
    if (client.status === 'wait') client.connect().catch(() => {})
    else if (client.status === 'ready') node.link.ready()
  }

  #watch(client: NodeClient, key: string): void {
    const current = (): ClusterNode | undefined => {
      const node = this.#nodes.get(key)
      return node?.link.client === client ? node : undefined
    }
    const listeners = {
      ready: () => {
        if (!this.#options.reuse) unref(client)
        current()?.link.ready()
        void current()?.clock.learn()
      },
      connect: () =>
        setTimeout(() => client.status === 'connect' && client.disconnect(), GREETING).unref(),
      close: () => {
        current()?.guard.disconnected()
        this.#options.onLost(key)
        // ioredis does not connect to this node again, unless the map of slots still names it.
        this.#lookAgain(this.#pause)
        this.#pause = Math.min(this.#pause * 2, AT_MOST)
      },
      end: () => this.#watched.get(client)?.(),
    }
    for (const [event, listener] of Object.entries(listeners)) client.on(event, listener)
    this.#watched.set(client, () => {
      for (const [event, listener] of Object.entries(listeners)) client.off(event, listener)
      this.#watched.delete(client)
    })
  }

  #lookAgain(pause: number): void {
    clearTimeout(this.#timer)
    if (this.#closed) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#cluster.refreshSlotsCache(() => {
        if (this.areWell) this.#pause = AT_FIRST
        if (this.#timer === undefined) this.#lookAgain(this.areWell ? USUALLY : AT_MOST)
      })
    }, pause)
    this.#timer.unref()
  }
}
