/** The session of one request: how it was, what happened to it, what has to be sent and stored. */
import type { StoreUnavailable } from '../../errors.ts'
import type { RequestBudget } from '../../request-budget.ts'
import type { LoadedSession, SessionEngine } from './engine.ts'
import { KoaSession, type KoaSessionHost } from './koa-session.ts'
import type { SessionValues } from './merge.ts'
import { ObservedPromise } from './observed-promise.ts'
import type { SessionCookie } from './session-cookie.ts'
import { signSessionId, type SessionKeys } from './session-id.ts'
import { SessionWriter, type RequestSessionOptions, type SessionClient } from './session-writer.ts'
import { Session, valuesOf } from './session.ts'

/** The properties of `req` or `ctx`. */
interface Properties {
  session?: Session | SessionValues | null
  sessionID?: string
}

/** A session that a request names by a signed ID. */
export interface NamedSession {
  readonly keys: SessionKeys
  /** True if an older secret signed the ID. */
  readonly isOutdated: boolean
}

export class RequestSession implements KoaSessionHost {
  readonly native: object
  readonly isNew: boolean
  readonly #engine: SessionEngine
  readonly #options: RequestSessionOptions
  readonly #properties: Properties
  readonly #writer: SessionWriter
  readonly #budget: RequestBudget
  readonly #named: NamedSession | undefined
  #session: Session
  /** The serialized data that `seal` decided on. The cookie is decided on the same data. */
  #sealed: string | undefined
  /** The last call of a method that is not finished at once. */
  #pending: Promise<unknown> | undefined
  /** Calls that have failed. */
  readonly #failures: { error: unknown; observed: ObservedPromise<void> }[] = []
  #state: 'alive' | 'ended' | 'failed' = 'alive'
  #isLoggedOut = false
  /** Why the session is not connected to the store: it could not be loaded, and `fail` is `'open'`. */
  #unavailable: StoreUnavailable | undefined

  constructor(
    engine: SessionEngine,
    client: SessionClient,
    options: RequestSessionOptions,
    named?: NamedSession,
    loaded?: LoadedSession,
  ) {
    this.#engine = engine
    this.#options = options
    this.native = this.#properties = client.native
    this.#writer = new SessionWriter(engine, client, options)
    this.#budget = client.budget
    this.#named = named
    this.isNew = loaded === undefined
    const cookie = this.#writer.createCookie()
    if (named && loaded) {
      this.#session = this.#restore(named.keys, loaded, cookie, options.resave)
    } else {
      this.#session = this.#create(this.#writer.createId(), cookie)
      this.#writer.tracker.begin('{}', cookie.settings)
    }
  }

  /** Makes every call that needs the store fail. */
  disconnect(error: StoreUnavailable): this {
    this.#unavailable = error
    return this
  }

  get session(): Session {
    return this.#session
  }

  get id(): string {
    return this.#session.id
  }

