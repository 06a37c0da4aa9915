/** Where a request keeps its session, for `tp.session.login()` and `tp.session.logout()`. */
import { TurnpikeError } from '../../errors.ts'
import { isObject } from '../../validate.ts'
import type { RequestSession } from './request-session.ts'

/** The session of a request with `lazy: true`. It is loaded at most once. */
export class LazySession {
  readonly #begin: () => Promise<RequestSession>
  #beginning: Promise<RequestSession> | undefined
  loaded: RequestSession | undefined

  constructor(begin: () => Promise<RequestSession>) {
    this.#begin = begin
  }

  /** Calls `work` with the session if it was asked for. */
  ifLoaded(
    work: (session: RequestSession) => Promise<void> | undefined,
  ): Promise<void> | undefined {
    return this.loaded ? work(this.loaded) : this.#beginning?.then(work)
  }

  load(): Promise<RequestSession> {
    return (this.#beginning ??= this.#begin().then((session) => (this.loaded = session)))
  }
}

/**
 * Where the requests of one instance keep their sessions. A property of the request costs less than
 * an entry in a WeakMap.
 */
export class SessionSlot {
  readonly #slot = Symbol('turnpike.session')

  set(native: unknown, session: RequestSession | LazySession): void {
    ;(native as Record<symbol, unknown>)[this.#slot] = session
  }

  /**
   * Returns the session of a request: at once, unless it is lazy and not loaded yet.
   * @throws TP_OPTION if no middleware of this instance gave the request a session
   */
  get(native: unknown, where: string): RequestSession | Promise<RequestSession> {
    const holder = (isObject(native) ? native : {}) as Record<
      symbol,
      RequestSession | LazySession | undefined
    >
    const session = holder[this.#slot]
    if (session === undefined)
      throw new TurnpikeError(
        'TP_OPTION',
        `${where}: this request has no session. Mount tp.session() of the same instance in front of the route, and pass Express's req or Koa's ctx.`,
      )
    return session instanceof LazySession ? (session.loaded ?? session.load()) : session
  }
}
