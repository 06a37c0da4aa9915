/** `req.session`: the data of a session, and express-session's members. */
import { TurnpikeError } from '../../errors.ts'
import { setOwn, type SessionValues } from './merge.ts'
import type { SessionCookie } from './session-cookie.ts'

/** Carries out the methods of a session. */
export interface SessionHost {
  /** The request: Express's or node's `req`, Koa's `ctx`. */
  readonly native: object
  save(session: Session): Promise<void>
  reload(session: Session): Promise<void>
  regenerate(session: Session): Promise<void>
  destroy(session: Session): Promise<void>
  /** Runs the promise form of a method. The request fails with an error that nothing waits for. */
  observe(work: Promise<void>): Promise<void>
  /** Receives the name of stored data that is also the name of a member. */
  onReservedName(name: string): void
}

export type SessionCallback = (error?: unknown) => void

/** A session. Its own properties are its data. Its members are on the prototype. */
export abstract class Session {
  readonly #host: SessionHost
  readonly #cookie: SessionCookie
  readonly #members: ReadonlySet<string>
  #id: string
  declare cookie: SessionCookie

  /** @param members names that data cannot have */
  constructor(
    host: SessionHost,
    id: string,
    cookie: SessionCookie,
    members: ReadonlySet<string> = SESSION_MEMBERS,
  ) {
    this.#host = host
    this.#id = id
    this.#cookie = cookie
    this.#members = members
  }

  /** The property `cookie`. A value that is assigned only changes the cookie's attributes. */
  static readonly cookieProperty: PropertyDescriptor = {
    configurable: false,
    get(this: Session): SessionCookie {
      return this.#cookie
    },
    set(this: Session, attributes: unknown) {
      if (typeof attributes !== 'object' || attributes === null) throw reservedNameError('cookie')
      if (attributes !== this.#cookie) Object.assign(this.#cookie, attributes)
    },
  }

  get id(): string {
    return this.#id
  }

  get req(): object {
    return this.#host.native
  }

  /** Restarts the lifetime of the cookie. */
  touch(): this {
    this.#cookie.renew()
    return this
  }

  resetMaxAge(): this {
    this.#cookie.renew()
    return this
  }

  save(callback?: SessionCallback): this | Promise<void> {
    return settle(this, this.#host, this.#host.save(this), callback)
  }

  reload(callback?: SessionCallback): this | Promise<void> {
    return settle(this, this.#host, this.#host.reload(this), callback)
  }

  regenerate(callback?: SessionCallback): this | Promise<void> {
    return settle(this, this.#host, this.#host.regenerate(this), callback)
  }

  destroy(callback?: SessionCallback): this | Promise<void> {
    return settle(this, this.#host, this.#host.destroy(this), callback)
  }

  static hostOf(session: Session): SessionHost {
    return session.#host
  }

  /** Sets another ID. */
  static rename(session: Session, id: string): void {
    session.#id = id
  }

  /** Replaces the data with data from the store. A name that a member has is left out and reported. */
  static restore(session: Session, values: SessionValues): void {
    clear(session)
    for (const key of Object.keys(values)) {
      if (session.#members.has(key)) session.#host.onReservedName(key)
      else setOwn(session, key, values[key])
    }
  }

  /** @throws TP_VALUE if data has the name of a member */
  static checkNames(session: Session, values: SessionValues): void {
    for (const key of Object.keys(values))
      if (session.#members.has(key)) throw reservedNameError(key)
  }

  /** Replaces the data with data of the application. @throws TP_VALUE for a name that a member has */
  static assign(session: Session, values: SessionValues): void {
    Session.checkNames(session, values)
    clear(session)
    for (const key of Object.keys(values)) setOwn(session, key, values[key])
  }
}

const METHODS = ['touch', 'resetMaxAge', 'save', 'reload', 'regenerate', 'destroy']

/** The names of express-session's members. */
export const SESSION_MEMBERS: ReadonlySet<string> = new Set(['id', 'req', 'cookie', ...METHODS])

reserveNames(Session.prototype, ['id', 'req', ...METHODS])

/**
 * Makes assignments to members fail. Without a setter they would be ignored or, for a method, would
 * store data that replaces the method in every later request. A function is no data: tests and
 * instrumentation may replace a method with another.
 */
export function reserveNames(prototype: object, names: readonly string[]): void {
  for (const name of names) {
    const member = Object.getOwnPropertyDescriptor(prototype, name)!
    const { value: method, get = () => method as unknown } = member
    Object.defineProperty(prototype, name, {
      configurable: true,
      enumerable: false,
      get,
      set(this: object, value: unknown) {
        if (typeof value !== 'function') throw reservedNameError(name)
        Object.defineProperty(this, name, { value, configurable: true, writable: true })
      },
    })
  }
}

function reservedNameError(name: string): TurnpikeError {
  return new TurnpikeError(
    'TP_VALUE',
    `session.${name} is a member of the session, so data cannot have this name. Use another name for your data.`,
  )
}

/** Returns the data of a session, or of an object that took its place. */
export function valuesOf(session: object): SessionValues {
  const { cookie: _, ...values } = session as { cookie?: unknown }
  return values
}

function clear(session: Session): void {
  for (const key of Object.keys(session))
    if (key !== 'cookie') delete (session as unknown as SessionValues)[key]
}

/** A session with express-session's members. Its cookie is among its own properties, as there. */
export class ExpressSession extends Session {
  constructor(host: SessionHost, id: string, cookie: SessionCookie) {
    super(host, id, cookie)
    Object.defineProperty(this, 'cookie', OWN_COOKIE)
  }
}

const OWN_COOKIE: PropertyDescriptor = { ...Session.cookieProperty, enumerable: true }

/** With a callback a method works as in express-session. Without one it returns a promise. */
export function settle<Self>(
  session: Self,
  host: SessionHost,
  work: Promise<void>,
  callback: SessionCallback | undefined,
): Self | Promise<void> {
  if (typeof callback !== 'function') return host.observe(work)
  // In a tick of its own: an error that the callback throws must not become a rejection of `work`.
  work.then(
    () => process.nextTick(callback),
    (error: unknown) => process.nextTick(callback, error),
  )
  return session
}
