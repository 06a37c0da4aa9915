/** Invalidation by one sequence: O(1), without races, and safe if the log is lost. */
import { randomBytes } from 'node:crypto'
import { isUnavailable } from '../errors.ts'
import type { EventBus } from '../events.ts'
import type { RequestBudget } from '../request-budget.ts'
import type { KeySpace } from '../store/keys.ts'
import type { Store } from '../store/store.ts'
import type { CacheEntry } from './entry.ts'
import {
  logFieldsFor,
  appendInvalidation,
  openLog,
  pruneLog,
  readLog,
  type InvalidationMode,
} from './invalidation-operations.ts'
import { PendingInvalidations, type InvalidationBatch } from './pending-invalidations.ts'
import { parseSnapshot, validUntil, type LogSnapshot } from './validity.ts'

/** How long the log outlives the longest-lived entry, in ms. It is renewed twice as often. */
const MARGIN = 3_600_000
/** With more fields a new log begins. Everything is invalid then, and the memory is bounded. */
const MAX_FIELDS = 100_000
const PRUNE_EVERY = 1_000
/** Names that one script writes. */
const MAX_BATCH = 1_000
/** The longest time between two attempts to write what could not be written, in ms. */
const MAX_RETRY_PAUSE = 1_000

/** The state of the log before a fill. Later invalidations make the filled entry invalid. */
export interface LogPosition {
  readonly nonce: string
  readonly sequence: number
}

/** The log of invalidations of an instance or of one tenant. */
export class InvalidationLog {
  readonly key: string
  readonly channel: string
  readonly #store: Store
  readonly #events: EventBus
  readonly #retries: boolean
  readonly #pending = new PendingInvalidations()
  #life = 0
  #renewedAt = -Infinity
  #isRetrying = false
  #written = 0
  /** Grows with each invalidation of this process. A fill that began before one is not joined after it. */
  epoch = 0
  /** Called when this process has written an invalidation. */
  onInvalidated:
    | ((names: readonly string[], mode: InvalidationMode, sequence: number) => void)
    | undefined

  /** @param retries false: what cannot be written is only reported to its caller */
  constructor(
    store: Store,
    keys: KeySpace,
    events: EventBus,
    tenant: string | undefined,
    retries: boolean,
  ) {
    this.#store = store
    this.#events = events
    this.#retries = retries
    const tag = keys.tag('log', tenant)
    this.key = keys.key('inv', tag)
    this.channel = keys.channel('inv', tag)
  }

  /** Reads the state of tags. The command is sent in the caller's tick. @throws TP_UNAVAILABLE */
  async read(tags: readonly string[], budget?: RequestBudget): Promise<LogSnapshot> {
    return parseSnapshot(
      tags,
      await this.#store.run(readLog, [this.key], logFieldsFor(tags), budget),
    )
  }

  /** Creates the log if there is none, and returns its position. @throws TP_UNAVAILABLE */
  async open(life: number, budget?: RequestBudget): Promise<LogPosition> {
    const wanted = Math.max(life, this.#life)
    const args = [createNonce(), Math.ceil(wanted), MARGIN]
    const [nonce, sequence, longest] = await this.#store.run(openLog, [this.key], args, budget)
    this.#life = Number(longest)
    this.#renewedAt = this.#store.monotonic()
    return { nonce: nonce!, sequence: Number(sequence) }
  }

  /** Returns whether the log must be renewed, so that it outlives an entry of this life. */
  needsRenewal(life: number): boolean {
    return life > this.#life || this.#store.monotonic() - this.#renewedAt > MARGIN / 2
  }

  /** Returns until when an entry is valid, by a snapshot and by what this process could not write. */
  validity(entry: CacheEntry, snapshot: LogSnapshot): number | undefined {
    return this.isPending(entry) ? undefined : validUntil(entry, snapshot, this.#store.now())
  }

  /** True if it holds what Redis does not know of, or a near cache follows it. */
  get isInUse(): boolean {
    return this.hasPending || this.onInvalidated !== undefined
  }

  /** True if this process has asked for invalidations that Redis does not know of. */
  get hasPending(): boolean {
    return !this.#pending.isEmpty
  }

  /** Returns whether an entry is hit by an invalidation that Redis does not know of. */
  isPending(entry: Pick<CacheEntry, 'tags' | 'name'>): boolean {
    return this.#pending.hits(entry)
  }

  /**
   * Invalidates tags, patterns or everything. From the call on, this process does not serve what is
   * hit. If it cannot be written, it is tried again until Redis knows of it.
   * @throws TP_UNAVAILABLE if it could not be written (yet)
   */
  async invalidate(names: readonly string[], mode: InvalidationMode): Promise<LogPosition> {
    this.epoch++
    const batches: InvalidationBatch[] = []
    for (let first = 0; first < names.length || first === 0; first += MAX_BATCH)
      batches.push({ mode, names: names.slice(first, first + MAX_BATCH) })
    const counts = this.#events.counts.row('invalidation', mode)
    try {
      const positions = await Promise.all(batches.map((batch) => this.#invalidate(batch)))
      counts.count('written')
      return positions.at(-1)!
    } catch (error) {
      counts.count('failed')
      throw error
    }
  }

  async #invalidate(batch: InvalidationBatch): Promise<LogPosition> {
    const call = this.#pending.begin(batch)
    try {
      const position = await this.#write(batch)
      this.#pending.settle(batch, call)
      return position
    } catch (error) {
      this.#pending.fail(batch)
      if (this.#retries && !this.#isRetrying) void this.#retry()
      throw error
    }
  }

  async #write({ mode, names }: InvalidationBatch): Promise<LogPosition> {
    const args = [createNonce(), MARGIN, MAX_FIELDS, mode, this.channel, ...names]
    const [nonce, text] = await this.#store.run(appendInvalidation, [this.key], args)
    const sequence = Number(text)
    this.onInvalidated?.(names, mode, sequence)
    this.#written += names.length
    if (this.#written >= PRUNE_EVERY) {
      this.#written = 0
      void this.#prune()
    }
    return { nonce: nonce!, sequence }
  }

  /** Writes what could not be written, until nothing is left. */
  async #retry(): Promise<void> {
    this.#isRetrying = true
    for (let pause = 50; this.#pending.hasFailed; pause = Math.min(pause * 2, MAX_RETRY_PAUSE)) {
      await this.#store.sleep(pause, undefined, true)
      if (this.#store.unavailable()?.reason === 'closed') break
      try {
        for (const batch of this.#pending.batches()) {
          const call = this.#pending.begin(batch)
          await this.#write(batch)
          this.#pending.settle(batch, call)
        }
      } catch {
        // The caller of `invalidate` knows of it. The next round tries again.
      }
    }
    this.#isRetrying = false
  }

  async #prune(): Promise<void> {
    try {
      let cursor = '0'
      do {
        ;[cursor = '0'] = await this.#store.run(pruneLog, [this.key], [cursor, 500, MARGIN])
      } while (cursor !== '0')
    } catch (error) {
      // While Redis is away the log does not grow. It is pruned after the next thousand names.
      if (isUnavailable(error)) return
      this.#events.emit('error', { feature: 'cache', name: 'prune', error })
    }
  }
}

const createNonce = (): string => randomBytes(9).toString('base64url')
