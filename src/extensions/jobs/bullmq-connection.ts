/** BullMQ's queue over the instance's Redis. Every call ends within `commandTimeout`. */
import type { FlowProducer, Queue, QueueEvents, Worker } from 'bullmq'
import { StoreUnavailable, TurnpikeError } from '../../errors.ts'
import type { DedicatedConnection, ExtensionContext } from '../../extension.ts'
import { classify, toCallerError, toCause, type Outage } from '../../store/diagnose.ts'
import { loadScripts } from '../../store/ioredis-patches.ts'

/** What is used of the package. */
export interface Bullmq {
  readonly Queue: typeof Queue
  readonly Worker: typeof Worker
  readonly QueueEvents: typeof QueueEvents
  readonly FlowProducer: typeof FlowProducer
  readonly WaitingError: new () => Error
  getNextMillis(now: number, options: { pattern: string; tz: string }): number | undefined
}

let loading: Promise<Bullmq> | undefined

/** Loads BullMQ. @throws TP_NO_BULLMQ if it is not installed */
export function loadBullmq(): Promise<Bullmq> {
  loading ??= load()
  loading.catch(() => (loading = undefined))
  return loading
}

async function load(): Promise<Bullmq> {
  let loaded: Partial<Bullmq> & { default?: Partial<Bullmq> }
  try {
    loaded = await import('bullmq')
  } catch (cause) {
    throw new TurnpikeError(
      'TP_NO_BULLMQ',
      'turnpike/jobs needs BullMQ. Install it: npm install bullmq',
      { cause },
    )
  }
  // Bundlers put the exports of a CommonJS module under `default`.
  const found = typeof loaded.Queue === 'function' ? loaded : loaded.default
  if (typeof found?.Queue === 'function' && typeof found.getNextMillis === 'function')
    return found as Bullmq
  throw new TurnpikeError(
    'TP_NO_BULLMQ',
    'The module bullmq was loaded but lacks what turnpike/jobs needs. Install version 6. If a bundler replaces it, mark it as external.',
  )
}

const CONNECTION_LOST =
  /Connection is closed|isn't writeable|writable|ECONN|EPIPE|ETIMEDOUT|max retries per request|timed out|slots cache|None of startup nodes|Too many Cluster redirections/i

/** Returns the outage that an error means. BullMQ's own errors are none, although they are plain errors, too. */
export function outageOf(error: unknown): Outage | undefined {
  const { name, message } = (error ?? {}) as Partial<Error>
  const isOfRedis = name === 'ReplyError' || CONNECTION_LOST.test(`${name} ${message}`)
  return isOfRedis ? classify(error) : undefined
}

/** An open queue. */
export interface OpenQueue {
  readonly queue: Queue
  readonly flows: FlowProducer
  readonly client: DedicatedConnection['client']
}

/** Sends a command that BullMQ has no method for. */
export interface RedisCaller {
  call(...args: readonly (string | number)[]): Promise<unknown>
}

/** Number of calls that may wait for a reply at once. */
const MAX_PENDING = 5000
/** A connection without any reply for so long is replaced, in ms. */
const SILENCE = 1000

/** Opens the queue at its first call, and gives each call its deadline. */
export class BullmqConnection {
  readonly name: string
  readonly #context: ExtensionContext
  #connecting: Promise<DedicatedConnection> | undefined
  #open: OpenQueue | undefined
  #wasReady = false
  #pending = 0
  #lastReplyAt = 0
  #isClosed = false

  constructor(context: ExtensionContext, name: string) {
    this.#context = context
    this.name = name
  }

  /** Options that everything of this queue needs: keys of one hash slot, below the instance's prefix. */
  optionsFor(connection: DedicatedConnection): { connection: any; prefix: string } {
    const { keys } = this.#context
    return {
      connection: connection.client,
      prefix: `${connection.keyPrefix}${keys.key('jobs', keys.tag(this.name))}`,
    }
  }

