/** Where sessions are stored: as turnpike's own records, or as connect-redis stores them. */
import { TurnpikeError } from '../../errors.ts'
import type { RequestBudget } from '../../request-budget.ts'
import type { Store } from '../../store/store.ts'
import type { Cipher } from './cipher.ts'
import { destroySession } from './operations/destroy.ts'
import { loadSessions, valueType } from './operations/load.ts'
import { saveSession } from './operations/save.ts'
import { touchSession } from './operations/touch.ts'
import { parseRevokeBefore } from './operations/user-index.ts'
import {
  formatTimes,
  HEADER_LENGTH,
  pack,
  parseHeader,
  unpack,
  type SessionMeta,
  type StoredSession,
} from './record.ts'
import type { CookieData } from './session-cookie.ts'
import type { SessionKeys } from './session-id.ts'

/** What is to be stored. */
export interface SessionWrite {
  readonly data: string
  readonly meta: SessionMeta
  /** The cookie as connect-redis stores it. */
  readonly cookie: CookieData
  /** Time to live in ms. */
  readonly ttl: number
}

/** The result of a save. */
export type SaveResult = { stored: StoredSession } | { conflict: StoredSession } | 'gone' | 'full'

export interface SessionStorage {
  /** @throws TP_SESSION_CORRUPT for a value that cannot be read */
  load(keys: SessionKeys, budget?: RequestBudget): Promise<StoredSession | undefined>
  /** @param replaced the session that continues under this ID */
  create(
    keys: SessionKeys,
    write: SessionWrite,
    replaced: StoredSession | undefined,
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
  /** @param grace ms for which requests in progress may still use the session */
  destroy(keys: SessionKeys, grace: number, budget?: RequestBudget): Promise<boolean>
}

/** How records are written. */
export interface RecordOptions {
  cipher: Cipher | undefined
  /** Absolute lifetime of a session in ms, 0: unlimited. */
  absolute: number
  /** 0: unlimited. */
  maxPerUser: number
  onOverflow: 'evict-oldest' | 'deny'
}

export const corruptError = (cause: unknown): TurnpikeError =>
  new TurnpikeError('TP_SESSION_CORRUPT', 'A stored session cannot be read.', { cause })

/** Stores each session as one record: see record.ts. */
export class RecordStorage implements SessionStorage {
  readonly #store: Store
  readonly #options: RecordOptions

  constructor(store: Store, options: RecordOptions) {
    this.#store = store
    this.#options = options
  }

  load(keys: SessionKeys, budget?: RequestBudget): Promise<StoredSession | undefined> {
    const { session, revokeBefore, digest } = keys
    return this.#store
      .run(loadSessions, [session, revokeBefore], [], budget)
      .then(([text, revoked]) => {
        if (typeof text !== 'string') return undefined
        const stored = this.parse(text, digest)
        return isRevoked(stored, digest, revoked) ? undefined : stored
      })
  }

  /** @throws TP_SESSION_CORRUPT */
  parse(text: string, digest: string): StoredSession {
    const header = parseHeader(text)
    if (!header) throw corruptError(new Error('It has no header.'))
    const { isEncrypted, version, created, endsAt, touched } = header
    try {
      const payload = text.slice(HEADER_LENGTH)
      const plaintext = isEncrypted ? this.#cipher.decrypt(payload, digest) : payload
      return { ...unpack(plaintext), version, created, endsAt, touched, form: 'turnpike' }
    } catch (error) {
      throw corruptError(error)
    }
  }

  /** Checks a key that holds no string. @throws TP_SESSION_CORRUPT if it holds a value of another type */
  async verify(keys: SessionKeys, budget?: RequestBudget): Promise<void> {
    const type = await this.#store.run(valueType, [keys.session], [], budget)
    if (type !== 'none' && type !== 'string') throw corruptError(new Error(`It is a ${type}.`))
  }

  create(
    keys: SessionKeys,
    write: SessionWrite,
    replaced: StoredSession | undefined,
    budget?: RequestBudget,
  ): Promise<SaveResult> {
    // connect-redis's values do not say when a session began.
    const times = replaced?.form === 'turnpike' ? formatTimes(replaced) : undefined
    return this.#save(keys, '', write, times, budget)
  }

  update(
    keys: SessionKeys,
    base: StoredSession,
    write: SessionWrite,
    budget?: RequestBudget,
  ): Promise<SaveResult> {
    return this.#save(keys, base.version, write, undefined, budget)
  }

  async touch(
    { session, index, digest }: SessionKeys,
    ttl: number,
    budget?: RequestBudget,
  ): Promise<void> {
    await this.#store.run(touchSession, [session, index], [Math.ceil(ttl), digest], budget)
  }

  async destroy(
    { session, index, digest }: SessionKeys,
    grace: number,
    budget?: RequestBudget,
  ): Promise<boolean> {
    return (await this.#store.run(destroySession, [session, index], [digest, grace], budget)) === 1
  }

  /** @param times of the session that continues under this ID */
  async #save(
    { session, index, revokeBefore, digest }: SessionKeys,
    base: string,
    { data, meta, ttl }: SessionWrite,
    times: string | undefined,
    budget: RequestBudget | undefined,
  ): Promise<SaveResult> {
    const { cipher, absolute, maxPerUser, onOverflow } = this.#options
    const plaintext = pack(meta, data)
    const kind = `${cipher ? 'E' : 'J'}${meta.user === undefined ? '-' : 'u'}`
    const payload = cipher ? cipher.encrypt(plaintext, digest) : plaintext
    const overflow = onOverflow === 'deny' ? 'deny' : 'evict'
    // A session that continues under another ID is not an additional one.
    const limit = times === undefined ? maxPerUser : 0
    const reply = await this.#store.run(
      saveSession,
      [session, index, revokeBefore],
      [base, Math.ceil(ttl), absolute, kind, payload, digest, limit, overflow, times ?? ''],
      budget,
    )
    if (reply[0] === 'gone' || reply[0] === 'full') return reply[0]
    if (reply[0] === 'conflict') return { conflict: this.parse(String(reply[1]), digest) }
    const [, version, created, endsAt, touched] = reply as [string, string, number, number, number]
    return { stored: { data, meta, version, created, endsAt, touched, form: 'turnpike' } }
  }

  get #cipher(): Cipher {
    if (this.#options.cipher) return this.#options.cipher
    throw new Error('It is encrypted, and there is no key.')
  }
}

/** True if the session was revoked together with the other sessions of its user. */
export function isRevoked(
  { created, meta }: StoredSession,
  digest: string,
  revoked: string | null | undefined,
): boolean {
  if (!revoked || meta.user === undefined) return false
  const { at, exempt } = parseRevokeBefore(revoked)
  return created <= at && exempt !== digest
}
