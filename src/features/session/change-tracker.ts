/** Knows how a session was when the request began, and how it is stored now. */
import type { SessionMeta, StoredSession } from './record.ts'
import type { SessionCookieAttributes, SessionCookie } from './session-cookie.ts'
import type { SessionKeys } from './session-id.ts'

export class ChangeTracker {
  keys: SessionKeys | undefined
  stored: StoredSession | undefined
  meta: SessionMeta = {}
  /** The data at first. Undefined: the session counts as modified, whatever it holds. */
  #initial: string | undefined
  /** The data as it is stored. Undefined: it must be stored, whatever it is. */
  #saved: string | undefined
  #initialCookie: SessionCookieAttributes | undefined
  #savedCookie: SessionCookieAttributes | undefined

  /** Begins with a session that is not stored yet. */
  begin(initial: string | undefined, { attributes }: SessionCookie): void {
    this.keys = this.stored = this.#saved = undefined
    this.meta = {}
    this.#initial = initial
    this.#initialCookie = this.#savedCookie = attributes
  }

  /** Begins with a session that was loaded, or was just stored under its ID. */
  adopt(
    keys: SessionKeys,
    stored: StoredSession,
    { attributes }: SessionCookie,
    state: { isUnsaved?: boolean; isModified?: boolean } = {},
  ): void {
    const { isUnsaved = false, isModified = false } = state
    this.keys = keys
    this.stored = stored
    this.meta = stored.meta
    this.#initial = isModified ? undefined : stored.data
    this.#saved = isUnsaved ? undefined : stored.data
    this.#initialCookie = this.#savedCookie = attributes
  }

  /** Records that the session was destroyed. */
  forget(): void {
    this.stored = undefined
    this.meta = {}
  }

  /** Records that the session was stored. */
  saved(stored: StoredSession, meta: SessionMeta, attributes: SessionCookieAttributes): void {
    this.stored = stored
    this.meta = meta
    this.#saved = stored.data
    this.#savedCookie = attributes
  }

  /** True if this request has stored the session, or found it stored. */
  get isStored(): boolean {
    return this.#saved !== undefined
  }

  /** True if the session differs from how it was at first. @param text called only if it decides */
  isModified(text: () => string, cookie: SessionCookie): boolean {
    return (
      this.#initial === undefined ||
      !cookie.isAsBefore(this.#initialCookie) ||
      text() !== this.#initial
    )
  }

  /** True if the session differs from how it is stored. */
  isUnsaved(text: string, cookie: SessionCookie): boolean {
    return text !== this.#saved || !cookie.isAsBefore(this.#savedCookie)
  }
}
