/** Stores each session as one record: see record.ts. */
import type { RequestBudget } from '../../request-budget.ts'
import type { Store } from '../../store/store.ts'
import { Cipher } from './cipher.ts'
import { destroySession } from './operations/destroy.ts'
import { loadSessions, valueType } from './operations/load.ts'
import { replaceSession } from './operations/replace.ts'
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
import { corruptError } from './session-errors.ts'
import type { SessionChanges } from './session-changes.ts'
import type { SessionKeys } from './session-id.ts'
import {
  type Predecessor,
  type RemoveResult,
  type SaveResult,
  UnreadableRecord,
  type SessionStorage,
  type SessionWrite,
} from './session-storage.ts'

/** How records are written. */
export interface RecordOptions {
  cipher: Cipher | undefined
  /**
   * What happens to plaintext while there is a cipher. `'refuse'`: it is not read. `'read'`: it is read,
   * and new sessions are encrypted. `'write'`: new sessions are plaintext.
   */
  plaintext: 'refuse' | 'read' | 'write'
  /** True if a session is written as a new one would be. False: in the form in which it was found. */
  rewrite: boolean
  /** Absolute lifetime of a session in ms, 0: unlimited. */
  absolute: number
  /** 0: unlimited. */
  maxPerUser: number
  onOverflow: 'evict-oldest' | 'deny'
}

/** What a replaced session leaves behind. */
export interface Replacement {
  readonly successor: SessionKeys
  /** True if a request with the old ID continues with the successor. */
  readonly follow: boolean
  /** Time to live of the record that is left, ms. */
  readonly life: number
}

export class RecordStorage implements SessionStorage {
  readonly form = 'turnpike'
  readonly #store: Store
  readonly #changes: SessionChanges
  readonly #options: RecordOptions
  /** True if new sessions are encrypted. */
  readonly #encrypts: boolean

  constructor(store: Store, changes: SessionChanges, options: RecordOptions) {
    this.#store = store
    this.#changes = changes
    this.#options = options
    this.#encrypts = options.cipher !== undefined && options.plaintext !== 'write'
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
      const { plaintext, isOutdated: hasOldKey } = isEncrypted
        ? this.#decrypt(payload, digest)
        : { plaintext: this.#accept(payload), isOutdated: false }
      const { meta, data } = unpack(plaintext)
      const form = 'turnpike'
      return { data, meta, version, created, endsAt, touched, form, isEncrypted, hasOldKey }
    } catch (error) {
      throw corruptError(error)
    }
  }

  /** Checks a key that holds no string. @throws TP_SESSION_CORRUPT if it holds a value of another type */
  async verify({ session }: SessionKeys, budget?: RequestBudget): Promise<void> {
    const type = await this.#store.run(valueType, [session], [], budget)
    if (type !== 'none' && type !== 'string') throw corruptError(new Error(`It is a ${type}.`))
  }

