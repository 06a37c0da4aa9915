/** Invalidations of this process that Redis does not know of. Bounded, and cheap to ask on each lookup. */
import { matchesGlob } from '../store/glob.ts'
import type { CacheEntry } from './entry.ts'
import { EVERYTHING_FIELD, type InvalidationMode } from './invalidation-operations.ts'

/** Failed names that are kept one by one. Beyond them everything counts as invalidated. */
const MAX_NAMES = 1_000
/** Patterns are matched against each entry, so there are fewer of them. */
const MAX_PATTERNS = 16

interface Pending {
  readonly mode: InvalidationMode
  /** The call that asked for it last. Only its success settles it. */
  readonly call: number
  /** True if writing it has failed. Until then the store bounds how many there are. */
  readonly failed: boolean
}

/** One write of invalidations. */
export interface InvalidationBatch {
  readonly mode: InvalidationMode
  readonly names: readonly string[]
}

/** The invalidations of one log that are being written or could not be written. */
export class PendingInvalidations {
  readonly #tags = new Map<string, Pending>()
  readonly #patterns = new Map<string, Pending>()
  #failed = 0
  #calls = 0

  get isEmpty(): boolean {
    return this.#tags.size === 0 && this.#patterns.size === 0
  }

  get hasFailed(): boolean {
    return this.#failed > 0
  }

  /** Returns whether an entry is hit by an invalidation that Redis does not know of. */
  hits({ tags, name }: Pick<CacheEntry, 'tags' | 'name'>): boolean {
    if (this.isEmpty) return false
    if (this.#tags.has(EVERYTHING_FIELD)) return true
    for (const tag of tags) if (this.#tags.has(tag)) return true
    for (const glob of this.#patterns.keys()) if (matchesGlob(glob, name)) return true
    return false
  }

  /** Adds names before they are written. Returns the number of the call for `settle` and `fail`. */
  begin({ names, mode }: InvalidationBatch): number {
    const call = ++this.#calls
    for (const name of names) this.#set(name, { mode, call, failed: false })
    return call
  }

  /** Removes names that were written. A later call for the same name keeps it. */
  settle({ names, mode }: InvalidationBatch, call: number): void {
    const pending = this.#of(mode)
    for (const name of names) if (pending.get(name)?.call === call) this.#delete(pending, name)
  }

  /** Keeps names that could not be written. */
  fail({ names, mode }: InvalidationBatch): void {
    if (this.#tags.get(EVERYTHING_FIELD)?.failed === true) return this.#failEverything()
    for (const name of names) this.#set(name, { mode, call: ++this.#calls, failed: true })
    if (this.#failed > MAX_NAMES || this.#patterns.size > MAX_PATTERNS) this.#failEverything()
  }

  /** Keeps one name for all. It is a new call: an earlier write of it does not settle what came later. */
  #failEverything(): void {
    this.#tags.clear()
    this.#patterns.clear()
    this.#failed = 0
    this.#set(EVERYTHING_FIELD, { mode: 'hard', call: ++this.#calls, failed: true })
  }

  /** Returns what has to be written again, by mode. */
  batches(): InvalidationBatch[] {
    const all = [...this.#tags, ...this.#patterns].filter(([, { failed }]) => failed)
    return (['hard', 'soft', 'glob'] as const).flatMap((mode) => {
      const names = all.filter(([, pending]) => pending.mode === mode).map(([name]) => name)
      return names.length > 0 ? [{ mode, names }] : []
    })
  }

  #of(mode: InvalidationMode): Map<string, Pending> {
    return mode === 'glob' ? this.#patterns : this.#tags
  }

  #set(name: string, next: Pending): void {
    const pending = this.#of(next.mode)
    const known = pending.get(name)
    // A soft invalidation does not undo a hard one that has failed.
    if (known?.failed && known.mode === 'hard' && next.mode === 'soft') return
    const failed = next.failed || known?.failed === true
    if (failed && known?.failed !== true) this.#failed++
    pending.set(name, { ...next, failed })
  }

  #delete(pending: Map<string, Pending>, name: string): void {
    if (pending.get(name)?.failed) this.#failed--
    pending.delete(name)
  }
}
