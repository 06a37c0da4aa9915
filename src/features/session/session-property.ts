/** `req.session` or `ctx.session` of one request, which the application may replace or remove. */
import { KoaSession, type KoaSessionHost } from './koa-session.ts'
import type { SessionValues } from './merge.ts'
import type { SessionCookie } from './session-cookie.ts'
import { goneError } from './session-errors.ts'
import { ExpressSession, Session, valuesOf } from './session.ts'

interface Properties {
  session?: Session | SessionValues | null
  sessionID?: string
}

export class SessionProperty {
  readonly #host: KoaSessionHost
  readonly #properties: Properties
  readonly #isKoa: boolean
  #session: Session | undefined
  #isDestroyed = false

  constructor(host: KoaSessionHost, isKoa: boolean) {
    this.#host = host
    this.#properties = host.native
    this.#isKoa = isKoa
  }

  /** The session, whatever the application has done to the property. */
  get session(): Session {
    return this.#session!
  }

  /** True if the application has left the property alone. */
  get isOurs(): boolean {
    return this.#properties.session === this.#session
  }

  /** False if the application has replaced the ID by what is none: then express-session stores nothing. */
  get hasId(): boolean {
    return typeof this.#properties.sessionID === 'string'
  }

  create(id: string, cookie: SessionCookie): Session {
    return this.#isKoa
      ? new KoaSession(this.#host, id, cookie)
      : new ExpressSession(this.#host, id, cookie)
  }

  /** Begins with a session. The request gets it with the rest of the plan. */
  begin(session: Session): void {
    this.#session = session
  }

  put(session: Session): void {
    this.#session = session
    this.#isDestroyed = false
    this.#properties.session = session
    this.#properties.sessionID = session.id
  }

  remove(): void {
    delete this.#properties.session
  }

  /** Records that the session was destroyed in the store. */
  destroy(): void {
    this.#isDestroyed = true
  }

  /**
   * Returns the session that a method of `session` is called for. A variable may still hold the object
   * from before `regenerate`. What was stored under its old ID would be in the hands of whoever knows
   * that ID (session fixation).
   * @throws TP_SESSION_GONE after `destroy`
   */
  latest(session: Session): Session {
    if (this.#isDestroyed) throw goneError()
    return session.id === this.session.id ? session : this.session
  }

  /**
   * Returns the session as the application left it: ours, with the data of an object that replaced it.
   * @throws TP_VALUE if that data has the name of a member
   */
  current(): Session | undefined {
    const { session } = this.#properties
    if (session === this.#session) return this.#session
    if (typeof session !== 'object' || session === null) return undefined
    if (session.cookie !== undefined) this.session.cookie = session.cookie as SessionCookie
    Session.assign(this.session, valuesOf(session))
    this.put(this.session)
    return this.#session
  }

  /** Returns the session for the head, which must not fail: the end of the response reports the error. */
  currentOrInvalid(): Session | undefined {
    try {
      return this.current()
    } catch {
      return undefined
    }
  }
}
