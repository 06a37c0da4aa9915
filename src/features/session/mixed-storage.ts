/** Sessions in two forms: turnpike's records, and connect-redis's values beside them. */
import type { RequestBudget } from '../../request-budget.ts'
import type { ConnectRedisStorage } from './connect-redis-storage.ts'
import type { RecordStorage } from './record-storage.ts'
import type { StoredForm, StoredSession } from './record.ts'
import type { SessionKeys } from './session-id.ts'
import type {
  Predecessor,
  RemoveResult,
  SaveResult,
  SessionStorage,
  SessionWrite,
} from './session-storage.ts'

/** Returns what to store for a form. */
export type WriteFor = (form: StoredForm) => SessionWrite

/**
 * Reads both forms. New sessions have the form of `format`. An existing session keeps the form in
 * which it was found, because another server may be able to read only that, unless `rewrite` is set.
 */
export class MixedStorage {
  readonly records: RecordStorage
  /** Undefined: connect-redis's values are not read. */
  readonly #legacy: ConnectRedisStorage | undefined
  readonly #primary: SessionStorage
  readonly #rewrite: boolean

  constructor(
    records: RecordStorage,
    legacy: ConnectRedisStorage | undefined,
    { format, rewrite }: { format: StoredForm; rewrite: boolean },
  ) {
    this.records = records
    this.#legacy = legacy
    this.#primary = (format === 'connect-redis' && legacy) || records
    this.#rewrite = rewrite
  }

  /** The form of new sessions. */
  get form(): StoredForm {
    return this.#primary.form
  }

  /** True if a session has to be stored again because its form is to change. */
  needsRewrite(stored: StoredSession): boolean {
    // A replaced session cannot be changed.
    if (stored.meta.successor) return false
    if (stored.form === this.form || !this.#rewrite)
      return stored.form === 'turnpike' && this.records.needsRewrite(stored)
    return true
  }

  /** Loads a session of either form. Our own record wins. */
  load(keys: SessionKeys, budget?: RequestBudget): Promise<StoredSession | undefined> {
    const own = this.records.load(keys, budget)
    // connect-redis's key needs the ID, which a handle does not tell.
    const legacy = keys.id === '' ? undefined : this.#legacy?.load(keys, budget)
    if (legacy === undefined) return own
    // It is awaited only if there is no record. Until then a rejection must not count as unhandled.
    legacy.catch(() => {})
    return own.then((stored) => stored ?? legacy)
  }

  create(
    keys: SessionKeys,
    writeFor: WriteFor,
    predecessor: Predecessor,
    budget?: RequestBudget,
  ): Promise<SaveResult> {
    return this.#primary.create(keys, writeFor(this.form), predecessor, budget)
  }

  async update(
    keys: SessionKeys,
    base: StoredSession,
    writeFor: WriteFor,
    budget?: RequestBudget,
  ): Promise<SaveResult> {
    const storage = this.#storageOf(base)
    if (!this.#rewrite || storage === this.#primary)
      return await storage.update(keys, base, writeFor(base.form), budget)
    // Only the request that removes the old form writes the new one. Otherwise a save would undo a logout.
    const removed = await storage.remove(keys, base, budget)
    if (removed === 'removed')
      return await this.#primary.create(keys, writeFor(this.form), {}, budget)
    if (removed !== 'gone') return removed
    const theirs = await this.#primary.load(keys, budget)
    return theirs ? { conflict: theirs } : 'gone'
  }

  touch(keys: SessionKeys, stored: StoredSession, ttl: number): Promise<void> {
    return this.#storageOf(stored).touch(keys, ttl)
  }

  remove(keys: SessionKeys, base: StoredSession, budget?: RequestBudget): Promise<RemoveResult> {
    return this.#storageOf(base).remove(keys, base, budget)
  }

  async destroy(keys: SessionKeys, budget?: RequestBudget): Promise<void> {
    const legacy = keys.id === '' ? undefined : this.#legacy?.destroy(keys, budget)
    await Promise.all([this.records.destroy(keys, budget), legacy])
  }

  #storageOf({ form }: StoredSession): SessionStorage {
    return (form === 'connect-redis' && this.#legacy) || this.records
  }
}
