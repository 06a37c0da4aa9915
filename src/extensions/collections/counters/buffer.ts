/** Increments of this process that Redis does not have yet. */
import { randomUUID } from 'node:crypto'
import { isUnavailable, StoreUnavailable, TurnpikeError } from '../../../errors.ts'
import type { Collection } from '../collection.ts'
import { addCounts } from './operations.ts'

export interface BufferSettings {
  readonly ttl: number
  /** Interval between two writes, in ms. */
  readonly interval: number
  readonly maxPending: number
  readonly maxFields: number
}

type Increments = Map<string, number>

/** The increments of one item. */
interface Pending {
  /** Of the counters, and of the number of the latest batch. */
  readonly keys: readonly string[]
  increments: Increments
  /** A batch that may have been carried out. It must be sent again before another one. */
  doubtful: { number: number; increments: Increments; until: number } | undefined
  /** The write in progress. A second one would make the number of the first one unknown. */
  writing: Promise<unknown> | undefined
}

/** How long Redis remembers the latest batch of a process, and how long it is sent again. */
const BATCH_MEMORY_MS = 600_000
const RESEND_MS = 540_000
/** Items that are written at once. */
const WRITES_AT_ONCE = 500
/** Number of pending items that are written before the interval is over. */
const FLUSH_SIZE = 1000
/** Interval for increments that could not be written at once. */
const RETRY_MS = 1000

export class CounterBuffer {
  /** Part of keys: tells the batches of this process from those of others. */
  readonly id: string = randomUUID().replaceAll('-', '')
  readonly #collection: Collection
  readonly #settings: BufferSettings
  readonly #pending = new Map<string, Pending>()
  readonly #closing = new AbortController()
  #batches = 0
  #isScheduled = false
  #isClosed: boolean
  #isFailing = false
  /** Increments that were dropped since the last report. */
  #lost = 0

  constructor(collection: Collection, settings: BufferSettings) {
    this.#collection = collection
    this.#settings = settings
    this.#isClosed = collection.context.closing.aborted
    // What is closed before may still count, for example a worker that ends its jobs.
    collection.context.onClose(() => this.#close(), 'last')
  }

  /** Adds increments, to be written later. */
  add(keys: readonly string[], increments: readonly (readonly [string, number])[]): void {
    if (this.#isClosed) return this.#warnOfClosed()
    const pending = this.#pendingAt(keys)
    if (pending === undefined) this.#lost += increments.length
    else for (const [field, by] of increments) this.#sum(pending.increments, field, by)
    this.#schedule()
  }

  /** Writes what is pending for an item, and returns its counts. @throws TP_UNAVAILABLE */
  read(keys: readonly string[]): Promise<Map<string, number>> {
    return this.#writeNext(this.#pending.get(keys[0]!) ?? emptyPending(keys), true)
  }

  /** @param reads false: another write may have left nothing to do */
  async #writeNext(pending: Pending, reads: boolean): Promise<Map<string, number>> {
    const { keys } = pending
    while (pending.writing !== undefined) await pending.writing.catch(() => {})
    if (!reads && isEmpty(pending)) return new Map()
    const writing = this.#write(pending)
    pending.writing = writing
    try {
      return await writing
    } finally {
      pending.writing = undefined
      // While a read was in progress, an add may have begun an entry of its own.
      if (isEmpty(pending) && this.#pending.get(keys[0]!) === pending)
        this.#pending.delete(keys[0]!)
    }
  }

  /** Drops what is pending for an item, after a write in progress. */
  async drop(keys: readonly string[]): Promise<void> {
    const pending = this.#pending.get(keys[0]!)
    while (pending?.writing !== undefined) await pending.writing.catch(() => {})
    this.#pending.delete(keys[0]!)
  }

  /** Writes all that is pending. @throws TP_UNAVAILABLE if something is left */
  async flush(): Promise<void> {
    this.#reportLoss()
    let failure: unknown
    const all = [...this.#pending.values()]
    for (let i = 0; i < all.length && failure === undefined; i += WRITES_AT_ONCE) {
      const writes = all.slice(i, i + WRITES_AT_ONCE).map((each) => this.#writeNext(each, false))
      for (const result of await Promise.allSettled(writes))
        if (result.status === 'rejected') failure ??= result.reason
    }
    this.#isFailing = failure !== undefined
    if (failure !== undefined) throw failure
  }

  async #write(pending: Pending): Promise<Map<string, number>> {
    if (pending.doubtful !== undefined) await this.#resend(pending, pending.doubtful)
    const { increments } = pending
    if (increments.size === 0) return await this.#run(pending.keys, 0, increments)
    pending.increments = new Map()
    const number = ++this.#batches
    try {
      return await this.#run(pending.keys, number, increments)
    } catch (error) {
      if (!isUnavailable(error)) this.#lost += increments.size
      else if (error.uncertain) {
        const until = this.#store.monotonic() + RESEND_MS
        pending.doubtful = { number, increments, until }
      } else for (const [field, by] of increments) this.#sum(pending.increments, field, by)
      throw error
    }
  }

  async #resend(
    pending: Pending,
    { number, increments, until }: NonNullable<Pending['doubtful']>,
  ): Promise<void> {
    // Redis has forgotten the number: sent again, the batch could count twice.
    if (until <= this.#store.monotonic()) this.#lost += increments.size
    else await this.#run(pending.keys, number, increments)
    pending.doubtful = undefined
  }

  async #run(
    keys: readonly string[],
    number: number,
    increments: Increments,
  ): Promise<Map<string, number>> {
    const { ttl, maxFields } = this.#settings
    const args = [number, ttl, BATCH_MEMORY_MS, maxFields, ...[...increments].flat()]
    const [refused, ...counts] = await this.#store.run(addCounts, keys, args)
    if (Number(refused) > 0)
      this.#collection.context.events.warn(
        `${this.#collection.where}: an item has more than ${maxFields} counters, and further ones are not stored. Take few fixed names as fields, and IDs as items.`,
      )
    const read = new Map<string, number>()
    for (let i = 0; i < counts.length; i += 2)
      read.set(String(counts[i]), Number(counts[i + 1]) || 0)
    return read
  }

  get #store(): Collection['context']['store'] {
    return this.#collection.context.store
  }

