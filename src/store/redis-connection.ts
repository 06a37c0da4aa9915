import { StoreUnavailable } from '../errors.ts'
import type { EventBus } from '../events.ts'
import type { RequestBudget } from '../request-budget.ts'
import { ConcurrencyLimit } from './concurrency-limit.ts'
import { ClusterNodes, createRoute, type ServerRoute } from './cluster-nodes.ts'
import { classify, classifyOnNode, describe } from './diagnose.ts'
import type { Latency } from './latency.ts'
import { showsTracedData } from './ioredis-patches.ts'
import { guardEvents, maintainConnection, warnOf } from './maintain-connection.ts'
import { isTraced, traceOperation, type TracedOperation } from './operation-trace.ts'
import { ReadCall, ScriptCall, type CallContext } from './redis-calls.ts'
import { addressOf, endClient, isCluster, scanKeys, socketOf, type Client } from './redis.ts'
import type { Operation, OperationArgument } from './store.ts'
import { WriteBatch } from './write-batch.ts'

export interface ConnectionOptions {
  /** Names the connection in events. */
  name: string
  /** True if the application passed the client: it keeps its options and is not closed. */
  reuse: boolean
  /** Timeout for each call, in ms. */
  commandTimeout: number
  /** Largest number of calls in progress. */
  maxInFlight: number
  latency: Latency
  events: EventBus
  /** Returns a test's time, in place of Redis's clock. */
  testTime: (() => number) | undefined
  onReady(): void
  /** The connection or a breaker changed. */
  onChange(): void
  onNodeLost(node: string): void
  /** Set for the connection that carries large values. */
  isForLargeValues: boolean
  onCrossSlot(): void
  warn(message: string): void
}

/** Number of large values that may be on their way at a time: a few megabytes keep the connection busy. */
const MAX_LARGE_VALUES = 8

const TRACED =
  'A subscriber of tracing:ioredis:command, probably an APM tool, receives the arguments and replies of all commands: session data and cached responses. Omit reuse: true. A connection of turnpike itself shows neither.'

/** One client and the guards of the servers behind it: of the only one, or of each of a Cluster's masters. */
export class RedisConnection implements CallContext {
  readonly client: Client
  readonly testTime: (() => number) | undefined
  readonly onCrossSlot: () => void
  readonly #options: ConnectionOptions
  /** Leads to the only server. On a Cluster its guard judges the client as a whole. */
  readonly #route: ServerRoute
  readonly #nodes: ClusterNodes | undefined
  readonly #batch = new WriteBatch()
  readonly #limit: ConcurrencyLimit | undefined
  /** What the client reported last; undefined while it is connected. */
  #lastError: string | undefined
  #removeListeners: () => void = () => {}
  #isClosed = false

