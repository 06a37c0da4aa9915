/** Session IDs: how they are created, signed and verified, and the keys that they lead to. */
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { KeySpace } from '../../store/keys.ts'

export type Secret = string | Buffer

/** The keys of one session. */
export interface SessionKeys {
  readonly id: string
  /** First part of the keys' hash tag. The session, its user's index and revoke-before share a slot. */
  readonly tag: string
  /** Truncated SHA-256 of the ID: end of the session's key, and its member in the index. */
  readonly digest: string
  readonly session: string
  readonly index: string
  readonly revokeBefore: string
}

const TAG_LENGTH = 8
/** 22 characters of base64url are 132 bits of SHA-256. */
export const DIGEST_LENGTH = 22
const OWN_ID = /^[\w-]{32,64}$/

const sha256 = (text: string): string => createHash('sha256').update(text).digest('base64url')

const randomTag = (): string => randomBytes(6).toString('base64url')

/**
 * Returns the tag of a user's sessions: all that are created with this secret have it. Without the
 * secret a tag does not tell whose it is.
 */
export const userTag = (user: string, secret: Secret): string =>
  createHmac('sha256', secret)
    .update(`turnpike user ${user}`)
    .digest('base64url')
    .slice(0, TAG_LENGTH)

/** Creates an ID: 8 characters of tag and 192 random bits. */
export const createSessionId = (tag: string = randomTag()): string =>
  tag + randomBytes(24).toString('base64url')

/** Returns the keys of the session with this ID. */
export function keysOfId(keys: KeySpace, id: string, tenant?: string): SessionKeys {
  const digest = sha256(id)
  const tag = OWN_ID.test(id) ? id.slice(0, TAG_LENGTH) : digest.slice(-TAG_LENGTH)
  return keysAt(keys, tag, digest.slice(0, DIGEST_LENGTH), id, tenant)
}

/** Returns the keys of the session with this handle. Undefined if it is no handle. */
export function keysOfHandle(
  keys: KeySpace,
  handle: string,
  tenant?: string,
): SessionKeys | undefined {
  const parts = /^([\w-]{8})\.([\w-]{22})$/.exec(handle)
  return parts ? keysAt(keys, parts[1]!, parts[2]!, '', tenant) : undefined
}

export function keysAt(
  keys: KeySpace,
  tag: string,
  digest: string,
  id: string,
  tenant: string | undefined,
): SessionKeys {
  const hashTag = keys.tag(tag, tenant)
  return {
    id,
    tag,
    digest,
    session: keys.key('session', hashTag, digest),
    index: keys.key('sessions', hashTag),
    revokeBefore: keys.key('session-revoke-before', hashTag),
  }
}

/** Returns what `tp.sessions` and events call a session. It identifies the session, but is no credential. */
export const handleOf = ({ tag, digest }: SessionKeys): string => `${tag}.${digest}`

const signatureOf = (id: string, secret: Secret): string =>
  createHmac('sha256', secret).update(id).digest('base64').replace(/=+$/, '')

/** Signs an ID as express-session does: `s:<id>.<HMAC-SHA-256>`. */
export const signSessionId = (id: string, secret: Secret): string =>
  `s:${id}.${signatureOf(id, secret)}`

/** Returns the ID of a signed value and the index of the secret that signed it. Undefined if none did. */
export function verifySessionId(
  value: string,
  secrets: readonly Secret[],
): { id: string; secret: number } | undefined {
  const dot = value.lastIndexOf('.')
  if (!value.startsWith('s:') || dot < 3) return undefined
  const id = value.slice(2, dot)
  const given = Buffer.from(value.slice(dot + 1))
  const secret = secrets.findIndex((each) => {
    const expected = Buffer.from(signatureOf(id, each))
    return expected.length === given.length && timingSafeEqual(expected, given)
  })
  return secret < 0 ? undefined : { id, secret }
}

/** A map of the `size` to `2 * size` most recently used values. */
export class RecentlyUsed<Value> {
  readonly #size: number
  #recent = new Map<string, Value>()
  #older = new Map<string, Value>()

  constructor(size: number) {
    this.#size = size
  }

  get(key: string): Value | undefined {
    const recent = this.#recent.get(key)
    if (recent !== undefined) return recent
    const older = this.#older.get(key)
    if (older !== undefined) this.set(key, older)
    return older
  }

  set(key: string, value: Value): void {
    if (this.#recent.size >= this.#size) {
      this.#older = this.#recent
      this.#recent = new Map()
    }
    this.#recent.set(key, value)
  }
}
