/** Stores the session of one request. */
import { serializeCookie } from '../../http/cookies.ts'
import type { RequestBudget } from '../../request-budget.ts'
import { ChangeTracker } from './change-tracker.ts'
import type { SessionEngine } from './engine.ts'
import type { SessionValues } from './merge.ts'
import type { SessionMeta } from './record.ts'
import { reportRevokedSession } from './revocation.ts'
import { generatedId, loggedInUser } from './session-callbacks.ts'
import { SessionCookie, type ResolvedCookieSettings } from './session-cookie.ts'
import { goneError } from './session-errors.ts'
import type { SessionKeys } from './session-id.ts'
import { moveSession, retireSession, type SessionMove } from './session-move.ts'
import type { LoadedSession, SessionChange } from './session-storage.ts'
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
  /** Returns the user that the application has logged in. */
  user: ((native: never) => unknown) | undefined
  tenant: string | undefined
  /** The settings of this request's cookie. */
  cookie: ResolvedCookieSettings
  /** Receives the reason why the session could not be stored, before the request fails. */
  onFailure(error: unknown): void
}

const MAX_AGENT_LENGTH = 200
/** How long an old ID leads to a session that has moved. The response with the new ID may be lost. */
const FOLLOW_MS = 60_000

export class SessionWriter {
  readonly tracker: ChangeTracker = new ChangeTracker()
  readonly #engine: SessionEngine
  readonly #client: SessionClient
  readonly #options: RequestSessionOptions
  #mountCookie: SessionCookie['attributes'] | undefined

  constructor(engine: SessionEngine, client: SessionClient, options: RequestSessionOptions) {
    this.#engine = engine
    this.#client = client
    this.#options = options
  }

  keysOf(session: Session): SessionKeys {
    return (this.tracker.keys ??= this.keysOfId(session.id))
  }

  keysOfId(id: string): SessionKeys {
    return this.#engine.keysOf(id, this.#options.tenant)
  }

