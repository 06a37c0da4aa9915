/** `req.session`: the data of a session, and the methods that express-session documents. */
import { setOwn, type SessionValues } from './merge.ts'
import type { SessionCookie } from './session-cookie.ts'

/** Carries out the methods of a session. */
export interface SessionHost {
  save(session: Session): Promise<void>
  reload(session: Session): Promise<void>
  regenerate(session: Session): Promise<void>
  destroy(session: Session): Promise<void>
  login(session: Session, user: string | number, data: object): Promise<void>
  logout(session: Session): Promise<void>
  /** Receives a failure that no callback was given for. The request must fail with it. */
  onUnhandled(error: unknown): void
}

type Callback = (error?: unknown) => void

/** A session. Its own properties are its data; everything else is on the prototype. */
export class Session {
  readonly #host: SessionHost
  readonly #cookie: SessionCookie
  #id: string

  constructor(host: SessionHost, id: string, cookie: SessionCookie, values?: SessionValues) {
    this.#host = host
    this.#id = id
    this.#cookie = cookie
    if (values !== undefined) assignValues(this, values)
  }

  get id(): string {
    return this.#id
  }

  get cookie(): SessionCookie {
    return this.#cookie
  }

  set cookie(settings: { maxAge?: number | null | undefined }) {
    Object.assign(this.#cookie, settings)
  }

  /** Restarts the lifetime of the cookie. */
  touch(): this {
    this.#cookie.renew()
    return this
  }

  resetMaxAge(): this {
    return this.touch()
  }

  save(callback?: Callback): this | Promise<void> {
    return this.#settle(this.#host.save(this), callback)
  }

  reload(callback?: Callback): this | Promise<void> {
    return this.#settle(this.#host.reload(this), callback)
  }

  regenerate(callback?: Callback): this | Promise<void> {
    return this.#settle(this.#host.regenerate(this), callback)
  }

  destroy(callback?: Callback): this | Promise<void> {
    return this.#settle(this.#host.destroy(this), callback)
  }

  login(user: string | number, data: object = {}): Promise<void> {
    return this.#settle(this.#host.login(this, user, data)) as Promise<void>
  }

  logout(): Promise<void> {
    return this.#settle(this.#host.logout(this)) as Promise<void>
  }

  /** Gives the session another ID. */
  static rename(session: Session, id: string): void {
    session.#id = id
  }

  /** With a callback it works as in express-session. Without one it returns a promise. */
  #settle(work: Promise<void>, callback?: Callback): this | Promise<void> {
    if (typeof callback !== 'function') {
      work.catch((error: unknown) => this.#host.onUnhandled(error))
      return work
    }
    // In a tick of its own: an error that the callback throws must not become a rejection of `work`.
    work.then(
      () => process.nextTick(callback),
      (error: unknown) => process.nextTick(callback, error),
    )
    return this
  }
}

/** Names that data cannot have: those of the members. `constructor` is data like any other name. */
const MEMBERS: ReadonlySet<string> = new Set(
  Object.getOwnPropertyNames(Session.prototype).filter((name) => name !== 'constructor'),
)

/** Returns the data of a session, or of an object that took its place. */
export const valuesOf = (session: object): SessionValues =>
  Object.fromEntries(Object.entries(session))

/** Adds data to a session. */
function assignValues(session: Session, values: SessionValues): void {
  for (const key of Object.keys(values)) if (!MEMBERS.has(key)) setOwn(session, key, values[key])
}

/** Replaces the data of a session. */
export function replaceValues(session: Session, values: SessionValues): void {
  for (const key of Object.keys(session)) delete (session as unknown as SessionValues)[key]
  assignValues(session, values)
}
