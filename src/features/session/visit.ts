/** One request's session: what it was, what became of it, and what has to be sent and stored. */
import type { SessionEngine, Loaded } from './engine.ts'
import { signed, type Place } from './id.ts'
import { dataOf, Keeper, type Visitor, type VisitOptions } from './keeper.ts'
import type { SessionCookie } from './cookie.ts'
import type { Data } from './merge.ts'
import { refill, Session, type Host } from './session.ts'

/** The names on `req` or `ctx`. */
interface Names {
  session?: Session | Data | null
  sessionID?: string
}

/** What a request sent: a session's place, and whether an older secret has signed for it. */
export interface Sent {
  readonly place: Place
  readonly stale: boolean
}

export class Visit implements Host {
  readonly #engine: SessionEngine
  readonly #options: VisitOptions
  readonly #names: Names
  readonly #keeper: Keeper
  readonly #sent: Sent | undefined
  #session: Session
  /** The text at the seal: what the head goes by. */
  #last: string | undefined
  /** The last call of a method that is not done at once. */
  #busy: Promise<unknown> | undefined
  #failure: { error: unknown } | undefined
  #state: 'alive' | 'over' | 'failed' = 'alive'
  #loggedOut = false

  constructor(
    engine: SessionEngine,
    visitor: Visitor,
    options: VisitOptions,
    sent?: Sent,
    loaded?: Loaded,
  ) {
    this.#engine = engine
    this.#options = options
    this.#names = visitor.native
    this.#keeper = new Keeper(engine, visitor, options)
    this.#sent = sent
    const cookie = this.#keeper.newCookie()
    if (sent && loaded) {
      this.#session = this.#restored(sent.place, loaded, cookie, options.resave)
    } else {
      this.#session = new Session(this, this.#keeper.newId(), cookie)
      this.#keeper.ledger.begin('{}', cookie.settings)
    }
  }

  get session(): Session {
    return this.#session
  }

  get id(): string {
    return this.#session.id
  }

  /** The plain value of the cookie to send: a new one, '' to remove it, undefined for none. */
  cookie(): string | undefined {
    if (this.#state === 'failed') return undefined
    const session = this.#current()
    const isKnown = this.#sent !== undefined
    if (this.#loggedOut && isKnown && (!session || !this.#isWorthSaving(session))) return ''
    if (!session) return undefined
    const isWanted = this.#isSent(session)
      ? this.#options.rolling ||
        this.#sent!.stale ||
        (session.cookie.expires != null && this.#isModified(session))
      : this.#isWorthSaving(session)
    return isWanted ? signed(session.id, this.#engine.options.secrets[0]!) : undefined
  }

  /** Store what has to be stored, before the end of the response can be seen; undefined if that is nothing. */
  seal(): Promise<void> | undefined {
    try {
      // The usual case at once: nothing is under way, and nothing has changed.
      const isPlain = this.#busy === undefined && this.#names.session === this.#session
      if (isPlain && this.#settle(this.#session)) return undefined
    } catch (error) {
      return this.#fail(error)
    }
    return this.#sealLater().catch((error: unknown) => this.#fail(error))
  }

  async #sealLater(): Promise<void> {
    await this.#busy
    if (this.#failure) throw this.#failure.error
    const session = this.#current()
    if (!session) {
      if (this.#options.unset === 'destroy' && this.#state === 'alive') await this.#end()
    } else if (!this.#settle(session)) {
      await this.#store(session, this.#last!)
    }
  }

  #fail(error: unknown): Promise<never> {
    this.#state = 'failed'
    this.#options.failed(error)
    return Promise.reject(error)
  }

  /** Renew the session where that is all there is to do. False if it has to be stored. */
  #settle(session: Session): boolean {
    if (this.#state !== 'alive') return true
    session.touch()
    const text = this.#keeper.text(session)
    this.#last = text
    if (this.#mustSave(session, text)) return false
    if (this.#isSent(session)) this.#keeper.touch(session)
    return true
  }

  save(session: Session): Promise<void> {
    return this.#turn(() => this.#store(session, this.#keeper.text(session)))
  }

  reload(session: Session): Promise<void> {
    return this.#turn(async () => {
      const place = this.#keeper.place(session)
      const loaded = await this.#engine.load(place, this.#keeper.budget)
      if (!loaded) throw this.#engine.gone()
      this.#put(this.#restored(place, loaded, this.#keeper.newCookie(), false))
    })
  }

  regenerate(): Promise<void> {
    return this.#turn(async () => {
      await this.#end()
      this.#begin(new Session(this, this.#keeper.newId(), this.#keeper.newCookie()), undefined)
    })
  }

  destroy(): Promise<void> {
    delete this.#names.session
    return this.#turn(() => this.#end())
  }

  login(session: Session, user: string | number, data: object): Promise<void> {
    return this.#turn(async () => {
      await this.#keeper.bind(session, user, data)
      this.#put(session)
      this.#state = 'alive'
      this.#engine.tell('login', this.#keeper.place(session))
    })
  }

  /** See `Keeper.rehome`. */
  async rehome(): Promise<void> {
    await this.#keeper.rehome(this.#session)
  }

  /** The session is ended in the store before this resolves; the request goes on with an empty one. */
  logout(session: Session): Promise<void> {
    return this.#turn(async () => {
      const place = this.#keeper.place(session)
      await this.#end()
      this.#loggedOut = true
      Session.rename(session, this.#keeper.newId())
      refill(session, {})
      this.#begin(session, '{}')
      this.#engine.tell('logout', place)
    })
  }

