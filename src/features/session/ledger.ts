/** What is known of a session's storage: how it was at first, and how it is stored. */
import type { Place } from './id.ts'
import type { Meta, Stored } from './record.ts'

export class Ledger {
  place: Place | undefined
  stored: Stored | undefined
  meta: Meta = {}
  /** The data at first; undefined: it counts as modified whatever it is. */
  #first: string | undefined
  /** The data as it is stored; undefined: it is to be stored whatever it is. */
  #saved: string | undefined
  /** The cookie's settings, likewise. */
  #firstSettings = ''
  #savedSettings = ''

  /** A session that is not stored yet. */
  begin(first: string | undefined, settings: string): void {
    this.place = this.stored = this.#saved = undefined
    this.meta = {}
    this.#first = first
    this.#firstSettings = this.#savedSettings = settings
  }

  /** A session that was read, or has just got its id. */
  adopt(
    place: Place,
    stored: Stored,
    settings: string,
    how: { isUnsaved?: boolean; isModified?: boolean } = {},
  ): void {
    const { isUnsaved = false, isModified = false } = how
    this.place = place
    this.stored = stored
    this.meta = stored.meta
    this.#first = isModified ? undefined : stored.data
    this.#saved = isUnsaved ? undefined : stored.data
    this.#firstSettings = this.#savedSettings = settings
  }

  /** It was stored. */
  keep(stored: Stored, meta: Meta, settings: string): void {
    this.stored = stored
    this.meta = meta
    this.#saved = stored.data
    this.#savedSettings = settings
  }

  /** Has this request stored it, or found it stored? */
  get isStored(): boolean {
    return this.#saved !== undefined
  }

  /** Is it other than it was at first? @param text called only if the rest does not tell */
  isModified(text: () => string, settings: string): boolean {
    return this.#first === undefined || settings !== this.#firstSettings || text() !== this.#first
  }

  /** Is it other than it is stored? */
  isUnsaved(text: string, settings: string): boolean {
    return text !== this.#saved || settings !== this.#savedSettings
  }
}
