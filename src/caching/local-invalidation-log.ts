/** A process's copy of an invalidation log. It is complete since it was armed, or it is not used. */
import { randomBytes } from 'node:crypto'
import type { Store } from '../store/store.ts'
import type { CacheEntry } from './entry.ts'
import {
  announcePosition,
  EVERYTHING_FIELD,
  type InvalidationMode,
} from './invalidation-operations.ts'
import { NO_MARK, validUntil, type InvalidationMark, type LogSnapshot } from './validity.ts'
import type { InvalidationLog } from './invalidation-log.ts'

/** How often the process checks that it receives messages, in ms. */
const HEARTBEAT = 1_000
/** How soon its own announcement must arrive, in ms. */
const HEARTBEAT_TIMEOUT = 500
/** Without a lookup for this long the copy closes, in ms. The heartbeat costs Redis a script a second. */
const MAX_IDLE = 60_000
const MAX_MARKS = 20_000
const MAX_PATTERNS = 16

/** Judges entries without a round trip, as long as this process cannot have missed an invalidation. */
export class LocalInvalidationLog {
  readonly #store: Store
  readonly #log: InvalidationLog
  readonly #onDisarm: () => void
  readonly #onClose: () => void
  readonly #unsubscribe: () => void
  readonly #marks = new Map<string, InvalidationMark>()
  #patterns: LogSnapshot['patterns'] = []
  #nonce = ''
  /** Every invalidation after this sequence was received. */
  #since = 0
  #sequence = 0
  #isArmed = false
  #isClosed = false
  #awaitedId: string | undefined
  #isBeating = false
  #usedAt = 0
  /** Grows with everything that may make an entry invalid. */
  changes = 0

  /**
   * @param onDisarm called when something may have been missed: entries of this log must go
   * @param onClose called when the copy stops, because it is not used
   */
  constructor(store: Store, log: InvalidationLog, onDisarm: () => void, onClose: () => void) {
    this.#store = store
    this.#log = log
    this.#onDisarm = onDisarm
    this.#onClose = onClose
    log.onInvalidated = (names, mode, sequence) => this.#mark(names, mode, sequence)
    this.#unsubscribe = store.subscribe(
      log.channel,
      (message) => this.#receive(message),
      () => this.disarm(),
    )
  }

  get isArmed(): boolean {
    return this.#isArmed
  }

  /** True while this process's own invalidations are not written. Then each entry must be checked. */
  get hasPending(): boolean {
    return this.#log.hasPending
  }

  /** Returns whether an entry that was valid by this snapshot may be kept: nothing later was missed. */
  covers({ nonce, sequence }: LogSnapshot): boolean {
    this.use(this.#store.now())
    return this.#isArmed && nonce === this.#nonce && sequence >= this.#since
  }

  /** Returns until when an entry is valid, by what was received: see `validUntil`. */
  validUntil(entry: CacheEntry): number | undefined {
    if (!this.#isArmed || this.#log.isPending(entry)) return undefined
    return validUntil(entry, this.snapshot(entry.tags), this.#store.now())
  }

  /** Returns what is known of these tags. */
  snapshot(tags: readonly string[]): LogSnapshot {
    const marks = new Map(tags.map((tag) => [tag, this.#marks.get(tag) ?? NO_MARK]))
    return {
      nonce: this.#nonce,
      // An entry may be younger than the last message.
      sequence: Infinity,
      everything: this.#marks.get(EVERYTHING_FIELD) ?? NO_MARK,
      marks,
      patterns: this.#patterns,
    }
  }

  /** Notes a lookup: the heartbeat goes on. @param now the store's clock */
  use(now: number): void {
    this.#usedAt = now
    if (this.#isBeating || this.#isClosed) return
    this.#isBeating = true
    void this.#beat()
  }

  /** Drops what is known: from now on something may be missed. */
  disarm(): void {
    this.#isArmed = false
    this.changes++
    this.#marks.clear()
    this.#patterns = []
    this.#onDisarm()
  }

  /** Ends the subscription and the heartbeat. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.disarm()
    this.#unsubscribe()
    this.#log.onInvalidated = undefined
    this.#onClose()
  }

  #receive(text: string): void {
    const message = stringsIn(text)
    // Anybody can publish. What cannot be read may have hidden an invalidation.
    if (message === undefined) return this.disarm()
    const [nonce = '', ...rest] = message
    if (nonce === '') return this.#receiveAnnouncement(rest)
    const [before, after, mode, ...names] = rest
    const sequence = Number(after)
    if (!this.#isArmed) return
    if (nonce !== this.#nonce || Number(before) !== this.#sequence) this.#arm(nonce, sequence)
    this.#sequence = sequence
    this.#mark(names, mode as InvalidationMode, sequence)
  }

  #receiveAnnouncement([id, nonce = '', sequence]: string[]): void {
    const isOurs = id === this.#awaitedId
    if (isOurs) this.#awaitedId = undefined
    if (!this.#isArmed && !isOurs) return
    const isKnown = this.#isArmed && nonce === this.#nonce && Number(sequence) === this.#sequence
    if (!isKnown) this.#arm(nonce, Number(sequence))
  }

  /** Begins at a sequence: nothing earlier is known, nothing later is missed. */
  #arm(nonce: string, sequence: number): void {
    this.disarm()
    this.#nonce = nonce
    this.#since = sequence
    this.#sequence = sequence
    this.#isArmed = true
  }

  #mark(names: readonly string[], mode: InvalidationMode, sequence: number): void {
    if (!this.#isArmed) return
    this.changes++
    if (this.#marks.size + names.length > MAX_MARKS) this.#arm(this.#nonce, this.#sequence)
    for (const name of names) {
      if (mode === 'glob') {
        if (this.#patterns.length >= MAX_PATTERNS) return this.#arm(this.#nonce, this.#sequence)
        const others = this.#patterns.filter(({ glob }) => glob !== name)
        this.#patterns = [...others, { glob: name, at: sequence }]
        continue
      }
      const { hard, soft } = this.#marks.get(name) ?? NO_MARK
      this.#marks.set(
        name,
        mode === 'hard'
          ? { hard: Math.max(hard, sequence), soft }
          : { hard, soft: Math.max(soft, sequence) },
      )
    }
  }

  async #beat(): Promise<void> {
    const { key, channel } = this.#log
    while (!this.#isClosed && this.#store.unavailable()?.reason !== 'closed') {
      const id = randomBytes(6).toString('base64url')
      this.#awaitedId = id
      await this.#store.run(announcePosition, [key], [channel, id]).catch(() => {})
      await this.#store.sleep(HEARTBEAT_TIMEOUT, undefined, true)
      if (this.#awaitedId === id) this.disarm()
      if (this.#isArmed) await this.#store.sleep(HEARTBEAT - HEARTBEAT_TIMEOUT, undefined, true)
      if (this.#store.now() - this.#usedAt > MAX_IDLE) this.close()
    }
    this.disarm()
    this.#isBeating = false
  }
}

function stringsIn(text: string): string[] | undefined {
  try {
    const list: unknown = JSON.parse(text)
    return Array.isArray(list) && list.every((each) => typeof each === 'string') ? list : undefined
  } catch {
    return undefined
  }
}
