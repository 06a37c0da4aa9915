/** The Redis engine: operations as scripts, behind the guard. */
import { systemClock, type Clock } from '../clock.ts'
import { StoreUnavailable } from '../errors.ts'
import type { RequestBudget } from '../request-budget.ts'
import { Cork } from './cork.ts'
import type { ConnectionGuard } from './connection-guard.ts'
import { evicts, parseInfo } from './info.ts'
import { Latency } from './latency.ts'
import { soon } from './readiness.ts'
import { ClusterNodes, routeThrough, type ServerRoute } from './cluster-nodes.ts'
import {
  connect,
  duplicate,
  end,
  isClient,
  isCluster,
  keysLike,
  streamOf,
  topologyOf,
  toSomeNode,
  unsafeOptions,
  type Client,
  type ClusterClient,
} from './redis.ts'
import type { RedisStoreOptions } from './redis-store-options.ts'
import { classify, classifyOnNode } from './diagnose.ts'
import type { OperationArgument, Operation, OperationReply, Store, StoreStatus } from './store.ts'
import { Subscriptions } from './subscriptions.ts'
import { report, reportsTo, tend } from './maintain-connection.ts'

export class RedisStore implements Store {
  readonly kind = 'redis'
  readonly cluster: boolean
  isSplit: boolean
  readonly #options: RedisStoreOptions
  readonly #clock: Clock
  readonly #opened: Promise<ConnectionGuard>
  readonly #warnings = new Set<string>()
  readonly #subscriptions: Subscriptions
  #client: Client | undefined
  #guard: ConnectionGuard | undefined
  /** To the one server; on a Cluster the nodes have theirs. */
  #way: ServerRoute | undefined
  /** The masters of a Cluster, where it is one. */
  #nodes: ClusterNodes | undefined
  readonly #latency = new Latency()
  readonly #cork = new Cork()
  #everReady = false
  #leave: () => void = () => {}
  #closed = false

  constructor(options: RedisStoreOptions) {
    const { source, reuse, db, events } = options
    this.#options = options
    this.#clock = options.clock ?? systemClock()
    this.isSplit = this.cluster = isCluster(source)
    this.#subscriptions = new Subscriptions(
      () =>
        this.#tend(
          this.cluster ? toSomeNode(this.#client as ClusterClient) : duplicate(this.#client!),
        ),
      (error) => report(error, this.#warn),
    )
    if (isClient(source)) {
      this.#opened = Promise.resolve(this.#use(reuse ? (source as Client) : duplicate(source, db)))
      const unsafe = reuse ? unsafeOptions(source) : []
      if (unsafe.length > 0)
        events.warn(
          `reuse: true keeps the client's own ${unsafe.join(', ')}: commands may run late or twice. Leave reuse out, or set them as docs/store.md says.`,
        )
    } else {
      this.#opened = connect(source, db).then((client) => this.#use(client))
      this.#opened.catch((error: Error) => this.#warn(error.message))
    }
  }

  run<Result extends OperationReply>(
    operation: Operation<Result>,
    keys: readonly string[],
    args: readonly OperationArgument[],
    budget?: RequestBudget,
    began?: number,
  ): Promise<Result> {
    const way = this.#wayTo(keys)
    const { name, buffers, command, sha, lua, refuseLate: punctual } = operation
    if (!way || (punctual && !this.#options.clock && !way.clock.known && !began)) {
      const start = began ?? performance.now()
      return this.#prepared(keys, punctual, start, budget).then(() =>
        this.run(operation, keys, args, budget, start),
      )
    }
    if (this.cluster && command === 'MGET' && keys.length > 1)
      return this.#apart(operation, keys, budget, began) as Promise<Result>
    const { guard } = way
    const client = this.#client!
    const rest =
      command === undefined
        ? [keys.length, ...keys, ...args, this.#lastArgument(operation, way)]
        : [...keys, ...args]
    const send = (): Promise<unknown> => {
      if (!this.cluster) this.#cork.put(streamOf(client), budget)
      if (command !== undefined)
        return buffers ? client.callBuffer(command, ...rest) : client.call(command, ...rest)
      return buffers ? client.evalshaBuffer(sha, ...rest) : client.evalsha(sha, ...rest)
    }
    const recover = (error: unknown): Promise<unknown> | undefined => {
      const { message } = error as Error
      if (message.startsWith('CROSSSLOT')) this.isSplit = true
      if (command !== undefined || !message.startsWith('NOSCRIPT')) return undefined
      return buffers ? client.evalBuffer(lua, ...rest) : client.eval(lua, ...rest)
    }
    return guard.run(name, send, budget, recover, began) as Promise<Result>
  }

  /** While a slot is moved, its node answers for single keys only. */
  #apart(
    operation: Operation,
    keys: readonly string[],
    ...rest: [RequestBudget?, number?]
  ): Promise<OperationReply[]> {
    const one = { ...operation, command: 'GET' }
    return Promise.all(keys.map((key) => this.run(one, [key], [], ...rest)))
  }

