/** Sessions as a feature: an Exchange in, a Plan out. */
import { isUnavailable, TurnpikeError } from '../../errors.ts'
import {
  passThrough,
  type Exchange,
  type Feature,
  type PassPlan,
  type Plan,
} from '../../http/exchange.ts'
import { unavailableRefusal } from '../../http/refusal.ts'
import { isObject } from '../../validate.ts'
import { CookieTransport, isBelowPath, type CookieTransportOptions } from './cookie-transport.ts'
import type { LoadedSession, SessionEngine } from './engine.ts'
import { RequestSession, type NamedSession } from './request-session.ts'
import type { CookieSettings } from './session-cookie.ts'
import type { RequestSessionOptions, SessionClient } from './session-writer.ts'
import type { Session } from './session.ts'

/** The options of a mount: validated, with their defaults. */
export interface SessionMount<Native>
  extends
    Omit<RequestSessionOptions, 'tenant' | 'cookie' | 'onFailure'>,
    CookieTransportOptions<Native> {
  lazy: boolean
  skip: ((native: Native) => boolean | Promise<boolean>) | undefined
  fail: 'closed' | 'open'
  tenant: ((native: Native) => Promise<string | undefined>) | undefined
  /** `req.sessionStore`. */
  store: object
  slot: SessionSlot
}

/** What is known before it is the feature's turn. */
interface EarlySession {
  readonly named: NamedSession | undefined
  readonly loading: Promise<LoadedSession | undefined> | undefined
}

/** The session of a request with `lazy: true`. It is loaded at most once. */
class LazySession {
  readonly #begin: () => Promise<RequestSession>
  #beginning: Promise<RequestSession> | undefined
  loaded: RequestSession | undefined

  constructor(begin: () => Promise<RequestSession>) {
    this.#begin = begin
  }

  /** See `RequestSession.seal`. */
  seal(): Promise<void> | undefined {
    return this.loaded ? this.loaded.seal() : this.#beginning?.then((session) => session.seal())
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

export class SessionFeature<Native> implements Feature<Native, EarlySession> {
  readonly name = 'session'
  readonly onBackground = 'skip'
  readonly prepare?: (x: Exchange<Native>) => EarlySession | undefined
  readonly #engine: SessionEngine
  readonly #mount: SessionMount<Native>
  readonly #transport: CookieTransport<Native>
  /** Most mounts have the same options for every request, except whether it is secure. */
  readonly #fixed: { secure: RequestSessionOptions; insecure: RequestSessionOptions } | undefined

  constructor(engine: SessionEngine, mount: SessionMount<Native>) {
    this.#engine = engine
    this.#mount = mount
    this.#transport = new CookieTransport(engine, mount)
    const { fixed } = this.#transport
    this.#fixed = fixed && {
      secure: this.#optionsWith(fixed, true),
      insecure: this.#optionsWith(fixed, false),
    }
    const { lazy, skip, tenant } = mount
    if (fixed && !lazy && !skip && !tenant) this.prepare = (x) => this.#prepare(x)
  }

  handle(x: Exchange<Native>, early: EarlySession | undefined): Promise<Plan> | Plan {
    if (x.identity.session !== undefined) return passThrough
    const { skip, tenant } = this.#mount
    return skip || tenant ? this.#handleLater(x) : this.#planOf(x, this.#optionsOf(x), early)
  }

  #prepare(x: Exchange<Native>): EarlySession | undefined {
    if (x.identity.session !== undefined) return undefined
    const early = this.#read(x, this.#optionsOf(x))
    // `handle` reports a failure. Until then it must not count as unhandled.
    early.loading?.catch(() => {})
    return early
  }

