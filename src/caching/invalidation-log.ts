/** Invalidation by one sequence: O(1), free of races, and safe when its record is lost. */
import { randomBytes } from 'node:crypto'
import { isUnavailable } from '../errors.ts'
import type { EventBus } from '../events.ts'
import type { RequestBudget } from '../request-budget.ts'
import type { KeySpace } from '../store/keys.ts'
import type { Store } from '../store/store.ts'
import type { CacheEntry } from './entry.ts'
import {
  EVERYTHING_FIELD,
  logFieldsFor,
  appendInvalidation,
  openLog,
  pruneLog,
  readLog,
} from './invalidation-operations.ts'
import { parseSnapshot, validUntil, type LogSnapshot } from './validity.ts'
import { matchesGlob } from '../store/glob.ts'

/** The record outlives the longest-lived entry by this much, and is renewed twice as often. */
const MARGIN = 3_600_000
/** Beyond so many fields a record begins anew: everything is invalid, and its memory is bounded. */
const MOST_FIELDS = 100_000
const PRUNE_EVERY = 1_000
/** Between attempts to tell Redis of an invalidation, in ms: so long other processes may serve what it hits after an outage. */
const LONGEST_PAUSE = 1_000

export type InvalidationMode = 'hard' | 'soft' | 'glob'

/** Where the record stood: what an entry that is made from now on is judged by. */
export interface LogPosition {
  readonly nonce: string
  readonly sequence: number
}

/** What could not be told to Redis. */
interface Owed {
  readonly mode: InvalidationMode
  readonly names: readonly string[]
}

/** One record of invalidations: that of an instance, or of one tenant. */
export class InvalidationLog {
  readonly key: string
  readonly channel: string
  readonly #store: Store
  readonly #events: EventBus
  #life = 0
  #renewedAt = -Infinity
  #owed: Owed[] = []
  #retrying = false
  #count = 0
  /** Grows with every invalidation that this process asks for: what began before it is not shared after it. */
  epoch = 0
  /** Hears of what this process itself has invalidated, as soon as that is written. */
  onInvalidated:
    | ((names: readonly string[], mode: InvalidationMode, sequence: number) => void)
    | undefined

  constructor(store: Store, keys: KeySpace, events: EventBus, tenant: string | undefined) {
    this.#store = store
    this.#events = events
    const tag = keys.tag('record', tenant)
    this.key = keys.key('inv', tag)
    this.channel = keys.channel('inv', tag)
  }

  /** What is known of `tags` now; issued in the caller's tick. @throws TP_UNAVAILABLE */
  async read(tags: readonly string[], budget?: RequestBudget): Promise<LogSnapshot> {
    return parseSnapshot(
      tags,
      await this.#store.run(readLog, [this.key], logFieldsFor(tags), budget),
    )
  }

  /** What to note of the present before something is made, where there is no record yet. @throws TP_UNAVAILABLE */
  async open(life: number, budget?: RequestBudget): Promise<LogPosition> {
    const wanted = Math.max(life, this.#life)
    const args = [nonce(), Math.ceil(wanted), MARGIN]
    const [known, sequence, longest] = await this.#store.run(openLog, [this.key], args, budget)
    this.#life = Number(longest)
    this.#renewedAt = this.#store.monotonic()
    return { nonce: known!, sequence: Number(sequence) }
  }

  /** Does the record have to be renewed, so that it outlives an entry of that life? */
  isDue(life: number): boolean {
    return life > this.#life || this.#store.monotonic() - this.#renewedAt > MARGIN / 2
  }

  /** What an entry is worth by a snapshot and by what this process could not write: see `validUntil`. */
  validity(entry: CacheEntry, snapshot: LogSnapshot): number | undefined {
    return this.owes(entry) ? undefined : validUntil(entry, snapshot, this.#store.now())
  }

  /** Is there anything that Redis does not know of yet? */
  get isOwing(): boolean {
    return this.#owed.length > 0
  }

  /** Was something of this entry's invalidated here that Redis does not know of yet? */
  owes({ tags, name }: Pick<CacheEntry, 'tags' | 'name'>): boolean {
    return this.#owed.some(({ mode, names }) =>
      names.some((each) =>
        mode === 'glob'
          ? matchesGlob(each, name)
          : each === EVERYTHING_FIELD || tags.includes(each),
      ),
    )
  }

  /**
   * Invalidate, whatever the number of entries. When it cannot be written, this process no longer
   * serves what it was to hit, and goes on trying.
   * @throws TP_UNAVAILABLE if it could not be written (yet)
   */
  async invalidate(names: readonly string[], mode: InvalidationMode): Promise<LogPosition> {
    this.epoch++
    // From the caller's word on: an entry that is looked up meanwhile may be hit, and counts as hit.
    const owed = { mode, names }
    this.#owed = [...this.#owed, owed]
    try {
      const origin = await this.#write(owed)
      this.#settle(owed)
      return origin
    } catch (error) {
      if (!this.#retrying) void this.#retry()
      throw error
    }
  }

  async #write({ mode, names }: Owed): Promise<LogPosition> {
    const args = [nonce(), MARGIN, MOST_FIELDS, mode, this.channel, ...names]
    const [known, text] = await this.#store.run(appendInvalidation, [this.key], args)
    const sequence = Number(text)
    this.onInvalidated?.(names, mode, sequence)
    this.#count += names.length
    if (this.#count >= PRUNE_EVERY) {
      this.#count = 0
      void this.#prune()
    }
    return { nonce: known!, sequence }
  }

  #settle(owed: Owed): void {
    this.#owed = this.#owed.filter((each) => each !== owed)
  }

  /** Tell Redis what it was not told, until it listens. */
  async #retry(): Promise<void> {
    this.#retrying = true
    for (let pause = 50; this.#owed.length > 0; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
      await this.#store.sleep(pause, undefined, true)
      if (this.#store.unavailable()?.reason === 'closed') break
      try {
        for (const owed of this.#owed) {
          await this.#write(owed)
          this.#settle(owed)
        }
      } catch {
        // Whoever asked for it was told; the next round tries again.
      }
    }
    this.#retrying = false
  }

  async #prune(): Promise<void> {
    try {
      let cursor = '0'
      do {
        ;[cursor = '0'] = await this.#store.run(pruneLog, [this.key], [cursor, 500, MARGIN])
      } while (cursor !== '0')
    } catch (error) {
      // While Redis is away nothing grows, and after the next thousand it is tried again.
      if (isUnavailable(error)) return
      this.#events.emit('error', { feature: 'cache', name: 'prune', error })
    }
  }
}

const nonce = (): string => randomBytes(9).toString('base64url')