  unavailable(): StoreUnavailable | undefined {
    return (this.#wayTo([])?.guard ?? this.#guard)?.refusal()
  }

  now(): number {
    if (this.#options.clock) return this.#clock.now()
    return this.#wayTo([])?.clock.now() ?? Date.now()
  }

  monotonic = (): number => this.#clock.monotonic()

  sleep(ms: number, signal?: AbortSignal, idle?: boolean): Promise<void> {
    return this.#clock.sleep(ms, signal, idle)
  }

  subscribe(channel: string, hear: (message: string) => void, lost?: () => void): () => void {
    const cease = this.#subscriptions.add(channel, hear, lost)
    void this.#opened.then(
      () => this.#closed || !this.#wayTo([]) || this.#subscriptions.connect(),
      () => {},
    )
    return cease
  }

  async *scan(pattern: string): AsyncGenerator<string[]> {
    const guard = this.#guard ?? (await this.#opening())
    yield* keysLike(this.#client!, pattern, (send, node) =>
      (this.#nodes?.of(node).guard ?? guard).run('scan', send),
    )
  }

  async ready(timeout = 10_000): Promise<void> {
    const until = performance.now() + timeout
    const guard = await this.#opened
    const isReady = (): boolean =>
      this.#client!.status === 'ready' &&
      guard.breaker === 'closed' &&
      this.#nodes?.areWell !== false
    while (this.#closed || !isReady()) {
      if (this.#closed || performance.now() >= until) {
        throw new StoreUnavailable(
          this.#closed ? 'closed' : 'not-ready',
          false,
          new Error(this.status().reason),
        )
      }
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }

  status(): StoreStatus {
    const guard = this.#guard
    const connection = this.#client?.status ?? 'opening'
    const trouble = this.#nodes?.trouble()
    const breaker = trouble?.breaker ?? guard?.breaker ?? 'closed'
    const ok = connection === 'ready' && breaker === 'closed' && !trouble && !this.#closed
    const lost = trouble?.reason ?? guard?.lastError ?? `the connection is ${connection}`
    return {
      status: ok ? 'ok' : this.#everReady && !this.#closed ? 'degraded' : 'down',
      reason: ok ? undefined : this.#closed ? 'closed' : lost,
      breaker,
      topology: topologyOf(this.#client),
      latencyMs: this.#latency.percentiles(),
      lastOkAt: this.#latency.lastAt,
      warnings: [...this.#warnings],
    }
  }

  async info(): Promise<Record<string, string>> {
    const guard = this.#guard ?? (await this.#opening())
    const node = this.#nodes?.any()
    const client = node?.link.client ?? this.#client!
    return parseInfo(await (node?.guard ?? guard).run('info', () => client.info()))
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#opened.then(
      (guard) => Promise.all([guard.close(), this.#nodes?.close()]),
      () => {},
    )
    this.#leave()
    const own = this.#options.reuse ? [] : [this.#client]
    await Promise.all(
      [...own, this.#subscriptions.client].map(async (client) => client && (await end(client))),
    )
  }

  /** The way to the server of these keys; undefined before it is known. */
  #wayTo(keys: readonly string[]): ServerRoute | undefined {
    return this.#nodes ? this.#nodes.to(keys) : this.#way
  }

  /**
   * What a first call waits for: ioredis, a Cluster's map of slots, and for a deadline that Redis
   * checks its clock. This machine's may be wrong.
   */
  async #prepared(
    keys: readonly string[],
    punctual: boolean,
    began: number,
    budget: RequestBudget | undefined,
  ): Promise<void> {
    const guard = await this.#opening()
    if (!this.#wayTo(keys))
      await guard.run('connect', () => Promise.resolve(), budget, undefined, began)
    const way = this.#wayTo(keys)
    if (!way) throw new StoreUnavailable('not-ready', false, new Error('nobody serves the slot'))
    if (punctual && !this.#options.clock && !way.clock.known) await way.clock.learn()
  }

  /** Loading ioredis takes a moment; a request waits for it no longer than for an answer. */
  readonly #opening = (): Promise<ConnectionGuard> =>
    soon(this.#opened, this.#options.commandTimeout)

  #use(client: Client): ConnectionGuard {
    const { events, name: store, commandTimeout, maxInFlight, reuse = false } = this.#options
    const options = {
      commandTimeout,
      maxInFlight,
      latency: this.#latency,
      ...reportsTo(events, store),
    }
    const way = routeThrough(client, { ...options, classify }, client)
    const { guard } = way
    this.#client = client
    this.#guard = guard
    if (this.cluster) {
      this.#nodes = new ClusterNodes(client as ClusterClient, {
        guard: { ...options, classify: classifyOnNode },
        reuse,
        onLost: (node) => this.#subscriptions.leave(node),
      })
    } else {
      this.#way = way
    }
    if (!reuse) this.#tend(client)
    const listeners = [
      ['ready', this.#welcome],
      ['close', () => guard.disconnected()],
      ['error', (error: Error) => reuse && report(error, this.#warn)],
    ] as const
    for (const [event, listener] of listeners) client.on(event, listener)
    this.#leave = () => {
      if (reuse) for (const [event, listener] of listeners) client.off(event, listener)
    }
    if (client.status === 'ready') this.#welcome()
    // A lazy client connects with its first command, which the guard would hold back until it is ready.
    if (client.status === 'wait') client.connect().catch(() => {})
    if (this.#closed) void end(client)
    return guard
  }

  readonly #welcome = (): void => {
    this.#everReady = true
    this.#warnings.clear()
    void this.#way?.clock.learn()
    if (this.#options.lasting !== false) this.info().then(this.#lookAt, () => {})
    this.#subscriptions.connect()
  }

  readonly #lookAt = (info: Record<string, string>): void => {
    const warning = evicts(info)
    if (warning) this.#warn(warning)
  }

  readonly #tend = (client: Client): Client => tend(client, this.#warn, () => this.#closed)

  readonly #warn = (message: string): void => {
    if (this.#closed) return
    this.#warnings.add(message)
    this.#options.events.warn(message)
  }

  /** The script's last argument: see prelude.lua. */
  #lastArgument({ refuseLate: punctual }: Operation, { clock }: ServerRoute): string {
    // A test's clock stands still: by it nothing is late.
    if (this.#options.clock) return `=${this.#clock.now()}`
    return punctual ? `<${Math.ceil(clock.now() + this.#options.commandTimeout)}` : ''
  }
}
