/** `req.session`: the data of a session, and the methods that express-session documents. */
import type { SessionCookie } from './cookie.ts'
import { put, type Data } from './merge.ts'

/** What stands behind a session's methods. */
export interface Host {
  save(session: Session): Promise<void>
  reload(session: Session): Promise<void>
  regenerate(session: Session): Promise<void>
  destroy(session: Session): Promise<void>
  login(session: Session, user: string | number, data: object): Promise<void>
  logout(session: Session): Promise<void>
  /** A failure that nobody was told of: the request must fail of it. */
  unheard(error: unknown): void
}

type Callback = (error?: unknown) => void

/** A session. Its own properties are the data; everything else stands on the prototype. */
export class Session {
  readonly #host: Host
  readonly #cookie: SessionCookie
  #id: string

  constructor(host: Host, id: string, cookie: SessionCookie, data?: Data) {
    this.#host = host
    this.#id = id
    this.#cookie = cookie
    if (data !== undefined) fill(this, data)
  }

  get id(): string {
    return this.#id
  }

  get cookie(): SessionCookie {
    return this.#cookie
  }

  set cookie(given: { maxAge?: number | null | undefined }) {
    Object.assign(this.#cookie, given)
  }

  /** Begin the time of the cookie anew. */
  touch(): this {
    this.#cookie.renew()
    return this
  }

  resetMaxAge(): this {
    return this.touch()
  }

  save(callback?: Callback): this | Promise<void> {
    return this.#call(this.#host.save(this), callback)
  }

  reload(callback?: Callback): this | Promise<void> {
    return this.#call(this.#host.reload(this), callback)
  }

  regenerate(callback?: Callback): this | Promise<void> {
    return this.#call(this.#host.regenerate(this), callback)
  }

  destroy(callback?: Callback): this | Promise<void> {
    return this.#call(this.#host.destroy(this), callback)
  }

  login(user: string | number, data: object = {}): Promise<void> {
    return this.#call(this.#host.login(this, user, data)) as Promise<void>
  }

  logout(): Promise<void> {
    return this.#call(this.#host.logout(this)) as Promise<void>
  }

  /** It goes on under another id. */
  static rename(session: Session, id: string): void {
    session.#id = id
  }

  /** With a callback as express-session does it, and without one a promise. */
  #call(work: Promise<void>, callback?: Callback): this | Promise<void> {
    if (typeof callback !== 'function') {
      work.catch((error: unknown) => this.#host.unheard(error))
      return work
    }
    // What a callback throws is not a failure of the work: it surfaces as it would from any callback.
    work.then(
      () => process.nextTick(callback),
      (error: unknown) => process.nextTick(callback, error),
    )
    return this
  }
}

/** Names that data cannot take: the methods. `constructor` is data like any other. */
const RESERVED: ReadonlySet<string> = new Set(
  Object.getOwnPropertyNames(Session.prototype).filter((name) => name !== 'constructor'),
)

/** Put data into a session. What comes as `__proto__` stays data. */
export function fill(session: Session, data: Data): void {
  for (const key of Object.keys(data)) if (!RESERVED.has(key)) put(session, key, data[key])
}

/** Replace a session's data. */
export function refill(session: Session, data: Data): void {
  for (const key of Object.keys(session)) delete (session as unknown as Data)[key]
  fill(session, data)
}
