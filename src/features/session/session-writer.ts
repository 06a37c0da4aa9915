/** Stores the session of one request. */
import type { RequestBudget } from '../../request-budget.ts'
import { ChangeTracker } from './change-tracker.ts'
import type { SessionChange, SessionEngine } from './engine.ts'
import type { SessionValues } from './merge.ts'
import type { SessionMeta } from './record.ts'
import { SessionCookie, type ResolvedCookieSettings } from './session-cookie.ts'
import type { SessionKeys } from './session-id.ts'
import { Session, valuesOf } from './session.ts'

/** What a session needs to know about its request. */
export interface SessionClient {
  readonly native: object
  readonly ip: string
  /** How long the request may wait on its way in and out. What the application awaits itself is not counted. */
  readonly budget: RequestBudget
  header(name: string): string | undefined
}

/** How the session of one request is treated. */
export interface RequestSessionOptions {
  /** True if the session has koa-session's members too. */
  isKoa: boolean
  rolling: boolean
  resave: boolean
  saveUninitialized: boolean
  unset: 'keep' | 'destroy'
  /** Milliseconds for which the ID from before a login remains valid. */
  grace: number
  genid: ((native: never) => string) | undefined
  tenant: string | undefined
  /** The settings of this request's cookie. */
  cookie: ResolvedCookieSettings
  /** Receives the reason why the session could not be stored, before the request fails. */
  onFailure(error: unknown): void
}

const MAX_AGENT_LENGTH = 200
/** How long the old ID remains valid after the session moved. The response with the new one may be lost. */
const MOVED_MS = 60_000

export class SessionWriter {
  readonly tracker: ChangeTracker = new ChangeTracker()
  readonly #engine: SessionEngine
  readonly #client: SessionClient
  readonly #options: RequestSessionOptions

  constructor(engine: SessionEngine, client: SessionClient, options: RequestSessionOptions) {
    this.#engine = engine
    this.#client = client
    this.#options = options
  }

  keysOf(session: Session): SessionKeys {
    return (this.tracker.keys ??= this.#keysOfId(session.id))
  }

  createId(): string {
    const { genid } = this.#options
    return genid ? genid(this.#client.native as never) : this.#engine.createId()
  }

  createCookie(): SessionCookie {
    return new SessionCookie(this.#options.cookie, this.#engine.now)
  }

  serialize(values: object): string {
    return this.#engine.options.serializer.serialize(values)
  }

  /** Returns the session's time to live in ms. */
  ttl({ cookie }: Session): number {
    return cookie.expires ? cookie.maxAge || 0 : this.#engine.options.ttl
  }

  /** Stores the session. False if it no longer exists. */
  async store(session: Session, text: string, budget?: RequestBudget): Promise<boolean> {
    const keys = this.keysOf(session)
    if (this.ttl(session) <= 0) {
      await this.destroy(budget)
      return false
    }
    const { stored, meta } = this.tracker
    const change = this.#change(session, valuesOf(session), text, meta)
    const { settings } = session.cookie
    if (stored === undefined) {
      const created = await this.#engine.create(keys, change, undefined, budget)
      if (created) this.tracker.saved(created, change.meta, settings)
      return created !== undefined
    }
    const updated = await this.#engine.update(keys, stored, change, budget)
    if (!updated) return false
    this.tracker.saved(updated.stored, change.meta, settings)
    // Take over what another request has changed. Otherwise the next save would undo it.
    if (updated.stored.data !== text) Session.restore(session, updated.data)
    return true
  }

  /** Renews the time to live in the background, if it is due. */
  touch(session: Session): void {
    const { stored } = this.tracker
    if (stored) this.#engine.touch(this.keysOf(session), stored, this.ttl(session))
  }

  /** Removes the session from the store. */
  async destroy(budget?: RequestBudget): Promise<void> {
    const { keys, stored } = this.tracker
    if (keys && stored) await this.#engine.destroy(keys, 0, budget)
    this.tracker.forget()
  }

  /** Makes the session a user's, under a new ID with the user's tag. */
  async login(session: Session, user: string | number, data: object): Promise<void> {
    const { ip } = this.#client
    const agent = this.#client.header('user-agent')?.slice(0, MAX_AGENT_LENGTH)
    const { keys: oldKeys, stored: before, meta } = this.tracker
    const values: SessionValues = { ...valuesOf(session), userId: user, ...data }
    Session.checkNames(session, values)
    const owner: SessionMeta = { user: String(user), ip, ...(agent !== undefined && { agent }) }
    const keys = this.#keysOfId(this.#engine.createId(String(user)))
    const change = this.#change(session, values, this.serialize(values), owner)
    const stored = await this.#engine.create(keys, change)
    if (!stored) throw this.#engine.goneError()
    if (before && oldKeys) {
      const isAnonymous = meta.user === undefined
      const destroyed = this.#engine.destroy(oldKeys, isAnonymous ? this.#options.grace : 0)
      // An anonymous session may live on for a moment. A user's session must be gone before the login is reported.
      if (isAnonymous) this.#engine.runInBackground(destroyed)
      else await destroyed
    }
    Session.rename(session, keys.id)
    Session.assign(session, values)
    this.tracker.adopt(keys, stored, session.cookie.settings, { isModified: true })
  }

  /** Stores the session under a new ID, with its data, its user and its times. */
  async renewId(session: Session): Promise<void> {
    const { keys: oldKeys, stored: before, meta } = this.tracker
    const id = meta.user === undefined ? this.createId() : this.#engine.createId(meta.user)
    const keys = this.#keysOfId(id)
    const change = this.#change(session, valuesOf(session), this.serialize(session), meta)
    const stored = await this.#engine.create(keys, change, before)
    if (!stored) throw this.#engine.goneError()
    if (before && oldKeys) await this.#engine.destroy(oldKeys)
    Session.rename(session, keys.id)
    this.tracker.adopt(keys, stored, session.cookie.settings, { isModified: true })
  }

  /**
   * Moves a user's session to an ID with the user's current tag. Otherwise `tp.sessions` could not
   * find it once the secret that created the old tag is gone.
   */
  async renewTag(session: Session): Promise<void> {
    const { keys: oldKeys, stored: before } = this.tracker
    const user = before?.meta.user
    if (!oldKeys || !before || user === undefined) return
    const keys = this.#keysOfId(this.#engine.createId(user))
    if (keys.tag === oldKeys.tag) return
    const change = this.#change(session, valuesOf(session), before.data, before.meta)
    const stored = await this.#engine.create(keys, change, before, this.#client.budget)
    if (!stored) return
    this.#engine.runInBackground(this.#engine.destroy(oldKeys, MOVED_MS))
    Session.rename(session, keys.id)
    this.tracker.adopt(keys, stored, session.cookie.settings, { isModified: true })
  }

  #keysOfId(id: string): SessionKeys {
    return this.#engine.keysOf(id, this.#options.tenant)
  }

  #change(session: Session, values: SessionValues, text: string, meta: SessionMeta): SessionChange {
    const { cookie } = session
    const { cookie: _, ...owner } = meta
    const isOwn = cookie.settings !== this.createCookie().settings
    return {
      data: values,
      text,
      meta: isOwn ? { ...owner, cookie: cookie.data } : owner,
      cookie: cookie.data,
      ttl: this.ttl(session),
    }
  }
}
