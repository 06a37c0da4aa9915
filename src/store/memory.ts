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
  /** Largest number of keys. @default 100000 */
  maxKeys?: number
  /** What happens to a new key when the store is full: it evicts the key longest untouched, or is refused. @default 'evict' */
  whenFull?: 'evict' | 'refuse'
}

interface Entry {
  value: unknown
  expiresAt: number
}

/** Number of entries that each write checks for expiry. Memory shrinks without a timer. */
const CHECKED_PER_WRITE = 2

/**
 * The in-process engine: the twins of all operations over one bounded map. It serves development
 * without Redis, unit tests, and the local fallback while Redis is away.
 */
export class MemoryStore implements Store, MemoryDatabase {
  readonly kind = 'memory'
  readonly cluster: boolean = false
  readonly isSplit: boolean = false
  readonly #clock: Clock
  readonly #maxKeys: number
  readonly #refusesNewKeys: boolean
  /** In the order of their last write. */
  readonly #entries = new Map<string, Entry>()
  readonly #listeners = new Map<string, Set<(message: string) => void>>()
  #expiryCursor: Iterator<[string, Entry]> | undefined
  /** Precedes the entry longest untouched. A new iterator would have to skip the gaps that evictions left. */
  #evictionCursor: Iterator<string> | undefined
  #isClosed = false

  constructor({
    clock = systemClock(),
    maxKeys = 100_000,
    whenFull = 'evict',
  }: MemoryOptions = {}) {
    this.#clock = clock
    this.#maxKeys = maxKeys
    this.#refusesNewKeys = whenFull === 'refuse'
  }

  /** Number of keys, including expired ones that were not removed yet. */
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
    if (entry.expiresAt > this.#clock.now()) return entry.value as Value
    this.#entries.delete(key)
    return undefined
  }

  /** @throws TP_UNAVAILABLE if the store is full and refuses new keys */
  set(key: string, value: unknown, ttl: number): void {
    const entries = this.#entries
    if (!entries.delete(key)) {
      this.#removeExpired()
      if (entries.size >= this.#maxKeys) {
        if (this.#refusesNewKeys) throw new StoreUnavailable('saturated', false)
        this.#evict()
      }
    }
    entries.set(key, { value, expiresAt: this.#clock.now() + ttl })
  }

  delete(key: string): boolean {
    return this.get(key) !== undefined && this.#entries.delete(key)
  }

  publish(channel: string, message: string): void {
    for (const listener of this.#listeners.get(channel) ?? []) listener(message)
  }

  subscribe(channel: string, listener: (message: string) => void): () => void {
    const listeners = this.#listeners.get(channel) ?? new Set()
    this.#listeners.set(channel, listeners.add(listener))
    return () => {
      listeners.delete(listener)
      if (listeners.size === 0) this.#listeners.delete(channel)
    }
  }

  async *scan(pattern: string): AsyncGenerator<string[]> {
    const unavailable = this.unavailable()
    if (unavailable) throw unavailable
    const now = this.#clock.now()
    yield [...this.#entries]
      .filter(([key, { expiresAt }]) => expiresAt > now && matchesGlob(pattern, key))
      .map(([key]) => key)
  }

  unavailable(): StoreUnavailable | undefined {
    return this.#isClosed ? new StoreUnavailable('closed', false) : undefined
  }

  now(): number {
    return this.#clock.now()
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

  ready(): Promise<void> {
    return Promise.resolve()
  }

  status(): StoreStatus {
    return {
      status: this.#isClosed ? 'down' : 'ok',
      reason: this.#isClosed ? 'closed' : undefined,
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
    this.#isClosed = true
    this.#entries.clear()
    this.#listeners.clear()
    return Promise.resolve()
  }

  /** Removes the entry longest untouched. */
  #evict(): void {
    let next = (this.#evictionCursor ??= this.#entries.keys()).next()
    if (next.done) next = (this.#evictionCursor = this.#entries.keys()).next()
    if (!next.done) this.#entries.delete(next.value)
  }

  /** Checks the next few entries and removes the expired ones. */
  #removeExpired(): void {
    const now = this.#clock.now()
    for (let i = 0; i < CHECKED_PER_WRITE; i++) {
      const next = (this.#expiryCursor ??= this.#entries.entries()).next()
      if (next.done) return void (this.#expiryCursor = undefined)
      const [key, entry] = next.value
      if (entry.expiresAt <= now) this.#entries.delete(key)
    }
  }
}
