/** The session that express-session works with, over `tp.sessionStore()`. */
import { setOwn, type SessionValues } from './merge.ts'
import type { CookieData, SessionCookie } from './session-cookie.ts'

export type StoreCallback<Value = void> = (error?: unknown, value?: Value) => void

/** A session as express-session hands it to a store, and expects it back. */
export interface PlainSession {
  cookie: CookieData | { toJSON(): CookieData }
  [key: string]: unknown
}

export interface StoreRequest {
  sessionID?: string
  session?: unknown
  sessionStore?: unknown
}

/** The session that express-session works with. Its methods use the store of its request. */
export class StoreSession {
  declare readonly id: string
  declare readonly req: StoreRequest
  declare cookie: SessionCookie

  constructor(req: StoreRequest, cookie: SessionCookie, values: SessionValues) {
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

  save(callback: StoreCallback = () => {}): this {
    storeOf(this.req).set(this.id, this as unknown as PlainSession, callback)
    return this
  }

  reload(callback: StoreCallback): this {
    const store = storeOf(this.req)
    store.get(this.id, (error, found) => {
      if (error) return callback(error)
      if (!found) return callback(new Error('failed to load session'))
      store.createSession(this.req, found)
      callback()
    })
    return this
  }

  destroy(callback?: StoreCallback): this {
    delete this.req.session
    storeOf(this.req).destroy(this.id, callback)
    return this
  }

  regenerate(callback: StoreCallback): this {
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

/** The part of a store that a session uses. */
interface Store {
  get(id: string, callback: StoreCallback<PlainSession | null>): void
  set(id: string, session: PlainSession, callback: StoreCallback): void
  destroy(id: string, callback?: StoreCallback): void
  regenerate(req: StoreRequest, callback: StoreCallback): void
  createSession(req: StoreRequest, session: PlainSession): object
}

const storeOf = (req: StoreRequest): Store => req.sessionStore as Store
