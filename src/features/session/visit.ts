/** One request's session: what it was, what became of it, and what has to be sent and stored. */
import type { Budget } from '../../store/budget.ts'
import { SessionCookie, type CookieSettings } from './cookie.ts'
import type { Change, Engine, Loaded } from './engine.ts'
import { signed, type Place } from './id.ts'
import type { Data } from './merge.ts'
import type { Meta, Stored } from './record.ts'
import { fill, refill, Session, type Host } from './session.ts'

/** What a session needs to know of its request. */
export interface Visitor {
  readonly native: object
  readonly ip: string
  readonly budget: Budget
  header(name: string): string | undefined
}

export interface VisitOptions {
  rolling: boolean
  resave: boolean
  saveUninitialized: boolean
  unset: 'keep' | 'destroy'
  grace: number
  genid: ((native: never) => string) | undefined
  tenant: string | undefined
  /** The settings of this request's cookies. */
  cookie: CookieSettings
}

/** The names on `req` or `ctx`. */
interface Names {
  session?: Session | Data | null
  sessionID?: string
}

const LONGEST_AGENT = 200
/** For how long the old id still works, should the answer with the new one be lost. */
const REHOMING = 60_000

export class Visit implements Host {
  readonly #engine: Engine
  readonly #visitor: Visitor
  readonly #options: VisitOptions
  readonly #names: Names
  /** The id that the browser sent. */
  readonly #sent: string | undefined
  /** An older secret has signed what the browser sent. */
  readonly #stale: boolean
  #session: Session
  #place: Place | undefined
  #stored: Stored | undefined
  #meta: Meta = {}
  /** The data at first, and as it is stored; undefined: it is to be stored in any case. */
  #first: string | undefined
  #saved: string | undefined
  /** The cookie's settings, likewise. */
  #firstSettings: string
  #settings: string
  /** The text at the seal: what the head goes by. */
  #last: string | undefined
  #busy: Promise<unknown> = Promise.resolve()
  #failure: { error: unknown } | undefined
  #state: 'alive' | 'over' | 'failed' = 'alive'
  #loggedOut = false

