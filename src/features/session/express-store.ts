/** A `Store` for express-session over the same engine. */
import { EventEmitter } from 'node:events'
import type { SessionEngine } from './engine.ts'
import { setOwn } from './merge.ts'
import type { StoredSession } from './record.ts'
import { reportRevokedSession } from './revocation.ts'
import {
  SessionCookie,
  type CookieData,
  type CookieSettings,
  type ResolvedCookieSettings,
} from './session-cookie.ts'
import { keysOfHandle } from './session-id.ts'
import { clearSessions, loadAllSessions, sessionNames } from './session-scan.ts'
import type { LoadedSession, SessionChange } from './session-storage.ts'
import {
  StoreSession,
  type PlainSession,
  type StoreCallback,
  type StoreRequest,
} from './store-session.ts'

/** A Store with every method that express-session's README requires, recommends and names. */
export class SessionStore extends EventEmitter {
  /** express-session assigns it. */
  declare generate: (req: StoreRequest) => void
  readonly #engine: SessionEngine
  readonly #settings: ResolvedCookieSettings
  /** What a session was when it was read or written: its next save is based on that. */
  readonly #loaded = new WeakMap<object, LoadedSession>()

  /** @param cookie the settings of the mount, for sessions that have no cookie of their own */
  constructor(engine: SessionEngine, cookie: CookieSettings = {}) {
    super()
    this.#engine = engine
    const { secure, sameSite, ...settings } = cookie
    // What depends on the request stays open.
    this.#settings = {
      ...settings,
      ...(secure !== 'auto' && { secure }),
      ...(sameSite !== 'auto' && { sameSite }),
    }
  }

  get(id: string, callback: StoreCallback<PlainSession | null>): void {
    settle(this.#get(id), callback)
  }

  set(id: string, session: PlainSession, callback?: StoreCallback): void {
    settle(this.#set(id, session), callback)
  }

  /** @param id an ID, or a name that `ids` returned */
  destroy(id: string, callback?: StoreCallback): void {
    settle(this.#destroy(id), callback)
  }

  /** Returns all sessions. Reads every key of the sessions, in bounded steps: for administration. */
  all(callback: StoreCallback<PlainSession[]>): void {
    const all = loadAllSessions(this.#engine).then((sessions) =>
      sessions.map(({ name, loaded }) => ({ ...this.#plain(loaded), id: name })),
    )
    settle(all, callback)
  }

  /** Returns the number of sessions. See `all`. */
  length(callback: StoreCallback<number>): void {
    const length = sessionNames(this.#engine).then((names) => names.length)
    settle(length, callback)
  }

  /** Returns what `destroy` can be given. See `all`. IDs are stored as hashes, so these are no IDs. */
  ids(callback: StoreCallback<string[]>): void {
    settle(sessionNames(this.#engine), callback)
  }

  /** Ends all sessions. See `all`. */
  clear(callback?: StoreCallback): void {
    settle(clearSessions(this.#engine), callback)
  }

  /** Renews the time to live in the background, if it is due. */
  touch(id: string, session: PlainSession, callback?: StoreCallback): void {
    const loaded = this.#loaded.get(session)
    const keys = this.#engine.keysOf(id, undefined)
    if (loaded) this.#engine.touch(keys, loaded.stored, this.#ttl(session.cookie))
    if (callback) process.nextTick(callback)
  }

  regenerate(req: StoreRequest, callback: StoreCallback): void {
    this.destroy(req.sessionID ?? '', (error) => {
      this.generate(req)
      callback(error)
    })
  }

  load(id: string, callback: StoreCallback<unknown>): void {
    this.get(id, (error, found) => {
      if (error || !found) return callback(error)
      callback(undefined, this.createSession({ sessionID: id, sessionStore: this }, found))
    })
  }

  createSession(req: StoreRequest, session: PlainSession): object {
    const cookie = new SessionCookie({}, Date.now)
    cookie.restore(dataOf(session.cookie))
    const created = new StoreSession(req, cookie, session)
    const loaded = this.#loaded.get(session)
    if (loaded) this.#loaded.set(created, loaded)
    req.session = created
    return created
  }

  async #get(id: string): Promise<PlainSession | null> {
    const loaded = await this.#engine.load(this.#engine.keysOf(id, undefined))
    if (!loaded) return null
    const session = this.#plain(loaded)
    this.#loaded.set(session, loaded)
    return session
  }

  async #destroy(id: string): Promise<void> {
    // An ID of the application's own may look like a handle.
    const named = keysOfHandle(this.#engine.context.keys, id)
    const keys = [this.#engine.keysOf(id, undefined), ...(named ? [named] : [])]
    await Promise.all(keys.map((each) => this.#engine.destroy(each)))
    for (const each of keys) reportRevokedSession(this.#engine.context, each)
  }

  /** Returns a session as express-session expects it. */
  #plain({ stored, data }: LoadedSession): PlainSession {
    const session = { cookie: this.#cookieOf(stored) } as PlainSession
    // A session that was stored without a cookie is express-session's to report.
    if (stored.meta.cookie === null) delete (session as Partial<PlainSession>).cookie
    for (const key of Object.keys(data)) if (key !== 'cookie') setOwn(session, key, data[key])
    return session
  }

  async #set(id: string, session: PlainSession): Promise<void> {
    const loaded = this.#loaded.get(session)
    const keys = loaded?.keys ?? this.#engine.keysOf(id, undefined)
    // `set` takes any object.
    const isComplete = (session.cookie as unknown) !== undefined
    const cookie = isComplete ? dataOf(session.cookie) : null
    const ttl = isComplete ? this.#ttl(session.cookie) : this.#engine.options.ttl
    if (ttl <= 0) return await this.#engine.destroy(keys)
    const { cookie: _, ...data } = session
    const { cookie: _cookie, successor: _successor, ...owner } = loaded?.stored.meta ?? {}
    const form = loaded?.stored.form ?? this.#engine.storage.form
    const text = this.#engine.serialize(data, form)
    const change: SessionChange = { data, text, form, meta: { ...owner, cookie }, cookie, ttl }
    if (!loaded) {
      const stored = await this.#engine.create(keys, change)
      if (stored) this.#loaded.set(session, { keys, stored, data })
      return
    }
    const updated = await this.#engine.update(keys, loaded.stored, change)
    if (!updated) return
    this.#loaded.set(session, updated)
    if (updated.stored.data === text) return
    for (const key of Object.keys(data)) if (!Object.hasOwn(updated.data, key)) delete session[key]
    for (const key of Object.keys(updated.data)) setOwn(session, key, updated.data[key])
  }

  /**
   * Returns the cookie of a stored session. Each renewal of the session has moved its end. It is a
   * moment of this process's clock, by which express-session counts. The store has its own.
   */
  #cookieOf({ meta, touched }: StoredSession): CookieData {
    const cookie = meta.cookie ?? new SessionCookie(this.#settings, Date.now).data
    const { originalMaxAge, expires } = cookie
    // A copy: the application may change it.
    if (typeof originalMaxAge !== 'number' || !expires) return { ...cookie }
    const end = new Date(touched + originalMaxAge - this.#engine.now() + Date.now())
    const saved = new Date(expires)
    // A stored date may be none.
    const isExact = Math.abs(end.getTime() - saved.getTime()) <= SAVE_MS
    return { ...cookie, expires: (isExact ? saved : end).toJSON() }
  }

  /** @param cookie counts by its own clock; as JSON by that of this process */
  #ttl(cookie: PlainSession['cookie']): number {
    if (cookie instanceof SessionCookie)
      return cookie.expires ? cookie.maxAge || 0 : this.#engine.options.ttl
    const { expires } = dataOf(cookie)
    return expires ? new Date(expires).getTime() - Date.now() : this.#engine.options.ttl
  }
}

const dataOf = (cookie: PlainSession['cookie']): CookieData =>
  typeof (cookie as SessionCookie).toJSON === 'function'
    ? (cookie as SessionCookie).toJSON()
    : (cookie as CookieData)

/** Longest time between the moment that a cookie counts from and the save of its session. */
const SAVE_MS = 50

/** Reports a result to a callback. An error without a callback surfaces, as it would from any callback API. */
function settle<Value>(work: Promise<Value>, callback: StoreCallback<Value> | undefined): void {
  work.then(
    (value) => callback && process.nextTick(callback, null, value),
    (error: unknown) => process.nextTick(callback ?? raise, error),
  )
}

function raise(error: unknown): never {
  throw error
}
