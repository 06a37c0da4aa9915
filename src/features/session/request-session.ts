/** The session of one request: how it was, what happened to it, what has to be sent and stored. */
import type { LoadedSession, SessionEngine } from './engine.ts'
import type { SessionValues } from './merge.ts'
import type { SessionCookie } from './session-cookie.ts'
import { signSessionId, type SessionKeys } from './session-id.ts'
import { SessionWriter, type RequestSessionOptions, type SessionClient } from './session-writer.ts'
import { replaceValues, Session, valuesOf, type SessionHost } from './session.ts'

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

export class RequestSession implements SessionHost {
  readonly #engine: SessionEngine
  readonly #options: RequestSessionOptions
  readonly #properties: Properties
  readonly #writer: SessionWriter
  readonly #named: NamedSession | undefined
  #session: Session
  /** The serialized data that `seal` decided on. The cookie is decided on the same data. */
  #sealed: string | undefined
  /** The last call of a method that is not finished at once. */
  #pending: Promise<unknown> | undefined
  #failure: { error: unknown } | undefined
  #state: 'alive' | 'ended' | 'failed' = 'alive'
  #isLoggedOut = false

  constructor(
    engine: SessionEngine,
    client: SessionClient,
    options: RequestSessionOptions,
    named?: NamedSession,
    loaded?: LoadedSession,
  ) {
    this.#engine = engine
    this.#options = options
    this.#properties = client.native
    this.#writer = new SessionWriter(engine, client, options)
    this.#named = named
    const cookie = this.#writer.createCookie()
    if (named && loaded) {
      this.#session = this.#restore(named.keys, loaded, cookie, options.resave)
    } else {
      this.#session = new Session(this, this.#writer.createId(), cookie)
      this.#writer.tracker.begin('{}', cookie.settings)
    }
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
    const session = this.#current()
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
    if (this.#failure) throw this.#failure.error
    const session = this.#current()
    if (!session) {
      if (this.#options.unset === 'destroy' && this.#state === 'alive') await this.#end()
    } else if (!this.#settle(session)) {
      await this.#store(session, this.#sealed!)
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

  reload(session: Session): Promise<void> {
    return this.#enqueue(async () => {
      const keys = this.#writer.keysOf(session)
      const loaded = await this.#engine.load(keys, this.#writer.budget)
      if (!loaded) throw this.#engine.goneError()
      this.#put(this.#restore(keys, loaded, this.#writer.createCookie(), false))
    })
  }

  regenerate(): Promise<void> {
    return this.#enqueue(async () => {
      await this.#end()
      const session = new Session(this, this.#writer.createId(), this.#writer.createCookie())
      this.#begin(session, undefined)
    })
  }

  destroy(): Promise<void> {
    delete this.#properties.session
    return this.#enqueue(() => this.#end())
  }

  login(session: Session, user: string | number, data: object): Promise<void> {
    return this.#enqueue(async () => {
      await this.#writer.login(session, user, data)
      this.#put(session)
      this.#state = 'alive'
      this.#engine.report('login', this.#writer.keysOf(session))
    })
  }

  /** See `SessionWriter.renewTag`. */
  async renewTag(): Promise<void> {
    await this.#writer.renewTag(this.#session)
  }

  /** Ends the session in the store. The request continues with an empty session. */
  logout(session: Session): Promise<void> {
    return this.#enqueue(async () => {
      const keys = this.#writer.keysOf(session)
      await this.#end()
      this.#isLoggedOut = true
      Session.rename(session, this.#writer.createId())
      replaceValues(session, {})
      this.#begin(session, '{}')
      this.#engine.report('logout', keys)
    })
  }

  onUnhandled(error: unknown): void {
    this.#failure ??= { error }
  }

  /** Runs calls one after the other, in their order. */
  #enqueue(work: () => Promise<void>): Promise<void> {
    const done = this.#pending === undefined ? work() : this.#pending.then(work)
    this.#pending = done.catch(() => {})
    return done
  }

  async #store(session: Session, text: string): Promise<void> {
    if (!(await this.#writer.store(session, text))) this.#state = 'ended'
  }

  async #end(): Promise<void> {
    this.#state = 'ended'
    await this.#writer.destroy()
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
    return new Session(this, keys.id, cookie, data)
  }

  #put(session: Session): void {
    this.#session = session
    this.#properties.session = session
    this.#properties.sessionID = session.id
  }

  /** Returns the session as the application left it: ours, with the data of an object that replaced it. */
  #current(): Session | undefined {
    const { session } = this.#properties
    if (session === this.#session) return this.#session
    if (typeof session !== 'object' || session === null) return undefined
    replaceValues(this.#session, valuesOf(session))
    this.#put(this.#session)
    return this.#session
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