  /** Returns the signed ID to send, '' to remove the cookie, or undefined to send nothing. */
  cookie(): string | undefined {
    if (this.#state === 'failed') return undefined
    const session = this.#currentOrInvalid()
    const isNamed = this.#named !== undefined
    if (this.#isLoggedOut && isNamed && (!session || !this.#isWorthSaving(session))) return ''
    if (!session) return undefined
    const isWanted = this.#isKnownToClient(session)
      ? this.#options.rolling ||
        this.#named!.isOutdated ||
        (session.cookie.expires != null && this.#isModified(session))
      : this.#isWorthSaving(session)
    return isWanted ? signSessionId(session.id, this.#engine.options.secrets[0]!) : undefined
  }

  /** Stores what has to be stored before the client can see the end of the response. Undefined if there is nothing. */
  seal(): Promise<void> | undefined {
    try {
      // The usual case without a promise: no method is in progress, and nothing has changed.
      const isPlain = this.#pending === undefined && this.#properties.session === this.#session
      if (isPlain && this.#settle(this.#session)) return undefined
    } catch (error) {
      return this.#fail(error)
    }
    return this.#sealPending().catch((error: unknown) => this.#fail(error))
  }

  async #sealPending(): Promise<void> {
    await this.#pending
    const unhandled = this.#failures.find(({ observed }) => !observed.isObserved)
    if (unhandled) throw unhandled.error
    const session = this.#current()
    if (!session) {
      if (this.#options.unset === 'destroy' && this.#state === 'alive') await this.#unset()
    } else if (!this.#settle(session)) {
      await this.#store(session, this.#sealed!, this.#budget)
    }
  }

  #fail(error: unknown): Promise<never> {
    this.#state = 'failed'
    this.#options.onFailure(error)
    return Promise.reject(error)
  }

  /** Renews the session if nothing else has to be done. False if it has to be stored. */
  #settle(session: Session): boolean {
    if (this.#state !== 'alive') return true
    session.touch()
    const text = this.#writer.serialize(session)
    this.#sealed = text
    if (this.#mustStore(session, text)) return false
    if (this.#isKnownToClient(session)) this.#writer.touch(session)
    return true
  }

  save(session: Session): Promise<void> {
    return this.#enqueue(() => this.#store(session, this.#writer.serialize(session)))
  }

  commit(session: Session): Promise<void> {
    return this.#enqueue(async () => {
      if (!this.#settle(session)) await this.#store(session, this.#sealed!)
    })
  }

  reload(session: Session): Promise<void> {
    return this.#enqueue(async () => {
      const keys = this.#writer.keysOf(session)
      const loaded = await this.#engine.load(keys)
      if (!loaded) throw this.#engine.goneError()
      this.#put(this.#restore(keys, loaded, this.#writer.createCookie(), false))
    })
  }

  regenerate(): Promise<void> {
    return this.#enqueue(async () => {
      await this.#end()
      const session = this.#create(this.#writer.createId(), this.#writer.createCookie())
      this.#begin(session, undefined)
    })
  }

  renewId(session: Session): Promise<void> {
    return this.#enqueue(async () => {
      await this.#writer.renewId(session)
      this.#put(session)
      this.#state = 'alive'
    })
  }

  destroy(): Promise<void> {
    delete this.#properties.session
    return this.#enqueue(() => this.#end())
  }

  /** See `tp.session.login()`. */
  login(user: string | number, data: object): Promise<void> {
    return this.#enqueue(async () => {
      const session = this.#current() ?? this.#create('', this.#writer.createCookie())
      await this.#writer.login(session, user, data)
      this.#put(session)
      this.#state = 'alive'
      this.#engine.report('login', this.#writer.keysOf(session))
    })
  }

  /** Ends the session in the store. The request continues with an empty session. */
  logout(): Promise<void> {
    return this.#enqueue(async () => {
      const session = this.#session
      const keys = this.#writer.keysOf(session)
      await this.#end()
      this.#isLoggedOut = true
      Session.rename(session, this.#writer.createId())
      Session.assign(session, {})
      this.#begin(session, '{}')
      this.#engine.report('logout', keys)
    })
  }

  /** See `SessionWriter.renewTag`. */
  async renewTag(): Promise<void> {
    await this.#writer.renewTag(this.#session)
  }

  observe(
    work: Promise<void>,
    observed: ObservedPromise<void> = ObservedPromise.of(work),
  ): Promise<void> {
    work.catch((error: unknown) => this.#failures.push({ error, observed }))
    return observed
  }

  onReservedName(): void {
    this.#engine.report('reserved-name', this.#writer.tracker.keys)
  }

  /** Runs calls one after the other, in their order. */
  #enqueue(work: () => Promise<void>): Promise<void> {
    if (this.#unavailable) return Promise.reject(this.#unavailable)
    const done = this.#pending === undefined ? work() : this.#pending.then(work)
    this.#pending = done.catch(() => {})
    return done
  }

  async #store(session: Session, text: string, budget?: RequestBudget): Promise<void> {
    if (!(await this.#writer.store(session, text, budget))) this.#state = 'ended'
  }

  async #end(budget?: RequestBudget): Promise<void> {
    this.#state = 'ended'
    await this.#writer.destroy(budget)
  }

  /** Carries out `req.session = null`. koa-session removes the cookie as well. */
  async #unset(): Promise<void> {
    await this.#end(this.#budget)
    this.#isLoggedOut = this.#options.isKoa
  }

  /** Continues with a session that is not stored yet. */
  #begin(session: Session, initial: string | undefined): void {
    this.#writer.tracker.begin(initial, session.cookie.settings)
    this.#state = 'alive'
    this.#put(session)
  }

  /** Creates the session from what is stored. */
  #restore(
    keys: SessionKeys,
    { stored, data }: LoadedSession,
    cookie: SessionCookie,
    isUnsaved: boolean,
  ): Session {
    if (stored.meta.cookie) cookie.restore(stored.meta.cookie)
    cookie.renew(stored.touched || undefined)
    this.#writer.tracker.adopt(keys, stored, cookie.settings, { isUnsaved })
    const session = this.#create(keys.id, cookie)
    Session.restore(session, data)
    return session
  }

  #create(id: string, cookie: SessionCookie): Session {
    return this.#options.isKoa ? new KoaSession(this, id, cookie) : new Session(this, id, cookie)
  }

  #put(session: Session): void {
    this.#session = session
    this.#properties.session = session
    this.#properties.sessionID = session.id
  }

  /**
   * Returns the session as the application left it: ours, with the data of an object that replaced it.
   * @throws TP_VALUE if that data has the name of a member
   */
  #current(): Session | undefined {
    const { session } = this.#properties
    if (session === this.#session) return this.#session
    if (typeof session !== 'object' || session === null) return undefined
    Session.assign(this.#session, valuesOf(session))
    this.#put(this.#session)
    return this.#session
  }

  /** Returns the session for the head, which must not fail: `seal` reports data that cannot be stored. */
  #currentOrInvalid(): Session | undefined {
    try {
      return this.#current()
    } catch {
      return undefined
    }
  }

  #isKnownToClient({ id }: Session): boolean {
    return id === this.#named?.keys.id
  }

  #isModified(session: Session): boolean {
    const text = (): string => this.#sealed ?? this.#writer.serialize(session)
    return this.#writer.tracker.isModified(text, session.cookie.settings)
  }

  /** True if a session that the client does not know yet has to be stored, and its ID sent. */
  #isWorthSaving(session: Session): boolean {
    return this.#options.saveUninitialized || this.#isModified(session)
  }

  #mustStore(session: Session, text: string): boolean {
    const { tracker } = this.#writer
    const isNew = !this.#isKnownToClient(session) && !tracker.isStored
    return isNew ? this.#isWorthSaving(session) : tracker.isUnsaved(text, session.cookie.settings)
  }
}
