/** Sessions without HTTP: IDs in, data out. */
import { TurnpikeError } from '../../errors.ts'
import type { EventMap } from '../../events.ts'
import type { ExtensionContext } from '../../extension.ts'
import type { RequestBudget } from '../../request-budget.ts'
import type { Cipher } from './cipher.ts'
import { ConnectRedisStorage } from './connect-redis-storage.ts'
import { merge, type OnConflict, type SessionValues } from './merge.ts'
import type { SessionMeta, StoredSession } from './record.ts'
import type { SessionSerializer } from './serializer.ts'
import type { CookieData } from './session-cookie.ts'
import {
  createSessionId,
  handleOf,
  keysOfId,
  userTag,
  type Secret,
  type SessionKeys,
} from './session-id.ts'
import {
  corruptError,
  RecordStorage,
  type SaveResult,
  type SessionStorage,
  type SessionWrite,
} from './session-storage.ts'

export interface SessionEngineOptions {
  /** Names the sessions in events. */
  name: string
  /** The first creates the tags of new sessions. */
  secrets: readonly Secret[]
  /** ms */
  ttl: number
  /** ms; undefined: a tenth of the session's time to live. */
  touchAfter: number | undefined
  /** ms, 0: unlimited. */
  absolute: number
  serializer: SessionSerializer
  maxBytes: number
  cipher: Cipher | undefined
  onConflict: OnConflict
  onCorrupt: 'new' | 'error'
  /** 0: unlimited. */
  maxPerUser: number
  onOverflow: 'evict-oldest' | 'deny'
  legacyPrefix: string | undefined
  format: 'turnpike' | 'connect-redis'
}

/** A session that was read, and its data. */
export interface LoadedSession {
  readonly stored: StoredSession
  readonly data: SessionValues
}

/** What a request wants to store. */
export interface SessionChange {
  data: SessionValues
  /** `data` as the serializer wrote it. */
  text: string
  meta: SessionMeta
  cookie: CookieData
  /** ms */
  ttl: number
}

/** What `tp.on('session')` reports. */
type SessionEventType = EventMap['session']['type']

const MAX_CONFLICTS = 16

/** The sessions of one mount. */
export class SessionEngine {
  readonly options: SessionEngineOptions
  readonly context: ExtensionContext
  readonly records: RecordStorage
  readonly #storage: SessionStorage
  /** connect-redis's values, which are read and removed, but not written. */
  readonly #legacy: ConnectRedisStorage | undefined

