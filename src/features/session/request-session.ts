/** The session of one request: how it was, what happened to it, what has to be sent and stored. */
import type { StoreUnavailable, TurnpikeError } from '../../errors.ts'
import type { RequestBudget } from '../../request-budget.ts'
import { CallQueue } from './call-queue.ts'
import type { SessionEngine } from './engine.ts'
import type { LoadedSession } from './session-storage.ts'
import type { KoaSessionHost } from './koa-session.ts'
import type { ObservedPromise } from './observed-promise.ts'
import type { SessionCookie } from './session-cookie.ts'
import { goneError, headSentError } from './session-errors.ts'
import { endSessions } from './session-move.ts'
import { SessionProperty } from './session-property.ts'
import { SessionWriter, type RequestSessionOptions, type SessionClient } from './session-writer.ts'
import { Session } from './session.ts'
import type { NamedSession, SessionNotice } from './signed-ids.ts'

export class RequestSession implements KoaSessionHost {
  readonly native: object
  readonly isNew: boolean
  readonly #engine: SessionEngine
  readonly #options: RequestSessionOptions
  readonly #property: SessionProperty
  readonly #writer: SessionWriter
  readonly #budget: RequestBudget
  readonly #calls = new CallQueue()
  /** All sessions that the request names. Usually there is one at most. */
  readonly #named: readonly NamedSession[]
  /** The serialized data that `storeBeforeEnd` decided on. The notice is decided on the same data. */
  #serialized: string | undefined
  #state: 'alive' | 'ended' | 'failed' = 'alive'
  /** True once the client's session was ended on purpose: the client is to forget its ID. */
  #isLoggedOut = false
  /** True once the head is being sent: the client can no longer learn an ID, so no session begins. */
  #isHeadSent = false

  constructor(
    engine: SessionEngine,
    client: SessionClient,
    options: RequestSessionOptions,
    named: readonly NamedSession[] = [],
    loaded?: LoadedSession,
  ) {
    this.#engine = engine
    this.#options = options
    this.native = client.native
    this.#property = new SessionProperty(this, options.isKoa)
    this.#writer = new SessionWriter(engine, client, options)
    this.#budget = client.budget
    this.#named = named
    this.isNew = loaded === undefined
    const cookie = this.#writer.createCookie()
    if (loaded) {
      const state = { isUnsaved: options.resave, isModified: !this.#namedBy(loaded.keys.id) }
      this.#property.begin(this.#restore(loaded, cookie, state))
    } else {
      this.#property.begin(this.#createSession(cookie))
      this.#writer.tracker.begin('{}', cookie)
    }
  }

  /** Makes every call that needs the store fail: the session could not be loaded, and `fail` is `'open'`. */
  disconnect(error: StoreUnavailable): this {
    this.#calls.refuse(error)
    return this
  }

  get session(): Session {
    return this.#property.session
  }

  /** Returns what the response has to tell the client. Undefined if it is nothing. */
  notice(): SessionNotice | undefined {
    if (this.#state === 'failed' || !this.#property.hasId) return undefined
    const session = this.#property.currentOrInvalid()
    if (
      this.#isLoggedOut &&
      this.#named.length > 0 &&
      (!session || !this.#writer.isWorthSaving(session, this.#serialized))
    )
      return { id: undefined, form: undefined }
    if (!session) return undefined
    const named = this.#namedBy(session.id)
    const isWanted = named
      ? this.#options.rolling ||
        named.isOutdated ||
        (session.cookie.expires != null && this.#writer.isModified(session, this.#serialized))
      : this.#writer.isWorthSaving(session, this.#serialized)
    return isWanted ? { id: session.id, form: named?.form } : undefined
  }

  /** Stores what has to be stored before a head that goes out before the end of the response. */
  storeBeforeHead(): Promise<void> | undefined {
    const storing = this.storeBeforeEnd()
    if (storing === undefined) this.#isHeadSent = true
    return storing?.then(() => void (this.#isHeadSent = true))
  }

  /** Stores what has to be stored before the client can see the end. Undefined if there is nothing. */
  storeBeforeEnd(): Promise<void> | undefined {
    if (!this.#property.hasId) return undefined
    try {
      // The usual case without a promise: no method was called, and nothing has changed.
      const isPlain = this.#calls.done === undefined && this.#property.isOurs
      if (isPlain && this.#settle(this.session, true)) return undefined
    } catch (error) {
      return this.#fail(error)
    }
    return this.#storeAfterCalls().catch((error: unknown) => this.#fail(error))
  }

  async #storeAfterCalls(): Promise<void> {
    await this.#calls.done
    if (this.#calls.unhandled) throw this.#calls.unhandled.error
    const session = this.#property.current()
    if (!session) {
      if (this.#options.unset === 'destroy' && this.#state === 'alive') {
        await this.#end(this.#budget)
        // koa-session removes the cookie as well.
        this.#isLoggedOut = this.#options.isKoa
      }
    } else if (!this.#settle(session, true)) {
      await this.#store(session, this.#serialized!, this.#budget)
    }
  }

  #fail(error: unknown): Promise<never> {
    this.#state = 'failed'
    this.#options.onFailure(error)
    return Promise.reject(error)
  }

  /** Renews a session that need not be stored; else false. @param isEnding true on the way out */
  #settle(session: Session, isEnding: boolean): boolean {
    if (this.#state !== 'alive') return true
    session.touch()
    this.#writer.assertSendable(session)
    const text = (this.#serialized = this.#writer.serialize(session))
    if (this.#writer.mustStore(session, text, isEnding, this.#isHeadSent)) return false
    if (this.#namedBy(session.id)) this.#writer.touch(session)
    return true
  }

  save(session: Session): Promise<void> {
    return this.#call(session, (latest) => this.#store(latest, this.#writer.serialize(latest)))
  }

  commit(session: Session): Promise<void> {
    return this.#call(session, async (latest) => {
      if (!this.#settle(latest, false)) await this.#store(latest, this.#serialized!)
    })
  }

  reload(session: Session): Promise<void> {
    return this.#call(session, async (latest) => {
      const loaded = await this.#engine.load(this.#writer.keysOf(latest))
      if (!loaded) throw goneError()
      const isModified = loaded.keys.id !== latest.id
      this.#property.put(this.#restore(loaded, this.#writer.createCookie(), { isModified }))
    })
  }

  regenerate(): Promise<void> {
    return this.#calls.run(async () => {
      await this.#end()
      this.#begin(this.#createSession(), undefined)
    })
  }

  renewId(session: Session): Promise<void> {
    return this.#call(session, async (latest) => {
      await this.#writer.renewId(latest)
      await this.#endOthers()
      this.#property.put(latest)
      this.#state = 'alive'
    })
  }

  destroy(): Promise<void> {
    this.#property.remove()
    return this.#calls.run(() => this.#end().then(() => this.#property.destroy()))
  }

  /** See `tp.session.login()`. */
  login(user: string | number, data: object): Promise<void> {
    return this.#calls.run(async () => {
      if (this.#isHeadSent) throw headSentError()
      const session = this.#property.current() ?? this.#createSession()
      const began = this.#engine.context.events.begin('session')
      await this.#writer.login(session, user, data)
      await this.#endOthers()
      this.#property.put(session)
      this.#state = 'alive'
      this.#engine.report('login', this.#writer.keysOf(session), began)
    })
  }

  /** Ends the session in the store. The request continues with an empty session. */
  logout(): Promise<void> {
    return this.#calls.run(async () => {
      const { session } = this
      const keys = this.#writer.keysOf(session)
      const began = this.#engine.context.events.begin('session')
      await this.#end()
      this.#isLoggedOut = true
      Session.rename(session, this.#writer.createId())
      Session.assign(session, {})
      this.#begin(session, '{}')
      this.#engine.report('logout', keys, began)
    })
  }

  /** See `SessionWriter.renewTag`. */
  renewTag(): Promise<void> {
    return this.#writer.renewTag(this.session)
  }

  #call(session: Session, work: (latest: Session) => Promise<void>): Promise<void> {
    return this.#calls.run(async () => work(this.#property.latest(session)))
  }

