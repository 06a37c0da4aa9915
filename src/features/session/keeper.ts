/** Stores one request's session, and knows how it is stored. */
import type { RequestBudget } from '../../request-budget.ts'
import { SessionCookie, type CookieSettings } from './cookie.ts'
import type { Change, SessionEngine } from './engine.ts'
import type { Place } from './id.ts'
import { Ledger } from './ledger.ts'
import type { Data } from './merge.ts'
import type { Meta } from './record.ts'
import { refill, Session } from './session.ts'

/** What a session needs to know of its request. */
export interface Visitor {
  readonly native: object
  readonly ip: string
  readonly budget: RequestBudget
  header(name: string): string | undefined
}

export interface VisitOptions {
  rolling: boolean
  resave: boolean
  saveUninitialized: boolean
  unset: 'keep' | 'destroy'
  /** Milliseconds for which the id from before a login still works. */
  grace: number
  genid: ((native: never) => string) | undefined
  tenant: string | undefined
  /** The settings of this request's cookies. */
  cookie: CookieSettings
  /** Hears why the session could not be stored, before the request fails of it. */
  failed(error: unknown): void
}

const LONGEST_AGENT = 200
/** For how long the old id still works, should the answer with the new one be lost. */
const REHOMING = 60_000

export class Keeper {
  readonly ledger: Ledger = new Ledger()
  readonly #engine: SessionEngine
  readonly #visitor: Visitor
  readonly #options: VisitOptions

  constructor(engine: SessionEngine, visitor: Visitor, options: VisitOptions) {
    this.#engine = engine
    this.#visitor = visitor
    this.#options = options
  }

  get budget(): RequestBudget {
    return this.#visitor.budget
  }

  place(session: Session): Place {
    return (this.ledger.place ??= this.#placeOf(session.id))
  }

  newId(): string {
    const { genid } = this.#options
    return genid ? genid(this.#visitor.native as never) : this.#engine.idFor()
  }

  newCookie(): SessionCookie {
    return new SessionCookie(this.#options.cookie, this.#engine.now)
  }

  text(data: object): string {
    return this.#engine.options.serializer.serialize(data)
  }

  /** Milliseconds that the session is to live. */
  ttl({ cookie }: Session): number {
    return cookie.expires ? (cookie.maxAge ?? 0) : this.#engine.options.ttl
  }

  /** Store a session. False if it is not there any more. */
  async store(session: Session, text: string): Promise<boolean> {
    const place = this.place(session)
    if (this.ttl(session) <= 0) {
      await this.end()
      return false
    }
    const { stored, meta } = this.ledger
    const change = this.#change(session, dataOf(session), text, meta)
    const { settings } = session.cookie
    if (stored === undefined) {
      const created = await this.#engine.create(place, change, undefined, this.budget)
      if (created) this.ledger.keep(created, change.meta, settings)
      return created !== undefined
    }
    const updated = await this.#engine.update(place, stored, change, this.budget)
    if (!updated) return false
    this.ledger.keep(updated.stored, change.meta, settings)
    // The other request's changes are this one's from here on, or its next save would undo them.
    if (updated.stored.data !== text) refill(session, updated.data)
    return true
  }

  /** Renew the time to live, if it is time; nobody waits for it. */
  touch(session: Session): void {
    const { stored } = this.ledger
    if (stored) this.#engine.touch(this.place(session), stored, this.ttl(session))
  }

  /** Remove it from the store. */
  async end(): Promise<void> {
    const { place, stored } = this.ledger
    if (place && stored) await this.#engine.destroy(place, 0, this.budget)
    this.ledger.stored = undefined
  }

  /** The session becomes a user's, under a new id that tells whose it is. */
  async bind(session: Session, user: string | number, data: object): Promise<void> {
    const { ip } = this.#visitor
    const agent = this.#visitor.header('user-agent')?.slice(0, LONGEST_AGENT)
    const { place: old, stored: before, meta } = this.ledger
    const wanted: Data = { ...dataOf(session), userId: user, ...data }
    const who: Meta = { user: String(user), ip, ...(agent !== undefined && { agent }) }
    const place = this.#placeOf(this.#engine.idFor(String(user)))
    const change = this.#change(session, wanted, this.text(wanted), who)
    const stored = await this.#engine.create(place, change, undefined, this.budget)
    if (!stored) throw this.#engine.gone()
    if (before && old) {
      const isNobodys = meta.user === undefined
      const retired = this.#engine.destroy(old, isNobodys ? this.#options.grace : 0, this.budget)
      // What is left of nobody's session for a moment is nobody's; a user's must be gone.
      if (isNobodys) this.#engine.inBackground(retired)
      else await retired
    }
    Session.rename(session, place.id)
    refill(session, wanted)
    this.ledger.adopt(place, stored, session.cookie.settings, { isModified: true })
  }

  /**
   * A user's session goes on under an id with the user's tag of today: once the secret that made the
   * old tag is gone, nobody could find it in the user's list by the old one.
   */
  async rehome(session: Session): Promise<void> {
    const { place: old, stored: before } = this.ledger
    const user = before?.meta.user
    if (!old || !before || user === undefined) return
    const place = this.#placeOf(this.#engine.idFor(user))
    if (place.tag === old.tag) return
    const change = this.#change(session, dataOf(session), before.data, before.meta)
    const stored = await this.#engine.create(place, change, before, this.budget)
    if (!stored) return
    this.#engine.inBackground(this.#engine.destroy(old, REHOMING))
    Session.rename(session, place.id)
    this.ledger.adopt(place, stored, session.cookie.settings, { isModified: true })
  }

  #placeOf(id: string): Place {
    return this.#engine.place(id, this.#options.tenant)
  }

  #change(session: Session, data: Data, text: string, meta: Meta): Change {
    const { cookie } = session
    const { cookie: _, ...who } = meta
    const isOwn = cookie.settings !== this.newCookie().settings
    const kept = isOwn ? { ...who, cookie: cookie.data } : who
    return { data, text, meta: kept, cookie: cookie.data, ttl: this.ttl(session) }
  }
}

/** The data of a session, or of whatever stands in its place. */
export const dataOf = (session: object): Data => Object.fromEntries(Object.entries(session))
