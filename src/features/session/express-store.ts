/** The same sessions as a Store for express-session. */
import { EventEmitter } from 'node:events'
import { SessionCookie, type CookieData } from './cookie.ts'
import type { Change, SessionEngine } from './engine.ts'
import { put, type Data } from './merge.ts'
import type { Stored } from './record.ts'

type Callback<Value = void> = (error?: unknown, value?: Value) => void

/** A session as express-session hands it over, and as it wants it back. */
export interface PlainSession {
  cookie: CookieData | { toJSON(): CookieData }
  [key: string]: unknown
}

interface Request {
  sessionID?: string
  session?: unknown
  sessionStore?: unknown
}

/** The session that express-session works with: its methods go by the request's store. */
class StoreSession {
  declare readonly id: string
  declare readonly req: Request
  declare cookie: SessionCookie

  constructor(req: Request, cookie: SessionCookie, data: Data) {
    Object.defineProperty(this, 'req', { value: req })
    Object.defineProperty(this, 'id', { value: req.sessionID })
    this.cookie = cookie
    for (const key of Object.keys(data))
      if (key !== 'cookie' && !METHODS.has(key)) put(this, key, data[key])
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

const METHODS: ReadonlySet<string> = new Set([
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
 * A Store as express-session's README wants it: all that is required and recommended. The optional
 * `all`, `length` and `clear` are not there: ids are stored only as hashes, and nothing is ever scanned.
 */
export class SessionStore extends EventEmitter {
  /** express-session puts its own here. */
  declare generate: (req: Request) => void
  readonly #engine: SessionEngine
  /** What a session's data was when it was read or written: what its next save is based on. */
  readonly #known = new WeakMap<object, { stored: Stored; data: Data }>()

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
    settle(this.#engine.destroy(this.#engine.place(id, undefined)), callback)
  }

  /** Renews the time to live if enough of it has passed, and holds nobody up. */
  touch(id: string, session: PlainSession, callback?: Callback): void {
    const known = this.#known.get(session)
    if (known)
      this.#engine.touch(
        this.#engine.place(id, undefined),
        known.stored,
        this.#ttl(cookieOf(session)),
      )
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
    const made = new StoreSession(req, cookie, session)
    const known = this.#known.get(session)
    if (known) this.#known.set(made, known)
    req.session = made
    return made
  }

  async #get(id: string): Promise<PlainSession | null> {
    const loaded = await this.#engine.load(this.#engine.place(id, undefined))
    if (!loaded) return null
    const { stored, data } = loaded
    const cookie = stored.meta.cookie ?? {
      originalMaxAge: null,
      expires: null,
      httpOnly: true,
      path: '/',
    }
    const { originalMaxAge } = cookie
    // The stored date is that of the last save; touches have moved the end since.
    const expires =
      originalMaxAge === null
        ? cookie.expires
        : new Date(stored.touched + originalMaxAge).toISOString()
    const session: PlainSession = { cookie: { ...cookie, expires } }
    for (const key of Object.keys(data)) if (key !== 'cookie') put(session, key, data[key])
    this.#known.set(session, loaded)
    return session
  }

  async #set(id: string, session: PlainSession): Promise<void> {
    const { serializer } = this.#engine.options
    const place = this.#engine.place(id, undefined)
    const cookie = cookieOf(session)
    const ttl = this.#ttl(cookie)
    if (ttl <= 0) return await this.#engine.destroy(place)
    const { cookie: _, ...data } = session
    const known = this.#known.get(session)
    const { cookie: _old, ...who } = known?.stored.meta ?? {}
    const change: Change = {
      data,
      text: serializer.serialize(data),
      meta: { ...who, cookie },
      cookie,
      ttl,
    }
    if (!known) {
      const stored = await this.#engine.create(place, change)
      if (stored) this.#known.set(session, { stored, data })
      return
    }
    const updated = await this.#engine.update(place, known.stored, change)
    if (!updated) return
    this.#known.set(session, updated)
    if (updated.stored.data === change.text) return
    for (const key of Object.keys(data)) if (!Object.hasOwn(updated.data, key)) delete session[key]
    for (const key of Object.keys(updated.data)) put(session, key, updated.data[key])
  }

  #ttl({ expires }: CookieData): number {
    return expires ? new Date(expires).getTime() - this.#engine.now() : this.#engine.options.ttl
  }
}

const cookieOf = ({ cookie }: PlainSession): CookieData =>
  'toJSON' in cookie ? cookie.toJSON() : cookie

/** Tell a callback; an error without one is nobody's to handle, and surfaces. */
function settle<Value>(work: Promise<Value>, callback: Callback<Value> | undefined): void {
  work.then(
    (value) => callback && process.nextTick(callback, null, value),
    (error: unknown) => process.nextTick(callback ?? raise, error),
  )
}

function raise(error: unknown): never {
  throw error
}