  constructor(context: ExtensionContext, options: SessionEngineOptions) {
    const { store } = context
    const { ttl, legacyPrefix, format } = options
    this.context = context
    this.options = options
    this.records = new RecordStorage(store, options)
    const isShared = format === 'connect-redis'
    this.#storage = isShared
      ? new ConnectRedisStorage(store, legacyPrefix ?? 'sess:', ttl)
      : this.records
    if (!isShared && legacyPrefix !== undefined)
      this.#legacy = new ConnectRedisStorage(store, legacyPrefix, ttl)
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
   * Loads a session. Undefined if there is none, or if it cannot be read and `onCorrupt` is `'new'`.
   * @throws TP_UNAVAILABLE; TP_SESSION_CORRUPT with `onCorrupt: 'error'`
   */
  load(keys: SessionKeys, budget?: RequestBudget): Promise<LoadedSession | undefined> {
    const own = this.#storage.load(keys, budget)
    const legacy = this.#legacy?.load(keys, budget)
    // It is awaited only if there is no session of our own. Until then a rejection must not count as unhandled.
    legacy?.catch(() => {})
    const found = legacy === undefined ? own : own.then((stored) => stored ?? legacy)
    return found.then(
      (stored) => (stored ? this.#parse(keys, stored) : this.#missing(keys, budget)),
      (error: unknown) => this.#unreadable(keys, error),
    )
  }

  /** Looks for a value of another type. Only `onCorrupt: 'error'` waits for the answer. */
  #missing(keys: SessionKeys, budget: RequestBudget | undefined): Promise<undefined> | undefined {
    if (this.#storage !== this.records) return undefined
    const isStrict = this.options.onCorrupt === 'error'
    const verified = this.records
      .verify(keys, isStrict ? budget : undefined)
      .then(() => undefined)
      .catch((error: unknown) => this.#unreadable(keys, error))
    if (isStrict) return verified
    this.runInBackground(verified)
    return undefined
  }

  #parse(keys: SessionKeys, stored: StoredSession): LoadedSession | undefined {
    try {
      return { stored, data: this.#deserialize(stored) }
    } catch (error) {
      return this.#unreadable(keys, error)
    }
  }

  #unreadable(keys: SessionKeys, error: unknown): undefined {
    if ((error as { code?: unknown }).code !== 'TP_SESSION_CORRUPT') throw error
    this.report('corrupt', keys)
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
    replaced?: StoredSession,
    budget?: RequestBudget,
  ): Promise<StoredSession | undefined> {
    const result = await this.#storage.create(keys, this.#write(change), replaced, budget)
    if (result === 'full') {
      throw new TurnpikeError(
        'TP_SESSION_LIMIT',
        'The user already has the maximum number of sessions.',
        { status: 409 },
      )
    }
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
    const { serializer, onConflict } = this.options
    let [base, wanted] = [stored, change]
    for (let attempt = 0; attempt < MAX_CONFLICTS; attempt++) {
      const result = await this.#save(keys, base, wanted, budget)
      if (result === 'gone' || result === 'full') {
        this.report('dropped', keys)
        return undefined
      }
      if ('stored' in result) return { stored: result.stored, data: wanted.data }
      if (onConflict === 'reject') throw conflictError()
      const theirs = result.conflict
      base = theirs
      if (onConflict === 'last-write-wins') continue
      const [before, now] = [this.#deserialize(stored), this.#deserialize(theirs)]
      const both =
        onConflict === 'merge'
          ? merge(before, change.data, now, serializer)
          : onConflict(before, change.data, now)
      wanted = { ...change, data: both, text: serializer.serialize(both) }
      this.report('merged', keys)
    }
    throw conflictError()
  }

  /** Creates the error for a session that no longer exists. */
  goneError(): TurnpikeError {
    return new TurnpikeError(
      'TP_SESSION_GONE',
      'The session no longer exists: it has expired or was destroyed.',
    )
  }

  /** Renews a session's time to live in the background, if enough of it has passed. */
  touch(keys: SessionKeys, stored: StoredSession, ttl: number): void {
    const { touchAfter = ttl / 10 } = this.options
    if (ttl <= 0 || this.now() - stored.touched < touchAfter) return
    const storage =
      stored.form === 'connect-redis' ? (this.#legacy ?? this.#storage) : this.#storage
    this.runInBackground(storage.touch(keys, ttl))
  }

  /** Ends a session. @throws TP_UNAVAILABLE */
  async destroy(keys: SessionKeys, grace = 0, budget?: RequestBudget): Promise<void> {
    await Promise.all([
      this.#storage.destroy(keys, grace, budget),
      this.#legacy?.destroy(keys, 0, budget),
    ])
  }

  /** Reports the failure of a write that no request waits for. */
  runInBackground(write: Promise<unknown>): void {
    write.catch((error: unknown) =>
      this.context.events.emit('error', { feature: 'session', name: this.options.name, error }),
    )
  }

  report(type: SessionEventType, keys: SessionKeys | undefined): void {
    const { events } = this.context
    if (events.hasListeners('session'))
      events.emit('session', { name: this.options.name, type, handle: keys && handleOf(keys) })
  }

  async #save(
    keys: SessionKeys,
    base: StoredSession,
    change: SessionChange,
    budget: RequestBudget | undefined,
  ): Promise<SaveResult> {
    const write = this.#write(change)
    if (base.form === 'turnpike' || !this.#legacy)
      return await this.#storage.update(keys, base, write, budget)
    // Only the request that removes connect-redis's value writes the new one. Otherwise a save would undo a logout.
    if (await this.#legacy.destroy(keys, 0, budget))
      return await this.#storage.create(keys, write, undefined, budget)
    const theirs = await this.#storage.load(keys, budget)
    return theirs ? { conflict: theirs } : 'gone'
  }

  #write({ text, meta, cookie, ttl }: SessionChange): SessionWrite {
    const { maxBytes } = this.options
    const bytes = Buffer.byteLength(text)
    if (bytes <= maxBytes) return { data: text, meta, cookie, ttl }
    throw new TurnpikeError(
      'TP_SESSION_SIZE',
      `The session has ${bytes} bytes, more than maxBytes (${maxBytes}). The stored value is unchanged.`,
    )
  }

  #deserialize({ data }: StoredSession): SessionValues {
    let parsed: unknown
    try {
      parsed = this.options.serializer.deserialize(data)
    } catch (error) {
      throw corruptError(error)
    }
    if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
      throw corruptError(new Error('It is not an object.'))
    return parsed as SessionValues
  }
}

const conflictError = (): TurnpikeError =>
  new TurnpikeError('TP_SESSION_CONFLICT', 'Another request has changed the session meanwhile.', {
    status: 409,
  })
