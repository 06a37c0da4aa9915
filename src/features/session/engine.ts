/** Sessions without HTTP: IDs in, data out. */
import type { CounterRow } from '../../feature-counts.ts'
import type { SessionEvent } from '../../event-types.ts'
import type { ExtensionContext } from '../../extension.ts'
import type { RequestBudget } from '../../request-budget.ts'
import { ConnectRedisStorage } from './connect-redis-storage.ts'
import { DeployDiagnosis } from './deploy-diagnosis.ts'
import { merge, type SessionValues } from './merge.ts'
import { MixedStorage, type WriteFor } from './mixed-storage.ts'
import { NearSessions } from './near-sessions.ts'
import { RecordStorage, successorIdOf } from './record-storage.ts'
import type { StoredForm, StoredSession } from './record.ts'
import { assertReadable, serialize, serializerOf, type SessionSerializer } from './serializer.ts'
import { sessionChangesOf } from './session-changes.ts'
import { conflictError, corruptError, limitError, sizeError } from './session-errors.ts'
import { createSessionId, handleOf, keysOfId, userTag, type SessionKeys } from './session-id.ts'
import type { LoadedSession, Predecessor, SessionChange } from './session-storage.ts'
import type { SessionEngineOptions } from './settings.ts'

const MAX_CONFLICTS = 16
/** Most moves that one ID may lead over. */
const MAX_HOPS = 8
const json = serializerOf('json')

/** The sessions of one mount. */
export class SessionEngine {
  readonly options: SessionEngineOptions
  readonly context: ExtensionContext
  readonly storage: MixedStorage
  readonly diagnosis: DeployDiagnosis
  readonly #near: NearSessions | undefined
  readonly #loads: CounterRow
  readonly #saves: CounterRow

  constructor(context: ExtensionContext, options: SessionEngineOptions) {
    const { store } = context
    const { ttl, legacyPrefix, secrets, near } = options
    const changes = sessionChangesOf(context)
    const legacy =
      legacyPrefix === undefined ? undefined : new ConnectRedisStorage(store, legacyPrefix, ttl)
    this.context = context
    this.options = options
    this.#loads = context.events.counts.row('sessionLoad', options.name)
    this.#saves = context.events.counts.row('sessionSave', options.name)
    this.storage = new MixedStorage(new RecordStorage(store, changes, options), legacy, options)
    this.diagnosis = new DeployDiagnosis(context, secrets)
    this.#near = near && new NearSessions(context, changes, near)
  }

  readonly now = (): number => this.context.store.now()

  keysOf(id: string, tenant: string | undefined): SessionKeys {
    return keysOfId(this.context.keys, id, tenant)
  }

  /** Creates an ID for a user's session, or for an anonymous one. */
  createId(user?: string): string {
    return createSessionId(user === undefined ? undefined : userTag(user, this.options.secrets[0]!))
  }