  constructor(engine: Engine, visitor: Visitor, options: VisitOptions, sent: { place: Place; stale: boolean } | undefined, loaded: Loaded | undefined) {
    this.#engine = engine
    this.#visitor = visitor
    this.#options = options
    this.#names = visitor.native as Names
    this.#sent = sent?.place.id
    this.#stale = sent?.stale ?? false
    const cookie = this.#newCookie()
    this.#settings = this.#firstSettings = cookie.settings
    if (sent && loaded) {
      this.#session = new Session(this, sent.place.id, cookie, loaded.data)
      this.#adopt(sent.place, loaded.stored, options.resave)
    } else {
      this.#session = new Session(this, this.#newId(), cookie)
      this.#first = '{}'
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
    if (this.#loggedOut && this.#sent !== undefined && (!session || !this.#isWorthSaving(session))) return ''
    if (!session) return undefined
    const { rolling } = this.#options
    const isWanted = session.id === this.#sent
      ? rolling || this.#stale || (session.cookie.expires != null && this.#isModified(session))
      : this.#isWorthSaving(session)
    return isWanted ? signed(session.id, this.#engine.options.secrets[0]!) : undefined
  }

  /** Store what has to be stored, before the end of the response can be seen. */
  async seal(): Promise<void> {
    try {
      await this.#busy
      if (this.#failure) throw this.#failure.error
      const session = this.#current()
      if (!session) {
        if (this.#options.unset === 'destroy' && this.#state === 'alive') await this.#end()
        return
      }
      if (this.#state === 'over') return
      session.touch()
      const text = this.#textOf(session)
      this.#last = text
      if (this.#mustSave(session, text)) await this.#store(session, text)
      else if (this.#stored && session.id === this.#sent) this.#engine.touch(this.#where(session), this.#stored, this.#ttl(session))
    } catch (error) {
      this.#state = 'failed'
      throw error
    }
  }

  save(session: Session): Promise<void> {
    return this.#turn(() => this.#store(session, this.#textOf(session)))
  }

  reload(session: Session): Promise<void> {
    return this.#turn(async () => {
      const place = this.#where(session)
      const loaded = await this.#engine.load(place, this.#visitor.budget)
      if (!loaded) throw this.#engine.gone()
      this.#put(new Session(this, place.id, this.#newCookie(), loaded.data))
      this.#adopt(place, loaded.stored, false)
    })
  }

  regenerate(): Promise<void> {
    return this.#turn(async () => {
      await this.#end()
      this.#begin(new Session(this, this.#newId(), this.#newCookie()), undefined)
    })
  }

  destroy(): Promise<void> {
    delete this.#names.session
    return this.#turn(() => this.#end())
  }

  /** The session goes on under a new id, which tells whose it is. */
  login(session: Session, user: string | number, data: object): Promise<void> {
    return this.#turn(async () => {
      const { ip } = this.#visitor
      const agent = this.#visitor.header('user-agent')?.slice(0, LONGEST_AGENT)
      const [old, before, last] = [this.#place, this.#stored, this.#meta.user]
      const meta: Meta = { user: String(user), ip, ...(agent !== undefined && { agent }) }
      const place = this.#engine.place(this.#engine.idFor(String(user)), this.#options.tenant)
      const wanted: Data = { ...session, userId: user, ...data }
      const change = this.#change(session, wanted, this.#engine.options.serializer.stringify(wanted), meta)
      const stored = await this.#engine.create(place, change, undefined, this.#visitor.budget)
      if (!stored) throw this.#engine.gone()
      if (before && old) {
        const retired = this.#engine.destroy(old, last === undefined ? this.#options.grace : 0, this.#visitor.budget)
        // What is left of nobody's session for a moment is nobody's; a user's must be gone.
        if (last === undefined) this.#engine.inBackground(retired)
        else await retired
      }
      Session.rename(session, place.id)
      refill(session, wanted)
      this.#put(session)
      this.#adopt(place, stored, false)
      this.#first = undefined
      this.#state = 'alive'
      this.#engine.tell('login', place)
    })
  }

  /**
   * A user's session that an older secret has signed goes on under an id with the user's tag of today: once
   * that secret is gone, nobody could find it in the user's list by the old one.
   */
  async rehome(): Promise<void> {
    const [old, before, session] = [this.#place, this.#stored, this.#session]
    const user = before?.meta.user
    if (!this.#stale || !old || !before || user === undefined) return
    const place = this.#engine.place(this.#engine.idFor(user), this.#options.tenant)
    if (place.tag === old.tag) return
    const change = this.#change(session, session as unknown as Data, before.data, before.meta)
    const stored = await this.#engine.create(place, change, before, this.#visitor.budget)
    if (!stored) return
    this.#engine.inBackground(this.#engine.destroy(old, REHOMING))
    Session.rename(session, place.id)
    this.#adopt(place, stored, false)
    this.#first = undefined
  }

  /** The session is ended in the store before this resolves; the request goes on with an empty one. */
  logout(session: Session): Promise<void> {
    return this.#turn(async () => {
      const place = this.#where(session)
      await this.#end()
      this.#loggedOut = true
      Session.rename(session, this.#newId())
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
    const turn = this.#busy.then(work)
    this.#busy = turn.catch(() => {})
    return turn
  }

  async #store(session: Session, text: string): Promise<void> {
    const { budget } = this.#visitor
    const place = this.#where(session)
    if (this.#ttl(session) <= 0) return await this.#end()
    const change = this.#change(session, session as unknown as Data, text, this.#meta)
    if (this.#stored === undefined) {
      const stored = await this.#engine.create(place, change, undefined, budget)
      if (stored) this.#keep(stored, change.meta)
      return
    }
    const updated = await this.#engine.update(place, this.#stored, change, budget)
    if (!updated) {
      this.#state = 'over'
      return
    }
    this.#keep(updated.stored, change.meta)
    // The other request's changes are this one's from here on, or its next save would undo them.
    if (updated.stored.data !== text) refill(session, updated.data)
  }

  /** Remember what is stored now. */
  #keep(stored: Stored, meta: Meta): void {
    this.#stored = stored
    this.#saved = stored.data
    this.#meta = meta
    this.#settings = this.#session.cookie.settings
  }

  #change(session: Session, data: Data, text: string, meta: Meta): Change {
    const { cookie } = session
    const { cookie: _, ...who } = meta
    const isOwn = cookie.settings !== this.#newCookie().settings
    return { data, text, meta: isOwn ? { ...who, cookie: cookie.data } : who, cookie: cookie.data, ttl: this.#ttl(session) }
  }

  async #end(): Promise<void> {
    const { place, stored } = { place: this.#place, stored: this.#stored }
    this.#state = 'over'
    if (place && stored) await this.#engine.destroy(place, 0, this.#visitor.budget)
    this.#stored = undefined
  }

  /** Go on with a session that is not stored yet. */
  #begin(session: Session, first: string | undefined): void {
    this.#stored = this.#saved = this.#place = undefined
    this.#first = first
    this.#meta = {}
    this.#settings = this.#firstSettings = session.cookie.settings
    this.#state = 'alive'
    this.#put(session)
  }

  #adopt(place: Place, stored: Stored, isUnsaved: boolean): void {
    const { cookie } = this.#session
    this.#place = place
    this.#stored = stored
    this.#meta = stored.meta
    this.#first = stored.data
    this.#saved = isUnsaved ? undefined : stored.data
    if (stored.meta.cookie) cookie.restore(stored.meta.cookie)
    cookie.renew(stored.touched || undefined)
    this.#settings = this.#firstSettings = cookie.settings
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
    const given = { ...session } as Data
    refill(this.#session, {})
    fill(this.#session, given)
    this.#put(this.#session)
    return this.#session
  }

  #isModified(session: Session): boolean {
    if (this.#first === undefined || session.cookie.settings !== this.#firstSettings) return true
    return (this.#last ?? this.#textOf(session)) !== this.#first
  }

  /** Is a session that the browser does not know yet to be stored, and the browser told of it? */
  #isWorthSaving(session: Session): boolean {
    return this.#options.saveUninitialized || this.#isModified(session)
  }

  #mustSave(session: Session, text: string): boolean {
    const isNew = session.id !== this.#sent && this.#saved === undefined
    if (isNew) return this.#isWorthSaving(session)
    return text !== this.#saved || session.cookie.settings !== this.#settings
  }

  #textOf(session: Session): string {
    return this.#engine.options.serializer.stringify(session)
  }

  #ttl({ cookie }: Session): number {
    return cookie.expires ? (cookie.maxAge ?? 0) : this.#engine.options.ttl
  }

  #where(session: Session): Place {
    return (this.#place ??= this.#engine.place(session.id, this.#options.tenant))
  }

  #newId(): string {
    const { genid } = this.#options
    return genid ? genid(this.#visitor.native as never) : this.#engine.idFor()
  }

  #newCookie(): SessionCookie {
    return new SessionCookie(this.#options.cookie, () => this.#engine.now())
  }
}