  observe(call: Promise<void>, observed?: ObservedPromise<void>): Promise<void> {
    return this.#calls.observe(call, observed)
  }

  onReservedName(): void {
    this.#engine.report('reserved-name', this.#writer.tracker.keys)
  }

  async #store(session: Session, text: string, budget?: RequestBudget): Promise<void> {
    // Once the head is sent the client cannot learn a new ID.
    const user = this.#isHeadSent ? undefined : this.#writer.userToBind(budget !== undefined)
    if (user !== undefined) await this.#bind(session, text, user, budget)
    else if (!(await this.#writer.store(session, text, budget))) this.#state = 'ended'
  }

  /** Makes the session that of a user whom the application has logged in itself. */
  async #bind(
    session: Session,
    text: string,
    user: string,
    budget: RequestBudget | undefined,
  ): Promise<void> {
    const isLogin = this.#writer.isModified(session, text)
    const began = this.#engine.context.events.begin('session')
    try {
      const isBound = await this.#writer.bind(session, text, user, isLogin, budget)
      if (!isBound) return await this.#end(budget)
    } catch (error) {
      // A login that was refused is over: the end of the response must not try it again.
      if ((error as TurnpikeError).code === 'TP_SESSION_LIMIT') this.#state = 'ended'
      throw error
    }
    if (isLogin) await this.#endOthers(budget)
    this.#property.put(session)
    this.#engine.report('login', this.#writer.keysOf(session), began)
  }

  /** Ends the client's session, and any other that the request names. */
  async #end(budget?: RequestBudget): Promise<void> {
    this.#state = 'ended'
    await this.#writer.destroy(budget)
    await this.#endOthers(budget)
  }

  #endOthers(budget?: RequestBudget): Promise<unknown> | undefined {
    return this.#named.length < 2 ? undefined : endSessions(this.#engine, this.#named, budget)
  }

  /** Continues with a session that is not stored yet. */
  #begin(session: Session, initial: string | undefined): void {
    this.#writer.tracker.begin(initial, session.cookie)
    this.#state = 'alive'
    this.#property.put(session)
  }

  #createSession(cookie: SessionCookie = this.#writer.createCookie()): Session {
    return this.#property.create(this.#writer.createId(), cookie)
  }

  /** Creates the session from what is stored. */
  #restore(
    { keys, stored, data }: LoadedSession,
    cookie: SessionCookie,
    state: { isUnsaved?: boolean; isModified?: boolean },
  ): Session {
    if (stored.meta.cookie) cookie.restore(stored.meta.cookie)
    cookie.renew(stored.touched || undefined)
    this.#writer.tracker.adopt(keys, stored, cookie, state)
    const session = this.#property.create(keys.id, cookie)
    Session.restore(session, data)
    return session
  }

  /** Returns how the client named a session. Undefined if the client does not know its ID. */
  #namedBy(id: string): NamedSession | undefined {
    return this.#named.find(({ keys }) => keys.id === id)
  }
}
