/** Where a request keeps its session, for `tp.session.login()` and `tp.session.logout()`. */
import { TurnpikeError } from '../../errors.ts'
import { isPromise } from '../../http/promises.ts'
import { isObject } from '../../validate.ts'
import { RequestMemo } from '../request-memo.ts'
import { ObservedPromise } from './observed-promise.ts'
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

/** Where the requests of one instance keep their sessions. */
export class SessionSlot {
  readonly #sessions = new RequestMemo<RequestSession | LazySession>('turnpike.session')
  readonly #exchangeOf: (native: object) => object

  /** @param exchangeOf returns the request's exchange, always the same one */
  constructor(exchangeOf: (native: object) => object) {
    this.#exchangeOf = exchangeOf
  }

  /** Loads the session of a request with `lazy: true`. Undefined for other requests. */
  async loadLazy(native: object): Promise<object | undefined> {
    const session = this.#sessions.get(this.#exchangeOf(native))
    return session instanceof LazySession ? (await session.load()).session : undefined
  }

  /** @param x the request's exchange */
  set(x: object, session: RequestSession | LazySession): void {
    this.#sessions.set(x, session)
  }

  /**
   * Returns the session of a request: at once, unless it is lazy and not loaded yet.
   * @throws TP_OPTION if no middleware of this instance gave the request a session
   */
  get(native: unknown, where: string): RequestSession | Promise<RequestSession> {
    const session = isObject(native) ? this.#sessions.get(this.#exchangeOf(native)) : undefined
    if (session === undefined)
      throw new TurnpikeError(
        'TP_OPTION',
        `${where}: this request has no session. Mount tp.session() of the same instance in front of the route, and pass Express's req or Koa's ctx.`,
      )
    return session instanceof LazySession ? (session.loaded ?? session.load()) : session
  }
}

/** Calls a method of a request's session. It begins at once: a call that is not awaited must hold up the response. */
export function withSession(
  slot: SessionSlot,
  native: unknown,
  where: string,
  call: (session: RequestSession) => Promise<void>,
): Promise<void> {
  try {
    const session = slot.get(native, where)
    if (!isPromise(session)) return session.observe(call(session))
    const work = session.then(call)
    const observed = ObservedPromise.of(work)
    // If the session cannot be loaded, the response fails with that.
    session.then((session) => session.observe(work, observed)).catch(() => {})
    return observed
  } catch (error) {
    return Promise.reject(error)
  }
}
