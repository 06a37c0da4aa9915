import { systemClock, type Clock } from '../clock.ts'
import { StoreUnavailable } from '../errors.ts'
import type { RequestBudget } from '../request-budget.ts'
import { Availability } from './availability.ts'
import { isOutageRemedy } from './diagnose.ts'
import { evictionWarning, parseInfo } from './info.ts'
import { isLarge, LargeValues } from './large-values.ts'
import { Latency } from './latency.ts'
import { maintainConnection, warnOf } from './maintain-connection.ts'
import { within } from './readiness.ts'
import { RedisConnection, type ConnectionOptions } from './redis-connection.ts'
import type { RedisStoreOptions } from './redis-store-options.ts'
import {
  connectToAnyNode,
  createClient,
  duplicateClient,
  endClient,
  isClient,
  isCluster,
  prefixOf,
  topologyOf,
  unsafeOptions,
  type Client,
} from './redis.ts'
import type { OperationArgument, Operation, OperationReply, Store, StoreStatus } from './store.ts'
import { Subscriptions } from './subscriptions.ts'

/** The Redis engine: runs operations as scripts, each within its timeout. */
export class RedisStore implements Store {
  readonly kind = 'redis'
  readonly cluster: boolean
  isSplit: boolean
  readonly #options: RedisStoreOptions
  readonly #clock: Clock
  /** Resolves once ioredis is loaded. */
  readonly #opening: Promise<RedisConnection>
  readonly #warnings = new Set<string>()
  readonly #latency = new Latency()
  readonly #subscriptions: Subscriptions
  readonly #availability: Availability
  readonly #largeValues: LargeValues
  #connection: RedisConnection | undefined
  #wasReady = false
  /** True once a caller waits for the connection, and so gets the error if it cannot be opened. */
  #isFailureReported = false
  #closing: Promise<void> | undefined