  #pendingAt(keys: readonly string[]): Pending | undefined {
    const known = this.#pending.get(keys[0]!)
    if (known !== undefined) return known
    if (this.#pending.size >= this.#settings.maxPending) return undefined
    const pending = emptyPending(keys)
    this.#pending.set(keys[0]!, pending)
    const isDue = this.#pending.size % FLUSH_SIZE === 0 && !this.#isFailing
    if (isDue) this.flush().catch((error: unknown) => this.#report(error))
    return pending
  }

  #sum(increments: Increments, field: string, by: number): void {
    const known = increments.get(field)
    if (known === undefined && increments.size >= this.#settings.maxFields) this.#lost++
    else increments.set(field, (known ?? 0) + by)
  }

  #schedule(): void {
    if (this.#isScheduled || this.#closing.signal.aborted) return
    this.#isScheduled = true
    this.#interval()
      .then(() => this.flush())
      .catch((error: unknown) => this.#report(error))
      .finally(() => {
        this.#isScheduled = false
        if (this.#pending.size > 0) this.#schedule()
      })
  }

  /** Increments keep the process alive until they are written, unless Redis is away. */
  #interval(): Promise<void> {
    const { interval } = this.#settings
    if (interval === 0 && !this.#isFailing) return Promise.resolve()
    return this.#store.sleep(interval || RETRY_MS, this.#closing.signal, this.#isFailing)
  }

  #report(error: unknown): void {
    if (this.#closing.signal.aborted) return
    const { context, name } = this.#collection
    const feature = 'counters'
    if (!isUnavailable(error)) return context.events.emit('error', { feature, name, error })
    const { reason, uncertain } = error
    context.events.emit('unavailable', { feature, name, reason, uncertain, rule: 'keep' })
  }

  #reportLoss(): void {
    if (this.#lost === 0) return
    const { context, where, name } = this.#collection
    const message = `${where}: ${this.#lost} increments were lost, because Redis was away for too long or refused them.`
    this.#lost = 0
    const error = new TurnpikeError('TP_UNAVAILABLE', message)
    context.events.emit('error', { feature: 'counters', name, error })
  }

  #warnOfClosed(): void {
    const { context, where } = this.#collection
    context.events.warn(
      `${where}: add() was called after tp.close(), so its increments are lost. Close the instance when the server has ended.`,
    )
  }

  async #close(): Promise<void> {
    this.#closing.abort(new StoreUnavailable('closed', false))
    // The second time for what was added meanwhile.
    for (let i = 0; i < 2 && this.#pending.size > 0; i++) await this.flush().catch(() => {})
    this.#isClosed = true
    for (const { increments, doubtful } of this.#pending.values())
      this.#lost += increments.size + (doubtful?.increments.size ?? 0)
    this.#pending.clear()
    this.#reportLoss()
  }
}

const isEmpty = ({ increments, doubtful }: Pending): boolean =>
  increments.size === 0 && doubtful === undefined

const emptyPending = (keys: readonly string[]): Pending => ({
  keys,
  increments: new Map(),
  doubtful: undefined,
  writing: undefined,
})