  async #handleLater(x: Exchange<Native>): Promise<Plan> {
    const { skip, tenant } = this.#mount
    if (await skip?.(x.native)) return passThrough
    const options = this.#optionsOf(x)
    if (!isBelowPath(x.url, options.cookie.path)) return passThrough
    const owner = await tenant?.(x.native)
    return this.#planOf(x, owner === undefined ? options : { ...options, tenant: owner }, undefined)
  }

  #planOf(
    x: Exchange<Native>,
    options: RequestSessionOptions,
    early: EarlySession | undefined,
  ): Promise<Plan> | Plan {
    if (!isBelowPath(x.url, options.cookie.path)) return passThrough
    if (this.#mount.lazy) return this.#planLazily(x, options)
    const planWith = (session: RequestSession): Plan => {
      this.#mount.slot.set(x.native, session)
      return {
        assign: this.#propertiesOf(session),
        ...this.#responsePlan(
          x,
          options,
          () => session,
          () => session.seal(),
        ),
      }
    }
    const begun = this.#begin(x, options, early ?? this.#read(x, options))
    return begun instanceof RequestSession
      ? planWith(begun)
      : begun.then(planWith, (error: unknown) => this.#planWithout(x, options, error))
  }

  #planLazily(x: Exchange<Native>, options: RequestSessionOptions): PassPlan {
    const lazy = new LazySession(async () => {
      const session = await this.#begin(x, options, this.#read(x, options))
      Object.assign(x.native as object, this.#propertiesOf(session))
      return session
    })
    this.#mount.slot.set(x.native, lazy)
    const getSession = (): Promise<Session> => lazy.load().then(({ session }) => session)
    return {
      assign: { getSession },
      ...this.#responsePlan(
        x,
        options,
        () => lazy.loaded,
        () => lazy.seal(),
      ),
    }
  }

  /** Returns how the session takes part in the response. */
  #responsePlan(
    x: Exchange<Native>,
    { cookie }: RequestSessionOptions,
    sessionOf: () => RequestSession | undefined,
    beforeEnd: () => Promise<void> | undefined,
  ): PassPlan {
    return {
      headers: () => {
        const session = sessionOf()
        return session === undefined ? {} : this.#transport.write(x, cookie, session)
      },
      beforeEnd,
    }
  }

  /** The session cannot be loaded. Nobody is logged out by that, and nobody gets another cookie. */
  #planWithout(x: Exchange<Native>, options: RequestSessionOptions, error: unknown): Plan {
    if (!isUnavailable(error)) throw error
    const { fail } = this.#mount
    this.#reportUnavailable(error, fail)
    if (fail === 'closed')
      return {
        refusal: unavailableRefusal('The session could not be loaded. Try again shortly.'),
      }
    const session = new RequestSession(this.#engine, x as SessionClient, options).disconnect(error)
    this.#mount.slot.set(x.native, session)
    return { assign: this.#propertiesOf(session) }
  }

  #read(x: Exchange<Native>, { cookie, tenant }: RequestSessionOptions): EarlySession {
    if (!isBelowPath(x.url, cookie.path)) return { named: undefined, loading: undefined }
    const named = this.#transport.read(x, cookie, tenant)
    return { named, loading: named && this.#engine.load(named.keys, x.budget) }
  }

  /** Begins the session of a request: at once if there is nothing to load. */
  #begin(
    x: Exchange<Native>,
    options: RequestSessionOptions,
    { named, loading }: EarlySession,
  ): Promise<RequestSession> | RequestSession {
    const client = x as SessionClient
    if (named === undefined || loading === undefined)
      return new RequestSession(this.#engine, client, options)
    return loading.then((loaded) => {
      const session = new RequestSession(this.#engine, client, options, named, loaded)
      return named.isOutdated && loaded ? session.renewTag().then(() => session) : session
    })
  }

  #propertiesOf(session: RequestSession): Record<string, unknown> {
    return {
      session: session.session,
      sessionID: session.id,
      sessionStore: this.#mount.store,
    }
  }

  #optionsOf(x: Exchange<Native>): RequestSessionOptions {
    const settings = this.#transport.settingsOf(x)
    const isAuto = settings.secure === 'auto' || settings.sameSite === 'auto'
    const isSecure = isAuto && this.#transport.isSecure(x)
    if (this.#fixed) return isSecure ? this.#fixed.secure : this.#fixed.insecure
    return this.#optionsWith(settings, isSecure)
  }

  /** @param isSecure whether the request is secure, for settings that are `'auto'` */
  #optionsWith(settings: CookieSettings, isSecure: boolean): RequestSessionOptions {
    const { isKoa, rolling, resave, saveUninitialized, unset, grace, genid } = this.#mount
    const { secure, sameSite } = settings
    return {
      isKoa,
      rolling,
      resave,
      saveUninitialized,
      unset,
      grace,
      genid,
      tenant: undefined,
      cookie: {
        ...settings,
        secure: secure === 'auto' ? isSecure : secure,
        // README of express-session, cookie.sameSite: 'auto' is None over HTTPS, and Lax otherwise.
        sameSite: sameSite === 'auto' ? (isSecure ? 'none' : 'lax') : sameSite,
      },
      onFailure: (error) => {
        if (isUnavailable(error)) this.#reportUnavailable(error, 'closed')
      },
    }
  }

  #reportUnavailable(
    { reason, uncertain }: { reason: string; uncertain: boolean },
    rule: string,
  ): void {
    const { context, options } = this.#engine
    if (context.events.hasListeners('unavailable'))
      context.events.emit('unavailable', {
        feature: 'session',
        name: options.name,
        reason,
        uncertain,
        rule,
      })
  }
}
