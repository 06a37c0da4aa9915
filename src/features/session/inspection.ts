/** Reads sessions in another process, without the cookie and without a script. */
import { isRevoked } from './record-storage.ts'
import { HEADER_LENGTH, parseHeader, unpack, type SessionMeta } from './record.ts'

export { handleOf, keysAt, keysOfHandle, userTag, type SessionKeys } from './session-id.ts'

/** What a stored session says of itself. */
export interface InspectedSession {
  /** Undefined for a session of no user, and for one that is encrypted. */
  readonly user: string | undefined
  readonly ip: string | undefined
  readonly userAgent: string | undefined
  /** In ms since the epoch. */
  readonly created: number
  readonly lastSeen: number
  /** When it ends even if it is used; 0: never. */
  readonly endsAt: number
  readonly isOwned: boolean
  readonly isEncrypted: boolean
}

/**
 * Returns what a record says, undefined if it is none, was revoked or was replaced.
 * @param revoked value of the user's revoke-before key
 */
export function inspectSession(
  text: string,
  digest: string,
  revoked: string | null,
): InspectedSession | undefined {
  const header = parseHeader(text)
  if (header === undefined || header.isReplaced) return undefined
  const { created, endsAt, isEncrypted, isOwned, touched } = header
  let meta: SessionMeta = {}
  if (!isEncrypted) {
    try {
      ;({ meta } = unpack(text.slice(HEADER_LENGTH)))
    } catch {
      return undefined
    }
  }
  const owned = { ...meta, ...(isOwned && meta.user === undefined && { user: '' }) }
  if (isRevoked({ created, meta: owned }, digest, revoked)) return undefined
  const { user, ip, agent: userAgent } = meta
  return { user, ip, userAgent, created, lastSeen: touched, endsAt, isOwned, isEncrypted }
}
