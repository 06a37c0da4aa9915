import { systemClock, type Clock } from '../clock.ts'
import { StoreUnavailable } from '../errors.ts'
import { matchesGlob } from './glob.ts'
import type {
  OperationArgument,
  MemoryDatabase,
  Operation,
  OperationReply,
  Store,
  StoreStatus,
} from './store.ts'

export interface MemoryOptions {
  clock?: Clock
  /** How many keys it holds at most. Default 100,000. */
  maxKeys?: number
  /** When it is full, does a new key drive out the one longest untouched, or is it refused? Default `'evict'`. */
  whenFull?: 'evict' | 'refuse'
}

interface Entry {
  value: unknown
  until: number
}

/** How many entries each write looks at for expired ones: memory shrinks without a timer. */
const SWEEP = 2

/**
 * The in-process engine: the twins of all operations over one bounded map. It serves development
 * without Redis, unit tests, and the local floor while Redis is away.
 */
export class MemoryStore implements Store, MemoryDatabase {
  readonly kind = 'memory'
  readonly cluster: boolean = false
  readonly isSplit: boolean = false
  readonly #clock: Clock
  readonly #maxKeys: number
  readonly #refuse: boolean
  readonly #entries = new Map<string, Entry>()
  readonly #listeners = new Map<string, Set<(message: string) => void>>()
  #sweep: Iterator<[string, Entry]> | undefined
  /** Stands before the entry longest untouched: what it passes is driven out. A new iterator would have to skip the gaps. */
  #oldest: Iterator<string> | undefined
  #closed = false

  constructor({
    clock = systemClock(),
    maxKeys = 100_000,
    whenFull = 'evict',
  }: MemoryOptions = {}) {
    this.#clock = clock
    this.#maxKeys = maxKeys
    this.#refuse = whenFull === 'refuse'
  }

  /** How many keys it holds now, expired ones that were not yet swept included. */
  get size(): number {
    return this.#entries.size
  }

  run<Result extends OperationReply>(
    operation: Operation<Result>,
    keys: readonly string[],
    args: readonly OperationArgument[],
  ): Promise<Result> {
    const unavailable = this.unavailable()
    if (unavailable) return Promise.reject(unavailable)
    try {
      return Promise.resolve(operation.memory(this, keys, args, this.#clock.now()))
    } catch (error) {
      return Promise.reject(error)
    }
  }

  get<Value>(key: string): Value | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    if (entry.until > this.#clock.now()) return entry.value as Value
    this.#entries.delete(key)
    return undefined
  }

  set(key: string, value: unknown, ttl: number): void {
    const entries = this.#entries
    if (!entries.delete(key)) {
      this.#forget()
      if (entries.size >= this.#maxKeys) {
        if (this.#refuse) throw new StoreUnavailable('saturated', false)
        this.#evict()
      }
    }
    entries.set(key, { value, until: this.#clock.now() + ttl })
  }

  delete(key: string): boolean {
    return this.get(key) !== undefined && this.#entries.delete(key)
  }

  publish(channel: string, message: string): void {
    for (const hear of this.#listeners.get(channel) ?? []) hear(message)
  }

  subscribe(channel: string, hear: (message: string) => void): () => void {
    const listeners = this.#listeners.get(channel) ?? new Set()
    this.#listeners.set(channel, listeners.add(hear))
    return () => {
      listeners.delete(hear)
      if (listeners.size === 0) this.#listeners.delete(channel)
    }
  }

  async *scan(pattern: string): AsyncGenerator<string[]> {
    const unavailable = this.unavailable()
    if (unavailable) throw unavailable
    const now = this.#clock.now()
    yield [...this.#entries]
      .filter(([key, { until }]) => until > now && matchesGlob(pattern, key))
      .map(([key]) => key)
  }

  unavailable(): StoreUnavailable | undefined {
    return this.#closed ? new StoreUnavailable('not-ready', false) : undefined
  }

  now(): number {
    return this.#clock.now()
  }

  monotonic(): number {
    return this.#clock.monotonic()
  }

  sleep(ms: number, signal?: AbortSignal, idle?: boolean): Promise<void> {
    return this.#clock.sleep(ms, signal, idle)
  }

  ready(): Promise<void> {
    return Promise.resolve()
  }

  status(): StoreStatus {
    return {
      status: this.#closed ? 'down' : 'ok',
      reason: this.#closed ? 'closed' : undefined,
      breaker: 'closed',
      topology: 'memory',
      latencyMs: undefined,
      lastOkAt: this.#clock.now(),
      warnings: [],
    }
  }

  info(): Promise<Record<string, string>> {
    return Promise.resolve({})
  }

  close(): Promise<void> {
    this.#closed = true
    this.#entries.clear()
    this.#listeners.clear()
    return Promise.resolve()
  }

  /** Drop the entry longest untouched. */
  #evict(): void {
    let next = (this.#oldest ??= this.#entries.keys()).next()
    if (next.done) next = (this.#oldest = this.#entries.keys()).next()
    if (!next.done) this.#entries.delete(next.value)
  }

  /** Look at the next few entries and drop the expired ones. */
  #forget(): void {
    const now = this.#clock.now()
    for (let i = 0; i < SWEEP; i++) {
      const next = (this.#sweep ??= this.#entries.entries()).next()
      if (next.done) return void (this.#sweep = undefined)
      const [key, entry] = next.value
      if (entry.until <= now) this.#entries.delete(key)
    }
  }
}