  constructor(options: RedisStoreOptions) {
    const { source, reuse, db, events } = options
    this.#options = options
    this.#clock = options.clock ?? systemClock()
    this.isSplit = this.cluster = isCluster(source)
    this.#availability = new Availability({
      isWell: () => this.#connection?.isWell === true,
      isOpen: () => this.#connection?.breaker === 'open',
      reason: () => this.#connection?.reason ?? 'the connection is opening',
      onChange: (type, reason, awayMs) =>
        events.emit('availability', { store: options.name, type, reason, awayMs }),
    })
    this.#largeValues = new LargeValues(() => this.#openLargeValues(), options.commandTimeout)
    this.#subscriptions = new Subscriptions({
      open: () => this.#openSubscriptions(),
      onRefused: (error) => warnOf(error, this.#warn),
      onListenerError: (error, channel) =>
        events.emit('error', { feature: 'store', name: channel, error }),
    })
    if (!isClient(source)) {
      this.#opening = createClient(source, db).then((client) => this.#use(client))
      this.#opening.catch((error: Error) => this.#onOpenFailure(error))
      return
    }
    const client = reuse ? (source as Client) : duplicateClient(source, { db })
    this.#opening = Promise.resolve(this.#use(client))
    const unsafe = reuse ? unsafeOptions(source) : []
    if (unsafe.length > 0)
      events.warn(
        `reuse: true keeps the client's own ${unsafe.join(', ')}. Commands may run late or twice. Omit reuse, or set them as docs/store.md says.`,
      )
  }

  run<Result extends OperationReply>(
    operation: Operation<Result>,
    keys: readonly string[],
    args: readonly OperationArgument[],
    budget?: RequestBudget,
    startedAt?: number,
  ): Promise<Result> {
    const connection = this.#connection
    const route = connection?.routeTo(keys)
    if (!connection || !route) return this.#runWhenRouted(operation, keys, args, budget)
    // While a hash slot is migrated, its node serves single keys only.
    if (this.cluster && operation.command === 'MGET' && keys.length > 1) {
      const get = { ...operation, command: 'GET' } as const
      const values = keys.map((key) => this.run(get, [key], [], budget, startedAt))
      return Promise.all(values) as Promise<OperationReply> as Promise<Result>
    }
    const reply = isLarge(operation, args)
      ? this.#largeValues.run(operation, keys, args, budget, startedAt ?? performance.now())
      : connection.run(operation, keys, args, route, budget, startedAt)
    return reply as Promise<Result>
  }

  async #runWhenRouted<Result extends OperationReply>(
    operation: Operation<Result>,
    keys: readonly string[],
    args: readonly OperationArgument[],
    budget: RequestBudget | undefined,
  ): Promise<Result> {
    const startedAt = performance.now()
    const connection = await this.#opened()
    await connection.waitForRoute(keys, budget, startedAt)
    return await this.run(operation, keys, args, budget, startedAt)
  }

  unavailable(): StoreUnavailable | undefined {
    return this.#connection?.refusal()
  }

  now(): number {
    return this.#options.clock?.now() ?? this.#connection?.now() ?? Date.now()
  }

  monotonic(): number {
    return this.#clock.monotonic()
  }

  wallClock(): number {
    return this.#clock.now()
  }

  sleep(ms: number, signal?: AbortSignal, idle?: boolean): Promise<void> {
    return this.#clock.sleep(ms, signal, idle)
  }

  subscribe(channel: string, listener: (message: string) => void, onGap?: () => void): () => void {
    const unsubscribe = this.#subscriptions.add(channel, listener, onGap)
    this.#opening.then(
      (connection) => {
        if (!this.#closing && connection.routeTo([])) this.#subscriptions.connect()
      },
      () => {},
    )
    return unsubscribe
  }

  async *scan(pattern: string): AsyncGenerator<string[]> {
    const connection = this.#connection ?? (await this.#opened())
    yield* connection.scan(pattern)
  }

  async ready(timeout = 10_000): Promise<void> {
    const deadline = performance.now() + timeout
    this.#isFailureReported = true
    const connection = await this.#opening
    while (this.#closing || !connection.isComplete) {
      if (this.#closing || performance.now() >= deadline) {
        const reason = this.#closing ? 'closed' : 'not-ready'
        throw new StoreUnavailable(reason, false, new Error(this.status().reason))
      }
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }

  status(): StoreStatus {
    const main = this.#connection
    const large = this.#largeValues.connection
    // One breaker can be open while the other connection works.
    const connection = main?.isWell && large && large.breaker !== 'closed' ? large : main
    const isOk = !this.#closing && connection?.isWell === true
    const isDown = this.#closing !== undefined || !this.#wasReady
    const reason = this.#closing ? 'closed' : (connection?.reason ?? 'the connection is opening')
    return {
      status: isOk ? 'ok' : isDown ? 'down' : 'degraded',
      reason: isOk ? undefined : reason,
      breaker: connection?.breaker ?? 'closed',
      topology: topologyOf(main?.client),
      latencyMs: this.#latency.percentiles(),
      lastOkAt: this.#latency.lastAt,
      warnings: [...this.#warnings],
    }
  }

  async info(): Promise<Record<string, string>> {
    const connection = this.#connection ?? (await this.#opened())
    return parseInfo(await connection.info())
  }

  /** Opens a client of its own to the same server, for programs that inspect it. The caller ends it. */
  async openClient(): Promise<Client> {
    const { client } = await this.#opening
    return duplicateClient(client, { keyPrefix: this.#options.reuse ? prefixOf(client) : '' })
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  async #close(): Promise<void> {
    this.#availability.close()
    const connection = await this.#opening.catch(() => undefined)
    const subscriptions = this.#subscriptions.client
    await Promise.all([
      connection?.close(),
      this.#largeValues.close(),
      subscriptions && endClient(subscriptions),
    ])
  }

  /** A request waits for ioredis to be loaded no longer than for a reply. */
  #opened(): Promise<RedisConnection> {
    this.#isFailureReported = true
    return within(this.#opening, this.#options.commandTimeout, 'not-ready')
  }

  /**
   * Ends the process if Redis cannot be used at all and no caller gets the error. Otherwise each
   * process would count alone, and no one would notice.
   */
  #onOpenFailure(error: Error): void {
    this.#warnings.add(error.message)
    setImmediate(() => {
      if (!this.#isFailureReported) throw error
    })
  }

  #use(client: Client): RedisConnection {
    const { name, reuse = false } = this.#options
    this.#connection = new RedisConnection(client, {
      ...this.#connectionOptions(),
      name,
      reuse,
      isForLargeValues: false,
      onReady: () => this.#onReady(),
      onChange: () => this.#availability.update(),
    })
    this.#connection.start()
    this.#availability.update()
    return this.#connection
  }

  #openLargeValues(): RedisConnection {
    const { client } = this.#connection!
    // Nothing but the client itself adds the keyPrefix of a reused one.
    const keyPrefix = this.#options.reuse ? prefixOf(client) : ''
    const connection = new RedisConnection(duplicateClient(client, { keyPrefix }), {
      ...this.#connectionOptions(),
      name: `${this.#options.name}, large values`,
      reuse: false,
      isForLargeValues: true,
      onReady: () => {},
      onChange: () => {},
    })
    connection.start()
    return connection
  }

  #connectionOptions(): Omit<
    ConnectionOptions,
    'name' | 'reuse' | 'isForLargeValues' | 'onReady' | 'onChange'
  > {
    const { clock, commandTimeout, events, maxInFlight } = this.#options
    return {
      commandTimeout,
      maxInFlight,
      latency: this.#latency,
      events,
      testTime: clock && (() => clock.now()),
      onNodeLost: (node) => this.#subscriptions.leave(node),
      onCrossSlot: () => (this.isSplit = true),
      warn: this.#warn,
    }
  }

  #onReady(): void {
    this.#wasReady = true
    this.#warnings.clear()
    this.#subscriptions.connect()
    if (this.#options.lasting === false) return
    this.info().then(
      (info) => {
        const warning = evictionWarning(info)
        if (warning !== undefined) this.#warn(warning)
      },
      () => {},
    )
  }

  #openSubscriptions(): Client {
    const { client } = this.#connection!
    const connection = isCluster(client) ? connectToAnyNode(client) : duplicateClient(client)
    return maintainConnection(connection, this.#warn, () => this.#closing !== undefined)
  }

  readonly #warn = (message: string): void => {
    if (this.#closing) return
    this.#warnings.add(message)
    // The event `availability` reports an outage.
    if (!isOutageRemedy(message)) this.#options.events.warn(message)
  }
}
