/**
 * A small document that every process holds: one versioned value in Redis. It is changed by
 * compare-and-set, announced by a message, and compared again at an interval. Reading it costs no
 * round trip.
 */
import { randomBytes } from 'node:crypto'
import { isUnavailable, StoreUnavailable, TurnpikeError } from '../errors.ts'
import type { ExtensionContext } from '../extension.ts'
import { parseStoredJson } from '../stored-json.ts'
import { documentKey, readChanges, readDocument, writeDocument } from './document-operations.ts'

/** Options of a replicated document. */
export interface DocumentOptions<Value> {
  /** Names the document in keys, messages and events. */
  readonly name: string
  /** The call that creates it, for messages: `flags()`. */
  readonly where: string
  /** The value while nothing is stored, and before Redis was read. */
  readonly initial: Value
  /**
   * Returns the value of stored JSON. Redis may hold anything: it throws for what cannot be used,
   * and the process keeps the value that it has.
   */
  parse(json: unknown): Value
  /** How often the stored version is compared with the one that this process holds, in ms. */
  readonly refreshMs: number
  /** Called after the value has changed. */
  onChange?(value: Value): void
}

/** A change of a document, as it is recorded. */
export interface DocumentChange {
  /** When it was made, in ms since the epoch, by the clock of the process that made it. */
  readonly at: number
  /** What its caller wrote down. */
  readonly record: unknown
}

/** Redis forgets a document that no process reads for this long, in ms. */
const TTL = 365 * 86_400_000
/** Scripts reply with the whole document, so it must stay below the size of a large value. */
export const MAX_DOCUMENT_BYTES = 60_000
/** Longest record of a change, in bytes of JSON. */
const MAX_RECORD_BYTES = 4_096
export const MAX_CHANGES = 100
/** Attempts of one change. Each fails only because another process has changed the document. */
const MAX_ATTEMPTS = 100
/** Changes of this process that wait for their turn. */
const MAX_WAITING = 1_000
/** Pauses between attempts to read, in ms. */
const FIRST_PAUSE = 50
const MAX_PAUSE = 1_000

type DocumentContext = Pick<
  ExtensionContext,
  'name' | 'store' | 'keys' | 'events' | 'closing' | 'onClose'
>

/** One document, as this process holds it. */
export class ReplicatedDocument<Value> {
  readonly #context: DocumentContext
  readonly #options: DocumentOptions<Value>
  readonly #key: string
  readonly #changesKey: string
  readonly #channel: string
  #value: Value
  /** The version of the value, '' if none is stored or it was not read yet. */
  #version = ''
  #isRead = false
  /** True if the stored document may be another one. */
  #isStale = false
  #isCatchingUp = false
  #isFailing = false
  #isWriting = false
  /** The version of the last message that came during a write of this process. */
  #received: string | undefined
  /** Changes of this process that are not written yet. */
  #waiting = 0
  #lastChange: Promise<unknown> = Promise.resolve()

  constructor(context: DocumentContext, options: DocumentOptions<Value>) {
    const { keys, store } = context
    this.#context = context
    this.#options = options
    this.#value = options.initial
    this.#key = documentKey(keys, options.name)
    this.#changesKey = keys.key('document', keys.tag(options.name), 'changes')
    this.#channel = keys.channel('document', options.name)
    const unsubscribe = store.subscribe(
      this.#channel,
      (version) => this.#receive(version),
      () => this.#catchUp(),
    )
    context.onClose(async () => unsubscribe())
    void this.#poll()
  }

  /** The value that this process holds. While Redis is away it is the last one. */
  get value(): Value {
    return this.#value
  }

  /** True once Redis was read. Until then the value is the initial one. */
  get isRead(): boolean {
    return this.#isRead
  }

