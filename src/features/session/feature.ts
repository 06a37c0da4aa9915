/** Sessions as a feature: an Exchange in, a Plan out. */
import { isUnavailable } from '../../errors.ts'
import {
  passThrough,
  type Exchange,
  type Feature,
  type PassPlan,
  type Plan,
} from '../../http/exchange.ts'
import { isPromise } from '../../http/promises.ts'
import { unavailableRefusal, type ReplyFunction } from '../../http/refusal.ts'
import { isBelowPath } from './cookie-transport.ts'
import type { SessionEngine } from './engine.ts'
import type { LoadedSession } from './session-storage.ts'
import { RequestSession } from './request-session.ts'
import type { NamedSession } from './signed-ids.ts'
import type { CookieSettings } from './session-cookie.ts'
import { LazySession, type SessionSlot } from './session-slot.ts'
import type { RequestSessionOptions, SessionClient } from './session-writer.ts'
import type { Session } from './session.ts'
import { NO_SESSIONS, type SessionTransport } from './transport.ts'

/** The options of a mount: validated, with their defaults. */
export interface SessionMount<Native> extends Omit<
  RequestSessionOptions,
  'tenant' | 'cookie' | 'onFailure'
> {
  /** Attributes of the cookie. They also say how long a session lives. */
  cookie: CookieSettings | ((native: Native) => CookieSettings)
  transport: SessionTransport<Native>
  /** True if a request arrived over HTTPS. */
  isSecure(x: Exchange<Native>): boolean
  lazy: boolean
  skip: ((native: Native) => boolean | Promise<boolean>) | undefined
  fail: 'closed' | 'open'
  reply: ReplyFunction<Native> | undefined
  tenant: ((native: Native) => Promise<string | undefined>) | undefined
  /** `req.sessionStore`. */
  store: object
  slot: SessionSlot
}

/** What is known before it is the feature's turn. */
interface EarlySession {
  readonly named: readonly NamedSession[]
  /** A promise, unless this process knows the session already. */
  readonly loading: Promise<LoadedSession | undefined> | LoadedSession | undefined
}

/** How a request's session is treated, and the settings of its cookie as the mount gave them. */
interface RequestSettings {
  readonly options: RequestSessionOptions
  readonly settings: CookieSettings
}

export class SessionFeature<Native> implements Feature<Native, EarlySession> {
  readonly name = 'session'
  readonly onBackground = 'skip'
  readonly prepare?: (x: Exchange<Native>) => EarlySession | undefined
  readonly #engine: SessionEngine
  readonly #mount: SessionMount<Native>
  /** Most mounts have the same settings for every request, except whether it is secure. */
  readonly #fixed: { secure: RequestSettings; insecure: RequestSettings } | undefined

