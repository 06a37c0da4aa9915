/** A `Store` for express-session over the same engine. */
import { EventEmitter } from 'node:events'
import type { LoadedSession, SessionChange, SessionEngine } from './engine.ts'
import { setOwn, type SessionValues } from './merge.ts'
import { SessionCookie, type CookieData } from './session-cookie.ts'

type Callback<Value = void> = (error?: unknown, value?: Value) => void

/** A session as express-session hands it to a store, and expects it back. */
export interface PlainSession {
  cookie: CookieData | { toJSON(): CookieData }
  [key: string]: unknown
}

interface Request {
  sessionID?: string
  session?: unknown
  sessionStore?: unknown
}

/** The session that express-session works with. Its methods use the store of its request. */
class StoreSession {
  declare readonly id: string
  declare readonly req: Request
  declare cookie: SessionCookie

  constructor(req: Request, cookie: SessionCookie, values: SessionValues) {
    Object.defineProperty(this, 'req', { value: req })
    Object.defineProperty(this, 'id', { value: req.sessionID })
    this.cookie = cookie
    for (const key of Object.keys(values))
      if (key !== 'cookie' && !MEMBERS.has(key)) setOwn(this, key, values[key])
  }

  touch(): this {
    return this.resetMaxAge()
  }

  resetMaxAge(): this {
    this.cookie.renew()
    return this
  }

  save(callback: Callback = () => {}): this {
    storeOf(this.req).set(this.id, this as unknown as PlainSession, callback)
    return this
  }

  reload(callback: Callback): this {
    const store = storeOf(this.req)
    store.get(this.id, (error, found) => {
      if (error) return callback(error)
      if (!found) return callback(new Error('failed to load session'))
      store.createSession(this.req, found)
      callback()
    })
    return this
  }

  destroy(callback?: Callback): this {
    delete this.req.session
    storeOf(this.req).destroy(this.id, callback)
    return this
  }

  regenerate(callback: Callback): this {
    storeOf(this.req).regenerate(this.req, callback)
    return this
  }
}

const MEMBERS: ReadonlySet<string> = new Set([
  'id',
  'req',
  'touch',
  'resetMaxAge',
  'save',
  'reload',
  'destroy',
  'regenerate',
])

const storeOf = (req: Request): SessionStore => req.sessionStore as SessionStore

/**
 * A Store with everything that express-session's README requires and recommends. The optional `all`,
 * `length` and `clear` are absent: only hashes of IDs are stored, and nothing is scanned.
 */
export class SessionStore extends EventEmitter {
  /** express-session assigns it. */
  declare generate: (req: Request) => void
  readonly #engine: SessionEngine
  /** What a session was when it was read or written: its next save is based on that. */
  readonly #loaded = new WeakMap<object, LoadedSession>()

  constructor(engine: SessionEngine) {
    super()
    this.#engine = engine
  }

  get(id: string, callback: Callback<PlainSession | null>): void {
    settle(this.#get(id), callback)
  }

  set(id: string, session: PlainSession, callback?: Callback): void {
    settle(this.#set(id, session), callback)
  }

  destroy(id: string, callback?: Callback): void {
    settle(this.#engine.destroy(this.#engine.keysOf(id, undefined)), callback)
  }

  /** Renews the time to live in the background, if it is due. */
  touch(id: string, session: PlainSession, callback?: Callback): void {
    const loaded = this.#loaded.get(session)
    const keys = this.#engine.keysOf(id, undefined)
    if (loaded) this.#engine.touch(keys, loaded.stored, this.#ttl(cookieOf(session)))
    if (callback) process.nextTick(callback)
  }

  regenerate(req: Request, callback: Callback): void {
    this.destroy(req.sessionID ?? '', (error) => {
      this.generate(req)
      callback(error)
    })
  }

  load(id: string, callback: Callback<unknown>): void {
    this.get(id, (error, found) => {
      if (error || !found) return callback(error)
      callback(undefined, this.createSession({ sessionID: id, sessionStore: this }, found))
    })
  }

  createSession(req: Request, session: PlainSession): object {
    const cookie = new SessionCookie({}, this.#engine.now)
    cookie.restore(cookieOf(session))
    const created = new StoreSession(req, cookie, session)
    const loaded = this.#loaded.get(session)
    if (loaded) this.#loaded.set(created, loaded)
    req.session = created
    return created
  }

  async #get(id: string): Promise<PlainSession | null> {
    const loaded = await this.#engine.load(this.#engine.keysOf(id, undefined))
    if (!loaded) return null
    const { stored, data } = loaded
    const cookie = stored.meta.cookie ?? {
      originalMaxAge: null,
      expires: null,
      httpOnly: true,
      path: '/',
    }
    const { originalMaxAge } = cookie
    // The stored date is that of the last save. Touches have moved the end since.
    const expires =
      typeof originalMaxAge === 'number'
        ? new Date(stored.touched + originalMaxAge).toISOString()
        : cookie.expires
    const session: PlainSession = { cookie: { ...cookie, expires } }
    for (const key of Object.keys(data)) if (key !== 'cookie') setOwn(session, key, data[key])
    this.#loaded.set(session, loaded)
    return session
  }

  async #set(id: string, session: PlainSession): Promise<void> {
    const { serializer } = this.#engine.options
    const keys = this.#engine.keysOf(id, undefined)
    const cookie = cookieOf(session)
    const ttl = this.#ttl(cookie)
    if (ttl <= 0) return await this.#engine.destroy(keys)
    const { cookie: _, ...data } = session
    const loaded = this.#loaded.get(session)
    const { cookie: _old, ...owner } = loaded?.stored.meta ?? {}
    const change: SessionChange = {
      data,
      text: serializer.serialize(data),
      meta: { ...owner, cookie },
      cookie,
      ttl,
    }
    if (!loaded) {
      const stored = await this.#engine.create(keys, change)
      if (stored) this.#loaded.set(session, { stored, data })
      return
    }
    const updated = await this.#engine.update(keys, loaded.stored, change)
    if (!updated) return
    this.#loaded.set(session, updated)
    if (updated.stored.data === change.text) return
    for (const key of Object.keys(data)) if (!Object.hasOwn(updated.data, key)) delete session[key]
    for (const key of Object.keys(updated.data)) setOwn(session, key, updated.data[key])
  }

  #ttl({ expires }: CookieData): number {
    return expires ? new Date(expires).getTime() - this.#engine.now() : this.#engine.options.ttl
  }
}

const cookieOf = ({ cookie }: PlainSession): CookieData =>
  'toJSON' in cookie ? cookie.toJSON() : cookie

/** Reports a result to a callback. An error without a callback surfaces, as it would from any callback API. */
function settle<Value>(work: Promise<Value>, callback: Callback<Value> | undefined): void {
  work.then(
    (value) => callback && process.nextTick(callback, null, value),
    (error: unknown) => process.nextTick(callback ?? raise, error),
  )
}

function raise(error: unknown): never {
  throw error
}