  /** True if a record is written otherwise than a new one would be, and that has to be changed. */
  needsRewrite({ isEncrypted, hasOldKey }: StoredSession): boolean {
    return hasOldKey || (this.#options.rewrite && isEncrypted !== this.#encrypts)
  }

  create(
    keys: SessionKeys,
    write: SessionWrite,
    predecessor: Predecessor,
    budget?: RequestBudget,
  ): Promise<SaveResult> {
    return this.#save(keys, '', write, this.#encrypts, predecessor, budget)
  }

  update(
    keys: SessionKeys,
    base: StoredSession,
    write: SessionWrite,
    budget?: RequestBudget,
  ): Promise<SaveResult> {
    const encrypts = this.#options.rewrite ? this.#encrypts : base.isEncrypted
    return this.#save(keys, base.version, write, encrypts, {}, budget)
  }

  async touch(
    { session, index, digest }: SessionKeys,
    ttl: number,
    budget?: RequestBudget,
  ): Promise<void> {
    const args = [Math.ceil(ttl), digest, this.#changes.channel]
    const life = await this.#store.run(touchSession, [session, index], args, budget)
    // The session has ended, and the message of that was lost.
    if (life === 0) this.#changes.drop(session)
  }

  async destroy({ session, index, digest }: SessionKeys, budget?: RequestBudget): Promise<boolean> {
    const args = [digest, this.#changes.channel]
    const count = await this.#changes.during(session, () =>
      this.#store.run(destroySession, [session, index], args, budget),
    )
    return count === 1
  }

  remove(keys: SessionKeys, base: StoredSession, budget?: RequestBudget): Promise<RemoveResult> {
    return this.#replace(keys, base, '', 0, budget)
  }

  /** Leaves a record that leads to the successor of a session, and can no longer be changed. */
  replace(
    keys: SessionKeys,
    base: StoredSession,
    { successor, follow, life }: Replacement,
    budget?: RequestBudget,
  ): Promise<RemoveResult> {
    const { user: _, ...meta } = base.meta
    const sealedId = successorCipher(keys).encrypt(successor.id, keys.digest)
    const replaced: SessionMeta = { ...meta, successor: { sealedId, follow } }
    const plaintext = pack(replaced, follow ? '{}' : base.data)
    const payload = base.isEncrypted ? this.#encrypt(plaintext, keys.digest) : plaintext
    return this.#replace(keys, base, payload, life, budget)
  }

  async #replace(
    { session, index, digest }: SessionKeys,
    base: StoredSession,
    payload: string,
    life: number,
    budget: RequestBudget | undefined,
  ): Promise<RemoveResult> {
    const kind = `${base.isEncrypted ? 'E' : 'J'}r`
    const args = [base.version, digest, kind, payload, Math.ceil(life), this.#changes.channel]
    const reply = await this.#changes.during(session, () =>
      this.#store.run(replaceSession, [session, index], args, budget),
    )
    if (reply[0] === 'conflict') return { conflict: this.parse(String(reply[1]), digest) }
    return reply[0] === 'replaced' ? 'removed' : 'gone'
  }

  async #save(
    { session, index, revokeBefore, digest }: SessionKeys,
    base: string,
    { data, meta, ttl }: SessionWrite,
    isEncrypted: boolean,
    { continues, isAdditional = false, replaces = '' }: Predecessor,
    budget: RequestBudget | undefined,
  ): Promise<SaveResult> {
    const { absolute, maxPerUser, onOverflow } = this.#options
    const plaintext = pack(meta, data)
    const kind = `${isEncrypted ? 'E' : 'J'}${meta.user === undefined ? '-' : 'u'}`
    const payload = isEncrypted ? this.#encrypt(plaintext, digest) : plaintext
    const overflow = onOverflow === 'deny' ? 'deny' : 'evict'
    // connect-redis's values do not say when a session began.
    const times = continues?.form === 'turnpike' ? formatTimes(continues) : ''
    const limit = continues && !isAdditional ? 0 : maxPerUser
    const args = [base, Math.ceil(ttl), absolute, kind, payload, digest, limit, overflow, times]
    args.push(replaces, this.#changes.channel)
    const reply = await this.#changes.during(session, () =>
      this.#store.run(saveSession, [session, index, revokeBefore], args, budget),
    )
    if (reply[0] === 'gone' || reply[0] === 'full') return reply[0]
    if (reply[0] === 'conflict') return { conflict: this.parse(String(reply[1]), digest) }
    const [, version, created, endsAt, touched] = reply as [string, string, number, number, number]
    const form = 'turnpike'
    const stored = { data, meta, version, created, endsAt, touched, form, isEncrypted } as const
    return { stored: { ...stored, hasOldKey: false } }
  }

  #encrypt(plaintext: string, digest: string): string {
    if (this.#options.cipher) return this.#options.cipher.encrypt(plaintext, digest)
    throw new Error('There is no key to encrypt with.')
  }

  /** @throws UnreadableRecord */
  #decrypt(payload: string, digest: string): ReturnType<Cipher['decrypt']> {
    const { cipher } = this.#options
    if (cipher === undefined) throw new UnreadableRecord('no-key')
    try {
      return cipher.decrypt(payload, digest)
    } catch (error) {
      throw new UnreadableRecord('wrong-key', error)
    }
  }

  /** Returns a payload in plaintext. @throws UnreadableRecord if only encrypted ones are accepted */
  #accept(payload: string): string {
    const { cipher, plaintext } = this.#options
    if (cipher !== undefined && plaintext === 'refuse') throw new UnreadableRecord('plaintext')
    return payload
  }
}

/** Returns the ID of a replaced session's successor. @throws Error if the record does not belong to the ID */
export const successorIdOf = (keys: SessionKeys, sealedId: string): string =>
  successorCipher(keys).decrypt(sealedId, keys.digest).plaintext

/** The ID of the old session is the key: a dump of the store does not reveal the new one. */
const successorCipher = ({ id }: SessionKeys): Cipher => new Cipher([id])

/** True if the session was revoked together with the other sessions of its user. */
export function isRevoked(
  { created, meta }: Pick<StoredSession, 'created' | 'meta'>,
  digest: string,
  revoked: string | null | undefined,
): boolean {
  if (!revoked || meta.user === undefined) return false
  const { at, exempt } = parseRevokeBefore(revoked)
  return created <= at && exempt !== digest
}