  constructor(engine: SessionEngine, mount: SessionMount<Native>) {
    this.#engine = engine
    this.#mount = mount
    const { cookie, lazy, skip, tenant } = mount
    if (typeof cookie === 'function') return
    this.#fixed = {
      secure: this.#settingsWith(cookie, true),
      insecure: this.#settingsWith(cookie, false),
    }
    if (!lazy && !skip && !tenant) this.prepare = (x) => this.#prepare(x)
  }

  handle(x: Exchange<Native>, early: EarlySession | undefined): Promise<Plan> | Plan {
    if (x.identity.session !== undefined) return passThrough
    const { skip, tenant } = this.#mount
    return skip || tenant ? this.#handleLater(x) : this.#planOf(x, this.#settingsOf(x), early)
  }

  #prepare(x: Exchange<Native>): EarlySession | undefined {
    if (x.identity.session !== undefined) return undefined
    return this.#read(x, this.#settingsOf(x))
  }

  async #handleLater(x: Exchange<Native>): Promise<Plan> {
    const { skip, tenant } = this.#mount
    if (await skip?.(x.native)) return passThrough
    const { settings, options } = this.#settingsOf(x)
    if (!isBelowPath(x.url, settings.path)) return passThrough
    const owner = await tenant?.(x.native)
    return this.#planOf(x, { settings, options: { ...options, tenant: owner } }, undefined)
  }

  #planOf(
    x: Exchange<Native>,
    request: RequestSettings,
    early: EarlySession | undefined,
  ): Promise<Plan> | Plan {
    if (!isBelowPath(x.url, request.settings.path)) return passThrough
    if (this.#mount.lazy) return this.#planLazily(x, request)
    const planWith = (session: RequestSession): Plan => {
      this.#mount.slot.set(x, session)
      return {
        assign: this.#propertiesOf(session),
        headers: () => this.#mount.transport.write(x, request.settings, session),
        beforeHead: () => session.storeBeforeHead(),
        beforeEnd: () => session.storeBeforeEnd(),
      }
    }
    const planWithout = (error: unknown): Plan => this.#planWithout(x, request.options, error)
    return this.#begin(x, request.options, early ?? this.#read(x, request), planWith, planWithout)
  }

  #planLazily(x: Exchange<Native>, request: RequestSettings): PassPlan {
    const lazy = new LazySession(async () => {
      const early = this.#read(x, request)
      const session = await this.#begin(x, request.options, early, (session) => session)
      Object.assign(x.native as object, this.#propertiesOf(session))
      return session
    })
    this.#mount.slot.set(x, lazy)
    const getSession = (): Promise<Session> => lazy.load().then(({ session }) => session)
    return {
      assign: { getSession },
      headers: () =>
        lazy.loaded ? this.#mount.transport.write(x, request.settings, lazy.loaded) : {},
      beforeHead: () => lazy.ifLoaded((session) => session.storeBeforeHead()),
      beforeEnd: () => lazy.ifLoaded((session) => session.storeBeforeEnd()),
    }
  }

  /** The session cannot be loaded. That logs no user out, and sets no new cookie. */
  #planWithout(x: Exchange<Native>, options: RequestSessionOptions, error: unknown): Plan {
    if (!isUnavailable(error)) throw error
    const { fail } = this.#mount
    this.#reportUnavailable(error, fail)
    if (fail === 'closed')
      return {
        refusal: unavailableRefusal('The session could not be loaded. Try again shortly.'),
        replyWith: this.#mount.reply,
      }
    const session = new RequestSession(this.#engine, x as SessionClient, options).disconnect(error)
    this.#mount.slot.set(x, session)
    return { assign: this.#propertiesOf(session) }
  }

  #read(x: Exchange<Native>, { settings, options }: RequestSettings): EarlySession {
    const named = isBelowPath(x.url, settings.path)
      ? this.#mount.transport.read(x, settings, options.tenant)
      : NO_SESSIONS
    return { named, loading: named.length === 0 ? undefined : this.#load(named, x) }
  }

  /**
   * Loads the session that a request names. Of several only one may be alive: if two are, one of them
   * may have been planted (cookie tossing), and none is believed.
   */
  #load(
    named: readonly NamedSession[],
    x: Exchange<Native>,
  ): Promise<LoadedSession | undefined> | LoadedSession {
    const [{ keys }] = named as readonly [NamedSession]
    if (named.length === 1) return this.#engine.recall(keys) ?? this.#engine.load(keys, x.budget)
    return Promise.all(named.map(({ keys }) => this.#engine.load(keys, x.budget))).then((all) => {
      const [first, ...others] = all.filter((each) => each && !isRetired(each))
      if (first === undefined) return all.find((each) => each !== undefined)
      if (others.every((each) => each?.keys.id === first.keys.id)) return first
      this.#engine.report('two-cookies', undefined)
      return undefined
    })
  }

  /**
   * Begins the session of a request, and calls `then` with it: at once if there is nothing to load.
   * @param otherwise called with the reason if the session could not be loaded
   */
  #begin<Result>(
    x: Exchange<Native>,
    options: RequestSessionOptions,
    { named, loading }: EarlySession,
    then: (session: RequestSession) => Result,
    otherwise?: (error: unknown) => Result,
  ): Promise<Result> | Result {
    const beginWith = (loaded: LoadedSession | undefined): Promise<Result> | Result => {
      const session = new RequestSession(this.#engine, x as SessionClient, options, named, loaded)
      const current = loaded && named.find(({ keys }) => keys.id === loaded.keys.id)
      return current?.isOutdated
        ? session.renewTag().then(() => then(session), otherwise)
        : then(session)
    }
    return isPromise(loading) ? loading.then(beginWith, otherwise) : beginWith(loading)
  }

  #propertiesOf(session: RequestSession): Record<string, unknown> {
    return {
      session: session.session,
      sessionID: session.session.id,
      sessionStore: this.#mount.store,
    }
  }

  #settingsOf(x: Exchange<Native>): RequestSettings {
    const { cookie } = this.#mount
    const settings = typeof cookie === 'function' ? cookie(x.native) : cookie
    const isAuto = settings.secure === 'auto' || settings.sameSite === 'auto'
    const isSecure = isAuto && this.#mount.isSecure(x)
    if (this.#fixed) return isSecure ? this.#fixed.secure : this.#fixed.insecure
    return this.#settingsWith(settings, isSecure)
  }

  /** @param isSecure whether the request is secure, for settings that are `'auto'` */
  #settingsWith(settings: CookieSettings, isSecure: boolean): RequestSettings {
    const { isKoa, rolling, resave, saveUninitialized, unset, grace, genid, user } = this.#mount
    const { secure, sameSite } = settings
    return {
      settings,
      options: {
        isKoa,
        rolling,
        resave,
        saveUninitialized,
        unset,
        grace,
        genid,
        user,
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

/** True for a session that only requests in progress may still read. */
const isRetired = ({ stored }: LoadedSession): boolean => stored.meta.successor !== undefined