  /** Opens a connection for a worker or a subscriber. BullMQ connects it. */
  async openBlocking(): Promise<DedicatedConnection> {
    return (await this.#context.connect('blocking'))!
  }

  /** Loads BullMQ and begins to connect. @throws TP_NO_BULLMQ, TP_NO_IOREDIS */
  async open(): Promise<void> {
    await loadBullmq()
    if (!this.#isClosed) await (this.#connecting ??= this.#connect())
  }

  /** Runs one call. @throws TP_UNAVAILABLE, TP_COMMAND, TP_NO_BULLMQ */
  async call<Result>(what: string, run: (open: OpenQueue) => Promise<Result>): Promise<Result> {
    if (this.#isClosed) throw new StoreUnavailable('closed', false)
    const unavailable = this.#context.store.unavailable()
    if (unavailable?.reason === 'breaker-open') throw unavailable
    const bullmq = await loadBullmq()
    const connection = await (this.#connecting ??= this.#connect())
    const startedAt = performance.now()
    if (this.#pending >= MAX_PENDING) throw new StoreUnavailable('saturated', false)
    this.#pending++
    try {
      await this.#ready(connection)
      const open = (this.#open ??= this.#create(bullmq, connection))
      const left = connection.commandTimeout - (performance.now() - startedAt)
      const result = await this.#within(connection, this.#run(open, run), left)
      this.#lastReplyAt = performance.now()
      return result
    } catch (error) {
      throw this.#toError(error, what)
    } finally {
      this.#pending--
    }
  }

  /** Adding again what a transaction has added in part is safe: jobs keep their IDs. */
  async #run<Result>(open: OpenQueue, run: (open: OpenQueue) => Promise<Result>): Promise<Result> {
    try {
      return await run(open)
    } catch (error) {
      const { message } = (error ?? {}) as Partial<Error>
      if (message?.startsWith('NOSCRIPT') !== true) throw error
      await loadScripts(open.client)
      return await run(open)
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    const connection = await this.#connecting?.catch(() => undefined)
    await this.#open?.queue.close().catch(() => {})
    await this.#open?.flows.close().catch(() => {})
    await connection?.end()
  }

  async #connect(): Promise<DedicatedConnection> {
    try {
      return (await this.#context.connect('calls'))!
    } catch (error) {
      this.#connecting = undefined
      throw error
    }
  }

  #create({ Queue, FlowProducer }: Bullmq, connection: DedicatedConnection): OpenQueue {
    const options = {
      ...this.optionsFor(connection),
      // The version is asked for by workers. Without it nothing is sent when the queue is created.
      skipVersionCheck: true,
      skipWaitingForReady: true,
      streams: { events: { maxLen: 1000 } },
    }
    const queue = new Queue(this.name, options)
    const flows = new FlowProducer(options)
    // Each call gets its error. Those of the connection are reported by the store.
    queue.on('error', () => {})
    flows.on('error', () => {})
    return { queue, flows, client: connection.client }
  }

  /** Waits for the first connection. Later, a lost one refuses at once: a command would wait in the client. */
  async #ready({ client, commandTimeout }: DedicatedConnection): Promise<void> {
    const isReady = (): boolean => client.status === 'ready'
    const deadline = performance.now() + commandTimeout
    while (!isReady()) {
      if (this.#wasReady || performance.now() >= deadline)
        throw new StoreUnavailable('not-ready', false)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    this.#wasReady = true
  }

  #within<Result>(
    connection: DedicatedConnection,
    reply: Promise<Result>,
    ms: number,
  ): Promise<Result> {
    reply.catch(() => {})
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => {
          // A half-open connection would keep every later call waiting.
          if (performance.now() - this.#lastReplyAt > SILENCE) connection.client.disconnect(true)
          reject(new StoreUnavailable('timeout', true))
        },
        Math.max(ms, 0),
      )
      reply.then(resolve, reject).finally(() => clearTimeout(timer))
    })
  }

  /** No error of ioredis leaves the queue: it carries the command with its arguments. */
  #toError(error: unknown, what: string): unknown {
    if (error instanceof TurnpikeError) return error
    const outage = outageOf(error)
    if (outage) return new StoreUnavailable('error', outage.uncertain, toCause(error))
    if ((error as Error).name !== 'ReplyError') return error
    this.#lastReplyAt = performance.now()
    return toCallerError(error, what)
  }
}
