/** Where sessions are stored: what turnpike's own records and connect-redis's values have in common. */
import type { RequestBudget } from '../../request-budget.ts'
import type { SessionValues } from './merge.ts'
import type { SessionMeta, StoredForm, StoredSession } from './record.ts'
import type { CookieData } from './session-cookie.ts'
import type { SessionKeys } from './session-id.ts'

/** A session that was read, and its data. */
export interface LoadedSession {
  /** The keys under which it is stored: another session's, if it was moved. */
  readonly keys: SessionKeys
  readonly stored: StoredSession
  readonly data: SessionValues
}

/** What is to be stored. */
export interface SessionWrite {
  readonly data: string
  readonly meta: SessionMeta
  /** The cookie as connect-redis stores it. */
  readonly cookie: CookieData | null
  /** Time to live in ms. */
  readonly ttl: number
}

/** What a request wants to store. */
export interface SessionChange {
  data: SessionValues
  /** `data`, serialized for `form`. */
  text: string
  form: StoredForm
  meta: SessionMeta
  cookie: CookieData | null
  /** ms */
  ttl: number
}

/** The session that a new one comes after. */
export interface Predecessor {
  /** The new session continues with the times of this one. */
  readonly continues?: StoredSession | undefined
  /** True if a session that continues another is an additional one of its user. @default false */
  readonly isAdditional?: boolean
  /** Digest of a session of the same user and tag that ends with the login. */
  readonly replaces?: string | undefined
}

/** The result of a save. */
export type SaveResult = { stored: StoredSession } | { conflict: StoredSession } | 'gone' | 'full'

/** The result of removing one version of a session. */
export type RemoveResult = 'removed' | 'gone' | { conflict: StoredSession }

export interface SessionStorage {
  readonly form: StoredForm
  /** @throws TP_SESSION_CORRUPT for a value that cannot be read */
  load(keys: SessionKeys, budget?: RequestBudget): Promise<StoredSession | undefined>
  create(
    keys: SessionKeys,
    write: SessionWrite,
    predecessor: Predecessor,
    budget?: RequestBudget,
  ): Promise<SaveResult>
  /** @param base the version that the update is based on */
  update(
    keys: SessionKeys,
    base: StoredSession,
    write: SessionWrite,
    budget?: RequestBudget,
  ): Promise<SaveResult>
  touch(keys: SessionKeys, ttl: number, budget?: RequestBudget): Promise<void>
  /** Ends a session, whatever its version. True if it existed. */
  destroy(keys: SessionKeys, budget?: RequestBudget): Promise<boolean>
  /** Removes a session if its version is still the one that was read. */
  remove(keys: SessionKeys, base: StoredSession, budget?: RequestBudget): Promise<RemoveResult>
}

/** Why a record cannot be read, if the mount's configuration is the reason. */
export type UnreadableReason = 'no-key' | 'wrong-key' | 'plaintext'

/** The cause of a corrupt session that another configuration could read. */
export class UnreadableRecord extends Error {
  override readonly name = 'UnreadableRecord'
  readonly reason: UnreadableReason

  constructor(reason: UnreadableReason, cause?: unknown) {
    super(REASONS[reason], { cause })
    this.reason = reason
  }
}

const REASONS: Record<UnreadableReason, string> = {
  'no-key': 'It is encrypted, and `encrypt` is not set.',
  'wrong-key': 'It cannot be decrypted with any key of `encrypt`.',
  plaintext: 'It is plaintext, and `encrypt` is set.',
}