  createId(): string {
    const { genid } = this.#options
    return genid ? generatedId(genid, this.#client.native) : this.#engine.createId()
  }

  /** Creates a cookie with the settings of the mount. */
  createCookie(): SessionCookie {
    const cookie = new SessionCookie(this.#options.cookie, this.#engine.now)
    // The first one counts: an `expires` of the mount makes the lifetime of each one shorter.
    this.#mountCookie ??= cookie.attributes
    return cookie
  }

  /** Checks a cookie that the application has changed, before the head is due. @throws TypeError */
  assertSendable({ cookie }: Session): void {
    const { path, domain, sameSite, priority } = this.#options.cookie
    const isPlace = cookie.path === path && cookie.domain === domain
    const isOurs = isPlace && cookie.sameSite === sameSite && cookie.priority === priority
    if (!isOurs) serializeCookie('sid', '', cookie.data)
  }

  /** Serializes the data of the session as it is stored. */
  serialize(session: object): string {
    return this.#engine.serialize(valuesOf(session), this.tracker.stored?.form)
  }

  /** Returns the session's time to live in ms. */
  ttl({ cookie }: Session): number {
    return cookie.expires ? cookie.maxAge || 0 : this.#engine.options.ttl
  }

  /** True if the request has changed the session. @param text its serialized data, if known */
  isModified(session: Session, text?: string): boolean {
    return this.tracker.isModified(() => text ?? this.serialize(session), session.cookie)
  }

  /** True if a session that the client does not know yet has to be stored, and its ID sent. */
  isWorthSaving(session: Session, text?: string): boolean {
    return this.#options.saveUninitialized || this.isModified(session, text)
  }

  /**
   * True if the session has to be stored. A renewal of its time to live is enough otherwise.
   * @param isEnding true on the way out
   * @param isHeadSent true if the client can no longer learn a new ID
   */
  mustStore(session: Session, text: string, isEnding: boolean, isHeadSent: boolean): boolean {
    const { stored } = this.tracker
    if (!stored) return !isHeadSent && this.isWorthSaving(session, text)
    return (
      this.tracker.isUnsaved(text, session.cookie) ||
      this.#engine.storage.needsRewrite(stored) ||
      (!isHeadSent && this.userToBind(isEnding) !== undefined)
    )
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
    const { attributes } = session.cookie
    if (stored === undefined) {
      const created = await this.#engine.create(keys, change, {}, budget)
      if (created) this.tracker.saved(created, change.meta, attributes)
      return created !== undefined
    }
    const updated = await this.#engine.update(keys, stored, change, budget)
    if (!updated) return false
    this.tracker.saved(updated.stored, change.meta, attributes)
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
    if (keys && stored) await this.#engine.destroy(keys, budget)
    this.tracker.forget()
    if (keys && stored) reportRevokedSession(this.#engine.context, keys)
  }

  /**
   * Makes the session a user's, under a new ID with the user's tag. Its data stays, unless it is the
   * data of a different user.
   */
  async login(session: Session, user: string | number, data: object): Promise<void> {
    const { keys: oldKeys, stored: before, meta } = this.tracker
    const owner = String(user)
    const current = valuesOf(session)
    const previous = meta.user ?? (current['userId'] as string | number | null | undefined)
    const isOther = previous !== undefined && previous !== null && `${previous}` !== owner
    const values: SessionValues = { ...(isOther ? {} : current), userId: user, ...data }
    Session.checkNames(session, values)
    const keys = this.keysOfId(this.#engine.createId(owner))
    const change = this.#change(session, values, this.serialize(values), this.#metaOf(owner))
    // The user's own session makes room for the new one in the same step. It must not count beside it.
    const replaces = meta.user === owner && oldKeys?.tag === keys.tag ? oldKeys.digest : undefined
    const stored = await this.#engine.create(keys, change, { replaces })
    if (!stored) throw goneError()
    if (before && oldKeys && replaces === undefined) {
      const isAnonymous = previous === undefined || previous === null
      const { grace } = this.#options
      const retired = retireSession(this.#engine, oldKeys, before, keys, isAnonymous ? grace : 0)
      // An anonymous session may live on for a moment. A user's session must be gone before the login is reported.
      if (isAnonymous) this.#engine.runInBackground(retired)
      else await retired
    }
    this.#adopt(session, { keys, stored, data: values })
    Session.assign(session, values)
  }

  /**
   * Returns the user whom the application has logged in itself, if the session is not that user's yet.
   * connect-redis's values have no room for a user. A stored session is bound only on the way out.
   * @throws TP_VALUE if the option `user` returned no ID
   */
  userToBind(isEnding: boolean): string | undefined {
    const { user } = this.#options
    const { stored, meta } = this.tracker
    const form = stored?.form ?? this.#engine.storage.form
    if (user === undefined || form !== 'turnpike' || meta.successor) return undefined
    if (stored && !isEnding) return undefined
    const id = loggedInUser(user, this.#client.native)
    return id === meta.user ? undefined : id
  }

  /**
   * Makes the session that of the user whom the application has logged in itself.
   * @param isLogin true if the request has changed the session, so that the login may be in this request
   * @returns false if the session no longer exists
   */
  async bind(
    session: Session,
    text: string,
    owner: string,
    isLogin: boolean,
    budget?: RequestBudget,
  ): Promise<boolean> {
    const { keys: from, stored } = this.tracker
    const to = this.keysOfId(this.#engine.createId(owner))
    const change = this.#change(session, valuesOf(session), text, this.#metaOf(owner))
    if (!stored || !from) {
      const created = await this.#engine.create(to, change, {}, budget)
      if (created) this.#adopt(session, { keys: to, stored: created, data: change.data })
      return created !== undefined
    }
    // Who knew the ID before a login must not get the session of the user (session fixation).
    const follow = isLogin ? 0 : FOLLOW_MS
    const isAdditional = isLogin || this.#engine.options.onOverflow === 'evict-oldest'
    return await this.#move(session, { from, stored, to, change, follow, isAdditional }, budget)
  }

  /** Stores the session under a new ID, with its data, its user and its times. */
  async renewId(session: Session): Promise<void> {
    const { keys: from, stored, meta } = this.tracker
    const id = meta.user === undefined ? this.createId() : this.#engine.createId(meta.user)
    const to = this.keysOfId(id)
    const change = this.#change(session, valuesOf(session), this.serialize(session), meta)
    if (stored && from) {
      const move = { from, stored, to, change, follow: 0, isAdditional: false }
      if (!(await this.#move(session, move))) throw goneError()
      return
    }
    const created = await this.#engine.create(to, change)
    if (!created) throw goneError()
    this.#adopt(session, { keys: to, stored: created, data: change.data })
  }

  /**
   * Moves a user's session to an ID with the user's current tag. Otherwise `tp.sessions` could not
   * find it once the secret that created the old tag is gone.
   */
  async renewTag(session: Session): Promise<void> {
    const { keys: from, stored } = this.tracker
    const user = stored?.meta.user
    if (!from || !stored || user === undefined) return
    const to = this.keysOfId(this.#engine.createId(user))
    if (to.tag === from.tag) return
    const change = this.#change(session, valuesOf(session), stored.data, stored.meta)
    const move = { from, stored, to, change, follow: FOLLOW_MS, isAdditional: false }
    await this.#move(session, move, this.#client.budget)
  }

  /** Moves the session. False if it no longer exists. */
  async #move(session: Session, move: SessionMove, budget?: RequestBudget): Promise<boolean> {
    const moved = await moveSession(this.#engine, move, budget)
    if (!moved) return false
    if (moved.stored.data !== move.change.text) Session.restore(session, moved.data)
    this.#adopt(session, moved)
    return true
  }

  /** Continues with a session under an ID that the client does not know yet. */
  #adopt(session: Session, { keys, stored }: LoadedSession): void {
    Session.rename(session, keys.id)
    this.tracker.adopt(keys, stored, session.cookie, { isModified: true })
  }

  #metaOf(user: string): SessionMeta {
    const { ip } = this.#client
    const agent = this.#client.header('user-agent')?.slice(0, MAX_AGENT_LENGTH)
    return { user, ip, ...(agent !== undefined && { agent }) }
  }

  #change(session: Session, values: SessionValues, text: string, meta: SessionMeta): SessionChange {
    const { cookie } = session
    const { cookie: _cookie, successor: _successor, ...owner } = meta
    const isOwn = !cookie.isAsBefore(this.#mountCookie ?? this.createCookie().attributes)
    return {
      data: values,
      text,
      form: this.tracker.stored?.form ?? this.#engine.storage.form,
      meta: isOwn ? { ...owner, cookie: cookie.data } : owner,
      cookie: cookie.data,
      ttl: this.ttl(session),
    }
  }
}