  /**
   * Serializes data as it is, or is to be, stored.
   * @param form default: that of new sessions
   * @throws TP_SESSION_SIZE for data that cannot be serialized
   */
  serialize(values: object, form: StoredForm = this.storage.form): string {
    return serialize(values, this.#serializer(form))
  }

  /** Returns a session that this process has loaded a moment ago: see `near`. Its data is not shared. */
  recall(keys: SessionKeys): LoadedSession | undefined {
    const stored = this.#near?.find(keys)
    if (stored === undefined) return undefined
    try {
      const recalled = { keys, stored, data: this.#deserialize(stored) }
      this.#loads.count('near')
      return recalled
    } catch {
      // A load reports it.
      return undefined
    }
  }

  /**
   * Loads a session. Undefined if there is none, or if it cannot be read and `onCorrupt` is `'new'`.
   * @throws TP_UNAVAILABLE; TP_SESSION_CORRUPT with `onCorrupt: 'error'`
   */
  load(keys: SessionKeys, budget?: RequestBudget): Promise<LoadedSession | undefined> {
    const near = keys.id === '' ? undefined : this.#near
    return near ? near.load(keys, () => this.#load(keys, budget, 0)) : this.#load(keys, budget, 0)
  }

  #load(
    keys: SessionKeys,
    budget: RequestBudget | undefined,
    hops: number,
  ): Promise<LoadedSession | undefined> {
    return this.storage.load(keys, budget).then(
      (stored) => {
        if (hops === 0) this.#loads.count(stored ? 'found' : 'absent')
        if (!stored) return this.#missing(keys, budget)
        if (stored.meta.successor) return this.#loadReplaced(keys, stored, budget, hops)
        return this.#parse(keys, stored)
      },
      (error: unknown) => {
        this.#loads.count('failed')
        return this.#unreadable(keys, error)
      },
    )
  }

  /** Loads a session that another one took the place of. It is dead with its successor. */
  async #loadReplaced(
    keys: SessionKeys,
    stored: StoredSession,
    budget: RequestBudget | undefined,
    hops: number,
  ): Promise<LoadedSession | undefined> {
    const { sealedId, follow } = stored.meta.successor!
    let successor: SessionKeys
    try {
      successor = this.keysOf(successorIdOf(keys, sealedId), keys.tenant)
    } catch (error) {
      return this.#unreadable(keys, corruptError(error))
    }
    const loaded = hops < MAX_HOPS ? await this.#load(successor, budget, hops + 1) : undefined
    return loaded && (follow ? loaded : this.#parse(keys, stored))
  }

  /** Looks for a value of another type. Only `onCorrupt: 'error'` waits for the answer. */
  #missing(keys: SessionKeys, budget: RequestBudget | undefined): Promise<undefined> | undefined {
    if (this.storage.form !== 'turnpike') return undefined
    const isStrict = this.options.onCorrupt === 'error'
    const verified = this.storage.records
      .verify(keys, isStrict ? budget : undefined)
      .then(() => undefined)
      .catch((error: unknown) => this.#unreadable(keys, error))
    if (isStrict) return verified
    this.runInBackground(verified)
    return undefined
  }

  #parse(keys: SessionKeys, stored: StoredSession): LoadedSession | undefined {
    try {
      return { keys, stored, data: this.#deserialize(stored) }
    } catch (error) {
      return this.#unreadable(keys, error)
    }
  }

  #unreadable(keys: SessionKeys, error: unknown): undefined {
    if ((error as { code?: unknown }).code !== 'TP_SESSION_CORRUPT') throw error
    this.report('corrupt', keys)
    this.diagnosis.onUnreadable(error)
    if (this.options.onCorrupt === 'error') throw error
    return undefined
  }

  /**
   * Stores a new session. Undefined if the user's sessions were revoked meanwhile.
   * @throws TP_SESSION_LIMIT, TP_SESSION_SIZE, TP_UNAVAILABLE
   */
  async create(
    keys: SessionKeys,
    change: SessionChange,
    predecessor: Predecessor = {},
    budget?: RequestBudget,
  ): Promise<StoredSession | undefined> {
    const result = await this.storage.create(keys, this.#writeFor(change), predecessor, budget)
    if (result === 'full') throw limitError()
    this.#saves.count(typeof result === 'object' ? 'saved' : 'dropped')
    return typeof result === 'object' && 'stored' in result ? result.stored : undefined
  }

  /**
   * Stores the next version of a session, and resolves conflicts with other requests. Undefined if
   * the session no longer exists.
   * @throws TP_SESSION_CONFLICT, TP_SESSION_SIZE, TP_UNAVAILABLE
   */
  async update(
    keys: SessionKeys,
    stored: StoredSession,
    change: SessionChange,
    budget?: RequestBudget,
  ): Promise<LoadedSession | undefined> {
    let [base, wanted] = [stored, change]
    for (let attempt = 0; attempt < MAX_CONFLICTS; attempt++) {
      const result = await this.storage.update(keys, base, this.#writeFor(wanted), budget)
      if (result === 'gone' || result === 'full') {
        this.report('dropped', keys)
        this.#saves.count('dropped')
        return undefined
      }
      if ('stored' in result) {
        this.#saves.count('saved')
        return { keys, stored: result.stored, data: wanted.data }
      }
      base = result.conflict
      wanted = this.resolve(keys, stored, change, wanted, base)
    }
    throw conflictError()
  }

  /**
   * Returns what to store after a conflict.
   * @param before what the request had read
   * @param wanted what it wanted to store last
   * @param theirs what is stored now
   * @throws TP_SESSION_CONFLICT with `onConflict: 'reject'`
   */
  resolve(
    keys: SessionKeys,
    before: StoredSession,
    change: SessionChange,
    wanted: SessionChange,
    theirs: StoredSession,
  ): SessionChange {
    const { onConflict } = this.options
    if (onConflict === 'reject') throw conflictError()
    if (onConflict === 'last-write-wins') return wanted
    const [base, now] = [this.#deserialize(before), this.#deserialize(theirs)]
    const data =
      onConflict === 'merge'
        ? merge(base, change.data, now, this.#serializer(theirs.form))
        : onConflict(base, change.data, now)
    this.report('merged', keys)
    return { ...change, data, form: theirs.form, text: this.serialize(data, theirs.form) }
  }

  /** Renews a session's time to live in the background, if enough of it has passed. */
  touch(keys: SessionKeys, stored: StoredSession, ttl: number): void {
    const { touchAfter = ttl / 10 } = this.options
    const now = this.now()
    if (ttl <= 0 || stored.meta.successor || now - stored.touched < touchAfter) return
    this.#near?.renewed(keys, now)
    const touched = this.storage.touch(keys, stored, ttl)
    touched.catch(() => this.#near?.renewed(keys, stored.touched))
    this.runInBackground(touched)
  }

  /** Ends a session. @throws TP_UNAVAILABLE */
  destroy(keys: SessionKeys, budget?: RequestBudget): Promise<void> {
    return this.storage.destroy(keys, budget)
  }

  /** Reports the failure of a write that no request waits for. */
  runInBackground(write: Promise<unknown>): void {
    write.catch((error: unknown) =>
      this.context.events.emit('error', { feature: 'session', name: this.options.name, error }),
    )
  }

  /** @param began what `events.begin()` returned before the store was asked */
  report(type: SessionEvent['type'], keys: SessionKeys | undefined, began?: number): void {
    const { events } = this.context
    const { name } = this.options
    events.counts.row('session', name).count(type)
    if (!events.hasListeners('session')) return
    events.emit('session', { name, type, handle: keys && handleOf(keys), ms: events.since(began) })
  }

  /** @throws TP_SESSION_SIZE */
  #writeFor(change: SessionChange): WriteFor {
    const { data: values, meta, cookie, ttl } = change
    const { maxBytes } = this.options
    return (form) => {
      const data = change.form === form ? change.text : this.serialize(values, form)
      const bytes = Buffer.byteLength(data)
      if (bytes > maxBytes) throw sizeError(bytes, maxBytes)
      assertReadable(data, values, this.#serializer(form))
      return { data, meta, cookie, ttl }
    }
  }

  /** connect-redis's values are JSON, whatever serializer our own records have. */
  #serializer(form: StoredForm): SessionSerializer {
    return form === 'connect-redis' ? json : this.options.serializer
  }

  #deserialize({ data, form }: StoredSession): SessionValues {
    let parsed: unknown
    try {
      parsed = this.#serializer(form).deserialize(data)
    } catch (error) {
      throw corruptError(error)
    }
    if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
      throw corruptError(new Error('It is not an object.'))
    return parsed as SessionValues
  }
}
