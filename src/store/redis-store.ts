/** The Redis engine: operations as scripts, behind the guard. */
import { systemClock, type Clock } from '../clock.ts'
import { StoreUnavailable } from '../errors.ts'
import type { Budget } from './budget.ts'
import { Cork } from './cork.ts'
import { Guard } from './guard.ts'
import { evicts, parseInfo } from './info.ts'
import {
  connect,
  duplicate,
  end,
  isClient,
  isCluster,
  isSecure,
  keysLike,
  streamOf,
  topologyOf,
  unref,
  unrefRetry,
  unsafeOptions,
  type Client,
} from './redis.ts'
import type { RedisStoreOptions } from './redis-store-options.ts'
import { classify, explained, remedyFor, watchHandshakes } from './remedy.ts'
import type { Arg, Operation, Reply, Store, StoreStatus } from './store.ts'
import { ServerClock } from './server-clock.ts'
import { Subscriptions } from './subscriptions.ts'

const [HUNG_AFTER, GREETING] = [300, 1000]

export class RedisStore implements Store {
  readonly kind = 'redis'
  readonly cluster: boolean
  readonly #options: RedisStoreOptions
  readonly #clock: Clock
  readonly #opened: Promise<Guard>
  readonly #warnings = new Set<string>()
  readonly #subscriptions: Subscriptions
  readonly #serverClock = new ServerClock(() =>
    this.#guard!.run('time', () => this.#client!.time()),
  )
  #client: Client | undefined
  #guard: Guard | undefined
  readonly #cork = new Cork()
  #everReady = false
  #leave: () => void = () => {}
  #closed = false

  constructor(options: RedisStoreOptions) {
    const { source, reuse, db, events } = options
    this.#options = options
    this.#clock = options.clock ?? systemClock()
    this.cluster = isCluster(source)
    this.#subscriptions = new Subscriptions(
      () => this.#open(duplicate(this.#client!)),
      (error) => this.#report(error),
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

  run<Result extends Reply>(
    operation: Operation<Result>,
    keys: readonly string[],
    args: readonly Arg[],
    budget?: Budget,
    began?: number,
  ): Promise<Result> {
    const guard = this.#guard
    const { name, buffers, command, sha, lua, punctual } = operation
    if (!guard || (punctual && this.#isTimeless && began === undefined)) {
      const start = performance.now()
      return this.#prepared(punctual).then(() => this.run(operation, keys, args, budget, start))
    }
    const client = this.#client!
    const rest =
      command === undefined
        ? [keys.length, ...keys, ...args, this.#lastArgument(operation)]
        : [...keys, ...args]
    const send = (): Promise<unknown> => {
      if (!this.cluster) this.#cork.put(streamOf(client))
      if (command !== undefined)
        return buffers ? client.callBuffer(command, ...rest) : client.call(command, ...rest)
      return buffers ? client.evalshaBuffer(sha, ...rest) : client.evalsha(sha, ...rest)
    }
    const recover = (error: unknown): Promise<unknown> | undefined => {
      if (command !== undefined || !(error as Error).message.startsWith('NOSCRIPT'))
        return undefined
      return buffers ? client.evalBuffer(lua, ...rest) : client.eval(lua, ...rest)
    }
    return guard.run(name, send, budget, recover, began) as Promise<Result>
  }

  unavailable(): StoreUnavailable | undefined {
    return this.#guard?.refusal()
  }

  now(): number {
    if (this.#options.clock) return this.#clock.now()
    return this.#serverClock.now()
  }

  steady = (): number => this.#clock.steady()

  sleep(ms: number, signal?: AbortSignal, idle?: boolean): Promise<void> {
    return this.#clock.sleep(ms, signal, idle)
  }

  subscribe(channel: string, hear: (message: string) => void, lost?: () => void): () => void {
    const cease = this.#subscriptions.add(channel, hear, lost)
    void this.#opened.then(
      () => this.#closed || this.#subscriptions.connect(),
      () => {},
    )
    return cease
  }

  async *scan(pattern: string): AsyncGenerator<string[]> {
    const guard = this.#guard ?? (await this.#opening())
    yield* keysLike(this.#client!, pattern, (send) => guard.run('scan', send))
  }

  async ready(timeout = 10_000): Promise<void> {
    const until = performance.now() + timeout
    const guard = await this.#opened
    while (this.#closed || this.#client!.status !== 'ready' || guard.breaker !== 'closed') {
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
    const breaker = guard?.breaker ?? 'closed'
    const ok = connection === 'ready' && breaker === 'closed' && !this.#closed
    const lost = guard?.lastError ?? `the connection is ${connection}`
    return {
      status: ok ? 'ok' : this.#everReady && !this.#closed ? 'degraded' : 'down',
      reason: ok ? undefined : this.#closed ? 'closed' : lost,
      breaker,
      topology: topologyOf(this.#client),
      latencyMs: guard?.latency.percentiles(),
      lastOkAt: guard?.latency.lastAt,
      warnings: [...this.#warnings],
    }
  }

  async info(): Promise<Record<string, string>> {
    const guard = this.#guard ?? (await this.#opening())
    return parseInfo(await guard.run('info', () => this.#client!.info()))
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#opened.then(
      (guard) => guard.close(),
      () => {},
    )
    this.#leave()
    const own = this.#options.reuse ? [] : [this.#client]
    await Promise.all(
      [...own, this.#subscriptions.client].map(async (client) => client && (await end(client))),
    )
  }

  /** What a first call waits for: ioredis, and for a deadline that Redis checks its clock. This machine's may be wrong. */
  async #prepared(punctual: boolean): Promise<void> {
    await this.#opening()
    if (punctual && this.#isTimeless) await this.#serverClock.learn()
  }

  /** Is Redis's clock unknown yet? */
  get #isTimeless(): boolean {
    return !this.#options.clock && !this.#serverClock.known
  }

  /** Loading ioredis takes a moment; a request waits for it no longer than for an answer. */
  #opening(): Promise<Guard> {
    return new Promise((resolve, reject) => {
      const late = (cause?: unknown): void =>
        reject(new StoreUnavailable('not-ready', false, cause))
      const timer = setTimeout(late, this.#options.deadline)
      this.#opened.then(resolve, late).finally(() => clearTimeout(timer))
    })
  }

  #use(client: Client): Guard {
    const { events, name: store, deadline, maxInFlight, reuse } = this.#options
    const guard = new Guard(client, {
      deadline,
      maxInFlight,
      hungAfter: HUNG_AFTER,
      probe: () => client.ping(),
      classify,
      onBreaker: (state, reason) => events.emit('breaker', { store, state, reason }),
      onReplaced: () => events.emit('replaced', { store }),
      explain: (error, name) => this.#explain(error, name),
    })
    this.#client = client
    this.#guard = guard
    if (!reuse) this.#open(client)
    const listeners = [
      ['ready', this.#welcome],
      ['close', () => guard.disconnected()],
      ['error', (error: Error) => reuse && this.#report(error)],
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

  /** Look after a connection of our own: its errors are told with their remedy, its idle socket holds up nobody. */
  #open(client: Client): Client {
    client.on('error', (error: Error) => this.#report(error))
    client.on('ready', () => unref(client))
    client.on('reconnecting', () => unrefRetry(client))
    // A server that takes connections but answers no greeting would hold one for ever.
    client.on('connect', () =>
      setTimeout(() => client.status === 'connect' && client.disconnect(true), GREETING).unref(),
    )
    watchHandshakes(client, isSecure(client), (message) => this.#closed || this.#warn(message))
    return client
  }

  readonly #welcome = (): void => {
    this.#everReady = true
    this.#warnings.clear()
    void this.#serverClock.learn()
    void this.#checkEviction()
  }

  async #checkEviction(): Promise<void> {
    if (this.#options.lasting === false) return
    const info = await this.info().catch(() => undefined)
    const warning = info && evicts(info)
    if (warning) this.#warn(warning)
  }

  /** Tell an operator what is wrong and how to mend it: once, and in the status while it lasts. */
  #report(error: Error): void {
    const known = remedyFor(error)
    if (known) this.#warn(known)
  }

  #warn(message: string): void {
    this.#warnings.add(message)
    this.#options.events.warn(message)
  }

  /** The script's last argument: see prelude.lua. */
  #lastArgument({ punctual }: Operation): string {
    // A test's clock stands still: by it nothing is late.
    if (this.#options.clock) return `=${this.#clock.now()}`
    return punctual ? `<${Math.ceil(this.now() + this.#options.deadline)}` : ''
  }

  #explain(error: unknown, operation: string): unknown {
    const told = explained(error, operation)
    if ((told as StoreUnavailable).reason === 'late') void this.#serverClock.learn()
    return told
  }
}
