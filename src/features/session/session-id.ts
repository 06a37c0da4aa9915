/** Session IDs: how they are created, and the keys that they lead to. */
import { createHash, createHmac, randomBytes, type KeyObject } from 'node:crypto'
import type { KeySpace } from '../../store/keys.ts'

/** What `crypto.createHmac` takes as a key. */
export type Secret = string | NodeJS.ArrayBufferView | KeyObject

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
  readonly tenant: string | undefined
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
    tenant,
  }
}

/** Returns what `tp.sessions` and events call a session. It identifies the session, but is no credential. */
export const handleOf = ({ tag, digest }: SessionKeys): string => `${tag}.${digest}`