  unheard(error: unknown): void {
    this.#failure ??= { error }
  }

  /** One after the other, in the order of the calls. */
  #turn(work: () => Promise<void>): Promise<void> {
    const turn = this.#busy === undefined ? work() : this.#busy.then(work)
    this.#busy = turn.catch(() => {})
    return turn
  }

  async #store(session: Session, text: string): Promise<void> {
    if (!(await this.#keeper.store(session, text))) this.#state = 'over'
  }

  async #end(): Promise<void> {
    this.#state = 'over'
    await this.#keeper.end()
  }

  /** Go on with a session that is not stored yet. */
  #begin(session: Session, first: string | undefined): void {
    this.#keeper.ledger.begin(first, session.cookie.settings)
    this.#state = 'alive'
    this.#put(session)
  }

  /** The session as it was stored. */
  #restored(
    place: Place,
    { stored, data }: Loaded,
    cookie: SessionCookie,
    isUnsaved: boolean,
  ): Session {
    if (stored.meta.cookie) cookie.restore(stored.meta.cookie)
    cookie.renew(stored.touched || undefined)
    this.#keeper.ledger.adopt(place, stored, cookie.settings, { isUnsaved })
    return new Session(this, place.id, cookie, data)
  }

  #put(session: Session): void {
    this.#session = session
    this.#names.session = session
    this.#names.sessionID = session.id
  }

  /** The session as the application left it: ours, or an object that it put in its place. */
  #current(): Session | undefined {
    const { session } = this.#names
    if (session === this.#session) return this.#session
    if (typeof session !== 'object' || session === null) return undefined
    refill(this.#session, dataOf(session))
    this.#put(this.#session)
    return this.#session
  }

  /** Does the browser know the session by this id? */
  #isSent({ id }: Session): boolean {
    return id === this.#sent?.place.id
  }

  #isModified(session: Session): boolean {
    return this.#keeper.ledger.isModified(
      () => this.#last ?? this.#keeper.text(session),
      session.cookie.settings,
    )
  }

  /** Is a session that the browser does not know yet to be stored, and the browser told of it? */
  #isWorthSaving(session: Session): boolean {
    return this.#options.saveUninitialized || this.#isModified(session)
  }

  #mustSave(session: Session, text: string): boolean {
    const { ledger } = this.#keeper
    const isNew = !this.#isSent(session) && !ledger.isStored
    return isNew ? this.#isWorthSaving(session) : ledger.isUnsaved(text, session.cookie.settings)
  }
}
