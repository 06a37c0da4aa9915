/** What this process has heard of one record of invalidations: complete since it was armed, or not to be used. */
import { randomBytes } from 'node:crypto'
import type { Store } from '../store/store.ts'
import type { CacheEntry } from './entry.ts'
import { announcePosition, EVERYTHING_FIELD } from './invalidation-operations.ts'
import { validUntil, type InvalidationMark, type LogSnapshot } from './validity.ts'
import type { InvalidationLog, InvalidationMode } from './invalidation-log.ts'

/** How often it is made sure that invalidations are heard, and how soon that must be answered, in ms. */
const BEAT = 1_000
const DEAD = 500
const MOST_MARKS = 20_000
const NEVER: InvalidationMark = { hard: 0, soft: 0 }

/** Serves entries without a round trip while, and only while, nothing can have been missed. */
export class LocalInvalidationLog {
  readonly #store: Store
  readonly #ledger: InvalidationLog
  readonly #flush: () => void
  readonly #marks = new Map<string, InvalidationMark>()
  #globs: LogSnapshot['globs'] = []
  #nonce = ''
  /** Everything after this has been heard. */
  #since = 0
  #sequence = 0
  #armed = false
  #awaited: string | undefined
  #beating = false
  /** Grows with everything that may make an entry invalid. */
  changes = 0

  /** @param flush drops what was kept under this record */
  constructor(store: Store, ledger: InvalidationLog, flush: () => void) {
    this.#store = store
    this.#ledger = ledger
    this.#flush = flush
    ledger.onInvalidated = (names, mode, sequence) => this.#mark(names, mode, sequence)
    store.subscribe(
      ledger.channel,
      (message) => this.#hear(message),
      () => this.disarm(),
    )
  }

  get armed(): boolean {
    return this.#armed
  }

  /** Is something of this process's own not written yet? Then each entry is to be looked at. */
  get isOwing(): boolean {
    return this.#ledger.isOwing
  }

  /** May an entry be kept that was valid by this snapshot? Only if all that came later was heard. */
  covers({ nonce, sequence }: LogSnapshot): boolean {
    this.#keepBeating()
    return this.#armed && nonce === this.#nonce && sequence >= this.#since
  }

  /** As `validUntil`, by what was heard. */
  validUntil(entry: CacheEntry): number | undefined {
    if (!this.#armed || this.#ledger.owes(entry)) return undefined
    this.#keepBeating()
    return validUntil(entry, this.snapshot(entry.tags), this.#store.now())
  }

  /** What is known of these tags. */
  snapshot(tags: readonly string[]): LogSnapshot {
    const marks = new Map(tags.map((tag) => [tag, this.#marks.get(tag) ?? NEVER]))
    // An entry may be younger than the last word that was heard.
    return {
      nonce: this.#nonce,
      sequence: Infinity,
      everything: this.#marks.get(EVERYTHING_FIELD) ?? NEVER,
      marks,
      globs: this.#globs,
    }
  }

  /** Something may be missed from now on. */
  disarm(): void {
    this.#armed = false
    this.changes++
    this.#marks.clear()
    this.#globs = []
    this.#flush()
  }

  #hear(message: string): void {
    const [nonce = '', ...rest] = JSON.parse(message) as string[]
    if (nonce === '') return this.#hearBeat(rest)
    const [before, after, mode, ...names] = rest
    const sequence = Number(after)
    if (!this.#armed) return
    if (nonce !== this.#nonce || Number(before) !== this.#sequence) this.#begin(nonce, sequence)
    this.#sequence = sequence
    this.#mark(names, mode as InvalidationMode, sequence)
  }

  #hearBeat([id, nonce = '', sequence]: string[]): void {
    const isOurs = id === this.#awaited
    if (isOurs) this.#awaited = undefined
    if (!this.#armed && !isOurs) return
    if (!this.#armed || nonce !== this.#nonce || Number(sequence) !== this.#sequence)
      this.#begin(nonce, Number(sequence))
    this.#armed = true
  }

  /** Know nothing of what was, everything of what comes. */
  #begin(nonce: string, sequence: number): void {
    this.disarm()
    this.#nonce = nonce
    this.#since = sequence
    this.#sequence = sequence
    this.#armed = true
  }

  #mark(names: readonly string[], mode: InvalidationMode, sequence: number): void {
    if (!this.#armed) return
    this.changes++
    if (this.#marks.size + names.length > MOST_MARKS) this.#begin(this.#nonce, this.#sequence)
    for (const name of names) {
      if (mode === 'glob') {
        if (this.#globs.length >= 16) return this.#begin(this.#nonce, this.#sequence)
        this.#globs = [
          ...this.#globs.filter(({ glob }) => glob !== name),
          { glob: name, at: sequence },
        ]
        continue
      }
      const { hard, soft } = this.#marks.get(name) ?? NEVER
      this.#marks.set(
        name,
        mode === 'hard'
          ? { hard: Math.max(hard, sequence), soft }
          : { hard, soft: Math.max(soft, sequence) },
      )
    }
  }

  /** Beats go on while the cache is used, and stop when the store is closed. */
  #keepBeating(): void {
    if (this.#beating) return
    this.#beating = true
    void this.#beat()
  }

  async #beat(): Promise<void> {
    while (this.#store.unavailable()?.reason !== 'closed') {
      const id = randomBytes(6).toString('base64url')
      this.#awaited = id
      await this.#store
        .run(announcePosition, [this.#ledger.key], [this.#ledger.channel, id])
        .catch(() => {})
      await this.#store.sleep(DEAD, undefined, true)
      if (this.#awaited === id) this.disarm()
      if (this.#armed) await this.#store.sleep(BEAT - DEAD, undefined, true)
    }
    this.disarm()
    this.#beating = false
  }
}