  /**
   * Compares the stored version with the one that this process holds, and reads the document if they
   * differ. One round trip.
   * @throws TP_UNAVAILABLE
   */
  async refresh(): Promise<void> {
    const known = this.#version
    const [version, content] = await this.#context.store.run(
      readDocument,
      [this.#key],
      [known, TTL],
    )
    // A change of this process was written meanwhile. The reply may be older than it.
    if (this.#version !== known) return await this.refresh()
    this.#hold(version!, content)
    this.#isRead = true
    this.#isFailing = false
  }

  /**
   * Changes the document, and resolves when it is stored. Changes of other processes are kept.
   * @param change returns the new value. It is called again if another process was faster
   * @param record is kept with the change; see `changes()`
   * @throws what `change` throws; TP_VALUE for a document that is too large; TP_UNAVAILABLE
   */
  update(change: (value: Value) => Value, record: unknown): Promise<Value> {
    if (this.#waiting >= MAX_WAITING)
      return Promise.reject(new StoreUnavailable('saturated', false))
    this.#waiting++
    // One after the other: changes of one process need not compete.
    const updating = this.#lastChange
      .then(() => this.#update(change, record))
      .finally(() => this.#waiting--)
    this.#lastChange = updating.catch(() => {})
    return updating
  }

  async #update(change: (value: Value) => Value, record: unknown): Promise<Value> {
    const entry = this.#recordOf(record)
    this.#isWriting = true
    try {
      return await this.#compareAndSet(change, entry)
    } catch (error) {
      // It may have been stored all the same.
      if (isUnavailable(error) && error.uncertain) this.#catchUp()
      throw error
    } finally {
      this.#isWriting = false
      const received = this.#received
      this.#received = undefined
      if (received !== undefined) this.#receive(received)
    }
  }

  async #compareAndSet(change: (value: Value) => Value, entry: string): Promise<Value> {
    const { events, store } = this.#context
    const keys = [this.#key, this.#changesKey]
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const content = this.#contentOf(change(this.#value))
      const nonce = randomBytes(9).toString('base64url')
      const args = [this.#version, content, nonce, TTL, this.#channel, entry, MAX_CHANGES]
      const [isWritten, version, stored] = await store.run(writeDocument, keys, args)
      this.#hold(String(version), isWritten === 1 ? content : String(stored))
      if (isWritten === 1) return this.#value
    }
    const { name, where } = this.#options
    events.warn(`${where}: '${name}' is changed by many processes at once. A change was given up.`)
    throw new StoreUnavailable('saturated', false)
  }

  /** Takes a message: it names the version that was written. */
  #receive(version: string): void {
    // The version of a write of this process is known when its reply is there.
    if (this.#isWriting) this.#received = version
    else if (version !== this.#version) this.#catchUp()
  }

  /** Returns the latest changes, the latest first. @throws TP_UNAVAILABLE */
  async changes(count: number): Promise<DocumentChange[]> {
    const records = await this.#context.store.run(readChanges, [this.#changesKey], [0, count - 1])
    return records.flatMap((json) => {
      const [at, record] = parsedRecord(json)
      return typeof at === 'number' ? [{ at, record }] : []
    })
  }

  #recordOf(record: unknown): string {
    const json = JSON.stringify([this.#context.store.now(), record])
    if (Buffer.byteLength(json) <= MAX_RECORD_BYTES) return json
    const { where } = this.#options
    const message = `${where}: the record of a change has more than ${MAX_RECORD_BYTES} bytes.`
    throw new TurnpikeError('TP_VALUE', message)
  }

  #contentOf(value: Value): string {
    const content = JSON.stringify(value)
    const length = Buffer.byteLength(content)
    if (length <= MAX_DOCUMENT_BYTES) return content
    throw new TurnpikeError(
      'TP_VALUE',
      `${this.#options.where}: all of '${this.#options.name}' together would have ${length} bytes as JSON, and ${MAX_DOCUMENT_BYTES} are possible.`,
    )
  }

  /** Takes over a version of the document. */
  #hold(version: string, content: string | undefined): void {
    if (version === this.#version) return
    this.#version = version
    const { initial, name, onChange, parse } = this.#options
    try {
      this.#value = version === '' ? initial : parse(parseStoredJson(content ?? ''))
    } catch (error) {
      // It is overwritten by the next change.
      return this.#context.events.emit('error', { feature: this.#context.name, name, error })
    }
    onChange?.(this.#value)
  }

  /** Asks again at an interval: a message may have been lost. */
  async #poll(): Promise<void> {
    const { closing, store } = this.#context
    while (!closing.aborted) {
      this.#catchUp()
      // Processes that were started together must not stay in step.
      const pause = this.#options.refreshMs * (0.8 + Math.random() / 5)
      await store.sleep(pause, closing, true).catch(() => {})
    }
  }

  /** Reads the document until the last reason to read it was before the last read. */
  #catchUp(): void {
    this.#isStale = true
    if (this.#isCatchingUp) return
    this.#isCatchingUp = true
    void this.#readUntilCurrent().finally(() => (this.#isCatchingUp = false))
  }

  async #readUntilCurrent(): Promise<void> {
    const { closing, store } = this.#context
    let pause = FIRST_PAUSE
    while (this.#isStale && !closing.aborted) {
      this.#isStale = false
      try {
        await this.refresh()
        pause = FIRST_PAUSE
      } catch (error) {
        this.#report(error)
        this.#isStale = true
        await store.sleep(pause, closing, true).catch(() => {})
        pause = Math.min(pause * 2, MAX_PAUSE)
      }
    }
  }

  /** Reports the first failure of several. */
  #report(error: unknown): void {
    if (this.#isFailing || this.#context.closing.aborted) return
    this.#isFailing = true
    const { name: feature, events } = this.#context
    const { name } = this.#options
    if (!isUnavailable(error)) return events.emit('error', { feature, name, error })
    const { reason, uncertain } = error
    events.emit('unavailable', { feature, name, reason, uncertain, rule: 'keep' })
  }
}

function parsedRecord(json: string): readonly unknown[] {
  try {
    const parsed: unknown = JSON.parse(json)
    return Array.isArray(parsed) ? parsed : []
  } catch {
    return []
  }
}