  constructor(client: Client, options: ConnectionOptions) {
    const { commandTimeout, events, latency, maxInFlight, name, reuse } = options
    this.client = client
    this.testTime = options.testTime
    this.onCrossSlot = options.onCrossSlot
    this.#options = options
    if (options.isForLargeValues) this.#limit = new ConcurrencyLimit(MAX_LARGE_VALUES, maxInFlight)
    const guard = {
      commandTimeout,
      maxInFlight,
      latency,
      toleratesProgress: options.isForLargeValues,
      ...guardEvents(events, name, options.onChange),
    }
    this.#route = createRoute(client, { ...guard, classify }, client)
    if (isCluster(client)) {
      this.#nodes = new ClusterNodes(client, {
        guard: { ...guard, classify: classifyOnNode },
        reuse,
        onLost: (node) => {
          options.onNodeLost(node)
          options.onChange()
        },
        onReady: options.onChange,
      })
    }
    events.counts.readFrom('inFlight', name, () => this.#inFlight)
    if (!reuse) maintainConnection(client, options.warn, () => this.#isClosed)
    this.#listen()
  }

  /** Connects, if the client is lazy or already connected. Called once, after construction. */
  start(): void {
    if (this.client.status === 'ready') this.#onReady()
    // A lazy client connects at its first command. The guard sends none before it is ready.
    if (this.client.status === 'wait') this.client.connect().catch(() => {})
  }

  /** Returns the route to the server of these keys; undefined before a Cluster's slots are known. */
  routeTo(keys: readonly string[]): ServerRoute | undefined {
    return this.#nodes ? this.#nodes.routeTo(keys) : this.#route
  }

  run(
    operation: Operation,
    keys: readonly string[],
    args: readonly OperationArgument[],
    route: ServerRoute,
    budget: RequestBudget | undefined,
    startedAt: number | undefined,
  ): Promise<unknown> {
    if (!isTraced()) return this.#run(operation, keys, args, route, budget, startedAt)
    return traceOperation(this.#traceOf(operation), () =>
      this.#run(operation, keys, args, route, budget, startedAt),
    )
  }

  #run(
    operation: Operation,
    keys: readonly string[],
    args: readonly OperationArgument[],
    route: ServerRoute,
    budget: RequestBudget | undefined,
    startedAt: number | undefined,
  ): Promise<unknown> {
    const call =
      operation.command === undefined
        ? new ScriptCall(this, route.clock, operation, keys, args, budget)
        : new ReadCall(this, operation, keys, args, budget)
    const { guard } = route
    if (!this.#limit) return guard.run(call, budget, startedAt)
    const refusal = guard.refusal()
    if (refusal) return Promise.reject(refusal)
    const now = performance.now()
    const began = startedAt ?? now
    const ms = Math.min(this.#options.commandTimeout - (now - began), budget?.left(now) ?? Infinity)
    return this.#limit.run(call, ms, budget, (limited) => guard.run(limited, budget, began))
  }

  #traceOf({ command = 'EVALSHA', name }: Operation): TracedOperation {
    return { store: this.#options.name, operation: name, command, ...addressOf(this.client) }
  }

  /** Resolves when the route to these keys is known, within `commandTimeout`. @throws TP_UNAVAILABLE */
  async waitForRoute(
    keys: readonly string[],
    budget: RequestBudget | undefined,
    startedAt: number,
  ): Promise<void> {
    if (this.routeTo(keys)) return
    const call = { name: 'connect', send: () => Promise.resolve() }
    await this.#route.guard.run(call, budget, startedAt)
    if (this.routeTo(keys)) return
    throw new StoreUnavailable('not-ready', false, new Error('no node serves the hash slot'))
  }

  hold(request: object | undefined): void {
    if (!this.#nodes) this.#batch.hold(socketOf(this.client), request)
  }

  /** Returns the error with which a call without keys would be refused now. */
  refusal(): StoreUnavailable | undefined {
    return (this.routeTo([]) ?? this.#route).guard.refusal()
  }

  /** Redis's clock, in ms since the epoch. */
  now(): number {
    return this.routeTo([])?.clock.now() ?? Date.now()
  }

  scan(pattern: string): AsyncGenerator<string[]> {
    return scanKeys(this.client, pattern, (send, node) => {
      const { guard } = this.#nodes?.routeOf(node) ?? this.#route
      return guard.run({ name: 'scan', send })
    })
  }

  info(): Promise<string> {
    const node = this.#nodes?.any()
    const client = node?.connection.client ?? this.client
    return (node ?? this.#route).guard.run({ name: 'info', send: () => client.info() })
  }

  /** True if all servers are connected and reply. */
  get isWell(): boolean {
    return this.#route.guard.isReady && this.breaker === 'closed' && !this.#nodes?.problem()
  }

  get breaker(): 'closed' | 'open' | 'half-open' {
    return this.#nodes?.problem()?.breaker ?? this.#route.guard.breaker
  }

  get #inFlight(): number {
    return this.#route.guard.inFlight + (this.#nodes?.inFlight ?? 0)
  }

  /** Says why the connection is not well. */
  get reason(): string {
    const reason = this.#nodes?.problem()?.reason ?? this.#route.guard.lastError
    const isConnected = this.client.status === 'ready'
    return (
      (isConnected ? reason : (this.#lastError ?? reason)) ??
      `the connection is ${this.client.status}`
    )
  }

  /** True once all masters of a Cluster are connected. */
  get isComplete(): boolean {
    return this.isWell && this.#nodes?.areWell !== false
  }

  /** Refuses further calls, lets those in progress finish, then ends the client. */
  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.all([this.#route.guard.close(), this.#nodes?.close()])
    if (this.#options.reuse) this.#removeListeners()
    else await endClient(this.client)
  }

  #listen(): void {
    const { client } = this
    const { reuse, warn } = this.#options
    const listeners = {
      ready: () => this.#onReady(),
      close: () => {
        this.#route.guard.disconnected()
        this.#route.clock.disconnected()
        this.#options.onChange()
      },
      error: (error: Error) => {
        this.#lastError = describe(error)
        if (reuse) warnOf(error, warn)
      },
    }
    for (const [event, listener] of Object.entries(listeners)) client.on(event, listener)
    this.#removeListeners = () => {
      for (const [event, listener] of Object.entries(listeners)) client.off(event, listener)
    }
  }

  #onReady(): void {
    if (!this.#nodes) void this.#route.clock.measure()
    this.#lastError = undefined
    const { onReady, reuse, warn } = this.#options
    onReady()
    if (reuse && showsTracedData(this.client)) warn(TRACED)
    this.#options.onChange()
  }
}
